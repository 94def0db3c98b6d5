"""The chart of accounts: one function per kind of account, each giving the code that postings name.

A code is `kind` or `kind:owner`; the kind alone decides whether the account is an asset, a liability, revenue or expense.  The same code
may stand in several currencies: an account is a code in one currency.
"""

from enum import StrEnum


class AccountType(StrEnum):
    """What an account is to the platform.  Assets and expenses grow by debits, the others by credits."""

    ASSET = "asset"
    LIABILITY = "liability"
    REVENUE = "revenue"
    EXPENSE = "expense"

    @property
    def grows_by_debit(self) -> bool:
        return self in (AccountType.ASSET, AccountType.EXPENSE)


KINDS = {
    "psp_receivable": AccountType.ASSET,
    "seller_pending": AccountType.LIABILITY,
    "seller_available": AccountType.LIABILITY,
    "seller_reserved": AccountType.LIABILITY,
    "payouts_in_transit": AccountType.LIABILITY,
    "fee_revenue": AccountType.REVENUE,
    "tax_payable": AccountType.LIABILITY,
    "operating_bank": AccountType.ASSET,
    "paid_twice": AccountType.ASSET,
    "bank_in_transit": AccountType.ASSET,
    "psp_fees": AccountType.EXPENSE,
    "bank_charges": AccountType.EXPENSE,
    "suspense": AccountType.LIABILITY,
    "owed_to_buyers": AccountType.LIABILITY,
    "disputed": AccountType.ASSET,
    "dispute_costs": AccountType.EXPENSE,
    "dispute_losses": AccountType.EXPENSE,
    "write_offs": AccountType.EXPENSE,
    "gift_cards": AccountType.LIABILITY,
    "buyer_wallet": AccountType.LIABILITY,
    "breakage_revenue": AccountType.REVENUE,
    "gift_card_grants": AccountType.EXPENSE,
    "fx_position": AccountType.LIABILITY,
}

WALLET_KINDS = frozenset({"seller_pending", "seller_available", "seller_reserved"})
OWNED_KINDS = WALLET_KINDS | {"psp_receivable", "disputed", "buyer_wallet"}  # of which there is an account for each owner


def psp_receivable(psp: str) -> str:
    """What a PSP has taken from buyers and not yet paid to us."""
    return f"psp_receivable:{psp}"


def seller_pending(seller_id: int) -> str:
    """What we owe a seller for orders that are not delivered yet."""
    return f"seller_pending:{seller_id}"


def seller_available(seller_id: int) -> str:
    """What a seller may have paid out."""
    return f"seller_available:{seller_id}"


def seller_reserved(seller_id: int) -> str:
    """What we owe a seller and hold back: disputes that are not decided yet, rolling reserves."""
    return f"seller_reserved:{seller_id}"


def payouts_in_transit() -> str:
    """What is on its way to sellers' banks: taken off their wallets, and not yet off our bank account."""
    return "payouts_in_transit"


def fee_revenue() -> str:
    """The platform's fees."""
    return "fee_revenue"


def tax_payable() -> str:
    """The tax in the platform's fees: it is the tax office's, once the fees are invoiced."""
    return "tax_payable"


def operating_bank() -> str:
    """The platform's own bank account."""
    return "operating_bank"


def paid_twice() -> str:
    """What our bank paid a second time for one payout: it is ours, until the bank calls it back."""
    return "paid_twice"


def bank_in_transit() -> str:
    """What the PSPs say that they have paid to us, and what no bank statement has shown yet."""
    return "bank_in_transit"


def psp_fees() -> str:
    """What the PSPs charge us."""
    return "psp_fees"


def bank_charges() -> str:
    """What banks keep of what the PSPs pay us, within the tolerance that finance has set."""
    return "bank_charges"


def suspense() -> str:
    """Money whose reason nobody knows yet."""
    return "suspense"


def owed_to_buyers() -> str:
    """Money that we took and must give back: a charge that succeeded after its order was given up."""
    return "owed_to_buyers"


def disputed(psp: str) -> str:
    """What a PSP has taken back for disputes that are not decided yet."""
    return f"disputed:{psp}"


def dispute_costs() -> str:
    """What the PSPs charge us for each dispute, won or lost."""
    return "dispute_costs"


def dispute_losses() -> str:
    """What buyers' banks took beyond what a seller had of it: the platform bears it."""
    return "dispute_losses"


def write_offs() -> str:
    """What is owed to us and will not come any more."""
    return "write_offs"


def gift_cards() -> str:
    """What is left on the gift cards that are out: sold or granted, and neither spent nor expired."""
    return "gift_cards"


def buyer_wallet(buyer_id: int) -> str:
    """What a buyer has topped up and not spent."""
    return f"buyer_wallet:{buyer_id}"


def breakage_revenue() -> str:
    """What was left on gift cards that expired."""
    return "breakage_revenue"


def gift_card_grants() -> str:
    """Gift cards that the platform gave away."""
    return "gift_card_grants"


def fx_position() -> str:
    """What we hold of a currency because sellers' money was converted, and owe nobody any more; below zero we have to buy it."""
    return "fx_position"


def kind_of(code: str) -> str:
    """Return the kind that the code begins with."""
    return code.partition(":")[0]


def is_known(code: str) -> bool:
    """Does the chart have a kind for this code?"""
    return kind_of(code) in KINDS


def type_of(code: str) -> AccountType:
    """Return what the account is: asset, liability, revenue or expense.  KeyError for a kind that the chart does not have."""
    return KINDS[kind_of(code)]

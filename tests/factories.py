"""Shops, sellers, baskets and drafts for tests: each made with what a story cares about, the rest filled in."""

import itertools
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone
from djmoney.money import Money

from ledger import chart, journal
from ledger.journal import Draft
from ledger.models import JournalEntry
from ledger.money import exact, zero
from payments.intake import NewOrder, NewPayment
from payouts import bank_accounts
from payouts.bank_accounts import NewBankAccount
from payouts.models import BankAccount
from wallet import balances, stored_value
from wallet.balances import Change
from wallet.models import Buyer, Seller, Shop, StoredValue, StoredValueEntry, WalletEntry

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
RECEIVABLE = chart.psp_receivable("sandbox")
FEES = chart.fee_revenue()
PAID_AT_ONCE, PENDING_THEN_PAID = "AT611904300234573201", "AT321904300235473204"
FAILS_AT_ONCE, PENDING_THEN_REFUSED, RETURNED_LATER = "AT861904300235473202", "AT051904300235473205", "AT591904300235473203"


def new_shop(name: str = "Northwind", **terms: Any) -> Shop:
    """Open a shop that may send buyers back to https://shop.example."""
    return Shop.objects.create(name=name, **{"return_origins": ["https://shop.example"], **terms})


def new_sellers(shop: Shop, *names: str) -> list[Seller]:
    """Let the named sellers sell in the shop."""
    return [Seller.objects.create(shop=shop, name=name) for name in names]


def new_bank_account(seller: Seller, iban: str = PAID_AT_ONCE, *, currency: str = "EUR") -> BankAccount:
    """Give the seller a bank account that can be paid out to since yesterday."""
    wanted = NewBankAccount(currency, holder=f"{seller.name} GmbH", iban=iban)
    return bank_accounts.add_vouched(seller, wanted, by="api:test", now=timezone.now() - timedelta(days=1))


@transaction.atomic
def make_available(seller: Seller, amount: Money) -> None:
    """Let the seller have so much available, from our own bank account: where it comes from does not matter to the test."""
    currency = amount.currency.code
    balances.open_wallets([seller.pk], currency=currency)
    journal.open_accounts([chart.operating_bank()], currency=currency)
    debits, credits = [(chart.operating_bank(), amount)], [(chart.seller_available(seller.pk), amount)]
    [entry] = journal.post([Draft(JournalEntry.Kind.MANUAL, f"gift-{secrets.token_hex(8)}", timezone.now(), debits, credits)])
    nothing = zero(currency)
    balances.change(
        [Change(seller.pk, entry, WalletEntry.Kind.RELEASE, "gift", amount, nothing, pending=nothing, available=amount, reserved=nothing)]
    )


@transaction.atomic
def stored_value_of(shop: Shop, amount: str, *, buyer: Buyer | None = None, currency: str = "EUR", **terms: Any) -> StoredValue:
    """Give the shop a gift card of so much, or (`buyer`) that buyer a wallet: granted, without a code; `terms` are columns of it."""
    make = (
        stored_value.open_wallet(buyer, currency=currency)
        if buyer
        else stored_value.open_gift_card(shop, currency=currency, expires_at=None)
    )
    journal.open_accounts([chart.gift_card_grants()], currency=currency)
    debits, credits = [(chart.gift_card_grants(), exact(amount, currency))], [(stored_value.account_of(make), exact(amount, currency))]
    [entry] = journal.post([Draft(JournalEntry.Kind.GIFT_CARD_GRANT, f"grant-{secrets.token_hex(8)}", timezone.now(), debits, credits)])
    kind = StoredValueEntry.Kind.GRANTED
    stored_value.change([stored_value.Change(make.pk, exact(amount, currency), zero(currency), kind, f"je_{entry}", entry)])
    StoredValue.objects.filter(pk=make.pk).update(**terms)
    make.refresh_from_db()
    return make


def basket(sellers: Sequence[Seller], *amounts: str, currency: str = "EUR", **terms: Any) -> NewPayment:
    """Ask for one order per amount, each of the next seller in turn, under a checkout id of its own."""
    orders = [
        NewOrder(seller.public_id, exact(amount, currency)) for seller, amount in zip(itertools.cycle(sellers), amounts, strict=False)
    ]
    asked: dict[str, Any] = {
        "checkout_id": f"basket-{secrets.token_hex(6)}",
        "buyer_reference": "rosa",
        "orders": orders,
    }
    return NewPayment(**(asked | terms))


def eur(amount: str) -> Money:
    return exact(amount, "EUR")


def draft(reference: str, amount: str = "5.00", **terms: Any) -> Draft:
    """Draft an entry of so many euros from the fees to the PSP; `debits` and `credits` may say otherwise."""
    said: dict[str, Any] = {
        "kind": "manual",
        "reference": reference,
        "effective_at": NOON,
        "debits": [(RECEIVABLE, eur(amount))],
        "credits": [(FEES, eur(amount))],
    }
    return Draft(**(said | terms))

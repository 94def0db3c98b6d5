"""What a seller is told about payouts, in the seller's own words: why none can be made, what became of one, and what to do about it.

The errors of `queries` are written for whoever runs a shop; here the same is said to the person whose money it is.
"""

from dataclasses import dataclass
from datetime import datetime

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from djmoney.money import Money

from ledger.templatetags.written import amount, moment
from payouts.models import BankAccount, Payout
from payouts.queries import Payable
from payouts.states import PayoutStatus
from wallet.models import Seller, SellerHold, WalletEntry

Kind = WalletEntry.Kind

TONES: dict[str, str] = {
    PayoutStatus.WAITING: "warn",
    PayoutStatus.EXECUTING: "info",
    PayoutStatus.SUCCESS: "good",
    PayoutStatus.FAILED: "bad",
    PayoutStatus.RETURNED: "bad",
    PayoutStatus.CANCELLED: "",
}
PARTS: dict[str, object] = {
    Kind.RELEASE: gettext_lazy("Sales that were delivered"),
    Kind.RESERVE_RELEASE: gettext_lazy("Reserve set free"),
    Kind.REFUND: gettext_lazy("Refunds to buyers, less our fee on them"),
    Kind.REFUND_REVERSAL: gettext_lazy("Refunds that came back"),
    Kind.DISPUTE: gettext_lazy("Held back for disputes"),
    Kind.DISPUTE_CLOSED: gettext_lazy("Disputes that were closed"),
    Kind.PAYOUT: gettext_lazy("A payout that reached you after all"),
    Kind.PAYOUT_RETURN: gettext_lazy("Payouts that came back"),
    Kind.CONVERSION: gettext_lazy("Converted from or into another currency"),
}
REASONS: dict[str, tuple[object, bool]] = {  # what the bank says, and whether other bank details would help
    "account_closed": (gettext_lazy("Your bank says that the account is closed. Give us another one."), True),
    "no_account": (gettext_lazy("Your bank says that there is no account with this number. Check it, and give it to us again."), True),
    "account_blocked": (gettext_lazy("Your bank says that the account is blocked. Ask your bank, or give us another account."), True),
    "wrong_kind_of_account": (gettext_lazy("An account of this kind cannot take payouts. Give us another one."), True),
    "invalid_currency": (gettext_lazy("Your account does not take this currency. Give us another one."), True),
    "debit_not_authorized": (gettext_lazy("Your bank does not allow payouts to this account. Give us another one."), True),
    "wrong_holder": (gettext_lazy("The holder's name is not the one your bank knows. Give us the account again, with that name."), True),
    "unknown_bank": (gettext_lazy("There is no such bank. Check your bank details, and give them to us again."), True),
    "holder_deceased": (gettext_lazy("Your bank says that the holder of the account has died. Give us another account."), True),
    "declined": (gettext_lazy("Your bank did not take the money and does not say why. Ask your bank, or give us another account."), True),
}
REPLACED = gettext_lazy("Your bank details were changed before it left, so it did not. The next payout goes to your new account.")
PAUSED = gettext_lazy(
    "Payouts to all sellers are paused while we check our figures. Your money is safe, and there is nothing you need to do: we pay as soon as that is done."
)
OUR_SIDE = gettext_lazy("This was not your doing, and your bank details are all right. You are paid with the next payout.")


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened to a payout, as its seller reads it."""

    at: datetime
    what: str
    tone: str = ""


def tone_of(payout: Payout) -> str:
    """Return good, bad, warn or info: the colour that repeats what the word for its status says."""
    return TONES[payout.status]


def part_named(kind: str) -> str:
    """Return what all movements of a kind are called on a payout."""
    return str(PARTS.get(kind) or Kind(kind).label)


def why_it_came_to_nothing(payout: Payout) -> tuple[str, bool]:
    """Return why a failed or returned payout did not stay with the seller and what to do, and whether other bank details would help."""
    ours = REPLACED if payout.failure_code == "bank_account_replaced" else OUR_SIDE
    words, is_account = REASONS.get(payout.failure_code, (ours, False))
    return str(words), is_account


def why_nothing_can_be_paid(able: Payable, *, account: BankAccount | None, hold: SellerHold | None) -> str | SafeString:
    """Return what keeps the seller's money here and what to do about it; empty if nothing does."""
    match able.why_not.code if able.why_not else "":
        case "":
            return ""
        case "payouts_paused":
            return str(PAUSED)
        case "seller_on_hold" if hold and hold.until:
            return format_html(_("Your payouts are on hold until {}. Your sales go on as always."), moment(hold.until))
        case "seller_on_hold":
            return _("Your payouts are on hold until the shop lifts that. Ask the shop if you do not know why.")
        case "no_bank_account":
            return _("We do not know where to send your money. Give us a bank account for %s.") % able.available.currency
        case "bank_account_not_verified":
            return _("Your bank account is being checked. We pay as soon as that is done; there is nothing you need to do.")
        case "bank_account_on_hold" if account:
            said = _("Your bank account was changed. To protect you, we pay to it from {} on.")
            return format_html(said, moment(account.usable_from))
        case _other:
            return why_not_so_much(None, able)


def why_not_so_much(amount_asked: Money | None, able: Payable) -> str:
    """Return why this amount (None: any) cannot be paid out, though nothing else is in the way."""
    most = able.available - able.keep_back
    if most.amount <= 0:
        return _("Nothing can be paid out in %s now.") % most.currency
    if amount_asked is not None and amount_asked.amount <= 0:
        return _("Write an amount above zero.")
    if amount_asked is not None and amount_asked > most:
        return _("At most %s can be paid out now.") % amount(most)
    return _("The least that is paid out is %s.") % amount(able.minimum)


def other_seller_meanwhile(seller: Seller) -> str:
    """Return what is said of a form that was opened for one seller and sent while another one's pages are looked at, in another tab."""
    return (
        _("You are looking at %s now, and opened this page for another seller. Nothing was sent. Check it and send it again.") % seller.name
    )

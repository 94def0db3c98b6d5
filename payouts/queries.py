"""Questions to pay-out's rows.  The ones that lock say so; the others write nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from django.db import connection
from django.db.models import QuerySet
from djmoney.money import Money

from ledger import seek
from ledger.errors import DomainError
from ledger.money import text, zero
from payouts import conversions, debts, stops, terms
from payouts.models import BankAccount, PaymentFileLine, Payout, PayoutTransition
from payouts.providers.bank_file import BankFile
from payouts.states import CAME_TO_NOTHING, AttemptStatus, PayoutOperation, PayoutStatus, RunStatus
from payouts.terms import Terms
from wallet import holds
from wallet.models import Seller, SellerHold, Shop, Wallet, WalletEntry


class NotPayable(DomainError):
    """More than may be paid out, less than the minimum, or nothing."""

    code = "not_payable"


class NoBankAccount(DomainError):
    code = "no_bank_account"


class BankAccountNotVerified(DomainError):
    code = "bank_account_not_verified"


class BankAccountOnHold(DomainError):
    code = "bank_account_on_hold"


class SellerOnHold(DomainError):
    code = "seller_on_hold"


@dataclass(frozen=True, slots=True)
class Payable:
    """What could be paid out to a seller now, and why nothing can (`amount` is none then): the very error that asking would raise.

    `covers` is what of `keep_back` stays for what the seller owes in other currencies; the rest was agreed.
    """

    available: Money
    keep_back: Money
    covers: Money
    minimum: Money
    amount: Money
    why_not: DomainError | None


@dataclass(frozen=True, slots=True)
class Part:
    """All movements of one kind in a payout: how many, and what they changed of the available balance."""

    kind: str
    count: int
    amount: Money


@dataclass(frozen=True, slots=True)
class Contents:
    """What a payout is made of: brought forward + parts = its amount + carried forward, all of the seller's available balance."""

    brought_forward: Money
    parts: Sequence[Part]
    carried_forward: Money


# The movement of a payout, and the one of the payout before it, after which its own begin.
THIS = """
    SELECT entry.wallet_id, entry.id, entry.available, coalesce((
        SELECT max(wallet_entry_id) FROM payouts_payout AS earlier
        WHERE earlier.seller_id = payout.seller_id AND earlier.currency = payout.currency AND earlier.wallet_entry_id < payout.wallet_entry_id
    ), 0) AS since
    FROM payouts_payout AS payout JOIN wallet_walletentry AS entry ON entry.id = payout.wallet_entry_id WHERE payout.id = %s
"""

# The balance after the payout is today's less what came later.
CONTENTS = f"""
WITH this AS ({THIS}), carried AS (
    SELECT wallet.available - coalesce((
        SELECT sum(later.available) FROM wallet_walletentry AS later WHERE later.wallet_id = this.wallet_id AND later.id > this.id), 0) AS amount
    FROM this JOIN wallet_wallet AS wallet ON wallet.id = this.wallet_id
)
SELECT '' AS kind, 0 AS count, amount FROM carried
UNION ALL
SELECT kind, count(*), sum(entry.available) FROM this
JOIN wallet_walletentry AS entry ON entry.wallet_id = this.wallet_id AND entry.id > this.since AND entry.id < this.id
WHERE entry.available <> 0 GROUP BY kind
ORDER BY kind
"""  # noqa: S608 (a constant of this module)


def payable(seller: Seller, currency: str, *, now: datetime) -> Payable:
    """Return how much may be paid out to the seller in the currency now, and what hinders it.  No lock: asking may find it changed.

    What would be converted into the currency first counts as available.
    """
    wallet = Wallet.objects.filter(seller=seller, currency=currency).first()
    available = (wallet.available if wallet else zero(currency)) + conversions.expected(seller, currency, now=now).amount
    return payable_of(seller, terms.of(seller, currency), available=available, now=now)


def payable_of(seller: Seller, agreed: Terms, *, available: Money, now: datetime) -> Payable:
    """Return the same of a wallet that was read already."""
    currency = available.currency.code
    spare = available - agreed.keep_back
    covers = debts.covered_by(spare, seller_id=seller.pk, now=now)
    most = spare - covers
    why_not = hindrance(seller, currency, now=now) or refusal_of(max(most, zero(currency)), most=most, agreed=agreed, covers=covers)
    return Payable(available, agreed.keep_back + covers, covers, agreed.minimum, zero(currency) if why_not else most, why_not)


def hindrance(seller: Seller, currency: str, *, now: datetime) -> DomainError | None:
    """Return what keeps the seller's money here whatever its amount: a stop of all payouts, a hold, or the bank account.  None if nothing does."""
    paused = stops.hindrance()
    if paused is not None:
        return paused
    hold = holds.active([seller.pk], now).get(seller.pk)
    if hold is not None:
        return SellerOnHold(f"Payouts to {seller.name} are on hold {lasting(hold)}.", field="seller")
    account = account_of(seller, currency)
    if account is None:
        return NoBankAccount(f"{seller.name} has no bank account for {currency}. Add one first.", field="seller")
    if account.verified_at is None:
        return BankAccountNotVerified(f"The bank account {account} of {seller.name} is not verified yet.", field="seller")
    if account.usable_from > now:
        said = f"The bank account {account} of {seller.name} was changed: it is paid out to from {moment(account.usable_from)} on."
        return BankAccountOnHold(said, field="seller")
    return None


def refusal_of(amount: Money, *, most: Money, agreed: Terms, covers: Money) -> NotPayable | None:
    """Return why this amount cannot be paid out where `most` may be; None if it can."""
    currency = amount.currency.code
    if most.amount <= 0 and covers:
        said = f"{text(covers)} {currency} are kept back for what is owed in another currency. Convert as much into that one, or wait for sales."
        return NotPayable(said, field="amount")
    if most.amount <= 0:
        kept = f" beyond the {text(agreed.keep_back)} {currency} that are kept back" if agreed.keep_back else ""
        return NotPayable(f"Nothing is available to pay out in {currency}{kept}.", field="amount")
    if amount.amount <= 0:
        return NotPayable("A payout is more than nothing.", field="amount")
    if amount > most:
        return NotPayable(f"{text(most)} {currency} can be paid out, and not {text(amount)} {currency}.", field="amount")
    if amount < agreed.minimum:
        return NotPayable(f"The least that is paid out is {text(agreed.minimum)} {currency}.", field="amount")
    return None


def lasting(hold: SellerHold) -> str:
    return f"until {moment(hold.until)}" if hold.until else "until the platform lifts it"


def moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def account_of(seller: Seller, currency: str) -> BankAccount | None:
    """Return the seller's current bank account for the currency, verified or not."""
    return BankAccount.objects.filter(seller=seller, currency=currency, replaced_at=None).first()


def contents(payout: Payout) -> Contents:
    """Say what the payout is made of: the seller's movements of available money since the payout before it, by kind.  One statement."""
    with connection.cursor() as cursor:
        cursor.execute(CONTENTS, [payout.pk])
        [(_kind, _count, carried), *parts] = cursor.fetchall()
    currency = payout.amount.currency
    moved = [Part(kind, count, Money(amount, currency)) for kind, count, amount in parts]
    after = Money(carried, currency)
    return Contents(after + payout.amount - sum((part.amount for part in moved), zero(currency.code)), moved, after)


def movements_in(payout: Payout) -> QuerySet[WalletEntry]:
    """Return the movements that the payout is made of, newest first."""
    earlier = Payout.objects.filter(seller=payout.seller_id, currency=payout.amount.currency.code, wallet_entry__lt=payout.wallet_entry_id)
    since = earlier.order_by("-wallet_entry").values_list("wallet_entry", flat=True).first() or 0
    wallet = Wallet.objects.filter(seller=payout.seller_id, currency=payout.amount.currency.code)
    between = WalletEntry.objects.filter(wallet__in=wallet, pk__gt=since, pk__lt=payout.wallet_entry_id)
    return between.exclude(available=0).order_by("-pk")


def payouts_of(shop: Shop) -> QuerySet[Payout]:
    """Return the shop's payouts with what a reader needs to show them."""
    return Payout.objects.filter(shop=shop).select_related("seller", "bank_account", "run")


def payouts_to(seller: Seller) -> QuerySet[Payout]:
    """Return the seller's payouts, newest first, with what a reader needs to show them."""
    return Payout.objects.filter(seller=seller).select_related("bank_account", "run").order_by("-pk")


def waiting_for_approval() -> QuerySet[Payout]:
    """Return the payouts that a person must approve or reject, oldest first: not those of a run that waits, which is decided as a whole."""
    alone = Payout.objects.filter(status=PayoutStatus.WAITING).exclude(run__status=RunStatus.WAITING)
    return alone.select_related("seller", "bank_account", "run").order_by("pk")


def waiting_for_a_person() -> QuerySet[Payout]:
    """Return the payouts that the machine gave up on, oldest first; `failure_message` says why."""
    stopped = Payout.objects.filter(status=PayoutStatus.EXECUTING, next_attempt_at=None)
    return stopped.select_related("seller", "bank_account", "run").order_by("pk")


def on_their_way() -> QuerySet[Payout]:
    """Return the payouts that the machine takes to the bank, or asks the bank for."""
    return Payout.objects.filter(status=PayoutStatus.EXECUTING, next_attempt_at__isnull=False)


def came_to_nothing_since(moment: datetime) -> QuerySet[Payout]:
    """Return the payouts that have failed or were sent back since then, whenever they were made."""
    ended = PayoutTransition.objects.filter(pk__gte=seek.first_id_since(PayoutTransition, "at", moment), at__gte=moment)
    ended = ended.filter(kind=PayoutTransition.Kind.PAYOUT, after__in=CAME_TO_NOTHING)
    return Payout.objects.filter(pk__in=ended.values("object_id"), status__in=CAME_TO_NOTHING)


def may_have_left(payout: Payout) -> bool:
    """Return whether the bank may have the payout: a call may have reached it, or a payment file names it where it goes by file."""
    if payout.provider == BankFile.name:
        return PaymentFileLine.objects.filter(payout=payout, dropped_at=None).exists()
    return first_sent_at(payout) is not None


def first_sent_at(payout: Payout) -> datetime | None:
    """Return when the payout may first have reached the bank; None if it cannot have."""
    sent = payout.attempts.filter(operation=PayoutOperation.PAY_OUT).exclude(status=AttemptStatus.NOT_EXECUTED)
    return sent.order_by("created_at").values_list("created_at", flat=True).first()

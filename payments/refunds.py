"""Refunds are asked for here: what goes back is taken off what may still be refunded before the PSP is asked.

Under the order's row lock and a CHECK, so that requests that race never give back more than was taken; the worker executes them
(refund_executor.py).  The same wish - the same Idempotency-Key, or the shop's own reference - gives the same refund, for ever.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from django.db import transaction
from django.db.models import Q
from djmoney.money import Money

from ledger import approvals
from ledger.approvals import ApprovalNeeded
from ledger.errors import DomainError
from ledger.money import text, zero
from payments import fees, queries, value_returns
from payments.methods.registry import METHODS
from payments.models import Dispute, PaymentOrder, Refund
from payments.states import DisputeStatus, OrderStatus
from wallet import stored_value
from wallet.models import Shop, StoredValue
from wallet.stored_value import StoredValueTooLow


class NotRefundable(DomainError):
    code = "not_refundable"


class RefundTooLate(NotRefundable):
    """What the PSP charged goes back for so many days only, in the way in which it was paid."""

    code = "refund_too_late"


class RefundConflict(DomainError):
    code = "refund_conflict"


class To(StrEnum):
    """Where a refund goes first, if gift cards or the buyer's wallet paid a part of the order: what is more than that goes to the others."""

    CHARGE = "charge"
    STORED_VALUE = "stored_value"


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants back of one order.  `amount` None is all that is left; `fee_policy` "" is the shop's.

    `once` (an Idempotency-Key) and `reference` (the shop's own id of the refund) each name the wish; `requested_by` says who has it, and
    `limits` how much of an order may go back, in each currency, without a second person; with what went back before, so that many small
    refunds are as much as a large one.  `is_done`: the PSP has given it back already, whatever is left of what it had bought.
    """

    amount: Money | None
    reason: str = ""
    fee_policy: str = ""
    reference: str = ""
    once: str = ""
    requested_by: str = ""
    cause: str = Refund.Cause.REQUESTED
    limits: Mapping[str, Decimal] | None = None
    to: To = To.CHARGE
    is_done: bool = False


@transaction.atomic(durable=True)
def request_refund(
    order_id: int,
    *,
    amount: Money | None,
    reason: str,
    now: datetime,
    fee_policy: str = "",
    reference: str = "",
    once: str = "",
    requested_by: str = "",
    cause: str = Refund.Cause.REQUESTED,
    limits: Mapping[str, Decimal] | None = None,
    to: To = To.CHARGE,
) -> Refund:
    """Reserve a refund of the order, to be executed by the worker; the parameters are those of a Wish.

    Locks the order, then what it filled.  Raises NotRefundable (not paid, disputed, another currency, nothing, more than is left of what was
    taken or of the gift card that it bought), RefundTooLate, ApprovalNeeded (more than the limits), and RefundConflict (the same wish stands
    with other terms; `field` names which).
    """
    order = PaymentOrder.objects.select_for_update(no_key=True).get(pk=order_id)
    return reserve(order, Wish(amount, reason, fee_policy, reference, once, requested_by, cause, limits, to), now=now)


def reserve(order: PaymentOrder, wish: Wish, *, now: datetime) -> Refund:
    """Reserve a refund of an order that the caller has locked, inside the caller's transaction; otherwise as `request_refund`."""
    standing = asked_before(order, wish)
    if standing is not None:
        return standing
    left = order.left
    amount = left if wish.amount is None else wish.amount
    require_refundable(order, amount, left=left)
    tendered = tendered_of(order, amount, to=wish.to)
    if not wish.is_done:
        require_in_time(order, amount - tendered, now=now)
    require_within(order, order.refunded + amount, wish.limits or {})
    refund = Refund(order=order, cause=wish.cause, charge=queries.charge_of(order), reason=wish.reason, next_attempt_at=now)
    refund.reference, refund.once, refund.requested_by = wish.reference, wish.once, wish.requested_by
    refund.fee_policy, refund.goes_first_to = wish.fee_policy or order.shop.refund_fee_policy, wish.to
    refund.amount, refund.fee = amount, fee_of(order, amount, policy=refund.fee_policy)
    refund.borne = zero(amount.currency.code)
    refund.tendered = tendered
    if order.fills_id is not None:
        refund.takes_from, held = hold_purchase(order, amount, is_done=wish.is_done)
        refund.borne = amount - held
    refund.net = refund.amount - refund.fee - refund.borne
    order.refunded += amount - refund.borne
    refund.save()
    value_returns.reserve(order, refund)
    order.save(update_fields=["refunded", "tendered_back"])
    return refund


def asked_before(order: PaymentOrder, wish: Wish) -> Refund | None:
    """Return the refund that this wish has made already.  Raises RefundConflict if it was another wish then.

    What the wish leaves open - all that is left, the shop's own policy - is whatever it was then.
    """
    named = [Q(**{name: value}) for name, value in (("once", wish.once), ("reference", wish.reference)) if value]
    found = list(order.refunds.filter(named[0] | named[-1]).order_by("id")) if named else []
    if not found:
        return None
    refund = found[0]
    if len(found) > 1 or (wish.reference and refund.reference != wish.reference):
        by_key = next(each for each in found if each.once == wish.once)
        said = f"{by_key.public_id} was asked for with the same Idempotency-Key, but another reference: {by_key.reference or 'none'}."
        raise RefundConflict(said, field="reference")
    terms = {"amount": (wish.amount, refund.amount), "fee_policy": (wish.fee_policy or None, refund.fee_policy)}
    terms |= {"reason": (wish.reason, refund.reason), "refund_to": (wish.to, refund.goes_first_to or wish.to)}
    for field, (asked, stands) in terms.items():
        if asked not in (None, stands):
            shown = f"{text(stands)} {stands.currency}" if isinstance(stands, Money) else stands or "none"
            name = "reference" if wish.reference and refund.reference == wish.reference else "Idempotency-Key"
            raise RefundConflict(f"{refund.public_id} was asked for with the same {name}, but another {field}: {shown}.", field=field)
    return refund


def require_refundable(order: PaymentOrder, amount: Money, *, left: Money) -> None:
    if order.status != OrderStatus.SUCCESS:
        raise NotRefundable(f"{order.public_id} is not paid, so there is nothing to refund.")
    if queries.is_disputed(order):
        raise NotRefundable(f"{order.public_id} is disputed: the buyer's bank has the money. Wait until the dispute is decided.")
    if order.fills_id is not None and order.disputes.filter(charge=queries.charge_of(order)).exclude(lost=0).exists():
        raise NotRefundable(f"A dispute of {order.public_id} is lost: the buyer's bank has given the money back.")
    if amount.currency != left.currency:
        said = f"{order.public_id} was paid in {left.currency}, so it is refunded in {left.currency}, not in {amount.currency}."
        raise NotRefundable(said, field="amount.currency")
    if amount.amount <= 0 or amount > left:
        why = "" if left else ": nothing of it is left to give back"
        raise NotRefundable(f"Of {order.public_id}, {text(left)} {left.currency} can still be refunded{why}.", field="amount")


def tendered_of(order: PaymentOrder, amount: Money, *, to: To) -> Money:
    """Return what of the next refund of so much goes back to gift cards and the buyer's wallet."""
    if to == To.STORED_VALUE:
        return min(amount, order.tendered - order.tendered_back)
    return amount - min(amount, order.charge_left)


def require_in_time(order: PaymentOrder, charged_back: Money, *, now: datetime) -> None:
    """Raise RefundTooLate if the PSP would not give so much of its charge back any more; what goes to gift cards and wallets always can.

    What is asked for in time, and reaches the PSP too late, is the PSP's to decide.
    """
    if not charged_back:
        return
    method, entry = METHODS.get(queries.method_of(order)), order.journal_entry
    end = method.refunds.end(entry.happened_at) if method and entry else None
    if method is None or end is None or now < end:
        return
    last_day = (end - timedelta(microseconds=1)).astimezone(UTC)
    said = f"{order.public_id} was paid by {method.label}, which gives money back for {method.refunds.within_days} days:"
    said += f" the last day was {last_day:%Y-%m-%d} (UTC)."
    still = order.tendered - order.tendered_back
    if still:
        said += f" Up to {text(still)} {still.currency} can go back to gift cards and the buyer's wallet, if the refund goes there first."
    raise RefundTooLate(said, field="refund_to" if still else "")


def hold_purchase(order: PaymentOrder, amount: Money, *, is_done: bool) -> tuple[StoredValue, Money]:
    """Hold what goes back of the gift card or wallet that the order filled; return that, and how much is held.

    Raises NotRefundable if it is not all there, or frozen; of what `is_done`, what is there is held, and the platform bears the rest.
    """
    value = value_returns.filled_by(order)
    what = "gift card" if value.kind == StoredValue.Kind.GIFT_CARD else "wallet"
    if is_done:
        return value, value_returns.hold_what_is_there(value, amount)
    if is_in_question(value):
        raise NotRefundable(f"The {what} that {order.public_id} filled is frozen. Wait until that is decided.")
    try:
        stored_value.hold(value, amount)
    except StoredValueTooLow as error:
        left = f"{text(value.free)} {value.free.currency}"
        raise NotRefundable(f"Of the {what} that {order.public_id} filled, {left} are left.", field="amount") from error
    return value, amount


def is_in_question(value: StoredValue) -> bool:
    """Is it frozen for something that is not decided yet?  What came to it after a dispute was lost, goes back to who paid that."""
    reasons = stored_value.reasons_of(value)
    decided = Dispute.objects.filter(public_id__in=reasons).exclude(status=DisputeStatus.OPEN)
    return len(reasons) > decided.count()


def require_within(order: PaymentOrder, amount: Money, limits: Mapping[str, Decimal]) -> None:
    """Raise ApprovalNeeded if so much of the order may not go back without a second person."""
    if approvals.is_above(amount, limits):
        most = f"{limits[amount.currency.code]} {amount.currency}"
        raise ApprovalNeeded(f"To give back more than {most} of an order, as of {order.public_id}, takes two people.", field="amount")


def fee_of(order: PaymentOrder, amount: Money, *, policy: str) -> Money:
    """Return the part of the order's fee that the next refund of so much gives back."""
    if policy not in Shop.FeePolicy.values:
        raise NotRefundable(f"{policy!r} is no fee policy. Send one of {', '.join(Shop.FeePolicy.values)}.", field="fee_policy")
    return fees.given_back(amount, policy=policy, amount=order.amount, fee=order.fee, others=queries.returns_of(order))

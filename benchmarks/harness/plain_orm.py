"""The settle of a plain Django service: lock, save and create, row by row, one order at a time.  The yardstick from below.

The books refuse an entry that is written apart from its postings, so this runs only where GUARDS_IN_ITS_WAY are gone; all others stay.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from ledger import chart
from ledger.ids import new_id
from ledger.models import Account, JournalEntry, Posting
from payments import queries
from payments.models import DueOrder, DueRelease, OpenCheckout, PaymentEvent, PaymentOrder, PspAttempt
from payments.settlement import Capture
from payments.states import AttemptStatus, EventStatus, OrderStatus
from wallet.models import OutboxMessage, Wallet, WalletEntry

GUARDS_IN_ITS_WAY = (
    "DROP TRIGGER entry_must_have_postings ON ledger_journalentry",
    "DROP TRIGGER postings_must_balance ON ledger_posting",
)


def settle_one_by_one(captures: Sequence[Capture]) -> None:
    for capture in captures:
        settle_one(capture)


@transaction.atomic(durable=True)
def settle_one(capture: Capture) -> None:
    event = PaymentEvent.objects.select_for_update(no_key=True).get(orders=capture.order_id)
    order = PaymentOrder.objects.select_for_update(no_key=True).get(pk=capture.order_id)
    due = DueOrder.objects.get(pk=order.pk)
    if order.status != OrderStatus.EXECUTING or due.psp_key != capture.psp_key or order.amount != capture.amount:
        return
    currency = order.amount.currency.code

    entry = JournalEntry.objects.create(kind=JournalEntry.Kind.SALE, reference=order.public_id, effective_at=capture.charged_at)
    legs = [
        (chart.psp_receivable(order.psp), order.amount),
        (chart.seller_pending(order.seller_id), -order.net),
        (chart.fee_revenue(), -order.fee),
    ]
    for line, (code, amount) in enumerate(legs, start=1):
        Posting.objects.create(entry=entry, line=line, account=Account.objects.get(code=code, currency=currency), amount=amount)

    wallet = Wallet.objects.select_for_update(no_key=True).get(seller_id=order.seller_id, currency=currency)
    wallet.pending += order.net
    wallet.save(update_fields=["pending"])
    nothing = order.net - order.net
    movement = WalletEntry.objects.create(
        wallet=wallet,
        kind=WalletEntry.Kind.SALE,
        source=order.public_id,
        journal_entry=entry,
        gross=order.amount,
        fee=order.fee,
        net=order.net,
        pending=order.net,
        available=nothing,
        reserved=nothing,
    )

    attempt = PspAttempt.objects.get(pk=capture.attempt_id)
    attempt.status, attempt.psp_reference, attempt.finished_at = (
        AttemptStatus.SUCCEEDED,
        capture.psp_reference,
        timezone.now(),
    )
    attempt.save(update_fields=["status", "psp_reference", "finished_at"])
    order.status, order.journal_entry, order.wallet_entry, order.unreleased = OrderStatus.SUCCESS, entry, movement, order.net
    order.save(update_fields=["status", "journal_entry", "wallet_entry", "unreleased"])
    DueRelease.objects.create(order=order, due_at=capture.charged_at + timedelta(days=14))
    due.delete()
    publish(order.shop_id, "payment_order.succeeded", order.public_id, order_payload(order))
    if not event.orders.exclude(status=OrderStatus.SUCCESS).exists():
        close(event)


def close(event: PaymentEvent) -> None:
    event.status, event.is_payment_done = EventStatus.PAID, True
    event.save(update_fields=["status", "is_payment_done"])
    OpenCheckout.objects.get(pk=event.pk).delete()
    payload = {"id": event.public_id, "object": "payment", "status": event.status, "amount": queries.wire(event.amount)}
    publish(event.shop_id, "payment.paid", event.public_id, payload)


def order_payload(order: PaymentOrder) -> dict[str, object]:
    return {
        "id": order.public_id,
        "object": "payment_order",
        "reference": order.reference,
        "status": order.status,
        "failure_code": None,
        "amount": queries.wire(order.amount),
        "fee": queries.wire(order.fee),
        "net": queries.wire(order.net),
    }


def publish(shop_id: int, topic: str, about: str, payload: Mapping[str, object]) -> None:
    OutboxMessage.objects.create(public_id=new_id("evt"), shop_id=shop_id, topic=topic, about=about, payload=payload)

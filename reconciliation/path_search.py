"""Which payments are meant by an id: ours, the shop's, the PSP's, a journal entry's, a mismatch's, or a payout's, which has the sales of many.

Each look is by a key that an index has.  Writes nothing.
"""

from collections.abc import Iterator

from django.conf import settings
from django.db.models import Q, QuerySet

from ledger.admin import number_in
from ledger.models import JournalEntry
from payments.models import Cancellation, DeadLetter, Dispute, LateCharge, PaymentEvent, PaymentOrder, PspAttempt, Refund
from payouts.models import Payout
from reconciliation.models import LineMatch, Mismatch, SettlementBatch
from wallet.models import Shop, WalletEntry

MOST = 50  # payments that one id may mean; whoever means one of a payout's thousands knows more of it
LONGEST = 120
OF_AN_ORDER = {"re": Refund, "can": Cancellation, "dsp": Dispute, "late": LateCharge, "dl": DeadLetter}


def payments_called(term: str) -> QuerySet[PaymentEvent]:
    """Return the payments that the term means, the newest first, MOST of them.  None for a term that is too long to be an id."""
    found: set[int] = set()
    if term and len(term) <= LONGEST and "\0" not in term:
        found.update(event for looked in looks(term) for event in looked[:MOST])
    return PaymentEvent.objects.filter(pk__in=found).select_related("shop", "buyer").order_by("-pk")[:MOST]


def looks(term: str) -> Iterator[QuerySet[PaymentEvent, int]]:
    """Yield where to look for the term, by its prefix where it has one; each gives the keys of payments."""
    prefix = term.partition("_")[0]
    match prefix:
        case "pay":
            yield PaymentEvent.objects.filter(public_id=term).values_list("pk", flat=True)
        case "ord":
            yield events_of(Q(public_id=term.partition(":")[0]))
        case "po":
            yield events_of(Q(public_id__in=sold_in(term.partition(":")[0])))
        case "je":
            for reference in JournalEntry.objects.filter(pk=number_in(term)).values_list("reference", flat=True):
                yield from of_ours(reference)
        case "wen":
            for source in WalletEntry.objects.filter(pk=number_in(term)).values_list("source", flat=True):
                yield from of_ours(source)
        case "mm":
            for subject in Mismatch.objects.filter(public_id=term).values_list("subject", flat=True):
                yield from of_ours(subject)
        case "sb":
            batch = SettlementBatch.objects.filter(public_id=term).values("pk")[:1]
            settled = LineMatch.objects.filter(batch=batch, order__isnull=False).order_by("pk").values_list("order", flat=True)[:MOST]
            yield events_of(Q(pk__in=list(settled)))
        case _:
            model = OF_AN_ORDER.get(prefix)
            if model is not None:
                yield events_of(Q(pk__in=model._default_manager.filter(public_id=term.partition(":")[0]).values("order")))
    yield from of_others(term)


def of_ours(reference: str) -> Iterator[QuerySet[PaymentEvent, int]]:
    """Look for what an entry, a movement or a mismatch is about; nothing where that is an entry or a movement, and so perhaps itself."""
    if reference.partition("_")[0] not in ("je", "wen"):
        yield from looks(reference)


def of_others(term: str) -> Iterator[QuerySet[PaymentEvent, int]]:
    """Look among the ids that shops and PSPs give."""
    shops = list(Shop.objects.values_list("pk", flat=True))
    yield PaymentEvent.objects.filter(shop__in=shops, checkout_id=term).values_list("pk", flat=True)
    yield events_of(Q(shop__in=shops, reference=term))
    attempts = PspAttempt.objects.filter(Q(psp_key=term) | Q(psp_reference=term))
    yield events_of(Q(pk__in=attempts.values("order")[:MOST]))
    yield events_of(Q(pk__in=Refund.objects.filter(psp_reference=term).values("order")[:MOST]))
    for model in (Dispute, LateCharge):
        yield events_of(Q(pk__in=model.objects.filter(psp__in=settings.FILE_SOURCES, psp_reference=term).values("order")))


def events_of(orders: Q) -> QuerySet[PaymentEvent, int]:
    return PaymentOrder.objects.filter(orders).order_by("-pk").values_list("event", flat=True)  # type: ignore[return-value]


def sold_in(payout_id: str) -> list[str]:
    """Return the orders that became available between the payout before and this one, the latest MOST."""
    payout = Payout.objects.filter(public_id=payout_id).select_related("wallet_entry").first()
    if payout is None:
        return []
    before = Payout.objects.filter(seller=payout.seller, currency=payout.amount.currency.code, wallet_entry__lt=payout.wallet_entry_id)
    since = before.order_by("-wallet_entry").values_list("wallet_entry", flat=True).first() or 0
    movements = WalletEntry.objects.filter(wallet=payout.wallet_entry.wallet_id, pk__gt=since, pk__lt=payout.wallet_entry_id)
    return list(movements.filter(source__startswith="ord_").order_by("-pk").values_list("source", flat=True)[:MOST])

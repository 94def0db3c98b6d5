"""The whole path of one payment, gathered from every table that knows something of it: from the checkout to our bank, and to the seller's.

Everything is found by keys, in a number of statements that does not depend on how many orders the basket has.  What pay-in knows is gathered
by payments/timeline.py; here the books, wallets, settlement lines, bank lines and payouts are put beside it.  Writes and locks nothing.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from django.db import connection
from django.db.models import Q

from ledger import seek
from ledger.models import JournalEntry, Posting
from payments import timeline
from payments.models import PaymentEvent, PaymentOrder
from payments.timeline import Moment, Rows
from payouts.models import Payout, PayoutSchedule
from payouts.states import PUT_BACK
from payouts.timeline import ENTRIES as PAYOUT_ENTRIES
from reconciliation.models import BankLineMatch, LineMatch, Mismatch, SettlementBatch
from wallet.models import WalletEntry

MOVEMENTS = ("wallet_entry", "reversal_wallet_entry", "closing_wallet_entry", "release_wallet_entry")

# What became available goes with the seller's next payout; of one that came to nothing it is put back, and goes with the next one after that.
CARRIED = """
WITH RECURSIVE carried (movement_id, seller_id, currency, since, payout_id) AS (
    SELECT movement.id, wallet.seller_id, movement.currency, movement.id, NULL::bigint
    FROM wallet_walletentry AS movement JOIN wallet_wallet AS wallet ON wallet.id = movement.wallet_id
    WHERE movement.id = ANY(%s::bigint[]) AND movement.available <> 0
    UNION ALL
    SELECT movement_id, seller_id, carried.currency, payout.put_back, payout.id
    FROM carried CROSS JOIN LATERAL (
        SELECT id, CASE WHEN status = ANY(%s::text[]) THEN greatest(return_wallet_entry_id, late_return_wallet_entry_id) END AS put_back
        FROM payouts_payout AS following
        WHERE following.seller_id = carried.seller_id AND following.currency = carried.currency
          AND following.wallet_entry_id > carried.since
        ORDER BY following.wallet_entry_id LIMIT 1
    ) AS payout
    WHERE carried.since IS NOT NULL
)
SELECT movement_id, payout_id FROM carried WHERE payout_id IS NOT NULL ORDER BY movement_id, payout_id
"""


@dataclass(frozen=True, slots=True)
class Path:
    """All rows of a payment, each kind by what it hangs on.  `order_of` says by a row's public id, or a PSP's key, which order it belongs to.

    `movements` are those of the orders themselves; `payouts_of` says by a movement's id with which payouts it went, the last one at the end.
    """

    rows: Rows
    moments: Sequence[Moment]
    order_of: Mapping[str, PaymentOrder]
    legs: Mapping[int, Sequence[Posting]]
    movements: Mapping[int, Sequence[WalletEntry]]
    payouts: Mapping[int, Payout]
    payouts_of: Mapping[int, Sequence[Payout]]
    matches: Sequence[LineMatch]
    mismatches: Sequence[Mismatch]
    arrivals: Sequence[BankLineMatch]
    schedules: Mapping[int | None, PayoutSchedule]

    @property
    def event(self) -> PaymentEvent:
        return self.rows.event

    @property
    def orders(self) -> Sequence[PaymentOrder]:
        return self.rows.orders

    @property
    def entries(self) -> Iterator[JournalEntry]:
        """The journal entries, each once."""
        return (legs[0].entry for legs in self.legs.values())

    def order_about(self, public_id: str) -> PaymentOrder | None:
        """Return the order to which an id belongs, or the reference of an entry (`ord_1:release`), or a row's own."""
        return self.order_of.get(public_id) or self.order_of.get(public_id.partition(":")[0])

    def payout_called(self, public_id: str) -> Payout | None:
        return next((payout for payout in self.payouts.values() if payout.public_id == public_id), None)

    def arrival_of(self, batch: SettlementBatch | None) -> BankLineMatch | None:
        """Return the bank line by which the batch was paid to us, of several the last by its day; None as long as not all of it has come."""
        parts = [each for each in self.arrivals if batch and each.batch_id == batch.pk]
        is_whole = batch is not None and sum(part_of(each) + each.short_by for each in parts) == batch.paid_out
        return max(parts, key=lambda part: day_of(part) or date.min) if parts and is_whole else None

    def capture_of(self, order: PaymentOrder) -> LineMatch | None:
        """Return the settlement line by which the PSP settled the order's charge."""
        return next((each for each in self.matches if each.order_id == order.pk and each.kind == "capture"), None)


def part_of(arrival: BankLineMatch) -> Decimal:
    """Return what of its bank line the match is about."""
    return arrival.line.amount if arrival.amount is None else arrival.amount


def day_of(arrival: BankLineMatch) -> date | None:
    """Return the day on which the bank booked the line; None where its statement does not even say until when it goes."""
    return arrival.line.booked_on or arrival.line.valued_on or arrival.line.statement.closed_on


def path_of(event: PaymentEvent) -> Path:
    """Return the path of a payment.  A fixed number of statements, whatever its size."""
    orders = PaymentOrder.objects.filter(event=event).select_related("seller", "due", "due_release", "reserve__release_wallet_entry")
    rows = timeline.rows_of(event, orders)
    order_of = dict(owned(rows))
    named = list(JournalEntry.objects.filter(reference__in=references_of(rows)))
    movements = movements_of(rows, named)
    carried = carried_by(movement.pk for of_order in movements.values() for movement in of_order)
    payouts = Payout.objects.select_related("bank_account", "wallet_entry").in_bulk({payout for _movement, payout in carried})
    matches = matches_of(rows)
    batches = {match.batch for match in matches}
    ids = {*order_of, *(payout.public_id for payout in payouts.values()), *(batch.public_id for batch in batches)}
    mismatches = list(
        Mismatch.objects.filter(subject__in=ids).select_related("batch__file", "line__file", "bank_line__file").order_by("pk")
    )
    batches |= {mismatch.batch for mismatch in mismatches if mismatch.batch}
    arrivals = arrivals_of(batches, payouts.values())
    payouts_of: dict[int, list[Payout]] = defaultdict(list)
    for movement, payout in carried:
        payouts_of[movement].append(payouts[payout])
    return Path(
        rows=rows,
        moments=timeline.moments_of(rows),
        order_of=order_of,
        legs=legs_of({entry.pk for entry in named}.union(entries_of(rows), entries_around(payouts.values(), batches, arrivals))),
        movements=movements,
        payouts=payouts,
        payouts_of=payouts_of,
        matches=matches,
        mismatches=mismatches,
        arrivals=arrivals,
        schedules=schedules_of(rows),
    )


def owned(rows: Rows) -> Iterator[tuple[str, PaymentOrder]]:
    """Yield by which ids and keys an order is known, and the rows that hang on it."""
    orders = {order.pk: order for order in rows.orders}
    hanging: list[Any] = [*rows.refunds, *rows.disputes, *rows.late_charges, *rows.cancellations, *rows.letters]
    yield from ((order.public_id, order) for order in rows.orders)
    yield from ((row.public_id, orders[row.order_id]) for row in hanging)
    yield from ((attempt.psp_key, orders[attempt.order_id]) for attempt in rows.attempts)


# --- Wallets and payouts --------------------------------------------------------------------------------------------


def movements_of(rows: Rows, named: Sequence[JournalEntry]) -> dict[int, list[WalletEntry]]:
    """Return by order what it moved in its seller's wallet, oldest first; the entries of the releases are among the `named`."""
    moved: dict[int, dict[int, WalletEntry]] = defaultdict(dict)
    reserves = [order.reserve for order in rows.orders if hasattr(order, "reserve")]
    hanging: list[Any] = [*rows.refunds, *rows.disputes, *reserves]
    known: list[tuple[int, Any]] = [*((order.pk, order) for order in rows.orders), *((row.order_id, row) for row in hanging)]
    for order_id, row in known:
        for column in MOVEMENTS:
            if (movement := getattr(row, column, None)) is not None:
                moved[order_id][movement.pk] = movement
    by_public_id = {order.public_id: order.pk for order in rows.orders}
    for movement in released(rows, named):
        moved[by_public_id[movement.source]][movement.pk] = movement
    return {order_id: [of_order[pk] for pk in sorted(of_order)] for order_id, of_order in moved.items()}


def released(rows: Rows, named: Sequence[JournalEntry]) -> list[WalletEntry]:
    """Return the movements by which orders became available.  No order names its own: they were written with the entry of the release."""
    booked = sorted(entry.booked_at for entry in named if entry.kind == JournalEntry.Kind.RELEASE)
    if not booked:
        return []
    found = WalletEntry.objects.filter(
        wallet__seller__in={order.seller_id for order in rows.orders},
        pk__gte=seek.first_id_since(WalletEntry, "created_at", booked[0]),
        pk__lt=seek.first_id_after(WalletEntry, "created_at", booked[-1]),
        kind=WalletEntry.Kind.RELEASE,
        source__in=[order.public_id for order in rows.orders],
    )
    return list(found.order_by("pk"))


def carried_by(movements: Iterable[int]) -> list[tuple[int, int]]:
    """Return the payouts that each movement went with, in their order; none for one that is still available, or never was."""
    with connection.cursor() as cursor:
        cursor.execute(CARRIED, [list(movements), list(PUT_BACK)])
        return [(movement, payout) for movement, payout in cursor.fetchall()]


def schedules_of(rows: Rows) -> dict[int | None, PayoutSchedule]:
    """Return when the sellers are paid out, by seller; None is the shop's own for all that have none."""
    sellers = {order.seller_id for order in rows.orders}
    mine = Q(seller__in=sellers) | Q(seller=None)
    agreed = PayoutSchedule.objects.filter(mine, shop=rows.event.shop_id, currency=rows.event.amount.currency.code)
    return {schedule.seller_id: schedule for schedule in agreed}


# --- Settlement and bank --------------------------------------------------------------------------------------------


def matches_of(rows: Rows) -> list[LineMatch]:
    """Return the settlement lines that say of the orders, refunds, disputes and late charges what our books say."""
    about = (
        Q(order__in=[order.pk for order in rows.orders])
        | Q(refund__in=[refund.pk for refund in rows.refunds])
        | Q(dispute__in=[dispute.pk for dispute in rows.disputes])
        | Q(late_charge__in=[late.pk for late in rows.late_charges])
    )
    return list(LineMatch.objects.filter(about).select_related("line__file", "batch").order_by("pk"))


def arrivals_of(batches: Iterable[SettlementBatch], payouts: Iterable[Payout]) -> list[BankLineMatch]:
    """Return the lines of bank statements by which the batches came, and the payouts went and came back."""
    about = Q(batch__in=[batch.pk for batch in batches]) | Q(payout__in=[payout.pk for payout in payouts])
    found = BankLineMatch.objects.filter(about).select_related("line__file", "line__statement__compared")
    return list(found.order_by("pk"))


# --- Books ----------------------------------------------------------------------------------------------------------


def entries_of(rows: Rows) -> Iterator[int]:
    """Yield the entries that the rows of a payment name."""
    booked: list[Any] = [*rows.orders, *rows.refunds, *rows.disputes, *rows.late_charges, *rows.reserves]
    columns = ("journal_entry_id", "reversal_entry_id", "closing_entry_id", "release_entry_id")
    yield from (getattr(row, column) for row in booked for column in columns if getattr(row, column, None))


def entries_around(payouts: Iterable[Payout], batches: Iterable[SettlementBatch], arrivals: Iterable[BankLineMatch]) -> Iterator[int]:
    """Yield the entries of what a payment shares with others: its payouts, its settlement batches and their bank statements."""
    for payout in payouts:
        yield from (getattr(payout, f"{column}_id") for column in PAYOUT_ENTRIES if getattr(payout, f"{column}_id"))
    yield from (batch.journal_entry_id for batch in batches if batch.journal_entry_id)
    yield from (each.line.statement.compared.journal_entry_id for each in arrivals if each.line.statement.compared.journal_entry_id)


def references_of(rows: Rows) -> list[str]:
    """Return the references of the entries that no row names: releases, and who bears a dispute since a refund came back."""
    return [
        *(f"{order.public_id}:release" for order in rows.orders if order.released_at),
        *(f"{dispute.public_id}:{refund.public_id}" for dispute in rows.disputes for refund in rows.refunds),
    ]


def legs_of(entries: Iterable[int]) -> dict[int, list[Posting]]:
    """Return the postings of the entries, by entry, oldest first, each with its entry and its account."""
    legs: dict[int, list[Posting]] = defaultdict(list)
    for leg in Posting.objects.filter(entry__in=list(entries)).select_related("entry", "account").order_by("entry", "line"):
        legs[leg.entry_id].append(leg)
    return dict(legs)

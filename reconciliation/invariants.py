"""What must hold across the whole house, whoever wrote the rows: each check is one query, or one function, for the rows that break it.

Run at the end of every test of money, by beat all day (reconciliation/watch.py), by `manage.py check_invariants`, and by whoever doubts.
The identifiers (INV-..) are those of docs/reliability.md.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.db.models import Sum
from djmoney.money import Money

from ledger import chart, seals
from ledger.models import Posting
from ledger.money import to_minor
from payments.models import LateCharge, PaymentOrder, Refund
from payments.states import OrderStatus, RefundStatus


@dataclass(frozen=True, slots=True)
class Violation:
    """One invariant that does not hold, and the first rows that break it."""

    invariant: str
    rows: tuple[Any, ...]

    def __str__(self) -> str:
        return f"{self.invariant}: {self.rows}"


Check = str | Callable[[], Sequence[Any]]

SHOWN = 10  # rows of one violation: enough to begin with
NEWEST = 20_000  # entries that are hashed again every few minutes


def tampered() -> Sequence[Any]:
    return [str(finding) for finding in seals.verify()]


def tampered_lately() -> Sequence[Any]:
    return [str(finding) for finding in seals.verify_newest(entries=NEWEST)]


CHECKS: dict[str, Check] = {
    "INV-01 every entry balances per currency, with two legs or more": """
        SELECT entry_id, currency, sum(amount) FROM ledger_posting GROUP BY entry_id, currency HAVING sum(amount) <> 0
        UNION ALL
        SELECT entry.id, '', count(posting.line) FROM ledger_journalentry AS entry LEFT JOIN ledger_posting AS posting ON posting.entry_id = entry.id
        GROUP BY entry.id HAVING count(posting.line) < 2
    """,
    "INV-02 the books sum to nothing in each currency": """
        SELECT currency, sum(amount) FROM ledger_posting GROUP BY currency HAVING sum(amount) <> 0
    """,
    "INV-03 every wallet figure equals its account in the books": """
        WITH figure AS (
            SELECT seller_id, currency, name, amount FROM wallet_wallet,
                LATERAL (VALUES ('seller_pending', pending), ('seller_available', available), ('seller_reserved', reserved)) AS f (name, amount)
        ), booked AS (
            SELECT account.code, account.currency, -sum(posting.amount) AS amount
            FROM ledger_posting AS posting JOIN ledger_account AS account ON account.id = posting.account_id
            WHERE account.code LIKE 'seller\\_%%' GROUP BY 1, 2
        )
        SELECT figure.name, figure.seller_id, coalesce(figure.currency, booked.currency), figure.amount, booked.code, booked.amount
        FROM figure FULL JOIN booked ON booked.code = figure.name || ':' || figure.seller_id AND booked.currency = figure.currency
        WHERE coalesce(figure.amount, 0) <> coalesce(booked.amount, 0)
    """,
    "INV-03 every wallet figure equals the sum of its movements": """
        SELECT wallet.id, wallet.pending, wallet.available, wallet.reserved, moved.*
        FROM wallet_wallet AS wallet LEFT JOIN (
            SELECT wallet_id, sum(pending) AS pending, sum(available) AS available, sum(reserved) AS reserved
            FROM wallet_walletentry GROUP BY wallet_id
        ) AS moved ON moved.wallet_id = wallet.id
        WHERE (wallet.pending, wallet.available, wallet.reserved)
           <> (coalesce(moved.pending, 0), coalesce(moved.available, 0), coalesce(moved.reserved, 0))
    """,
    "INV-08 every SUCCESS has its entry and its movement over its own amounts, and every sale its SUCCESS": """
        SELECT coalesce(sold.public_id, entry.reference), sold.status, entry.id
        FROM (SELECT * FROM payments_paymentorder WHERE status = 'SUCCESS') AS sold
        FULL JOIN (SELECT * FROM ledger_journalentry WHERE kind = 'sale') AS entry
               ON entry.id = sold.journal_entry_id AND entry.reference = sold.public_id
        LEFT JOIN wallet_walletentry AS movement ON movement.id = sold.wallet_entry_id AND movement.journal_entry_id = entry.id
              AND (movement.gross, movement.fee, movement.net, movement.source) = (sold.amount, sold.fee, sold.net, sold.public_id)
        WHERE sold.id IS NULL OR entry.id IS NULL OR movement.id IS NULL
           OR (SELECT sum(amount) FROM ledger_posting AS posting WHERE posting.entry_id = entry.id AND amount > 0) <> sold.amount
    """,
    "INV-07 refunds are within what was taken, each with its entry": """
        SELECT payment.public_id, payment.refunded, sum(refund.amount) FILTER (WHERE refund.status <> 'FAILED')
        FROM payments_paymentorder AS payment
        LEFT JOIN payments_refund AS refund ON refund.order_id = payment.id AND refund.late_charge_id IS NULL
        GROUP BY payment.id HAVING payment.refunded <> coalesce(sum(refund.amount) FILTER (WHERE refund.status <> 'FAILED'), 0)
        UNION ALL
        SELECT coalesce(booked.reference, entry.reference), booked.amount,
               (SELECT sum(amount) FROM ledger_posting AS posting WHERE posting.entry_id = entry.id AND amount > 0)
        FROM (SELECT public_id AS reference, journal_entry_id AS entry_id, amount FROM payments_refund
              WHERE status = 'SUCCESS' OR journal_entry_id IS NOT NULL
              UNION ALL SELECT public_id || ':reversal', reversal_entry_id, amount FROM payments_refund WHERE reversal_entry_id IS NOT NULL
             ) AS booked
        FULL JOIN (SELECT * FROM ledger_journalentry WHERE kind IN ('refund', 'refund_reversal')) AS entry
               ON entry.id = booked.entry_id AND entry.reference = booked.reference
        WHERE booked.entry_id IS NULL OR entry.id IS NULL
           OR (SELECT sum(amount) FROM ledger_posting AS posting WHERE posting.entry_id = entry.id AND amount > 0) <> booked.amount
    """,
    "INV-07 a refund that came back gave its seller exactly what it took": """
        SELECT refund.public_id, taken.net, restored.net FROM payments_refund AS refund
        JOIN wallet_walletentry AS taken ON taken.id = refund.wallet_entry_id
        LEFT JOIN wallet_walletentry AS restored ON restored.id = refund.reversal_wallet_entry_id
        WHERE refund.reversal_entry_id IS NOT NULL
          AND (restored.id IS NULL OR (restored.gross, restored.fee, restored.pending, restored.available, restored.reserved)
                                   <> (-taken.gross, -taken.fee, -taken.pending, -taken.available, -taken.reserved))
    """,
    "INV-08 every late charge has its entry and its refund, and what is not given back is owed to buyers": """
        SELECT coalesce(late.public_id, entry.reference), late.amount, refund.amount
        FROM payments_latecharge AS late
        FULL JOIN (SELECT * FROM ledger_journalentry WHERE kind = 'late_charge') AS entry
               ON entry.id = late.journal_entry_id AND entry.reference = late.public_id
        LEFT JOIN payments_refund AS refund ON refund.late_charge_id = late.id
              AND (refund.amount, refund.net, refund.fee, refund.currency) = (late.amount, late.amount, 0, late.currency)
        WHERE late.id IS NULL OR entry.id IS NULL OR refund.id IS NULL
        UNION ALL
        SELECT late.public_id, late.amount, sum(refund.amount) FILTER (WHERE refund.status <> 'FAILED')
        FROM payments_latecharge AS late JOIN payments_refund AS refund ON refund.late_charge_id = late.id
        GROUP BY late.id HAVING sum(refund.amount) FILTER (WHERE refund.status <> 'FAILED') > late.amount
        UNION ALL
        SELECT coalesce(booked.currency, owed.currency), booked.amount, owed.amount
        FROM (SELECT posting.currency, -sum(amount) AS amount
              FROM ledger_posting AS posting JOIN ledger_account AS account ON account.id = posting.account_id
              JOIN ledger_journalentry AS entry ON entry.id = posting.entry_id
              WHERE code = 'owed_to_buyers' AND kind IN ('late_charge', 'refund', 'refund_reversal') GROUP BY 1) AS booked
        FULL JOIN (SELECT currency, sum(amount) AS amount FROM payments_latecharge AS late
                   WHERE NOT EXISTS (SELECT FROM payments_refund WHERE late_charge_id = late.id AND status = 'SUCCESS')
                   GROUP BY 1) AS owed ON owed.currency = booked.currency
        WHERE coalesce(booked.amount, 0) <> coalesce(owed.amount, 0)
    """,
    "INV-07 disputes hold and lose what their orders say, each with its entries": """
        SELECT payment.public_id, payment.disputed,
               sum(CASE WHEN dispute.status = 'open' THEN dispute.held ELSE least(dispute.lost, dispute.held) END)
        FROM payments_paymentorder AS payment LEFT JOIN payments_dispute AS dispute ON dispute.order_id = payment.id
        GROUP BY payment.id HAVING payment.disputed
            <> coalesce(sum(CASE WHEN dispute.status = 'open' THEN dispute.held ELSE least(dispute.lost, dispute.held) END), 0)
        UNION ALL
        SELECT coalesce(booked.reference, entry.reference), NULL, NULL
        FROM (SELECT public_id AS reference, journal_entry_id AS entry_id FROM payments_dispute
              UNION ALL SELECT public_id || ':closed', closing_entry_id FROM payments_dispute WHERE status <> 'open') AS booked
        FULL JOIN (SELECT * FROM ledger_journalentry WHERE kind IN ('dispute', 'dispute_closed')) AS entry
               ON entry.id = booked.entry_id AND entry.reference = booked.reference
        WHERE booked.entry_id IS NULL OR entry.id IS NULL
    """,
    "INV-07 no more of a fee is given back than was taken": """
        SELECT payment.public_id, payment.fee, given.fee FROM payments_paymentorder AS payment
        JOIN (
            SELECT order_id, sum(fee) AS fee FROM (
                SELECT order_id, fee FROM payments_refund WHERE status <> 'FAILED' AND late_charge_id IS NULL
                UNION ALL SELECT order_id, fee_returned FROM payments_dispute
            ) AS part GROUP BY order_id
        ) AS given ON given.order_id = payment.id WHERE given.fee > payment.fee
    """,
    "INV-09 what is disputed at the PSPs is what the open disputes are over": """
        SELECT booked.code, coalesce(booked.currency, open.currency), booked.amount, open.psp, open.amount
        FROM (SELECT code, account.currency, sum(amount) AS amount
              FROM ledger_posting AS posting JOIN ledger_account AS account ON account.id = posting.account_id
              WHERE code LIKE 'disputed:%%' GROUP BY 1, 2) AS booked
        FULL JOIN (SELECT psp, currency, sum(amount) AS amount FROM payments_dispute WHERE status = 'open' GROUP BY 1, 2) AS open
               ON booked.code = 'disputed:' || open.psp AND booked.currency = open.currency
        WHERE coalesce(booked.amount, 0) <> coalesce(open.amount, 0)
    """,
    "INV-12 what executes is in the queue, and nothing else is": """
        SELECT payment.public_id, payment.status, due.psp_key
        FROM (SELECT * FROM payments_paymentorder WHERE status = 'EXECUTING') AS payment
        FULL JOIN payments_dueorder AS due ON due.order_id = payment.id WHERE payment.id IS NULL OR due.order_id IS NULL
    """,
    "INV-12 a payment is done when its orders are, and leaves the list of open checkouts then": """
        SELECT event.public_id, event.status, event.is_payment_done FROM payments_paymentevent AS event
        JOIN (
            SELECT event_id, bool_and(status IN ('SUCCESS', 'CANCELLED')) AS is_final, bool_and(status = 'SUCCESS') AS all_paid,
                   bool_or(status IN ('EXECUTING', 'NOT_STARTED')) AS open, sum(amount) AS total
            FROM payments_paymentorder GROUP BY event_id
        ) AS orders ON orders.event_id = event.id
        LEFT JOIN payments_opencheckout AS listed ON listed.event_id = event.id
        WHERE is_final AND NOT is_payment_done OR open AND is_payment_done OR all_paid <> (event.status = 'paid')
           OR event.amount <> orders.total OR is_payment_done <> (listed.event_id IS NULL)
    """,
    "INV-12 an order is cancelled if and only if its cancellation took nothing, and one that was refunded has its refund": """
        SELECT payment.public_id, payment.status, cancellation.outcome
        FROM (SELECT * FROM payments_paymentorder WHERE status = 'CANCELLED') AS payment
        FULL JOIN (SELECT * FROM payments_cancellation WHERE outcome IN ('cancelled', 'voided')) AS cancellation
               ON cancellation.order_id = payment.id
        WHERE payment.id IS NULL OR cancellation.id IS NULL
        UNION ALL
        SELECT cancellation.public_id, cancellation.outcome, refund.status
        FROM payments_cancellation AS cancellation LEFT JOIN payments_refund AS refund ON refund.id = cancellation.refund_id
        WHERE cancellation.outcome = 'refunded' AND refund.journal_entry_id IS NULL
    """,
    "INV-16 every dispute and cancellation has told the world as often as it counts": """
        SELECT told.public_id, told.told, count(message.id)
        FROM (SELECT public_id, told FROM payments_dispute UNION ALL SELECT public_id, told FROM payments_cancellation) AS told
        LEFT JOIN wallet_outboxmessage AS message ON message.about = told.public_id
        GROUP BY told.public_id, told.told HAVING count(message.id) <> told.told
    """,
    "INV-16 every sale, refund and late charge has told the world once": """
        SELECT entry.reference, count(message.id) FROM ledger_journalentry AS entry
        LEFT JOIN wallet_outboxmessage AS message ON message.about = entry.reference
              AND message.topic IN ('payment_order.succeeded', 'refund.succeeded', 'late_charge.received')
        WHERE entry.kind IN ('sale', 'refund', 'late_charge') GROUP BY entry.reference HAVING count(message.id) <> 1
    """,
    "INV-16 the messages about a payment, an order or a refund are counted without a gap": """
        SELECT counted.public_id, counted.told, count(message.id), max(message.sequence)
        FROM (SELECT public_id, told FROM payments_paymentevent UNION ALL SELECT public_id, told FROM payments_paymentorder
              UNION ALL SELECT public_id, told FROM payments_refund) AS counted
        LEFT JOIN wallet_outboxmessage AS message ON message.about = counted.public_id AND message.sequence > 0
        GROUP BY counted.public_id, counted.told
        HAVING count(DISTINCT message.sequence) <> counted.told OR count(message.id) <> counted.told
            OR coalesce(max(message.sequence), 0) <> counted.told
    """,
    "INV-20 snapshots equal the postings they stand for": """
        SELECT snapshot.account_id, snapshot.through_entry_id, snapshot.balance FROM ledger_balancesnapshot AS snapshot
        WHERE snapshot.balance <> (SELECT coalesce(sum(amount), 0) FROM ledger_posting AS posting
            WHERE posting.account_id = snapshot.account_id AND posting.entry_id <= snapshot.through_entry_id)
    """,
    "INV-17 the books are as they were sealed": tampered,
    "INV-17 the chain of seals is whole, and the newest entries are as they were sealed": tampered_lately,
}

# Too slow to be asked every few minutes of a large ledger; asked each night.
NIGHTLY = frozenset({"INV-17 the books are as they were sealed"})


def violations() -> list[Violation]:
    """Return every invariant that does not hold, with the first rows that break it; reads one consistent state of each check."""
    return [violation for invariant in CHECKS if (violation := violation_of(invariant))]


def violation_of(invariant: str) -> Violation | None:
    """Run one check; None if its invariant holds."""
    check = CHECKS[invariant]
    rows = rows_of(check) if isinstance(check, str) else check()
    return Violation(invariant, tuple(rows[:SHOWN])) if rows else None


def rows_of(query: str) -> Sequence[Any]:
    with connection.cursor() as cursor:
        cursor.execute(query.replace("%%", "%"))
        return list(cursor.fetchmany(SHOWN))


def differences_from(journal: Iterable[Mapping[str, Any]], *, psp: str) -> list[Violation]:
    """Compare our books with a PSP's own journal (INV-06, INV-10): every charge and refund once there and once here, to the minor unit.

    `journal` is the PSP's rows with `type`, `object_id`, `reference`, `amount` in minor units and `currency`.  A charge that was voided and
    a refund that came back moved nothing in the end, and count on neither side.
    """
    rows = list(journal)
    undone = {row["object_id"] for row in rows if row["type"] in ("charge.voided", "refund.failed")}
    theirs = [
        (row["type"], row["reference"], row["amount"], row["currency"])
        for row in rows
        if row["type"] in ("charge.succeeded", "refund.succeeded") and row["object_id"] not in undone
    ]
    given_back = Refund.objects.filter(order__psp=psp, status=RefundStatus.SUCCESS).select_related("order", "late_charge")
    voids = [refund for refund in given_back if refund.psp_reference == refund.charge]
    voided = {refund.order_id for refund in voids if refund.late_charge_id is None}
    paid = PaymentOrder.objects.filter(psp=psp, status=OrderStatus.SUCCESS).exclude(pk__in=voided)
    came_late = LateCharge.objects.filter(psp=psp).exclude(refunds__in=voids).select_related("order")
    kept = [
        *(("charge.succeeded", order.public_id, order.amount) for order in paid),
        *(("charge.succeeded", late.order.public_id, late.amount) for late in came_late),
        *(("refund.succeeded", refund.public_id, refund.amount) for refund in given_back if refund not in voids),
    ]
    ours = [(kind, reference, to_minor(amount), amount.currency.code) for kind, reference, amount in kept]
    only_theirs, only_ours = Counter(theirs) - Counter(ours), Counter(ours) - Counter(theirs)
    broken = []
    if only_theirs:
        broken.append(Violation("INV-10 the PSP's journal has what our books do not", tuple(only_theirs)[:10]))
    if only_ours:
        broken.append(Violation("INV-10 our books have what the PSP's journal does not", tuple(only_ours)[:10]))
    return broken


OWED_BY_PSP = {
    "charge.succeeded": 1,
    "charge.voided": -1,
    "refund.succeeded": -1,
    "refund.failed": 1,  # of one that had succeeded: the money came back
    "dispute.opened": -1,
    "dispute.fee": -1,
    "dispute.returned": 1,
}


def receivable_differs_from(journal: Iterable[Mapping[str, Any]], *, psp: str) -> list[Violation]:
    """Compare what the PSP owes us by its own journal with what it owes us by the books (INV-09), per currency, to the minor unit."""
    theirs: Counter[str] = Counter()
    succeeded = set()
    for row in journal:
        if row["type"] == "refund.succeeded":
            succeeded.add(row["object_id"])
        if row["type"] != "refund.failed" or row["object_id"] in succeeded:
            theirs[row["currency"]] += OWED_BY_PSP.get(row["type"], 0) * (row["amount"] or 0)
    balances = Posting.objects.filter(account__code=chart.psp_receivable(psp)).values_list("currency").annotate(balance=Sum("amount"))
    ours = {currency: to_minor(Money(balance, currency)) for currency, balance in balances}
    rows = [(currency, theirs[currency], ours.get(currency, 0)) for currency in sorted({*filter(None, theirs), *ours})]
    off = tuple(row for row in rows if row[1] != row[2])
    return [Violation("INV-09 what the PSP owes us by its journal is not what it owes us by the books", off)] if off else []

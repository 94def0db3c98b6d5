"""What must hold across the whole house, whoever wrote the rows: each check is one query for the rows that break it.

Run at the end of every test of money, by `manage.py check_invariants`, and by whoever doubts.  The identifiers (INV-..) are those of
docs/reliability.md.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import connection

from ledger.money import to_minor
from payments.models import PaymentOrder, Refund
from payments.states import OrderStatus, RefundStatus


@dataclass(frozen=True, slots=True)
class Violation:
    """One invariant that does not hold, and the first rows that break it."""

    invariant: str
    rows: tuple[Any, ...]

    def __str__(self) -> str:
        return f"{self.invariant}: {self.rows}"


CHECKS = {
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
        FROM payments_paymentorder AS payment LEFT JOIN payments_refund AS refund ON refund.order_id = payment.id
        GROUP BY payment.id HAVING payment.refunded <> coalesce(sum(refund.amount) FILTER (WHERE refund.status <> 'FAILED'), 0)
        UNION ALL
        SELECT coalesce(refund.public_id, entry.reference), NULL, NULL
        FROM (SELECT * FROM payments_refund WHERE status = 'SUCCESS') AS refund
        FULL JOIN (SELECT * FROM ledger_journalentry WHERE kind = 'refund') AS entry
               ON entry.id = refund.journal_entry_id AND entry.reference = refund.public_id
        WHERE refund.id IS NULL OR entry.id IS NULL
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
    "INV-16 every sale and refund has told the world once": """
        SELECT entry.reference, count(message.id) FROM ledger_journalentry AS entry
        LEFT JOIN wallet_outboxmessage AS message ON message.about = entry.reference
              AND message.topic IN ('payment_order.succeeded', 'refund.succeeded')
        WHERE entry.kind IN ('sale', 'refund') GROUP BY entry.reference HAVING count(message.id) <> 1
    """,
    "INV-20 snapshots equal the postings they stand for": """
        SELECT snapshot.account_id, snapshot.through_entry_id, snapshot.balance FROM ledger_balancesnapshot AS snapshot
        WHERE snapshot.balance <> (SELECT coalesce(sum(amount), 0) FROM ledger_posting AS posting
            WHERE posting.account_id = snapshot.account_id AND posting.entry_id <= snapshot.through_entry_id)
    """,
}


def violations() -> list[Violation]:
    """Return every invariant that does not hold, with the first rows that break it; reads one consistent state of each check."""
    broken = []
    with connection.cursor() as cursor:
        for invariant, query in CHECKS.items():
            cursor.execute(query.replace("%%", "%"))
            rows = cursor.fetchmany(10)
            if rows:
                broken.append(Violation(invariant, tuple(rows)))
    return broken


def differences_from(journal: Iterable[Mapping[str, Any]], *, psp: str) -> list[Violation]:
    """Compare our books with a PSP's own journal (INV-06, INV-10): every charge and refund once there and once here, to the minor unit.

    `journal` is the PSP's rows with `type`, `reference`, `amount` in minor units and `currency`.
    """
    theirs = [
        (row["type"], row["reference"], row["amount"], row["currency"])
        for row in journal
        if row["type"] in ("charge.succeeded", "refund.succeeded")
    ]
    paid = PaymentOrder.objects.filter(psp=psp, status=OrderStatus.SUCCESS)
    given_back = Refund.objects.filter(order__psp=psp, status=RefundStatus.SUCCESS)
    ours = [("charge.succeeded", order.public_id, to_minor(order.amount), order.amount.currency.code) for order in paid] + [
        ("refund.succeeded", refund.public_id, to_minor(refund.amount), refund.amount.currency.code) for refund in given_back
    ]
    only_theirs, only_ours = Counter(theirs) - Counter(ours), Counter(ours) - Counter(theirs)
    broken = []
    if only_theirs:
        broken.append(Violation("INV-10 the PSP's journal has what our books do not", tuple(only_theirs)[:10]))
    if only_ours:
        broken.append(Violation("INV-10 our books have what the PSP's journal does not", tuple(only_ours)[:10]))
    return broken

"""What must hold across the whole house, whoever wrote the rows: each check is one query, or one function, for the rows that break it.

Run at the end of every test of money, by beat all day (reconciliation/watch.py), by `manage.py check_invariants`, and by whoever doubts.
The identifiers (INV-..) are those of docs/reliability.md.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import Sum
from djmoney.money import Money

from ledger import chart, seals
from ledger.models import JournalEntry, Posting
from ledger.money import to_minor
from payments.models import LateCharge, PaymentOrder, Refund
from payments.states import OrderStatus, RefundStatus
from payouts.models import Payout
from payouts.states import PayoutStatus


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


# The entries that say who bears what of a dispute: the one that closed it, and one for each refund of its charge that came back later.
DECIDED = """
    SELECT id AS dispute_id, closing_entry_id AS entry_id FROM payments_dispute WHERE closing_entry_id IS NOT NULL
    UNION ALL
    SELECT dispute.id, entry.id FROM payments_dispute AS dispute
    JOIN payments_refund AS refund ON (refund.order_id, refund.charge) = (dispute.order_id, dispute.charge) AND reversal_entry_id IS NOT NULL
    JOIN ledger_journalentry AS entry ON entry.reference = dispute.public_id || ':' || refund.public_id
"""

# Every entry that a payout says it has, also by files that paid it again, with the accounts and the movement that it must have.
PAYOUT_ENTRIES = """
    SELECT public_id, seller_id, amount, currency, leg.* FROM payouts_payout AS payout, LATERAL (VALUES
        ('payout', public_id, journal_entry_id, wallet_entry_id, -amount, 'seller_available:' || seller_id, 'payouts_in_transit'),
        ('payout_paid', public_id || ':paid', paid_entry_id, NULL, 0, 'payouts_in_transit', 'operating_bank'),
        ('payout_return', public_id || ':return', return_entry_id, return_wallet_entry_id, amount,
         CASE WHEN paid_entry_id IS NULL THEN 'payouts_in_transit' ELSE 'operating_bank' END, 'seller_available:' || seller_id),
        ('payout', public_id || ':late', late_entry_id, late_wallet_entry_id, -amount, 'seller_available:' || seller_id, 'operating_bank'),
        ('payout_return', public_id || ':late_return', late_return_entry_id, late_return_wallet_entry_id, amount,
         'operating_bank', 'seller_available:' || seller_id)
    ) AS leg (kind, reference, entry_id, movement_id, moved, debit, credit)
    WHERE leg.entry_id IS NOT NULL
    UNION ALL
    SELECT payout.public_id, seller_id, amount, payout.currency, leg.* FROM payouts_paymentfileline AS line
    JOIN payouts_paymentfile AS file ON file.id = line.file_id JOIN payouts_payout AS payout ON payout.id = line.payout_id, LATERAL (
        SELECT CASE WHEN again_wallet_entry_id IS NULL THEN 'payout_paid' ELSE 'payout' END AS kind,
               CASE WHEN again_wallet_entry_id IS NULL THEN 'paid_twice' ELSE 'seller_available:' || seller_id END AS owner,
               CASE WHEN again_wallet_entry_id IS NULL THEN 0 ELSE amount END AS moved
    ) AS again, LATERAL (VALUES
        (again.kind, payout.public_id || ':' || file.public_id, again_entry_id, again_wallet_entry_id, -again.moved, owner, 'operating_bank'),
        ('payout_return', payout.public_id || ':' || file.public_id || ':return', again_return_entry_id, again_return_wallet_entry_id,
         again.moved, 'operating_bank', owner)
    ) AS leg (kind, reference, entry_id, movement_id, moved, debit, credit)
    WHERE leg.entry_id IS NOT NULL
"""

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
    "INV-03 what is kept of a month's sales is the sum of its movements": f"""
        SELECT wallet_id, month, kept.net, moved.net FROM wallet_monthlyfigures AS kept
        FULL JOIN (
            SELECT wallet_id, date_trunc('month', created_at AT TIME ZONE '{settings.TIME_ZONE}')::date AS month, sum(net) AS net
            FROM wallet_walletentry
            WHERE id < (SELECT next_id FROM wallet_monthlyposition) AND kind NOT IN ('payout', 'payout_return', 'write_off', 'conversion') GROUP BY 1, 2
        ) AS moved USING (wallet_id, month)
        WHERE coalesce(kept.net, 0) <> coalesce(moved.net, 0)
    """,  # noqa: S608 (a setting)
    "INV-04 no wallet is further below zero than refunds, disputes and payouts that arrived after all took it": """
        SELECT wallet.seller_id, wallet.currency, wallet.available, taken.amount
        FROM wallet_wallet AS wallet, LATERAL (
            SELECT coalesce(sum(available), 0) AS amount FROM wallet_walletentry AS entry
            WHERE entry.wallet_id = wallet.id AND available < 0 AND (
                kind IN ('refund', 'dispute', 'dispute_closed')
                OR kind = 'payout' AND (EXISTS (SELECT FROM payouts_payout WHERE late_wallet_entry_id = entry.id)
                                        OR EXISTS (SELECT FROM payouts_paymentfileline WHERE again_wallet_entry_id = entry.id)))
        ) AS taken WHERE wallet.available < 0 AND wallet.available < taken.amount
    """,
    "INV-05 what is pending of a seller is what is not released of the seller's orders": """
        SELECT seller_id, currency, wallet.pending, kept.amount
        FROM (SELECT seller_id, currency, pending FROM wallet_wallet WHERE pending <> 0) AS wallet
        FULL JOIN (
            SELECT seller_id, currency, sum(unreleased) AS amount FROM payments_paymentorder WHERE unreleased <> 0 GROUP BY 1, 2
        ) AS kept USING (seller_id, currency)
        WHERE wallet.pending IS DISTINCT FROM kept.amount
    """,
    "INV-05 what is reserved of a seller is what open disputes hold, and the reserves whose time has not come": """
        SELECT seller_id, currency, wallet.reserved, held.amount
        FROM (SELECT seller_id, currency, reserved FROM wallet_wallet WHERE reserved <> 0) AS wallet
        FULL JOIN (
            SELECT seller_id, currency, sum(amount) AS amount FROM (
                SELECT seller_id, dispute.currency, held AS amount
                FROM payments_dispute AS dispute JOIN payments_paymentorder AS payment ON payment.id = dispute.order_id
                WHERE dispute.status = 'open' AND held <> 0
                UNION ALL SELECT seller_id, currency, amount FROM payments_reserve WHERE released_at IS NULL
            ) AS part GROUP BY 1, 2
        ) AS held USING (seller_id, currency)
        WHERE wallet.reserved IS DISTINCT FROM held.amount
    """,
    "INV-07 no more of an order is pending than it brings its seller": """
        SELECT payment.public_id, payment.unreleased, payment.net, taken.amount
        FROM payments_paymentorder AS payment LEFT JOIN (
            SELECT order_id, sum(amount) AS amount FROM (
                SELECT order_id, net AS amount FROM payments_refund WHERE status = 'SUCCESS' AND late_charge_id IS NULL
                UNION ALL SELECT order_id, CASE WHEN status = 'open' THEN held ELSE least(lost, held) - fee_returned END FROM payments_dispute
            ) AS part GROUP BY order_id
        ) AS taken ON taken.order_id = payment.id
        WHERE payment.unreleased <> 0 AND payment.unreleased > greatest(0, payment.net - coalesce(taken.amount, 0))
    """,
    "INV-08 every release and every freed reserve has its entry over its own amounts, and every such entry its order": """
        SELECT coalesce(payment.public_id, entry.reference), payment.released_at, entry.id, reserve.amount
        FROM (SELECT entry.id, entry.reference, split_part(entry.reference, ':', 1) AS public_id,
                     coalesce(sum(-posting.amount) FILTER (WHERE account.code LIKE 'seller_reserved:%%'), 0) AS reserved
              FROM ledger_journalentry AS entry JOIN ledger_posting AS posting ON posting.entry_id = entry.id
              JOIN ledger_account AS account ON account.id = posting.account_id
              WHERE entry.kind = 'release' GROUP BY entry.id) AS entry
        LEFT JOIN payments_paymentorder AS payment ON payment.public_id = entry.public_id AND payment.released_at IS NOT NULL
        FULL JOIN payments_reserve AS reserve ON reserve.order_id = payment.id AND reserve.journal_entry_id = entry.id
        WHERE entry.id IS NULL OR payment.id IS NULL OR entry.reserved <> coalesce(reserve.amount, 0)
        UNION ALL
        SELECT entry.reference, reserve.released_at, entry.id, reserve.amount
        FROM (SELECT * FROM payments_reserve WHERE released_at IS NOT NULL) AS reserve
        FULL JOIN (SELECT * FROM ledger_journalentry WHERE kind = 'reserve_release') AS entry ON entry.id = reserve.release_entry_id
        WHERE reserve.id IS NULL OR entry.id IS NULL
           OR (SELECT sum(amount) FROM ledger_posting AS posting WHERE posting.entry_id = entry.id AND amount > 0) <> reserve.amount
    """,
    "INV-08 every SUCCESS has its entry and its movement over its own amounts, and every sale its SUCCESS": """
        SELECT coalesce(sold.public_id, entry.reference), sold.status, entry.id
        FROM (SELECT * FROM payments_paymentorder WHERE status = 'SUCCESS' AND fills_id IS NULL) AS sold
        FULL JOIN (SELECT * FROM ledger_journalentry WHERE kind = 'sale') AS entry
               ON entry.id = sold.journal_entry_id AND entry.reference = sold.public_id
        LEFT JOIN wallet_walletentry AS movement ON movement.id = sold.wallet_entry_id AND movement.journal_entry_id = entry.id
              AND (movement.gross, movement.fee, movement.net, movement.source) = (sold.amount, sold.fee, sold.net, sold.public_id)
        WHERE sold.id IS NULL OR entry.id IS NULL OR movement.id IS NULL
           OR (SELECT sum(amount) FROM ledger_posting AS posting WHERE posting.entry_id = entry.id AND amount > 0) <> sold.amount
    """,
    "INV-08 every payment that fills a gift card or a wallet has its entry and its movement there, and every such entry its payment": """
        SELECT coalesce(bought.public_id, entry.reference), bought.status, entry.id
        FROM (SELECT * FROM payments_paymentorder WHERE status = 'SUCCESS' AND fills_id IS NOT NULL) AS bought
        FULL JOIN (SELECT * FROM ledger_journalentry WHERE kind = 'stored_value') AS entry
               ON entry.id = bought.journal_entry_id AND entry.reference = bought.public_id
        FULL JOIN (SELECT * FROM wallet_storedvalueentry WHERE kind = 'bought') AS movement
               ON (movement.value_id, movement.journal_entry_id, movement.amount, movement.source)
                = (bought.fills_id, entry.id, bought.amount, bought.public_id)
        WHERE bought.id IS NULL OR entry.id IS NULL OR movement.id IS NULL
    """,
    "INV-07 refunds are within what was taken, each with its entry": """
        SELECT payment.public_id, payment.refunded, sum(refund.amount - borne) FILTER (WHERE refund.status <> 'FAILED')
        FROM payments_paymentorder AS payment
        LEFT JOIN payments_refund AS refund ON refund.order_id = payment.id AND refund.late_charge_id IS NULL
        GROUP BY payment.id HAVING payment.refunded <> coalesce(sum(refund.amount - borne) FILTER (WHERE refund.status <> 'FAILED'), 0)
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
    "INV-07 a refund that came back gave its seller what it took, no pending money of an order that was released": """
        SELECT refund.public_id, taken.net, restored.net FROM payments_refund AS refund
        JOIN wallet_walletentry AS taken ON taken.id = refund.wallet_entry_id
        LEFT JOIN wallet_walletentry AS restored ON restored.id = refund.reversal_wallet_entry_id
        WHERE refund.reversal_entry_id IS NOT NULL
          AND (restored.id IS NULL OR (restored.gross, restored.fee, restored.reserved) <> (-taken.gross, -taken.fee, -taken.reserved)
               OR restored.pending <> 0 AND restored.created_at > (SELECT released_at FROM payments_paymentorder WHERE id = refund.order_id))
    """,
    "INV-07 every refund and dispute moved its own seller's wallet, by what it says": """
        SELECT moved.reference, moved.entry_id, moved.fee, moved.net, movement.id, movement.source, movement.fee, movement.net
        FROM (SELECT public_id AS reference, journal_entry_id AS entry_id, wallet_entry_id AS movement_id, -fee AS fee, -net AS net
              FROM payments_refund WHERE late_charge_id IS NULL AND takes_from_id IS NULL AND journal_entry_id IS NOT NULL
              UNION ALL SELECT public_id, journal_entry_id, wallet_entry_id, NULL, NULL FROM payments_dispute WHERE wallet_entry_id IS NOT NULL
              UNION ALL SELECT public_id, closing_entry_id, closing_wallet_entry_id, NULL, NULL
              FROM payments_dispute WHERE closing_wallet_entry_id IS NOT NULL
             ) AS moved
        LEFT JOIN wallet_walletentry AS movement ON movement.id = moved.movement_id
        WHERE (movement.source, movement.journal_entry_id, movement.fee, movement.net)
            IS DISTINCT FROM (moved.reference, moved.entry_id, coalesce(moved.fee, movement.fee), coalesce(moved.net, movement.net))
    """,
    "INV-08 every late charge has its entry and its refund, and what is not given back is owed to buyers": """
        SELECT coalesce(late.public_id, entry.reference), late.amount, refund.amount
        FROM payments_latecharge AS late
        FULL JOIN (SELECT * FROM ledger_journalentry WHERE kind = 'late_charge') AS entry
               ON entry.id = late.journal_entry_id AND entry.reference = late.public_id
        LEFT JOIN payments_refund AS refund ON refund.late_charge_id = late.id
              AND (refund.net + refund.borne, refund.fee, refund.currency) = (refund.amount, 0, late.currency) AND refund.amount = late.amount
        WHERE late.id IS NULL OR entry.id IS NULL OR refund.id IS NULL
        UNION ALL
        SELECT late.public_id, late.amount, sum(refund.amount) FILTER (WHERE refund.status <> 'FAILED')
        FROM payments_latecharge AS late JOIN payments_refund AS refund ON refund.late_charge_id = late.id
        GROUP BY late.id HAVING sum(refund.amount - borne) FILTER (WHERE refund.status <> 'FAILED') > late.amount - late.taken_back
        UNION ALL
        SELECT coalesce(booked.currency, owed.currency), booked.amount, owed.amount
        FROM (SELECT posting.currency, -sum(amount) AS amount
              FROM ledger_posting AS posting JOIN ledger_account AS account ON account.id = posting.account_id
              JOIN ledger_journalentry AS entry ON entry.id = posting.entry_id
              WHERE code = 'owed_to_buyers' AND kind IN ('late_charge', 'refund', 'refund_reversal', 'dispute_closed') GROUP BY 1) AS booked
        FULL JOIN (SELECT currency, sum(amount - taken_back) AS amount FROM payments_latecharge AS late
                   WHERE NOT EXISTS (SELECT FROM payments_refund WHERE late_charge_id = late.id AND status = 'SUCCESS')
                   GROUP BY 1) AS owed ON owed.currency = booked.currency
        WHERE coalesce(booked.amount, 0) <> coalesce(owed.amount, 0)
    """,
    "INV-08 what buyers' banks took back of late charges is what their disputes lost of what was owed": f"""
        SELECT late.public_id, late.taken_back, taken.amount FROM payments_latecharge AS late
        LEFT JOIN LATERAL (
            SELECT sum(posting.amount) AS amount FROM payments_dispute AS dispute
            JOIN ({DECIDED}) AS decided ON decided.dispute_id = dispute.id
            JOIN ledger_posting AS posting ON posting.entry_id = decided.entry_id
            JOIN ledger_account AS account ON account.id = posting.account_id
            WHERE (dispute.psp, dispute.charge) = (late.psp, late.psp_reference) AND code = 'owed_to_buyers'
        ) AS taken ON true
        WHERE late.taken_back <> coalesce(taken.amount, 0)
    """,  # noqa: S608 (constants of this module)
    "INV-07 a dispute is over a charge of its order, and holds nothing of one that came too late": """
        SELECT dispute.public_id, dispute.charge, payment.public_id, dispute.held FROM payments_dispute AS dispute
        JOIN payments_paymentorder AS payment ON payment.id = dispute.order_id
        LEFT JOIN payments_latecharge AS late ON (late.psp, late.psp_reference, late.order_id) = (dispute.psp, dispute.charge, payment.id)
        WHERE late.id IS NOT NULL AND dispute.held <> 0
           OR late.id IS NULL AND NOT EXISTS (
               SELECT FROM payments_pspattempt AS attempt WHERE attempt.order_id = payment.id AND operation = 'charge'
                  AND attempt.status = 'SUCCEEDED' AND (attempt.psp, attempt.psp_reference) = (dispute.psp, dispute.charge))
    """,
    "INV-07 disputes hold and lose what their orders say, each with its entries": f"""
        SELECT payment.public_id, payment.disputed,
               sum(CASE WHEN dispute.status = 'open' THEN dispute.held ELSE least(dispute.lost, dispute.held) END)
        FROM payments_paymentorder AS payment LEFT JOIN payments_dispute AS dispute ON dispute.order_id = payment.id
        GROUP BY payment.id HAVING payment.disputed
            <> coalesce(sum(CASE WHEN dispute.status = 'open' THEN dispute.held ELSE least(dispute.lost, dispute.held) END), 0)
        UNION ALL
        SELECT coalesce(booked.reference, entry.reference), NULL, NULL
        FROM (SELECT public_id AS reference, journal_entry_id AS entry_id FROM payments_dispute
              UNION ALL SELECT public_id || ':closed', closing_entry_id FROM payments_dispute WHERE status <> 'open'
              UNION ALL SELECT reference, id FROM ledger_journalentry JOIN ({DECIDED}) AS decided ON entry_id = id
              WHERE reference NOT LIKE '%:closed') AS booked
        FULL JOIN (SELECT * FROM ledger_journalentry WHERE kind IN ('dispute', 'dispute_closed')) AS entry
               ON entry.id = booked.entry_id AND entry.reference = booked.reference
        WHERE booked.entry_id IS NULL OR entry.id IS NULL
    """,  # noqa: S608 (constants of this module)
    "INV-07 a dispute's entries take, cost, lose and give back what it says": f"""
        SELECT dispute.public_id, said.is_decision, said.codes, said.amount, booked.amount
        FROM payments_dispute AS dispute JOIN payments_paymentorder AS payment ON payment.id = dispute.order_id
        LEFT JOIN wallet_storedvalue AS filled ON filled.id = payment.fills_id, LATERAL (VALUES
            (false, ARRAY['disputed:' || dispute.psp], dispute.amount), (false, ARRAY['dispute_costs'], dispute.fee),
            (false, ARRAY['psp_receivable:' || dispute.psp], -dispute.amount - dispute.fee), (true, ARRAY['disputed:' || dispute.psp], -dispute.amount),
            (true, ARRAY['psp_receivable:' || dispute.psp], dispute.amount - lost), (true, ARRAY['fee_revenue'], fee_returned),
            (true, ARRAY['dispute_losses', 'owed_to_buyers', 'gift_cards', 'buyer_wallet:' || filled.buyer_id], lost - least(lost, dispute.held))
        ) AS said (is_decision, codes, amount), LATERAL (
            SELECT coalesce(sum(posting.amount), 0) AS amount
            FROM (SELECT id AS dispute_id, journal_entry_id AS entry_id, false AS is_decision FROM payments_dispute
                  UNION ALL SELECT dispute_id, entry_id, true FROM ({DECIDED}) AS decided) AS its
            JOIN ledger_posting AS posting ON posting.entry_id = its.entry_id
            JOIN ledger_account AS account ON account.id = posting.account_id
            WHERE (its.dispute_id, its.is_decision) = (dispute.id, said.is_decision)
              AND account.code = ANY (said.codes) AND posting.currency = dispute.currency
        ) AS booked
        WHERE (dispute.status <> 'open' OR NOT said.is_decision) AND booked.amount <> said.amount
    """,  # noqa: S608 (constants of this module)
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
    "INV-09 what was paid, refunded and disputed is booked as owed by the very PSP of its order": """
        SELECT booked.reference, booked.psp, booked.amount, booked.currency
        FROM (
            SELECT public_id AS reference, journal_entry_id AS entry_id, psp, amount - tendered AS amount, currency
            FROM payments_paymentorder WHERE status = 'SUCCESS'
            UNION ALL SELECT public_id, journal_entry_id, psp, amount, currency FROM payments_latecharge
            UNION ALL SELECT refund.public_id, refund.journal_entry_id, psp, refund.tendered - refund.amount, refund.currency
            FROM payments_refund AS refund JOIN payments_paymentorder AS payment ON payment.id = refund.order_id
            WHERE refund.journal_entry_id IS NOT NULL
            UNION ALL SELECT refund.public_id, refund.reversal_entry_id, psp, refund.amount - refund.tendered, refund.currency
            FROM payments_refund AS refund JOIN payments_paymentorder AS payment ON payment.id = refund.order_id
            WHERE refund.reversal_entry_id IS NOT NULL
            UNION ALL SELECT dispute.public_id, dispute.journal_entry_id, payment.psp, -dispute.amount - dispute.fee, dispute.currency
            FROM payments_dispute AS dispute JOIN payments_paymentorder AS payment ON payment.id = dispute.order_id
        ) AS booked
        WHERE booked.amount IS DISTINCT FROM (
            SELECT coalesce(sum(posting.amount), 0)
            FROM ledger_posting AS posting JOIN ledger_account AS account ON account.id = posting.account_id
            WHERE posting.entry_id = booked.entry_id AND account.code = 'psp_receivable:' || booked.psp AND posting.currency = booked.currency
        )
    """,
    "INV-11 what a PSP told us waits, is applied, or is parked with its reason": """
        SELECT psp, event_id, status, reason, next_attempt_at, finished_at FROM payments_pspevent
        WHERE status = 'parked' AND (reason = '' OR finished_at IS NULL)
           OR status = 'applied' AND (next_attempt_at IS NOT NULL OR finished_at IS NULL)
           OR status NOT IN ('received', 'applied', 'parked')
    """,
    "INV-11 what a PSP told us is kept once": """
        SELECT psp, event_id, count(*) FROM payments_pspevent GROUP BY psp, event_id HAVING count(*) > 1
    """,
    "INV-12 what executes is in the queue, and nothing else is": """
        SELECT payment.public_id, payment.status, due.psp_key
        FROM (SELECT * FROM payments_paymentorder WHERE status = 'EXECUTING') AS payment
        FULL JOIN payments_dueorder AS due ON due.order_id = payment.id WHERE payment.id IS NULL OR due.order_id IS NULL
    """,
    "INV-12 what executes and is not tried again waits for a person": """
        SELECT waiting.order_id, waiting.refund_id
        FROM (SELECT order_id, NULL::bigint AS refund_id FROM payments_dueorder WHERE next_attempt_at IS NULL
              UNION ALL SELECT order_id, id FROM payments_refund WHERE status = 'EXECUTING' AND next_attempt_at IS NULL) AS waiting
        WHERE NOT EXISTS (
            SELECT FROM payments_deadletter AS letter WHERE letter.decided_at IS NULL
              AND letter.order_id = waiting.order_id AND letter.refund_id IS NOT DISTINCT FROM waiting.refund_id
        )
    """,
    "INV-12 a payout that is not tried again waits for a person who is told why, and one that is not on its way is not tried": """
        SELECT public_id, status, next_attempt_at, failure_message FROM payouts_payout
        WHERE status = 'EXECUTING' AND next_attempt_at IS NULL AND failure_message = ''
           OR status NOT IN ('EXECUTING', 'FAILED') AND next_attempt_at IS NOT NULL
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
    "INV-12 what is paid and not released waits for its release, and nothing else does": """
        SELECT payment.public_id, payment.status, due.order_id, due.due_at
        FROM (SELECT * FROM payments_paymentorder WHERE status = 'SUCCESS' AND released_at IS NULL AND fills_id IS NULL) AS payment
        FULL JOIN payments_duerelease AS due ON due.order_id = payment.id WHERE payment.id IS NULL OR due.order_id IS NULL
    """,
    "INV-14 a request that was finished under its key has its answer": """
        SELECT shop_id, route, key, status FROM wallet_idempotencyrecord WHERE (status IS NULL) <> (body IS NULL)
    """,
    "INV-14 one wish made one refund of its order": """
        SELECT order_id, once AS wish, count(*) FROM payments_refund WHERE once <> '' GROUP BY 1, 2 HAVING count(*) > 1
        UNION ALL
        SELECT order_id, reference, count(*) FROM payments_refund WHERE reference <> '' GROUP BY 1, 2 HAVING count(*) > 1
    """,
    "INV-15 what is on its way to sellers' banks is what their payouts are over": """
        SELECT coalesce(booked.currency, live.currency), booked.amount, live.amount
        FROM (SELECT account.currency, -sum(amount) AS amount
              FROM ledger_posting AS posting JOIN ledger_account AS account ON account.id = posting.account_id
              WHERE code = 'payouts_in_transit' GROUP BY 1) AS booked
        FULL JOIN (SELECT currency, sum(amount) AS amount FROM payouts_payout WHERE status IN ('WAITING', 'EXECUTING') GROUP BY 1) AS live
               ON live.currency = booked.currency
        WHERE coalesce(booked.amount, 0) <> coalesce(live.amount, 0)
    """,
    "INV-15 every payout has its entries over its own amount, and every such entry its payout": f"""
        SELECT coalesce(said.reference, entry.reference), said.amount, entry.amount
        FROM ({PAYOUT_ENTRIES}) AS said
        FULL JOIN (
            SELECT entry.id, entry.kind, reference, posting.currency, max(amount) AS amount,
                   (array_agg(account.code ORDER BY amount DESC))[1] AS debit, (array_agg(account.code ORDER BY amount))[1] AS credit
            FROM ledger_journalentry AS entry JOIN ledger_posting AS posting ON posting.entry_id = entry.id
            JOIN ledger_account AS account ON account.id = posting.account_id
            WHERE entry.kind IN ('payout', 'payout_paid', 'payout_return') GROUP BY entry.id, posting.currency
        ) AS entry ON entry.id = said.entry_id
        WHERE (said.kind, said.reference, said.amount, said.currency, said.debit, said.credit)
            IS DISTINCT FROM (entry.kind, entry.reference, entry.amount, entry.currency, entry.debit, entry.credit)
    """,  # noqa: S608 (constants of this module)
    "INV-15 a payout takes its amount off its seller once, and one that came to nothing gives exactly that back": f"""
        SELECT coalesce(said.reference, movement.source), said.moved, movement.id, movement.available
        FROM (SELECT * FROM ({PAYOUT_ENTRIES}) AS each WHERE moved <> 0) AS said
        FULL JOIN (
            SELECT entry.*, wallet.seller_id FROM wallet_walletentry AS entry JOIN wallet_wallet AS wallet ON wallet.id = entry.wallet_id
            WHERE kind IN ('payout', 'payout_return')
        ) AS movement ON movement.id = said.movement_id
        WHERE (said.public_id, said.entry_id, said.seller_id, said.currency, said.moved, said.moved, 0, 0, 0)
            IS DISTINCT FROM (movement.source, movement.journal_entry_id, movement.seller_id, movement.currency,
                              movement.gross, movement.available, movement.fee, movement.pending, movement.reserved)
    """,  # noqa: S608 (constants of this module)
    "INV-15 what a payout is, its entries say": """
        SELECT public_id, status
        FROM payouts_payout AS payout LEFT JOIN (
            SELECT payout_id, count(*) AS times FROM payouts_paymentfileline
            WHERE again_wallet_entry_id IS NOT NULL AND again_return_entry_id IS NULL GROUP BY payout_id
        ) AS again ON again.payout_id = payout.id
        WHERE CASE status
            WHEN 'SUCCESS' THEN paid_entry_id IS NULL AND late_entry_id IS NULL
                OR coalesce(again.times, 0) <> (num_nonnulls(paid_entry_id, return_entry_id) = 2 OR late_return_entry_id IS NOT NULL)::int
            WHEN 'RETURNED' THEN return_entry_id IS NULL OR (late_entry_id IS NULL) <> (late_return_entry_id IS NULL) OR again.times > 0
            WHEN 'FAILED' THEN return_entry_id IS NULL OR late_entry_id IS NOT NULL
            WHEN 'CANCELLED' THEN return_entry_id IS NULL
            ELSE coalesce(paid_entry_id, return_entry_id, late_entry_id) IS NOT NULL END
    """,
    "INV-16 every dispute, cancellation, payout and conversion has told the world as often as it counts": """
        SELECT told.public_id, told.told, count(message.id)
        FROM (SELECT public_id, told FROM payments_dispute UNION ALL SELECT public_id, told FROM payments_cancellation
              UNION ALL SELECT public_id, told FROM payouts_payout UNION ALL SELECT public_id, 1 FROM wallet_conversion) AS told
        LEFT JOIN wallet_outboxmessage AS message ON message.about = told.public_id
        GROUP BY told.public_id, told.told HAVING count(message.id) <> told.told
    """,
    "INV-16 every sale, refund and late charge has told the world once": """
        SELECT entry.reference, count(message.id) FROM ledger_journalentry AS entry
        LEFT JOIN wallet_outboxmessage AS message ON message.about = entry.reference
              AND message.topic IN ('payment_order.succeeded', 'refund.succeeded', 'late_charge.received')
        WHERE entry.kind IN ('sale', 'stored_value', 'refund', 'late_charge') GROUP BY entry.reference HAVING count(message.id) <> 1
    """,
    "INV-16 every delivery and every release has told the world once": """
        SELECT coalesce(step.public_id, message.about), step.topic, message.topic, message.times
        FROM (SELECT public_id, 'payment_order.delivered' AS topic FROM payments_paymentorder WHERE delivered_at IS NOT NULL
              UNION ALL SELECT public_id, 'payment_order.released' FROM payments_paymentorder WHERE released_at IS NOT NULL) AS step
        FULL JOIN (
            SELECT about, topic, count(*) AS times FROM wallet_outboxmessage
            WHERE topic IN ('payment_order.delivered', 'payment_order.released') GROUP BY 1, 2
        ) AS message ON message.about = step.public_id AND message.topic = step.topic
        WHERE step.public_id IS NULL OR message.times IS DISTINCT FROM 1
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
    "INV-16 the relay stands where messages are, and passes none unseen": """
        SELECT name, message_id FROM wallet_relayposition
        WHERE message_id < 0 OR message_id > (SELECT coalesce(max(id), 0) FROM wallet_outboxmessage)
    """,
    "INV-18 an order, its payment, its seller and its buyer are of one shop": """
        SELECT payment.public_id, payment.shop_id, event.shop_id, seller.shop_id, buyer.shop_id
        FROM payments_paymentorder AS payment JOIN payments_paymentevent AS event ON event.id = payment.event_id
        JOIN wallet_seller AS seller ON seller.id = payment.seller_id JOIN wallet_buyer AS buyer ON buyer.id = event.buyer_id
        WHERE payment.shop_id <> ALL (ARRAY[event.shop_id, seller.shop_id]) OR event.shop_id <> seller.shop_id OR event.shop_id <> buyer.shop_id
    """,
    "INV-15 a payment file pays as many, and as much, as stand in it": """
        SELECT file.public_id, file.count, paid.count, file.total, paid.total
        FROM payouts_paymentfile AS file, LATERAL (
            SELECT count(*) AS count, coalesce(sum(payout.amount), 0) AS total
            FROM payouts_paymentfileline AS line JOIN payouts_payout AS payout ON payout.id = line.payout_id
            WHERE line.file_id = file.id AND (dropped_at IS NULL OR bank_status = 'RJCT' OR freed_by <> '')
              AND (payout.currency, payout.provider) = (file.currency, file.provider)
        ) AS paid
        WHERE sha256 <> '' AND (status <> 'REJECTED' OR downloaded_at IS NOT NULL) AND (file.count, file.total) <> (paid.count, paid.total)
    """,
    "INV-18 a payout goes to its own seller's bank account, in its currency, and is of the seller's shop": """
        SELECT payout.public_id FROM payouts_payout AS payout JOIN payouts_bankaccount AS account ON account.id = payout.bank_account_id
        JOIN wallet_seller AS seller ON seller.id = payout.seller_id LEFT JOIN payouts_payoutrun AS run ON run.id = payout.run_id
        WHERE account.seller_id <> seller.id OR account.currency <> payout.currency OR payout.shop_id <> seller.shop_id
           OR run.shop_id <> payout.shop_id OR run.currency <> payout.currency
    """,
    "INV-18 no entry mixes the sellers of two shops": """
        SELECT entry_id, min(shop_id), max(shop_id) FROM ledger_posting AS posting
        JOIN ledger_account AS account ON account.id = posting.account_id
        JOIN wallet_seller AS seller ON account.code LIKE 'seller\\_%%' AND seller.id::text = split_part(account.code, ':', 2)
        GROUP BY entry_id HAVING min(shop_id) <> max(shop_id)
    """,
    "INV-19 the invoices of a month come to the fees of its movements, kind by kind, and to nothing else": f"""
        SELECT billed.*, moved.gross FROM (
            SELECT seller_id, line.currency, period, line.kind, sum(line.gross) AS gross
            FROM wallet_feeinvoice AS invoice JOIN wallet_feeinvoiceline AS line ON line.invoice_id = invoice.id GROUP BY 1, 2, 3, 4
        ) AS billed FULL JOIN (
            SELECT seller_id, entry.currency, period, entry.kind, sum(entry.fee) AS gross
            FROM (SELECT DISTINCT seller_id, currency, period FROM wallet_feeinvoice) AS invoiced
            JOIN wallet_wallet AS wallet USING (seller_id, currency) JOIN wallet_walletentry AS entry ON entry.wallet_id = wallet.id
                 AND to_char(entry.created_at AT TIME ZONE '{settings.TIME_ZONE}', 'YYYY-MM') = period
            WHERE fee <> 0 GROUP BY 1, 2, 3, 4
        ) AS moved USING (seller_id, currency, period, kind)
        WHERE billed.gross IS DISTINCT FROM moved.gross
    """,  # noqa: S608 (a setting)
    "INV-19 every invoice comes to its lines, and has booked the tax in it once": """
        SELECT invoice.public_id, invoice.net, invoice.tax, entry.reference
        FROM wallet_feeinvoice AS invoice
        FULL JOIN (SELECT * FROM ledger_journalentry WHERE kind = 'fee_invoice') AS entry ON entry.reference = invoice.public_id
        LEFT JOIN ledger_posting AS posting ON posting.entry_id = entry.id AND posting.currency = invoice.currency AND EXISTS (
            SELECT FROM ledger_account WHERE id = account_id AND code = 'tax_payable')
        WHERE invoice.id IS NULL OR coalesce(-posting.amount, 0) <> invoice.tax OR NOT EXISTS (
            SELECT FROM wallet_feeinvoiceline WHERE invoice_id = invoice.id HAVING sum(net) = invoice.net AND sum(tax) = invoice.tax)
    """,
    "INV-19 the numbers of a shop's invoices and credit notes have no gap": """
        SELECT shop_id, series, year, last, count(invoice.id) FROM wallet_invoiceseries AS counter
        FULL JOIN wallet_feeinvoice AS invoice USING (shop_id, series, year)
        GROUP BY 1, 2, 3, 4 HAVING last IS NULL OR count(invoice.id) <> last OR coalesce(max(sequence), 0) <> last OR coalesce(min(sequence), 1) <> 1
    """,
    "INV-20 nothing that executes has been due for an hour": """
        SELECT order_id, NULL::bigint AS refund_id, next_attempt_at FROM payments_dueorder
        WHERE next_attempt_at < now() - interval '1 hour' AND (claimed_until IS NULL OR claimed_until < now() - interval '1 hour')
        UNION ALL
        SELECT order_id, id, next_attempt_at FROM payments_refund WHERE status = 'EXECUTING' AND next_attempt_at < now() - interval '1 hour'
    """,
    "INV-20 no payout has been due for an hour": """
        SELECT public_id, status, next_attempt_at FROM payouts_payout WHERE next_attempt_at < now() - interval '1 hour'
    """,
    "INV-20 no cancellation has been left alone for an hour, without a charge, a refund or a dispute that it waits for": """
        SELECT cancellation.public_id, cancellation.created_at, payment.status
        FROM payments_cancellation AS cancellation JOIN payments_paymentorder AS payment ON payment.id = cancellation.order_id
        WHERE cancellation.status = 'EXECUTING' AND cancellation.created_at < now() - interval '1 hour' AND payment.status <> 'EXECUTING'
          AND NOT EXISTS (SELECT FROM payments_refund WHERE order_id = payment.id AND status = 'EXECUTING')
          AND NOT EXISTS (SELECT FROM payments_dispute WHERE order_id = payment.id AND status = 'open')
          AND NOT EXISTS (
              SELECT FROM payments_transition AS transition WHERE transition.at >= now() - interval '1 hour' AND (
                  transition.kind = 'order' AND transition.object_id = payment.id
                  OR transition.kind = 'refund' AND transition.object_id IN (SELECT id FROM payments_refund WHERE order_id = payment.id)
                  OR transition.kind = 'dispute' AND transition.object_id IN (SELECT id FROM payments_dispute WHERE order_id = payment.id)))
    """,
    "INV-19 closed months are what was kept of them as they were closed": """
        WITH closed AS (
            SELECT month, until, coalesce(lag(until) OVER (ORDER BY month), '-infinity') AS since
            FROM (SELECT month, (month + interval '1 month') AT TIME ZONE 'UTC' AS until FROM ledger_closedmonth) AS each
        ), booked AS (
            SELECT month AS month_id, split_part(account.code, ':', 1) AS kind, account.currency,
                   coalesce(sum(posting.amount) FILTER (WHERE posting.amount > 0), 0) AS debits,
                   coalesce(-sum(posting.amount) FILTER (WHERE posting.amount < 0), 0) AS credits
            FROM closed JOIN ledger_journalentry AS entry ON entry.effective_at >= closed.since AND entry.effective_at < closed.until
            JOIN ledger_posting AS posting ON posting.entry_id = entry.id JOIN ledger_account AS account ON account.id = posting.account_id
            GROUP BY 1, 2, 3
        )
        SELECT month_id, kind, currency, kept.debits, kept.credits, booked.debits, booked.credits
        FROM ledger_closedtotal AS kept FULL JOIN booked USING (month_id, kind, currency)
        WHERE (kept.debits, kept.credits) IS DISTINCT FROM (booked.debits, booked.credits)
    """,
    "INV-19 a closed month was closed by two people, on evidence that is as it was": """
        SELECT closed.month, close.public_id, close.status, evidence.sha256
        FROM ledger_closedmonth AS closed
        FULL JOIN (SELECT * FROM reconciliation_monthclose WHERE status = 'CLOSED') AS close ON close.closed_month_id = closed.month
        LEFT JOIN reconciliation_closeevidence AS evidence ON evidence.close_id = close.id
        WHERE closed.month IS NULL OR close.id IS NULL OR close.decided_by = close.prepared_by
           OR evidence.sha256 IS DISTINCT FROM encode(sha256(evidence.document), 'hex') OR evidence.sha256 IS NULL
    """,
    "INV-20 nothing that may become available has been due for an hour": """
        SELECT order_id, due_at FROM payments_duerelease WHERE due_at < now() - interval '1 hour'
        UNION ALL SELECT order_id, free_at FROM payments_reserve WHERE released_at IS NULL AND free_at < now() - interval '1 hour'
    """,
    "INV-20 what waits for the PSP's file was paid no longer than thirty days ago": """
        SELECT due.order_id, entry.occurred_at, entry.effective_at FROM payments_duerelease AS due JOIN payments_paymentorder AS payment ON payment.id = due.order_id
        JOIN ledger_journalentry AS entry ON entry.id = payment.journal_entry_id
        WHERE due.waits_for_file AND coalesce(entry.occurred_at, entry.effective_at) < now() - interval '30 days'
    """,
    "INV-20 what a PSP told us is looked at within the hour": """
        SELECT psp, event_id, status, received_at, next_attempt_at FROM payments_pspevent
        WHERE status = 'received' AND reason = '' AND received_at < now() - interval '1 hour'
           OR status = 'parked' AND next_attempt_at < now() - interval '1 hour'
    """,
    "INV-20 every message is passed by the relay within the hour, where a shop listens": """
        SELECT id, topic, about, created_at FROM wallet_outboxmessage
        WHERE id > (SELECT coalesce(max(message_id), 0) FROM wallet_relayposition WHERE name = 'webhooks') AND created_at < now() - interval '1 hour'
          AND EXISTS (SELECT FROM wallet_webhookendpoint WHERE is_enabled)
    """,
    "INV-20 snapshots equal the postings they stand for": """
        SELECT snapshot.account_id, snapshot.through_entry_id, snapshot.balance FROM ledger_balancesnapshot AS snapshot
        WHERE snapshot.balance <> (SELECT coalesce(sum(amount), 0) FROM ledger_posting AS posting
            WHERE posting.account_id = snapshot.account_id AND posting.entry_id <= snapshot.through_entry_id)
    """,
    "INV-17 the books are as they were sealed": tampered,
    "INV-17 the chain of seals is whole, and the newest entries are as they were sealed": tampered_lately,
    "INV-21 the entry of a settlement batch says what the batch says, and suspense has of it what its mismatches are over": """
        SELECT batch.public_id, batch.paid_out, batch.fees, batch.suspended, missed.amount, booked.*
        FROM reconciliation_settlementbatch AS batch, LATERAL (
            SELECT coalesce(sum(suspended), 0) AS amount FROM reconciliation_mismatch WHERE batch_id = batch.id
        ) AS missed, LATERAL (
            SELECT coalesce(sum(amount) FILTER (WHERE code = 'bank_in_transit'), 0) AS paid_out,
                   coalesce(sum(amount) FILTER (WHERE code = 'psp_fees'), 0) AS fees,
                   coalesce(-sum(amount) FILTER (WHERE code = 'suspense'), 0) AS suspended,
                   coalesce(-sum(amount) FILTER (WHERE code = 'psp_receivable:' || batch.psp), 0) AS owed
            FROM ledger_posting AS posting JOIN ledger_account AS account ON account.id = posting.account_id
            WHERE posting.entry_id = batch.journal_entry_id AND posting.currency = batch.currency
        ) AS booked
        WHERE batch.matched_at IS NOT NULL
          AND ((batch.paid_out, batch.fees, batch.suspended) <> (booked.paid_out, booked.fees, booked.suspended)
               OR booked.owed <> batch.paid_out + batch.fees - batch.suspended OR missed.amount <> batch.suspended)
    """,
    "INV-21 what stands in suspense is what open mismatches are over": """
        SELECT currency, booked.amount, missed.amount
        FROM (SELECT posting.currency, -sum(amount) AS amount
              FROM ledger_posting AS posting JOIN ledger_account AS account ON account.id = posting.account_id
              WHERE code = 'suspense' GROUP BY 1) AS booked
        FULL JOIN (SELECT currency, sum(suspended) AS amount FROM reconciliation_mismatch WHERE resolved_at IS NULL GROUP BY 1) AS missed
            USING (currency)
        WHERE coalesce(booked.amount, 0) <> coalesce(missed.amount, 0)
    """,
    "INV-21 a mismatch that people resolved has one entry over what it had in suspense, or had nothing there, and a reason": """
        SELECT coalesce(mismatch.public_id, entry.reference), mismatch.kind, mismatch.suspended, proposal.account, entry.id, entry.explained
        FROM reconciliation_mismatch AS mismatch
        LEFT JOIN reconciliation_proposal AS proposal ON proposal.mismatch_id = mismatch.id AND proposal.status = 'APPROVED'
        FULL JOIN (
            SELECT entry.id, reference, coalesce(sum(amount) FILTER (WHERE code = 'suspense'), 0) AS explained
            FROM ledger_journalentry AS entry JOIN ledger_posting AS posting ON posting.entry_id = entry.id
            JOIN ledger_account AS account ON account.id = posting.account_id
            WHERE kind = 'resolution' GROUP BY entry.id
        ) AS entry ON entry.reference = mismatch.public_id
        WHERE mismatch.id IS NULL
           OR (mismatch.resolved_at IS NULL OR mismatch.kind = 'late') = (proposal.id IS NOT NULL)
           OR mismatch.kind <> 'late' AND entry.id IS DISTINCT FROM proposal.journal_entry_id
           OR mismatch.resolved_at IS NOT NULL AND coalesce(entry.explained, 0) <> mismatch.suspended
           OR proposal.id IS NOT NULL AND proposal.reason = ''
    """,
    "INV-21 the entry of a bank statement says what the statement says, and suspense has of it what its mismatches are over": """
        SELECT compared.public_id, compared.paid_in, compared.charges, compared.suspended, missed.amount, booked.*
        FROM reconciliation_comparedstatement AS compared JOIN reconciliation_bankstatement AS statement ON statement.id = compared.statement_id,
        LATERAL (
            SELECT coalesce(sum(suspended), 0) AS amount FROM reconciliation_mismatch AS mismatch
            JOIN reconciliation_stagedbankline AS line ON line.id = mismatch.bank_line_id WHERE line.statement_id = statement.id
        ) AS missed, LATERAL (
            SELECT coalesce(sum(amount) FILTER (WHERE code = 'operating_bank'), 0) AS moved,
                   coalesce(-sum(amount) FILTER (WHERE code = 'bank_in_transit'), 0) AS paid_in,
                   coalesce(sum(amount) FILTER (WHERE code = 'bank_charges'), 0) AS charges,
                   coalesce(-sum(amount) FILTER (WHERE code = 'suspense'), 0) AS suspended
            FROM ledger_posting AS posting JOIN ledger_account AS account ON account.id = posting.account_id
            WHERE posting.entry_id = compared.journal_entry_id AND posting.currency = statement.currency
        ) AS booked
        WHERE (compared.paid_in, compared.charges, compared.suspended) <> (booked.paid_in, booked.charges, booked.suspended)
           OR booked.moved <> compared.paid_in - compared.charges + compared.suspended OR missed.amount <> compared.suspended
    """,
    "INV-21 every line of a compared bank statement is matched or is a mismatch, once": """
        SELECT compared.public_id, compared.lines, compared.matched, compared.mismatched, compared.again, compared.paid_in, compared.charges, its.*
        FROM reconciliation_comparedstatement AS compared, LATERAL (
            SELECT count(*) AS lines, count(*) FILTER (WHERE mismatch.id IS NULL) AS matched, count(mismatch.id) AS mismatched,
                   count(*) FILTER (WHERE match.is_again) AS again,
                   coalesce(sum(match.paid_in) FILTER (WHERE mismatch.id IS NULL), 0) AS paid_in,
                   coalesce(sum(match.charges) FILTER (WHERE mismatch.id IS NULL), 0) AS charges,
                   count(*) FILTER (WHERE match.amount <> line.amount) AS in_part,
                   count(*) FILTER (WHERE match.amount IS NULL AND (mismatch.id IS NULL OR mismatch.kind = 'late')
                                       OR match.amount IS NOT NULL AND mismatch.kind NOT IN ('amount', 'late')) AS neither_nor_both
            FROM reconciliation_stagedbankline AS line
            LEFT JOIN (
                SELECT its.line_id, bool_or(kind = 'again') AS is_again, sum(coalesce(its.amount, part.amount)) AS amount, sum(short_by) AS charges,
                       sum(coalesce(its.amount, part.amount) + short_by) FILTER (WHERE kind IN ('settlement', 'instalment')) AS paid_in
                FROM reconciliation_banklinematch AS its JOIN reconciliation_stagedbankline AS part ON part.id = its.line_id
                WHERE part.statement_id = compared.statement_id GROUP BY 1
            ) AS match ON match.line_id = line.id
            LEFT JOIN reconciliation_mismatch AS mismatch ON mismatch.bank_line_id = line.id
            WHERE line.statement_id = compared.statement_id
        ) AS its
        WHERE (compared.lines, compared.matched, compared.mismatched, compared.again, compared.paid_in, compared.charges)
           <> (its.lines, its.matched, its.mismatched, its.again, its.paid_in, its.charges) OR its.in_part > 0 OR its.neither_nor_both > 0
    """,
    "INV-21 what lines of the bank's brought of a batch, and what the bank kept of it, is what the PSP paid out": """
        SELECT batch.public_id, batch.paid_out, sum(coalesce(its.amount, line.amount)), sum(its.short_by)
        FROM reconciliation_banklinematch AS its JOIN reconciliation_stagedbankline AS line ON line.id = its.line_id
        JOIN reconciliation_settlementbatch AS batch ON batch.id = its.batch_id
        GROUP BY batch.id HAVING sum(coalesce(its.amount, line.amount) + its.short_by) <> batch.paid_out
    """,
    "INV-21 every line of a compared batch is matched or is a mismatch, once": """
        SELECT batch.public_id, batch.lines, batch.matched, batch.mismatched, its.*
        FROM reconciliation_settlementbatch AS batch, LATERAL (
            SELECT count(*) AS lines, count(match.line_id) FILTER (WHERE mismatch.id IS NULL) AS matched, count(mismatch.id) AS mismatched,
                   count(*) FILTER (WHERE (match.line_id IS NULL) = (mismatch.id IS NULL OR mismatch.kind IN ('fee', 'late'))) AS neither_nor_both
            FROM reconciliation_stagedline AS line
            LEFT JOIN reconciliation_linematch AS match ON match.line_id = line.id
            LEFT JOIN reconciliation_mismatch AS mismatch ON mismatch.line_id = line.id
            WHERE (line.file_id, line.batch, line.net_currency) = (batch.file_id, batch.name, batch.currency)
        ) AS its
        WHERE batch.matched_at IS NOT NULL
          AND ((batch.lines, batch.matched, batch.mismatched) <> (its.lines, its.matched, its.mismatched) OR its.neither_nor_both > 0)
    """,
    "INV-22 what two people approved is booked once, as they approved it, and nothing is written off otherwise": """
        SELECT coalesce(approval.public_id, entry.reference), approval.reference, approval.moved, entry.*
        FROM (
            SELECT public_id, journal_entry_id, split_part(made_by, ':', 2) = split_part(decided_by, ':', 2) AS is_one_person,
                   CASE kind WHEN 'entry' THEN terms ->> 'reference' WHEN 'gift_card' THEN result ELSE public_id END AS reference,
                   CASE kind WHEN 'entry' THEN (SELECT sum((leg ->> 1)::numeric) FROM jsonb_array_elements(terms -> 'debits') AS leg)
                             ELSE (terms ->> 'amount')::numeric END AS moved
            FROM ledger_approval WHERE status = 'APPROVED' AND kind IN ('entry', 'write_off', 'gift_card')
        ) AS approval
        FULL JOIN (
            SELECT entry.id, entry.reference, sum(amount) FILTER (WHERE amount > 0) AS moved
            FROM ledger_journalentry AS entry JOIN ledger_posting AS posting ON posting.entry_id = entry.id
            WHERE kind = 'write_off' OR entry.id IN (SELECT journal_entry_id FROM ledger_approval) GROUP BY entry.id
        ) AS entry ON entry.id = approval.journal_entry_id
        WHERE (approval.reference, approval.moved) IS DISTINCT FROM (entry.reference, entry.moved) OR approval.is_one_person
    """,
    "INV-24 a conversion gives what its rates say, to the unit, and its entry and both movements say the same": """
        SELECT coalesce(made.public_id, entry.reference), made.sold, made.sold_currency, made.bought, made.bought_currency, booked.legs
        FROM wallet_conversion AS made
        FULL JOIN (SELECT * FROM ledger_journalentry WHERE kind = 'conversion') AS entry ON entry.id = made.journal_entry_id
        LEFT JOIN wallet_exchangerate AS sold_rate ON sold_rate.id = made.sold_rate_id
        LEFT JOIN wallet_exchangerate AS bought_rate ON bought_rate.id = made.bought_rate_id
        LEFT JOIN wallet_walletentry AS gone ON gone.id = made.sold_entry_id
        LEFT JOIN wallet_wallet AS sold_wallet ON sold_wallet.id = gone.wallet_id
        LEFT JOIN wallet_walletentry AS came ON came.id = made.bought_entry_id
        LEFT JOIN wallet_wallet AS bought_wallet ON bought_wallet.id = came.wallet_id, LATERAL (
            SELECT array_agg(account.code || ' ' || trim_scale(posting.amount) || ' ' || posting.currency ORDER BY posting.line) AS legs
            FROM ledger_posting AS posting JOIN ledger_account AS account ON account.id = posting.account_id
            WHERE posting.entry_id = entry.id
        ) AS booked, LATERAL (
            SELECT CASE WHEN money_is_exact(0.0001, bought_currency) THEN 0.0001 WHEN money_is_exact(0.001, bought_currency) THEN 0.001
                        WHEN money_is_exact(0.01, bought_currency) THEN 0.01 ELSE 1 END AS unit
        ) AS smallest
        WHERE made.id IS NULL OR entry.reference IS DISTINCT FROM made.public_id
           OR booked.legs IS DISTINCT FROM ARRAY[
                  'seller_available:' || made.seller_id || ' ' || trim_scale(sold) || ' ' || sold_currency,
                  'fx_position ' || trim_scale(bought) || ' ' || bought_currency,
                  'fx_position ' || trim_scale(-sold) || ' ' || sold_currency,
                  'seller_available:' || made.seller_id || ' ' || trim_scale(-bought) || ' ' || bought_currency]
           OR (gone.kind, gone.source, gone.journal_entry_id, gone.available, gone.net, sold_wallet.seller_id, gone.currency)
              IS DISTINCT FROM ('conversion', made.public_id, entry.id, -sold, -sold, made.seller_id, sold_currency)
           OR (came.kind, came.source, came.journal_entry_id, came.available, came.net, bought_wallet.seller_id, came.currency)
              IS DISTINCT FROM ('conversion', made.public_id, entry.id, bought, bought, made.seller_id, bought_currency)
           OR (sold_per_euro, bought_per_euro) IS DISTINCT FROM (coalesce(sold_rate.rate, 1), coalesce(bought_rate.rate, 1))
           OR coalesce(sold_rate.quote, 'EUR') <> sold_currency OR coalesce(bought_rate.quote, 'EUR') <> bought_currency
           OR bought * sold_per_euro > sold * bought_per_euro OR (bought + smallest.unit) * sold_per_euro <= sold * bought_per_euro
    """,
    "INV-24 every movement of a conversion has its conversion, and positions in currencies are what conversions and people made of them": """
        SELECT entry.id, entry.kind, entry.source FROM wallet_walletentry AS entry
        LEFT JOIN wallet_conversion AS made ON made.public_id = entry.source AND entry.id IN (made.sold_entry_id, made.bought_entry_id)
        WHERE entry.kind = 'conversion' AND made.id IS NULL
        UNION ALL
        SELECT entry.id, entry.kind, entry.reference FROM ledger_account AS account
        JOIN ledger_posting AS posting ON posting.account_id = account.id JOIN ledger_journalentry AS entry ON entry.id = posting.entry_id
        WHERE account.code = 'fx_position' AND entry.kind NOT IN ('conversion', 'manual', 'resolution')
        UNION ALL
        SELECT 0, currency, sum(amount)::text FROM (
            SELECT posting.currency, posting.amount FROM ledger_account AS account JOIN ledger_posting AS posting ON posting.account_id = account.id
            JOIN ledger_journalentry AS entry ON entry.id = posting.entry_id AND entry.kind = 'conversion' WHERE account.code = 'fx_position'
            UNION ALL
            SELECT sold_currency, sold FROM wallet_conversion
            UNION ALL
            SELECT bought_currency, -bought FROM wallet_conversion
        ) AS moved GROUP BY currency HAVING sum(amount) <> 0
    """,
    "INV-24 a rate by hand is what two people approved": """
        SELECT rate.id, rate.base, rate.quote, rate.rate, rate.quoted_on, approval.public_id, approval.terms
        FROM (SELECT * FROM wallet_exchangerate WHERE source = 'manual') AS rate
        FULL JOIN (SELECT * FROM ledger_approval WHERE status = 'APPROVED' AND kind = 'exchange_rate') AS approval
               ON approval.public_id = rate.approval
        WHERE (rate.base, rate.quote, rate.rate, rate.quoted_on)
              IS DISTINCT FROM (terms ->> 'base', terms ->> 'quote', (terms ->> 'rate')::numeric, (terms ->> 'quoted_on')::date)
           OR split_part(made_by, ':', 2) = split_part(decided_by, ':', 2)
    """,
    "INV-23 what is left on gift cards and in buyers' wallets is what the books owe for them": """
        SELECT code, currency, kept.amount, booked.amount
        FROM (
            SELECT CASE kind WHEN 'gift_card' THEN 'gift_cards' ELSE 'buyer_wallet:' || buyer_id END AS code, currency, sum(balance) AS amount
            FROM wallet_storedvalue GROUP BY 1, 2
        ) AS kept
        FULL JOIN (
            SELECT code, account.currency, -sum(posting.amount) AS amount
            FROM ledger_posting AS posting JOIN ledger_account AS account ON account.id = posting.account_id
            WHERE code = 'gift_cards' OR code LIKE 'buyer\\_wallet:%%' GROUP BY 1, 2
        ) AS booked USING (code, currency)
        WHERE coalesce(kept.amount, 0) <> coalesce(booked.amount, 0)
    """,
    "INV-23 what is left of a stored value is the sum of its movements, and what is held of it is held for an order or a refund": """
        SELECT stored.id, stored.balance, moved.amount, stored.held, held.amount
        FROM wallet_storedvalue AS stored
        LEFT JOIN (SELECT value_id, sum(amount) AS amount FROM wallet_storedvalueentry GROUP BY 1) AS moved ON moved.value_id = stored.id
        LEFT JOIN (
            SELECT value_id, sum(amount) AS amount FROM (
                SELECT value_id, amount FROM payments_tender WHERE status = 'HELD'
                UNION ALL SELECT takes_from_id, net FROM payments_refund WHERE status = 'EXECUTING' AND takes_from_id IS NOT NULL
            ) AS part GROUP BY 1
        ) AS held ON held.value_id = stored.id
        WHERE (stored.balance, stored.held) <> (coalesce(moved.amount, 0), coalesce(held.amount, 0))
    """,
    "INV-23 what a charge filled is frozen while a dispute of the charge is open": """
        SELECT dispute.public_id, stored.id, stored.frozen_because
        FROM payments_dispute AS dispute JOIN payments_paymentorder AS payment ON payment.id = dispute.order_id
        JOIN wallet_storedvalue AS stored ON stored.id = payment.fills_id
        LEFT JOIN payments_latecharge AS late ON (late.psp, late.psp_reference) = (dispute.psp, dispute.charge)
        WHERE dispute.status = 'open' AND late.id IS NULL AND dispute.public_id <> ALL (string_to_array(stored.frozen_because, E'\\n'))
    """,
    "INV-23 every movement of stored value stands in the entry that it names, on its own account": """
        SELECT entry_id, code, currency, moved.amount, booked.amount
        FROM (
            SELECT journal_entry_id AS entry_id, entry.currency, sum(amount) AS amount,
                   CASE stored.kind WHEN 'gift_card' THEN 'gift_cards' ELSE 'buyer_wallet:' || buyer_id END AS code
            FROM wallet_storedvalueentry AS entry JOIN wallet_storedvalue AS stored ON stored.id = entry.value_id GROUP BY 1, 2, 4
        ) AS moved
        FULL JOIN (
            SELECT entry_id, account.currency, code, -sum(posting.amount) AS amount
            FROM ledger_posting AS posting JOIN ledger_account AS account ON account.id = posting.account_id
            WHERE code = 'gift_cards' OR code LIKE 'buyer\\_wallet:%%' GROUP BY 1, 2, 3
        ) AS booked USING (entry_id, code, currency)
        WHERE moved.amount IS DISTINCT FROM booked.amount
    """,
    "INV-23 what is tendered of an order is what its tenders are over: held while it executes, taken once it is paid": """
        SELECT payment.public_id, payment.status, payment.tendered, tender.held, tender.taken
        FROM (SELECT * FROM payments_paymentorder WHERE tendered <> 0) AS payment
        FULL JOIN (
            SELECT order_id, coalesce(sum(amount) FILTER (WHERE status = 'HELD'), 0) AS held,
                   coalesce(sum(amount) FILTER (WHERE status = 'TAKEN'), 0) AS taken
            FROM payments_tender WHERE status <> 'RELEASED' GROUP BY 1
        ) AS tender ON tender.order_id = payment.id
        WHERE (tender.held, tender.taken) IS DISTINCT FROM CASE payment.status WHEN 'EXECUTING' THEN (payment.tendered, 0.0)
                                                                               WHEN 'SUCCESS' THEN (0.0, payment.tendered) END
    """,
    "INV-23 every tender that was taken has its movement in the entry of its order, and every such movement its tender": """
        SELECT tender.id, payment.public_id, tender.amount, movement.id, movement.amount
        FROM (SELECT * FROM payments_tender WHERE status = 'TAKEN') AS tender JOIN payments_paymentorder AS payment ON payment.id = tender.order_id
        FULL JOIN (SELECT * FROM wallet_storedvalueentry WHERE kind = 'spent') AS movement
               ON (movement.value_id, movement.journal_entry_id, movement.source) = (tender.value_id, payment.journal_entry_id, payment.public_id)
        WHERE movement.amount IS DISTINCT FROM -tender.amount
    """,
    "INV-23 what goes back to tenders is what their refunds say, tender by tender, and order by order": """
        SELECT 'tender ' || tender.id, tender.refunded, live.amount
        FROM (SELECT * FROM payments_tender WHERE refunded <> 0) AS tender
        FULL JOIN (
            SELECT tender_id, sum(part.amount) AS amount FROM payments_tenderrefund AS part JOIN payments_refund AS refund ON refund.id = part.refund_id
            WHERE refund.status <> 'FAILED' GROUP BY 1
        ) AS live ON live.tender_id = tender.id WHERE tender.refunded IS DISTINCT FROM live.amount
        UNION ALL
        SELECT payment.public_id, payment.tendered_back, live.amount
        FROM (SELECT * FROM payments_paymentorder WHERE tendered_back <> 0) AS payment
        FULL JOIN (SELECT order_id, sum(refunded) AS amount FROM payments_tender WHERE refunded <> 0 GROUP BY 1) AS live ON live.order_id = payment.id
        WHERE payment.tendered_back IS DISTINCT FROM live.amount
        UNION ALL
        SELECT refund.public_id, refund.tendered, parts.amount
        FROM (SELECT * FROM payments_refund WHERE tendered <> 0) AS refund
        FULL JOIN (
            SELECT refund_id, sum(part.amount) AS amount, bool_and(tender.order_id = refund.order_id) AS is_its_own
            FROM payments_tenderrefund AS part JOIN payments_tender AS tender ON tender.id = part.tender_id
            JOIN payments_refund AS refund ON refund.id = part.refund_id GROUP BY 1
        ) AS parts ON parts.refund_id = refund.id WHERE refund.tendered IS DISTINCT FROM parts.amount OR NOT is_its_own
    """,
    "INV-23 what a refund gave to stored value, or took out of it, moved there in the refund's own entry, and back as it came back": """
        SELECT said.reference, said.value_id, said.amount, movement.id, movement.amount
        FROM (
            SELECT public_id AS reference, value_id, leg.* FROM (
                SELECT refund.*, tender.value_id, part.amount AS given, 'refund' AS kind
                FROM payments_tenderrefund AS part JOIN payments_refund AS refund ON refund.id = part.refund_id
                JOIN payments_tender AS tender ON tender.id = part.tender_id
                UNION ALL SELECT refund.*, takes_from_id, borne - amount, 'bought_back'
                FROM payments_refund AS refund WHERE takes_from_id IS NOT NULL AND borne < amount
            ) AS part, LATERAL (
                VALUES (journal_entry_id, part.kind, given), (reversal_entry_id, 'refund_reversal', -given)
            ) AS leg (entry_id, kind, amount) WHERE leg.entry_id IS NOT NULL
        ) AS said
        FULL JOIN (
            SELECT * FROM wallet_storedvalueentry WHERE kind IN ('refund', 'refund_reversal') OR kind = 'bought_back' AND source LIKE 're\\_%%'
        ) AS movement ON (movement.value_id, movement.journal_entry_id, movement.kind, movement.source)
                       = (said.value_id, said.entry_id, said.kind, said.reference)
        WHERE movement.amount IS DISTINCT FROM said.amount
    """,
    "INV-23 a tender is of its order's shop and currency, and a wallet pays for its own buyer": """
        SELECT tender.id, payment.public_id FROM payments_tender AS tender JOIN payments_paymentorder AS payment ON payment.id = tender.order_id
        JOIN payments_paymentevent AS event ON event.id = payment.event_id JOIN wallet_storedvalue AS stored ON stored.id = tender.value_id
        WHERE (stored.shop_id, stored.currency, tender.currency) <> (payment.shop_id, payment.currency, payment.currency)
           OR stored.kind = 'wallet' AND stored.buyer_id <> event.buyer_id
    """,
}
# Too slow to be asked every few minutes of a large ledger; asked each night.
NIGHTLY = frozenset(
    {
        "INV-03 what is kept of a month's sales is the sum of its movements",
        "INV-09 what was paid, refunded and disputed is booked as owed by the very PSP of its order",
        "INV-11 what a PSP told us is kept once",
        "INV-15 a payment file pays as many, and as much, as stand in it",
        "INV-17 the books are as they were sealed",
        "INV-18 no entry mixes the sellers of two shops",
        "INV-19 closed months are what was kept of them as they were closed",
        "INV-19 the invoices of a month come to the fees of its movements, kind by kind, and to nothing else",
        "INV-21 a mismatch that people resolved has one entry over what it had in suspense, or had nothing there, and a reason",
        "INV-21 every line of a compared bank statement is matched or is a mismatch, once",
        "INV-21 what lines of the bank's brought of a batch, and what the bank kept of it, is what the PSP paid out",
        "INV-21 every line of a compared batch is matched or is a mismatch, once",
        "INV-22 what two people approved is booked once, as they approved it, and nothing is written off otherwise",
        "INV-24 a conversion gives what its rates say, to the unit, and its entry and both movements say the same",
        "INV-24 every movement of a conversion has its conversion, and positions in currencies are what conversions and people made of them",
        "INV-24 a rate by hand is what two people approved",
        "INV-23 every movement of stored value stands in the entry that it names, on its own account",
        "INV-23 every tender that was taken has its movement in the entry of its order, and every such movement its tender",
        "INV-23 what a refund gave to stored value, or took out of it, moved there in the refund's own entry, and back as it came back",
        "INV-23 a tender is of its order's shop and currency, and a wallet pays for its own buyer",
    }
)


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
    """Compare our books with a PSP's own journal (INV-06, INV-10): every charge, refund and payout once there and once here.

    `journal` is the PSP's rows with `type`, `object_id`, `reference`, `amount` in minor units and `currency`.  To the minor unit.
    A charge that was voided, and a refund or payout that came back, moved nothing in the end, and count on neither side.  What gift cards
    and buyers' wallets paid, and what went back there, no PSP knows.
    """
    rows = list(journal)
    undone = {row["object_id"] for row in rows if row["type"] in ("charge.voided", "refund.failed", "payout.returned")}
    theirs = [
        (row["type"], row["reference"], row["amount"], row["currency"])
        for row in rows
        if row["type"] in ("charge.succeeded", "refund.succeeded", "payout.paid") and row["object_id"] not in undone
    ]
    given_back = Refund.objects.filter(order__psp=psp, status=RefundStatus.SUCCESS).select_related("order", "late_charge")
    voids = [refund for refund in given_back if refund.charge and refund.psp_reference == refund.charge]
    voided = {refund.order_id for refund in voids if refund.late_charge_id is None}
    paid = PaymentOrder.objects.filter(psp=psp, status=OrderStatus.SUCCESS).exclude(pk__in=voided)
    paid_out = Payout.objects.filter(provider=psp, status=PayoutStatus.SUCCESS)
    came_late = LateCharge.objects.filter(psp=psp).exclude(refunds__in=voids).select_related("order")
    kept = [
        *(("charge.succeeded", order.public_id, order.charge) for order in paid if order.charge),
        *(("charge.succeeded", late.order.public_id, late.amount) for late in came_late),
        *(
            ("refund.succeeded", refund.public_id, refund.charged_back)
            for refund in given_back
            if refund not in voids and refund.charged_back
        ),
        *(("payout.paid", payout.public_id, payout.amount) for payout in paid_out),
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
    """Compare what the PSP owes us by its own journal with what it owes us by the books (INV-09), per currency, to the minor unit.

    What it has paid out to us or kept since, by its settlement files, is left out, and how people explained these: its journal does not say that.
    """
    theirs: Counter[str] = Counter()
    succeeded = set()
    for row in journal:
        if row["type"] == "refund.succeeded":
            succeeded.add(row["object_id"])
        if row["type"] != "refund.failed" or row["object_id"] in succeeded:
            theirs[row["currency"]] += OWED_BY_PSP.get(row["type"], 0) * (row["amount"] or 0)
    by_files = (JournalEntry.Kind.SETTLEMENT, JournalEntry.Kind.RESOLUTION)
    of_the_psp = Posting.objects.filter(account__code=chart.psp_receivable(psp)).exclude(entry__kind__in=by_files)
    balances = of_the_psp.values_list("currency").annotate(balance=Sum("amount"))
    ours = {currency: to_minor(Money(balance, currency)) for currency, balance in balances}
    rows = [(currency, theirs[currency], ours.get(currency, 0)) for currency in sorted({*filter(None, theirs), *ours})]
    off = tuple(row for row in rows if row[1] != row[2])
    return [Violation("INV-09 what the PSP owes us by its journal is not what it owes us by the books", off)] if off else []

"""The questions that can be asked: what makes a balance, a kind of account, a wallet, an invoice, or a figure of the page of figures.

Each is a SELECT of the rows that make the figure (explain.py).  Those of the page of figures count as reports.py counts.
"""

from datetime import UTC, date, datetime, timedelta

from django.conf import settings

from ledger import chart, seek
from ledger.models import Account
from payments.models import PaymentOrder, PspAttempt
from payments.settlement import VOIDED
from reconciliation import reports
from reconciliation.explain import Question
from reconciliation.reports import AGES, Asked
from wallet import months
from wallet.models import FeeInvoice, Wallet, WalletEntry

# --- Questions to the books -----------------------------------------------------------------------------------------

BALANCE = ("debits", "credits", "balance")

OF_AN_ACCOUNT = """
SELECT posting.entry_id AS id, posting.line::bigint AS line, entry.kind, entry.effective_at AS at, entry.reference AS about,
       greatest(posting.amount, 0) AS debits, greatest(-posting.amount, 0) AS credits, %(sign)s * posting.amount AS balance
FROM ledger_posting AS posting JOIN ledger_journalentry AS entry ON entry.id = posting.entry_id
WHERE posting.account_id = %(account)s AND entry.effective_at >= %(since)s AND entry.effective_at < %(until)s
"""

# As the balance is read everywhere else: the last snapshot, and what came after it.
STANDS = """
SELECT ARRAY[NULL, NULL, %(sign)s * (coalesce(snapshot.balance, 0) + coalesce((
    SELECT sum(amount) FROM ledger_posting WHERE account_id = %(account)s AND entry_id > coalesce(snapshot.through_entry_id, 0)), 0))]
FROM (SELECT) AS once LEFT JOIN (
    SELECT balance, through_entry_id FROM ledger_balancesnapshot WHERE account_id = %(account)s ORDER BY through_entry_id DESC LIMIT 1
) AS snapshot ON true
"""

OF_A_KIND = """
SELECT account.id, 0::bigint AS line, account.code AS kind, NULL::timestamptz AS at, account.code AS about,
       sum(greatest(posting.amount, 0)) AS debits, sum(greatest(-posting.amount, 0)) AS credits, sum(%(sign)s * posting.amount) AS balance
FROM ledger_account AS account JOIN ledger_posting AS posting ON posting.account_id = account.id
JOIN ledger_journalentry AS entry ON entry.id = posting.entry_id
WHERE split_part(account.code, ':', 1) = %(of_kind)s AND account.currency = %(currency)s
  AND entry.effective_at >= %(since)s AND entry.effective_at < %(until)s
GROUP BY account.id
"""

OF_PSP_FEES = """
SELECT posting.entry_id AS id, posting.line::bigint AS line, entry.kind, entry.effective_at AS at, entry.reference AS about,
       greatest(posting.amount, 0) AS debits, greatest(-posting.amount, 0) AS credits, %(sign)s * posting.amount AS balance
FROM ledger_posting AS posting JOIN ledger_journalentry AS entry ON entry.id = posting.entry_id
{whose}
WHERE posting.account_id = %(account)s AND entry.effective_at >= %(since)s AND entry.effective_at < %(until)s
  AND coalesce(batch.psp, mismatch.psp, '') = %(group)s
""".replace("{whose}", reports.WHOSE_FEES)

EARLIEST, LATEST = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)


def sign_of(code: str) -> int:
    return 1 if chart.type_of(code).grows_by_debit else -1


def between(first_day: date | None, last_day: date | None) -> dict[str, datetime]:
    """Return the moments from the beginning of the first day to the end of the last one, in UTC; None: whatever the day."""
    return {
        "since": reports.midnight(first_day) if first_day else EARLIEST,
        "until": reports.midnight(last_day + timedelta(days=1)) if last_day else LATEST,
    }


def of_account(account: Account, *, first_day: date | None = None, last_day: date | None = None) -> Question:
    """Ask what makes the balance of an account, now or at the end of a day; or what was booked on some days."""
    parameters = {"account": account.pk, "sign": sign_of(account.code), **between(first_day, last_day)}
    stated = STANDS if first_day is None and last_day is None else ""
    return Question(OF_AN_ACCOUNT, parameters, BALANCE, account.currency, stated=stated)


def of_kind(kind: str, currency: str, *, first_day: date | None = None, last_day: date | None = None) -> Question:
    """Ask which accounts make a figure of a kind of account (of the trial balance, of profit and loss, of the cash position)."""
    parameters = {"of_kind": kind, "currency": currency, "sign": sign_of(kind), **between(first_day, last_day)}
    return Question(OF_A_KIND, parameters, BALANCE, currency, levels=())


def of_psp_fees(account: Account, psp: str, days: Asked) -> Question:
    """Ask what makes the fees of one PSP, or (empty) those of entries that do not say whose they are."""
    question = of_account(account, first_day=days.first_day, last_day=days.last_day)
    return Question(OF_PSP_FEES, {**question.parameters, "group": psp}, BALANCE, account.currency, levels=("day",))


# --- Questions to wallets and invoices ------------------------------------------------------------------------------

PARTS = ("pending", "available", "reserved", "net")

OF_A_WALLET = """
SELECT id, 0::bigint AS line, kind, created_at AS at, source AS about, pending, available, reserved, net
FROM wallet_walletentry WHERE wallet_id = %(wallet)s
"""

OF_AN_INVOICE = """
SELECT entry.id, 0::bigint AS line, entry.kind, entry.created_at AS at, entry.source AS about, %(sign)s * entry.fee AS fee
FROM wallet_wallet AS wallet JOIN wallet_walletentry AS entry ON entry.wallet_id = wallet.id AND entry.id >= %(first_id)s AND entry.id < %(end_id)s
WHERE wallet.seller_id = %(seller)s AND wallet.currency = %(currency)s
  AND entry.created_at >= %(since)s AND entry.created_at < %(until)s AND entry.fee <> 0
"""


def of_wallet(wallet: Wallet) -> Question:
    """Ask what makes the figures of a seller's wallet."""
    stated = "SELECT ARRAY[pending, available, reserved, pending + available + reserved] FROM wallet_wallet WHERE id = %(wallet)s"
    currency: str = wallet.currency  # type: ignore[attr-defined]
    return Question(OF_A_WALLET, {"wallet": wallet.pk}, PARTS, currency, zone=settings.TIME_ZONE, stated=stated)


def of_invoice(invoice: FeeInvoice) -> Question:
    """Ask which movements make the lines of a fee invoice, or of the credit note that takes one back: their fees, tax included."""
    month = months.parse(invoice.period)
    parameters = {
        "invoice": invoice.pk,
        "seller": invoice.seller_id,
        "currency": invoice.gross.currency.code,
        "sign": -1 if invoice.corrects_id else 1,
        "since": month.since,
        "until": month.until,
        "first_id": seek.first_id_since(WalletEntry, "created_at", month.since),
        "end_id": seek.first_id_after(WalletEntry, "created_at", month.until),
    }
    return Question(
        OF_AN_INVOICE,
        parameters,
        ("fee",),
        invoice.gross.currency.code,
        levels=("kind", "day"),
        zone=settings.TIME_ZONE,
        stated="SELECT ARRAY[gross] FROM wallet_feeinvoice WHERE id = %(invoice)s",
        stated_by_kind="SELECT ARRAY[gross] FROM wallet_feeinvoiceline WHERE invoice_id = %(invoice)s AND kind = %(kind)s",
    )


# --- Questions to the page of figures -------------------------------------------------------------------------------

OF_ORDERS, OF_BOOKS, OF_WALLET = "payments.view_paymentorder", "ledger.view_journalentry", "wallet.view_wallet"
FIGURES = {
    "sales": (OF_ORDERS,),
    "declines": (OF_ORDERS,),
    "psp_fees": ("ledger.view_account", OF_BOOKS),
    **dict.fromkeys(("pending", "available", "reserved", "overdrawn", "ageing"), (OF_WALLET,)),
}  # who may ask for each figure of the page that has a question of its own

SALES = ("volume", "fees", "refunded", "disputed")
GROUPS = {
    "": "''",
    "psp": "payment.psp",
    "method": reports.METHOD,
    "card": "event.card_brand",
    "card_country": "event.card_country",
    "country": "seller.country",
}

# As reports.SALES counts them: paid orders, and what was ever disputed of them, but for charges that came too late.
OF_SALES = """
SELECT payment.id, 0::bigint AS line, payment.status AS kind, payment.created_at AS at, payment.public_id AS about,
       payment.amount AS volume, payment.fee AS fees, payment.refunded, coalesce((
           SELECT sum(amount) FROM payments_dispute AS dispute WHERE dispute.order_id = payment.id AND NOT EXISTS (
               SELECT FROM payments_latecharge AS late WHERE late.order_id = dispute.order_id AND late.psp_reference = dispute.charge)
       ), 0) AS disputed
FROM payments_paymentorder AS payment
JOIN payments_paymentevent AS event ON event.id = payment.event_id JOIN wallet_seller AS seller ON seller.id = payment.seller_id
WHERE payment.id >= %(first_id)s AND payment.id < %(end_id)s AND payment.currency = %(currency)s AND payment.status = 'SUCCESS'
  AND payment.created_at >= %(since)s AND payment.created_at < %(until)s AND {group} = %(group)s
  AND payment.fills_id IS NULL
"""

OF_DECLINES = """
SELECT payment.id, 0::bigint AS line, payment.status AS kind, min(attempt.created_at) AS at, payment.public_id AS about, payment.amount
FROM payments_pspattempt AS attempt
JOIN payments_paymentorder AS payment ON payment.id = attempt.order_id
JOIN payments_paymentevent AS event ON event.id = payment.event_id
WHERE attempt.id >= %(first_id)s AND attempt.id < %(end_id)s AND payment.currency = %(currency)s
  AND attempt.operation = 'charge' AND attempt.status = 'DECLINED' AND attempt.error_code <> %(voided)s AND attempt.error_code = %(group)s
  AND attempt.created_at >= %(since)s AND attempt.created_at < %(until)s AND {within} = %(within)s
GROUP BY payment.id
"""

OWED = {
    "pending": "greatest(wallet.pending, 0)",
    "available": "greatest(wallet.available, 0)",
    "reserved": "wallet.reserved",
    "overdrawn": "least(wallet.available, 0)",
}

OF_WALLETS = """
SELECT wallet.id, 0::bigint AS line, seller.name AS kind, NULL::timestamptz AS at, seller.public_id AS about, {owed} AS amount
FROM wallet_wallet AS wallet JOIN wallet_seller AS seller ON seller.id = wallet.seller_id
WHERE wallet.currency = %(currency)s AND {owed} <> 0
"""

# As reports.PAYABLES has it: what stands became available last.
OF_AN_AGE = """
SELECT id, line, kind, at, about, amount FROM (
    SELECT wallet.id, 0::bigint AS line, seller.name AS kind, NULL::timestamptz AS at, seller.public_id AS about,
           least(wallet.available, coalesce(credited.to_the_end, wallet.available)) - least(wallet.available, coalesce(credited.before, 0)) AS amount
    FROM wallet_wallet AS wallet JOIN wallet_seller AS seller ON seller.id = wallet.seller_id
    CROSS JOIN LATERAL (
        SELECT CASE WHEN %(oldest)s THEN NULL ELSE coalesce(sum(available) FILTER (WHERE created_at >= %(from)s), 0) END AS to_the_end,
               coalesce(sum(available) FILTER (WHERE created_at >= %(to)s), 0) AS before
        FROM wallet_walletentry AS entry
        WHERE entry.wallet_id = wallet.id AND entry.id >= %(first_id)s AND available > 0 AND created_at >= %(horizon)s
    ) AS credited
    WHERE wallet.currency = %(currency)s AND wallet.available > 0
) AS standing WHERE amount <> 0
"""


def of_sales(days: Asked, *, by: str = "", group: str = "") -> Question:
    """Ask which paid orders make the volume, fees, refunds and disputes of the days, or of one PSP, method, card or country."""
    parameters = {**reports.parameters_of(days), **reports.ids_of(PaymentOrder, days), "group": group}
    return Question(OF_SALES.replace("{group}", GROUPS[by]), parameters, SALES, days.currency, levels=("day",))


def of_declines(days: Asked, reason: str, *, by: str = "", within: str = "") -> Question:
    """Ask which orders a PSP has declined on the days for one reason; by how they stand now: those with SUCCESS were paid after all.

    `by` and `within`: only those of one PSP, or of one country of the card.
    """
    parameters = {**reports.parameters_of(days), **reports.ids_of(PspAttempt, days), "voided": VOIDED, "group": reason, "within": within}
    return Question(OF_DECLINES.replace("{within}", GROUPS[by]), parameters, ("amount",), days.currency, levels=("kind",))


def of_owed(what: str, currency: str) -> Question:
    """Ask which wallets make what we owe sellers: pending, available, reserved; or what they owe us, overdrawn."""
    return Question(OF_WALLETS.replace("{owed}", OWED[what]), {"currency": currency}, ("amount",), currency, levels=())


def of_age(place: int, currency: str, *, now: datetime) -> Question:
    """Ask in which wallets something has been available for so long: the place counts the ages of reports.AGES, and last what is older."""
    horizon = now - timedelta(days=max(AGES))
    starts = [now - timedelta(days=days) for days in AGES]
    parameters = {
        "currency": currency,
        "oldest": place == len(AGES),
        "from": starts[place] if place < len(AGES) else horizon,
        "to": starts[place - 1] if place else LATEST,
        "horizon": horizon,
        "first_id": seek.first_id_since(WalletEntry, "created_at", horizon),
    }
    return Question(OF_AN_AGE, parameters, ("amount",), currency, levels=())

"""Fee invoices: once a month is over, each seller gets one per currency, over the fees of that month's movements and the tax in them.

Fees are gross of tax: what a wallet was charged stays as it was booked, and the invoice says how much of it is tax (largest remainder per
line, so that the parts add up).  The tax moves from our fee revenue to what we owe the tax office, in one entry per invoice.  A month whose
refunds gave back more than its sales charged is a credit note.  All invoices of a shop are issued by one transaction, which gives the
numbers under a lock: none is lost and none is given twice, even if it is rolled back.

An invoice is never changed.  A mistake is taken back by a credit note that names it, and the month is invoiced once more.
"""

import logging
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import DatabaseError, transaction
from django.db.models import Max, QuerySet
from django.utils import timezone

from ledger import chart, journal, seek
from ledger.currencies import MINOR_UNITS
from ledger.errors import DomainError
from ledger.ids import new_id_in_sql
from ledger.models import JournalEntry
from ledger.statements import execute
from wallet import months
from wallet.models import FeeInvoice, Seller, Shop, WalletEntry
from wallet.months import Month

logger = logging.getLogger(__name__)

MOST_MONTHS = 12  # that are made up for at once
INVOICE, CREDIT_NOTE = FeeInvoice.Series.INVOICE, FeeInvoice.Series.CREDIT_NOTE
NUMBER = re.compile("(INV|CN)-([0-9]{4})-([0-9]{6,9})", re.ASCII)
A_MOMENT = timedelta(microseconds=1)

OPEN_SERIES = """
INSERT INTO wallet_invoiceseries (shop_id, series, year, last)
SELECT shop_id, series, year, 0 FROM json_to_recordset(%s) AS wanted (shop_id bigint, series text, year int) ORDER BY series
ON CONFLICT (shop_id, series, year) DO NOTHING
"""

LOCK_SERIES = """
SELECT counter.id FROM wallet_invoiceseries AS counter
JOIN json_to_recordset(%s) AS wanted (shop_id bigint, series text, year int) USING (shop_id, series, year)
ORDER BY counter.series FOR NO KEY UPDATE OF counter
"""

# The tax of a document is rounded once; each of its lines gets its own part rounded down, and what is left goes, one minor unit each, to the
# lines that lost most.
ISSUE = f"""
WITH asked AS (
    SELECT * FROM json_to_recordset(%s) AS asked (shop_id bigint, seller_id bigint, currency text, version int, period text,
        since timestamptz, until timestamptz, first_id bigint, end_id bigint, on_day date, year int, issued_at timestamptz, issued_by text)
), counted_in AS (
    SELECT * FROM json_to_recordset(%s) AS counted_in (currency text, units numeric)
), line AS MATERIALIZED (
    SELECT wallet.seller_id, wallet.currency, entry.kind, count(*) AS count, sum(entry.fee) AS gross
    FROM asked
    JOIN wallet_walletentry AS entry ON entry.id >= first_id AND entry.id < end_id AND created_at >= since AND created_at < until AND fee <> 0
    JOIN wallet_wallet AS wallet ON wallet.id = entry.wallet_id
    JOIN wallet_seller AS seller ON seller.id = wallet.seller_id AND seller.shop_id = asked.shop_id
    WHERE (asked.seller_id IS NULL OR (asked.seller_id, asked.currency) = (wallet.seller_id, wallet.currency))
      AND NOT EXISTS (
          SELECT FROM wallet_feeinvoice AS issued WHERE issued.corrects_id IS NULL AND issued.seller_id = wallet.seller_id
             AND issued.currency = wallet.currency AND (issued.period, issued.version) = (asked.period, asked.version))
    GROUP BY 1, 2, 3
), document AS MATERIALIZED (
    SELECT seller_id, currency, sum(gross) AS gross, CASE WHEN sum(gross) < 0 THEN 'CN' ELSE 'INV' END AS series FROM line GROUP BY 1, 2
), rated AS MATERIALIZED (
    SELECT document.*, units, seller.name, seller.country, seller.tax_id, coalesce(rate.basis_points, 0) AS basis_points,
           coalesce(rate.reverse_charge, false) AS reverse_charge,
           round(gross * units * coalesce(rate.basis_points, 0) / (10000 + coalesce(rate.basis_points, 0))) AS tax_units
    FROM document JOIN counted_in USING (currency) JOIN wallet_seller AS seller ON seller.id = seller_id CROSS JOIN asked
    LEFT JOIN LATERAL (
        SELECT basis_points, reverse_charge FROM wallet_taxrate AS rate
        WHERE rate.shop_id = asked.shop_id AND rate.country = seller.country AND rate.since <= on_day AND (rate.until IS NULL OR rate.until > on_day)
        ORDER BY rate.since DESC LIMIT 1
    ) AS rate ON true
), share AS (
    SELECT line.*, units, tax_units, line.gross * units * basis_points / (10000 + basis_points) AS exact
    FROM line JOIN rated USING (seller_id, currency)
), taxed AS (
    SELECT *, (floor(exact) + (row_number() OVER (of_document ORDER BY exact - floor(exact) DESC, kind)
        <= tax_units - sum(floor(exact)) OVER of_document)::int) / units AS tax
    FROM share WINDOW of_document AS (PARTITION BY seller_id, currency)
), invoice AS (
    INSERT INTO wallet_feeinvoice (public_id, shop_id, seller_id, period, version, series, year, sequence, reason, net, tax, gross, currency,
        tax_basis_points, reverse_charge, shop_name, seller_name, seller_country, seller_tax_id, issued_at, issued_by)
    SELECT {new_id_in_sql("inv")}, asked.shop_id, rated.seller_id, asked.period, asked.version, rated.series, asked.year,
        counter.last + row_number() OVER (PARTITION BY rated.series ORDER BY rated.seller_id, rated.currency), '',
        gross - tax_units / units, tax_units / units, gross, rated.currency,
        basis_points, reverse_charge, shop.name, rated.name, country, tax_id, issued_at, issued_by
    FROM rated CROSS JOIN asked JOIN wallet_shop AS shop ON shop.id = asked.shop_id
    JOIN wallet_invoiceseries AS counter ON (counter.shop_id, counter.series, counter.year) = (asked.shop_id, rated.series, asked.year)
    RETURNING id, shop_id, seller_id, currency, series, year, sequence
), itemised AS (
    INSERT INTO wallet_feeinvoiceline (invoice_id, position, kind, count, net, tax, gross, currency)
    SELECT invoice.id, row_number() OVER (PARTITION BY invoice.id ORDER BY kind <> 'sale', kind), kind, count, gross - tax, tax, gross, taxed.currency
    FROM taxed JOIN invoice USING (seller_id, currency)
), numbered AS (
    UPDATE wallet_invoiceseries AS counter SET last = newest.sequence
    FROM (SELECT shop_id, series, year, max(sequence) AS sequence FROM invoice GROUP BY 1, 2, 3) AS newest
    WHERE (counter.shop_id, counter.series, counter.year) = (newest.shop_id, newest.series, newest.year)
)
SELECT count(*), min(id), array_agg(DISTINCT currency) FROM invoice
"""  # noqa: S608 - put in is an expression of ours

TAKE_BACK = f"""
WITH asked AS (
    SELECT * FROM json_to_recordset(%s) AS asked (corrects_id bigint, series text, reason text, year int, issued_at timestamptz, issued_by text)
), invoice AS (
    INSERT INTO wallet_feeinvoice (public_id, shop_id, seller_id, period, version, series, year, sequence, corrects_id, reason, net, tax,
        gross, currency, tax_basis_points, reverse_charge, shop_name, seller_name, seller_country, seller_tax_id, issued_at, issued_by)
    SELECT {new_id_in_sql("inv")}, issued.shop_id, seller_id, period, version, asked.series, asked.year, counter.last + 1, issued.id,
        asked.reason, -net, -tax, -gross, currency, tax_basis_points, reverse_charge, shop_name, seller_name, seller_country, seller_tax_id,
        asked.issued_at, asked.issued_by
    FROM asked JOIN wallet_feeinvoice AS issued ON issued.id = asked.corrects_id
    JOIN wallet_invoiceseries AS counter ON (counter.shop_id, counter.series, counter.year) = (issued.shop_id, asked.series, asked.year)
    RETURNING id, shop_id, series, year, sequence, corrects_id
), itemised AS (
    INSERT INTO wallet_feeinvoiceline (invoice_id, position, kind, count, net, tax, gross, currency)
    SELECT invoice.id, position, kind, count, -net, -tax, -gross, currency
    FROM invoice JOIN wallet_feeinvoiceline AS line ON line.invoice_id = invoice.corrects_id
), numbered AS (
    UPDATE wallet_invoiceseries AS counter SET last = invoice.sequence FROM invoice
    WHERE (counter.shop_id, counter.series, counter.year) = (invoice.shop_id, invoice.series, invoice.year)
)
SELECT id FROM invoice
"""  # noqa: S608 - as above

TAX_ENTRIES = f"""
SELECT {journal.NEXT_ID} AS id, '{JournalEntry.Kind.FEE_INVOICE}' AS kind, public_id AS reference,
    series || '-' || year || '-' || lpad(sequence::text, greatest(6, length(sequence::text)), '0') AS memo,
    %(effective_at)s::timestamptz AS effective_at,
    CASE WHEN tax > 0 THEN '{chart.fee_revenue()}' ELSE '{chart.tax_payable()}' END AS debit,
    CASE WHEN tax > 0 THEN '{chart.tax_payable()}' ELSE '{chart.fee_revenue()}' END AS credit, abs(tax) AS amount, currency
FROM wallet_feeinvoice WHERE shop_id = %(shop_id)s AND id >= %(first_id)s AND tax <> 0
"""  # noqa: S608 - put in are words of ours


class InvoiceNotCorrectable(DomainError):
    code = "invoice_not_correctable"


@dataclass(frozen=True, slots=True)
class Correction:
    """A credit note over all of an invoice, and the invoice that takes its place (None: the month has no fees to invoice)."""

    taken_back_by: FeeInvoice
    replaced_by: FeeInvoice | None


@transaction.atomic(durable=True)
def issue_month(shop: Shop, month: Month, *, now: datetime, by: str) -> int:
    """Invoice the month's fees to each seller of the shop who had any and is not invoiced yet; return how many invoices were issued.

    Locks the shop's counters: whoever issues at the same time waits, and finds nothing left to do.  A fixed number of statements for any
    number of sellers.  Raises PeriodNotOver.
    """
    month.require_over(now)
    return issue(asked(shop, month, now=now, by=by), effective_at=month.until - A_MOMENT)


def issue_until(shop: Shop, month: Month, *, now: datetime, by: str) -> int:
    """Invoice the month, and before it each earlier one that is due: none is left behind.  A transaction each.  Raises PeriodNotOver."""
    month.require_over(now)
    issued, seen = 0, {month}
    while earlier := [each for each in months_due(shop, now=now) if each.since < month.since and each not in seen]:
        issued += sum(issue_month(shop, each, now=now, by=by) for each in earlier)
        seen.update(earlier)
    return issued + issue_month(shop, month, now=now, by=by)


def issue_due(*, now: datetime, by: str) -> int:
    """Invoice to every shop's sellers the months that are over, from the last that was invoiced on; return how many invoices were issued.

    Safe to call at any time, and twice.  A shop whose month cannot be invoiced is logged and tried again next time: its later months wait for
    that one, other shops do not.
    """
    issued = 0
    for shop in Shop.objects.order_by("pk"):
        for month in months_due(shop, now=now):
            try:
                issued += issue_month(shop, month, now=now, by=by)
            except (DomainError, DatabaseError):
                logger.exception("the fees of %s, %s, could not be invoiced", shop.public_id, month)
                break
    return issued


def months_due(shop: Shop, *, now: datetime) -> list[Month]:
    """Return the shop's months to invoice, the oldest first: those that are over, from the last that was invoiced on, or since there is a shop.

    The month before is always looked at, for whoever was left out of it.  No more than MOST_MONTHS: then from the first on that had fees.
    """
    last = FeeInvoice.objects.filter(shop=shop).aggregate(last=Max("period"))["last"]
    since = min(months.parse(last) if last else months.of(shop.created_at), months.of(now).previous)
    over = [month for month in months.newest_first(since.since, until=now) if month.is_over(now)][::-1]
    if len(over) > MOST_MONTHS:
        fees = WalletEntry.objects.filter(wallet__seller__shop=shop, created_at__gte=over[0].until if last else over[0].since).exclude(
            fee=0
        )
        first = fees.order_by("created_at").values_list("created_at", flat=True).first()
        over = [month for month in over if first is not None and month.until > first] or over[-1:]
    return over[:MOST_MONTHS]


@transaction.atomic(durable=True)
def correct(invoice_id: int, *, reason: str, by: str, now: datetime) -> Correction:
    """Take an invoice back by a credit note that names it, and invoice the month again: with the seller's data and tax rate as they are now.

    Locks the shop's counters.  Raises InvoiceNotCorrectable without a reason, for a document that takes another back, and for one that was
    taken back before.
    """
    old = FeeInvoice.objects.select_related("shop", "seller").get(pk=invoice_id)
    if not reason.strip():
        raise InvoiceNotCorrectable("A correction has its reason: the credit note says it.", field="reason")
    lock_series(old.shop, year=year_of(now))
    if old.corrects_id is not None or FeeInvoice.objects.filter(corrects=old).exists():
        raise InvoiceNotCorrectable(f"{old.number} takes another document back, or was taken back itself.", field="invoice")
    year, currency = year_of(now), old.gross.currency.code
    series = CREDIT_NOTE if old.series == INVOICE else INVOICE
    note = {"corrects_id": old.pk, "series": series, "reason": reason.strip(), "year": year, "issued_at": now, "issued_by": by}
    [(taken_back_by,)] = execute(TAKE_BACK, [note])
    post_tax(old.shop, first_id=taken_back_by, currencies=[currency], effective_at=now)
    terms = asked(old.shop, months.parse(old.period), now=now, by=by)
    issue(terms | {"seller_id": old.seller_id, "currency": currency, "version": old.version + 1}, effective_at=now)
    replaced_by = FeeInvoice.objects.filter(seller=old.seller, period=old.period, version=old.version + 1, currency=currency, corrects=None)
    return Correction(FeeInvoice.objects.get(pk=taken_back_by), replaced_by.first())


def asked(shop: Shop, month: Month, *, now: datetime, by: str) -> dict[str, Any]:
    """Return what ISSUE asks for: the first version of every seller's invoice of the month."""
    return {
        "shop_id": shop.pk,
        "seller_id": None,
        "currency": None,
        "version": 1,
        "period": str(month),
        "since": month.since,
        "until": month.until,
        "first_id": seek.first_id_since(WalletEntry, "created_at", month.since),
        "end_id": seek.first_id_after(WalletEntry, "created_at", month.until),
        "on_day": month.last_day,
        "year": year_of(now),
        "issued_at": now,
        "issued_by": by,
    }


def issue(terms: dict[str, Any], *, effective_at: datetime) -> int:
    shop = Shop.objects.get(pk=terms["shop_id"])
    lock_series(shop, year=terms["year"])
    units = [{"currency": currency, "units": 10**places} for currency, places in MINOR_UNITS.items()]
    [(count, first_id, currencies)] = execute(ISSUE, [terms], units)
    if count:
        post_tax(shop, first_id=first_id, currencies=currencies, effective_at=effective_at)
    return int(count)


def lock_series(shop: Shop, *, year: int) -> None:
    """Make sure that both counters of the year are there, and lock them until the transaction ends."""
    wanted = [{"shop_id": shop.pk, "series": series, "year": year} for series in FeeInvoice.Series.values]
    execute(OPEN_SERIES, wanted)
    execute(LOCK_SERIES, wanted)


def post_tax(shop: Shop, *, first_id: int, currencies: list[str], effective_at: datetime) -> None:
    """Book the tax of the shop's invoices from that one on.  Their counters are locked, so that all of them are this transaction's."""
    for currency in sorted(currencies):
        journal.open_accounts([chart.fee_revenue(), chart.tax_payable()], currency=currency)
    journal.will_draw_ids()
    journal.post_from(TAX_ENTRIES, {"effective_at": effective_at, "shop_id": shop.pk, "first_id": first_id})


def of_seller(seller: Seller) -> QuerySet[FeeInvoice]:
    """Return the seller's invoices and credit notes, newest first."""
    return FeeInvoice.objects.select_related("seller", "corrects").filter(seller=seller).order_by("-pk")


def of_shop(shop: Shop) -> QuerySet[FeeInvoice]:
    """Return the shop's invoices and credit notes, newest first."""
    return FeeInvoice.objects.select_related("seller", "corrects").filter(shop=shop).order_by("-pk")


def found(shop: Shop, name: str) -> FeeInvoice | None:
    """Return the shop's invoice of that number (INV-2026-000001) or id (inv_...)."""
    invoices = FeeInvoice.objects.select_related("seller", "shop", "corrects").filter(shop=shop)
    number = NUMBER.fullmatch(name)
    if number is None:
        return invoices.filter(public_id=name).first()
    return invoices.filter(series=number[1], year=int(number[2]), sequence=int(number[3])).first()


def year_of(now: datetime) -> int:
    return timezone.localtime(now).year

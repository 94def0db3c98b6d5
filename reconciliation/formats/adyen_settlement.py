"""Adyen's Settlement details report: CSV, all that went into one batch of one merchant account, and what was paid of it.

Gross is in the customer's currency, net in that of our balance; debits and credits stand in columns of their own.  Lines without a gross (a
fee, the payout, what is carried over) are of the net currency alone.  With the payout, all nets of a batch and currency add up to nothing.
"""

from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from typing import BinaryIO

from ledger.currencies import MINOR_UNITS
from reconciliation.formats import rows
from reconciliation.formats.cells import NOTHING, AmountsByCurrency, Rates, Unreadable, Zones, local_moment
from reconciliation.formats.records import LineKind, MalformedFile, SettlementLine

NAME = "adyen_settlement"
COLUMNS = (
    "Merchant Account,Psp Reference,Merchant Reference,Payment Method,Creation Date,TimeZone,Type,Modification Reference,"
    "Gross Currency,Gross Debit (GC),Gross Credit (GC),Exchange Rate,Net Currency,Net Debit (NC),Net Credit (NC),"
    "Commission (NC),Markup (NC),Scheme Fees (NC),Interchange (NC),Batch Number"
).split(",")
OPTIONAL = ("Modification Merchant Reference",)
KINDS = {
    "settled": LineKind.CAPTURE,
    "refunded": LineKind.REFUND,
    "refundedreversed": LineKind.REFUND_FAILED,
    "chargeback": LineKind.DISPUTE,
    "secondchargeback": LineKind.DISPUTE,
    "chargebackreversed": LineKind.DISPUTE_REVERSED,
    "fee": LineKind.FEE,
    "authorisationschemefee": LineKind.FEE,
    "misccosts": LineKind.FEE,
    "invoicededuction": LineKind.FEE,
    "paymentcost": LineKind.FEE,
    "settlecost": LineKind.FEE,
    "merchantpayout": LineKind.PAYOUT,
    "bankinstructionreturned": LineKind.PAYOUT_RETURNED,
    "paidout": LineKind.SELLER_PAYOUT,
    "paidoutreversed": LineKind.SELLER_PAYOUT_RETURNED,
    "depositcorrection": LineKind.RESERVE,
    "balancetransfer": LineKind.CARRIED_OVER,
}
# What Adyen counts otherwise than ISO 4217 does (docs.adyen.com/development-resources/currency-codes).  Its rupiahs are whole, and so are read;
# hundredths of a Chilean peso are refused, since no book has them.
DEVIATING = {"CLP": 2, "CVE": 0, "IDR": 0, "ISK": 2}
REFUNDS = frozenset({LineKind.REFUND, LineKind.REFUND_FAILED})
ONE = Decimal(1)
MOST_BATCHES = 1_000  # in one file, where several reports were made into one


def looks_like(head: bytes) -> bool:
    return rows.has_most(rows.columns(head), COLUMNS)


def read(stream: BinaryIO) -> Iterator[SettlementLine]:
    """Yield the lines; after the last comes the check that each batch adds up to nothing.  Raises MalformedFile."""
    zones, rates, fees = Zones(), Rates("Exchange Rate"), AmountsByCurrency("Commission, Markup, Scheme Fees or Interchange (NC)")
    grosses, nets = DebitsAndCredits("Gross", "GC"), DebitsAndCredits("Net", "NC")
    left: defaultdict[tuple[str, str], Decimal] = defaultdict(Decimal)
    line, account = 0, None
    for line, (
        merchant, payment, order, method, created, zone, type_, modification, gross_currency, gross_debit, gross_credit, written_rate,
        net_currency, net_debit, net_credit, commission, markup, scheme, interchange, batch, our_modification,
    ) in rows.read(stream, COLUMNS, optional=OPTIONAL):  # fmt: skip
        try:
            if merchant != account:
                account = the_only_account(merchant, before=account)
            kind = kind_of(type_)
            fee = fees[net_currency]
            kept = (fee[commission] if commission else NOTHING) + (fee[markup] if markup else NOTHING)
            kept += (fee[scheme] if scheme else NOTHING) + (fee[interchange] if interchange else NOTHING)
            net = nets.read(net_currency, net_debit, net_credit)
            if net is None:
                raise Unreadable("Net Debit (NC) and Net Credit (NC) are both empty")
            gross = grosses.read(gross_currency, gross_debit, gross_credit)
            if gross is None:
                gross, gross_currency, rate = net + kept, net_currency, ONE
            else:
                rate = rates[written_rate] if written_rate or gross_currency != net_currency else ONE
                check(gross, gross_currency, rate, kept, net, net_currency)
            moment = local_moment("Creation Date", created, zones[zone])
            if not batch.strip():
                raise Unreadable("Batch Number is empty")
            left[batch, net_currency] += net
            if len(left) > MOST_BATCHES:
                raise Unreadable(f"is of the {MOST_BATCHES + 1:,}th batch of this file: fetch the reports one by one")
        except Unreadable as error:
            raise MalformedFile(line, str(error)) from None
        about, ours = (payment, order) if kind is LineKind.CAPTURE else (modification, our_modification if kind in REFUNDS else order)
        yield SettlementLine(
            line, kind, type_.strip(), batch.strip(), (about if payment or kind is LineKind.FEE else "").strip(), payment.strip(), ours.strip(), gross_currency, gross,
            net_currency, kept, net, rate, moment, method.strip(), "" if payment else modification.strip(),
        )  # fmt: skip
    if not line:
        raise MalformedFile(1, "the file has a header and no line: a batch has one at least")
    for (batch, currency), sum_ in left.items():
        if sum_:
            raise MalformedFile(
                line, f"the net of batch {batch[:40]} adds up to {sum_} {currency}, not to nothing: a line is missing or wrong"
            )


class DebitsAndCredits:
    """Two columns of which a line has one: what leaves our balance there, and what comes."""

    def __init__(self, name: str, unit: str) -> None:
        self._debit, self._credit = f"{name} Debit ({unit})", f"{name} Credit ({unit})"
        self._debits, self._credits = AmountsByCurrency(self._debit), AmountsByCurrency(self._credit)

    def read(self, currency: str, debit: str, credit: str) -> Decimal | None:
        """Return the amount as our balance sees it; None where both are empty.  Raises Unreadable, also where there are two amounts."""
        if not (debit or credit):
            return None
        left = self._debits[currency][debit] if debit else NOTHING
        came = self._credits[currency][credit] if credit else NOTHING
        if left < 0 or came < 0:
            raise Unreadable(f"{self._debit if left < 0 else self._credit} is below zero")
        if left and came:
            raise Unreadable(f"{self._debit} and {self._credit} have an amount both")
        return came - left


def kind_of(type_: str) -> LineKind:
    """Return what Adyen's journal type is about; one that we do not know is OTHER."""
    name = type_.strip().lower()
    if not name:
        raise Unreadable("Type is empty")
    return KINDS.get(name, LineKind.OTHER)


def the_only_account(merchant: str, *, before: str | None) -> str:
    """Return the merchant account of the file.  Raises Unreadable for an empty one or a second."""
    if not merchant.strip():
        raise Unreadable("Merchant Account is empty")
    if before:
        raise Unreadable(
            f"Merchant Account is {merchant[:80]!r} after {before[:80]!r}: fetch a report of each, since each numbers its batches"
        )
    return merchant


def check(gross: Decimal, gross_currency: str, rate: Decimal, fee: Decimal, net: Decimal, net_currency: str) -> None:
    """Check that net is gross * rate - fee, and the rate 1 within one currency.  Raises Unreadable.

    Between two currencies Adyen rounds to the unit in which it counts the net currency, and writes the rate with fewer digits than it has: half of the last one,
    or of the fourth, is granted.
    """
    if gross_currency == net_currency and rate != ONE:
        raise Unreadable(f"Exchange Rate is {rate} within {net_currency}, where it can only be 1")
    if gross * rate - fee == net:
        return
    if gross_currency == net_currency:
        granted = NOTHING
    else:
        written = rate.as_tuple().exponent
        unit = ONE.scaleb(-DEVIATING.get(net_currency, MINOR_UNITS[net_currency]))
        granted = unit + abs(gross) * Decimal(5).scaleb(min(int(written), -4) - 1)
    if abs(gross * rate - fee - net) > granted:
        raise Unreadable(f"the net is {net} {net_currency}, but gross * rate - fees is {gross * rate - fee:.6f}")

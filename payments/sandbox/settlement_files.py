"""A settlement batch as a file: in our own form, in Adyen's (settlement details report) and in two of Stripe's.

A batch is one day and one currency. Its lines come in minor units, signed as the merchant's balance sees them, and go out
in major units as they come, so that a file of any length needs the memory of one piece. The last line pays out what the
others make, or carries over to the next batch what they lack: all lines together are nothing. Needs no database.
"""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

from payments.sandbox.amounts import digits_of, plain

PIECE_LINES = 1000
OWN_COLUMNS = "batch closed_on line type id charge key method currency gross fee net occurred_at".split()
ADYEN_COLUMNS = [
    *("Company Account", "Merchant Account", "Psp Reference", "Merchant Reference", "Payment Method", "Creation Date", "TimeZone"),
    *("Type", "Modification Reference", "Gross Currency", "Gross Debit (GC)", "Gross Credit (GC)", "Exchange Rate", "Net Currency"),
    *("Net Debit (NC)", "Net Credit (NC)", "Commission (NC)", "Markup (NC)", "Scheme Fees (NC)", "Interchange (NC)"),
    *("Payment Method Variant", "Modification Merchant Reference", "Batch Number"),
    *(f"Reserved{number}" for number in range(4, 11)),
]
RESERVED = [""] * 7
STRIPE_COLUMNS = [
    *("automatic_payout_id", "automatic_payout_effective_at_utc", "balance_transaction_id", "created_utc", "available_on_utc"),
    *("currency", "gross", "fee", "net", "reporting_category", "source_id", "description", "charge_id", "payment_method_type"),
    *("card_brand", "payment_metadata[order]", "refund_metadata[refund]"),
]
STRIPE_BALANCE_COLUMNS = [name for name in STRIPE_COLUMNS if not name.startswith("automatic_payout")]
ADYEN_TYPES = {
    "charge": "Settled",
    "refund": "Refunded",
    "refund_failed": "RefundedReversed",
    "dispute": "Chargeback",
    "dispute_won": "ChargebackReversed",
    "dispute_fee": "Fee",
    "payout": "MerchantPayout",
    "carried_over": "Balancetransfer",
}
ADYEN_METHODS = {"mastercard": "mc"}
OTHER_THAN_CARD = ("digital_wallet", "qr", "pay_later")
STRIPE_CATEGORIES = {
    "charge": "charge",
    "refund": "refund",
    "refund_failed": "refund_failure",
    "dispute": "dispute",
    "dispute_won": "dispute_reversal",
    "dispute_fee": "fee",
    "payout": "payout",
}
STRIPE_HELD, STRIPE_RELEASED = "payout_minimum_balance_hold", "payout_minimum_balance_release"
OF_NO_PAYMENT = ("payout", "carried_over")


class Batch(NamedTuple):
    """What a file is about: the batch's name, its day and its currency, whose it is, and what the batch before lacked."""

    name: str
    closed_on: date
    currency: str
    account: str
    carried_in: int = 0


class Line(NamedTuple):
    """One line, in minor units. `reference` is what the merchant calls it, `charge_reference` what he calls its charge."""

    type: str
    id: str
    charge: str
    key: str
    reference: str
    charge_reference: str
    method: str
    gross: int
    fee: int
    occurred_at: datetime


class Figures(NamedTuple):
    """A line's amounts as its currency writes them."""

    gross: str
    fee: str
    net: str


Row = Callable[[Batch, int, Line, Figures], Sequence[str | int]]


class Format(NamedTuple):
    """One form of the file: its columns, what stands in them, and which types of lines it leaves out."""

    columns: Sequence[str]
    row: Row
    without: Sequence[str] = ()


def written(batch: Batch, lines: Iterable[Line], *, form: Format) -> Iterator[bytes]:
    """Yield the file, a piece at a time. The same lines always make the same bytes."""
    text, digits = io.StringIO(), digits_of(batch.currency)
    table = csv.writer(text, lineterminator="\n")
    table.writerow(form.columns)
    for number, line in enumerate(whole(batch, lines), start=1):
        if line.type not in form.without:
            figures = Figures(plain(line.gross, digits), plain(line.fee, digits), plain(line.gross - line.fee, digits))
            table.writerow(form.row(batch, number, line, figures))
        if number % PIECE_LINES == 0:
            yield text.getvalue().encode()
            text.seek(0)
            text.truncate()
    yield text.getvalue().encode()


def whole(batch: Batch, lines: Iterable[Line]) -> Iterator[Line]:
    """Yield the lines with what the batch before lacked before them, and what is paid out or lacking behind them."""
    closed_at = datetime.combine(batch.closed_on, time(), tzinfo=UTC) + timedelta(days=1)
    balance = -batch.carried_in
    if batch.carried_in:
        yield _of_the_batch("carried_over", "", -batch.carried_in, at=closed_at - timedelta(days=1))
    for line in lines:
        balance += line.gross - line.fee
        yield line
    if balance > 0:
        yield _of_the_batch("payout", batch.name, -balance, at=closed_at)
    elif balance < 0:
        yield _of_the_batch("carried_over", "", -balance, at=closed_at)


def _of_the_batch(kind: str, id: str, gross: int, *, at: datetime) -> Line:
    return Line(kind, id, "", "", "", "", "", gross, 0, at)


def _own(batch: Batch, number: int, line: Line, figures: Figures) -> Sequence[str | int]:
    about = (batch.name, batch.closed_on.isoformat(), number, line.type, line.id, line.charge, line.key, line.method, batch.currency)
    return *about, *figures, f"{line.occurred_at:%Y-%m-%dT%H:%M:%S.%fZ}"


def _adyen(batch: Batch, number: int, line: Line, figures: Figures) -> Sequence[str | int]:
    """Adyen gives each amount without its sign, as debit or as credit, and no gross, fee or reference where no payment is meant.

    The fee of a dispute has no gross either, and names the payment and the dispute.
    """
    who, when, kind = (batch.account, batch.account), f"{line.occurred_at:%Y-%m-%d %H:%M:%S}", ADYEN_TYPES[line.type]
    net = (batch.currency, *_sides(figures.net))
    if line.type in (*OF_NO_PAYMENT, "dispute_fee"):
        about = f"{batch.name} batch, {batch.account}" if line.type in OF_NO_PAYMENT else line.id
        of_charge = (line.charge, line.charge_reference, "", when, "UTC", kind, about)
        return *who, *of_charge, "", "", "", "", *net, "", "", "", "", "", "", batch.name, *RESERVED
    method, gross = ADYEN_METHODS.get(line.method, line.method), (batch.currency, *_sides(figures.gross), "1")
    of_charge = (line.charge, line.charge_reference, method, when, "UTC", kind, line.id)
    return *who, *of_charge, *gross, *net, figures.fee, "", "", "", "", line.reference, batch.name, *RESERVED


def _sides(amount: str) -> tuple[str, str]:
    """Return debit and credit."""
    return (amount[1:], "") if amount.startswith("-") else ("", amount)


def _stripe(batch: Batch, number: int, line: Line, figures: Figures) -> Sequence[str | int]:
    paid_on = batch.closed_on + timedelta(days=1)
    return (batch.name, f"{paid_on} 00:00:00", *_stripe_balance(batch, number, line, figures))


def _stripe_balance(batch: Batch, number: int, line: Line, figures: Figures) -> Sequence[str | int]:
    """A dispute's fee is a line of its own, whose amount is the gross."""
    amounts = (figures.net, plain(0, digits_of(batch.currency)), figures.net) if line.type == "dispute_fee" else figures
    is_refund = line.type in ("refund", "refund_failed")
    return (
        *(f"txn_{batch.name}_{number}", f"{line.occurred_at:%Y-%m-%d %H:%M:%S}", f"{batch.closed_on + timedelta(days=1)} 00:00:00"),
        *(batch.currency.lower(), *amounts, _stripe_category(line), line.id),
        *(line.type.replace("_", " "), line.charge, *_method_and_brand(line.method)),
        *(line.charge_reference, line.reference if is_refund else ""),
    )


def _stripe_category(line: Line) -> str:
    """Stripe has no line for what a batch lacks: it stands as what is held of one payout, below zero, and released for the next."""
    if line.type == "carried_over":
        return STRIPE_HELD if line.gross < 0 else STRIPE_RELEASED
    return STRIPE_CATEGORIES[line.type]


def _method_and_brand(method: str) -> tuple[str, str]:
    """Return the way to pay and, of a card, its brand."""
    return (method, "") if method in OTHER_THAN_CARD else ("card" if method else "", method)


FORMATS: Mapping[str, Format] = {
    "sandbox": Format(OWN_COLUMNS, _own),
    "adyen": Format(ADYEN_COLUMNS, _adyen),
    "stripe_payout": Format(STRIPE_COLUMNS, _stripe),
    "stripe_balance": Format(STRIPE_BALANCE_COLUMNS, _stripe_balance, without=OF_NO_PAYMENT),
}

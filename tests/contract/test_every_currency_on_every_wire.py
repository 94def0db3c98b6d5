"""Every currency of ISO 4217 on every wire: one minor unit, a usual amount and the largest, there and back, by the golden list of decimals.

Who deviates from ISO 4217 is read as it writes: zeros behind what the currency counts are no finer, and anything else there is refused.
"""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from djmoney.money import Money
from lxml import etree

from ledger import answers, money
from ledger.money import from_minor
from payments.psp import sandbox as psp
from payments.sandbox import bank_files, camt053, mt940, settlement_files, wire
from payouts import pain001
from reconciliation.formats import adyen_settlement, registry, stripe, stripe_balance_change
from reconciliation.formats import camt053 as camt053_in
from reconciliation.formats import mt940 as mt940_in
from reconciliation.formats.records import BankLine, MalformedFile, SettlementLine

GOLDEN = Path(__file__).parents[1] / "golden" / "minor_units.csv"
LISTED = list(csv.DictReader(line for line in GOLDEN.read_text().splitlines() if not line.startswith("#")))
CODES = [row["code"] for row in LISTED]
DECIMALS = {column: {row["code"]: int(row[column]) for row in LISTED} for column in LISTED[0] if column not in ("code", "number")}
TWELVE_NINES = 999_999_999_999
DAY = date(2026, 11, 20)
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
OURS = pain001.Account(holder="Onebook GmbH", iban="DE89370400440532013000", bic="COBADEFFXXX")
ADA = pain001.Account(holder="Ada", iban="AT611904300234573201")


def amounts_of(currency: str, *, decimals: int | None = None) -> list[Money]:
    """Return the smallest amount that has both the currency's and so many decimals, a usual one and the largest."""
    places = min(DECIMALS["decimals"][currency], DECIMALS["decimals"][currency] if decimals is None else decimals)
    units = (1, 123 * 10**places + 10**places // 2, (TWELVE_NINES + 1) * 10**places - 1)
    return [Money(Decimal(count).scaleb(-places), currency) for count in units]


def as_written(amount: Money, *, decimals: int) -> str:
    return f"{amount.amount:.{decimals}f}"


def decimals_of(written: str, *, point: str = ".") -> int:
    return len(written.partition(point)[2])


# --- The API of the PSP and the bank --------------------------------------------------------------------------------


@pytest.mark.parametrize("currency", CODES)
def test_bug_52_the_sandbox_is_asked_in_minor_units(currency: str) -> None:
    for amount in amounts_of(currency):
        said = psp.wire(amount)
        assert said == {"amount": int(amount.amount * 10 ** DECIMALS["sandbox"][currency]), "currency": currency}
        assert wire.amount(said["amount"]) == said["amount"], "the sandbox takes it"
        assert from_minor(answers.count_of(said["amount"]), currency) == amount


# --- Settlement files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", settlement_files.FORMATS)
def test_bug_52_settlement_files_say_what_was_counted(form: str) -> None:
    for currency in CODES:
        amounts = amounts_of(currency)
        lines = [charge(number, money.to_minor(amount)) for number, amount in enumerate(amounts)]
        batch = settlement_files.Batch("sb-20261120-x", DAY, currency, "acct_onebook")
        content = b"".join(settlement_files.written(batch, lines, form=settlement_files.FORMATS[form]))
        read = read_settlement(content)
        assert [(line.gross, line.currency) for line in read[:3]] == [(amount.amount, currency) for amount in amounts], currency
        [name] = [name for name in ("gross", "Gross Credit (GC)") if name in settlement_files.FORMATS[form].columns]
        written = [row[name] for row in csv.DictReader(io.StringIO(content.decode()))][:3]
        assert {decimals_of(cell) for cell in written} == {DECIMALS["sandbox"][currency]}, currency


def charge(number: int, gross: int) -> settlement_files.Line:
    return settlement_files.Line("charge", f"ch_{number}", f"ch_{number}", f"key{number}", "", f"ord_{number}", "visa", gross, 0, NOON)


def read_settlement(content: bytes) -> list[SettlementLine]:
    format_ = registry.recognise(content[: registry.HEAD])
    assert format_ is not None
    return [line for line in format_.read(io.BytesIO(content)) if isinstance(line, SettlementLine)]


def stripe_report(currency: str, gross: str, zero: str) -> bytes:
    row = ["txn_1", "2026-11-20 12:00:00", currency.lower(), gross, zero, gross, "charge", "ch_1"]
    return ("\n".join((",".join(stripe.COLUMNS), ",".join(row))) + "\n").encode()


def adyen_report(currency: str, gross: str, zero: str) -> bytes:
    of_charge = ["acct", "psp1", "ord_1", "visa", "2026-11-20 12:00:00", "UTC", "Settled", "mod1", currency, "", gross, "1"]
    of_payout = ["acct", "", "", "", "2026-11-20 12:00:00", "UTC", "MerchantPayout", "paid", "", "", "", ""]
    rows = (
        adyen_settlement.COLUMNS,
        [*of_charge, currency, "", gross, zero, "", "", "", "7"],
        [*of_payout, currency, gross, "", "", "", "", "", "7"],
    )
    return ("\n".join(",".join(row) for row in rows) + "\n").encode()


REPORTS: Sequence[tuple[str, Callable[[str, str, str], bytes], Callable[[io.BytesIO], Iterator[SettlementLine]]]] = [
    ("stripe", stripe_report, stripe_balance_change.read),
    ("adyen", adyen_report, adyen_settlement.read),
]


@pytest.mark.parametrize(("party", "report", "read"), REPORTS, ids=["stripe", "adyen"])
def test_bug_53_reports_are_read_with_the_decimals_that_their_company_writes(
    party: str, report: Callable[[str, str, str], bytes], read: Callable[[io.BytesIO], Iterator[SettlementLine]]
) -> None:
    for currency in CODES:
        decimals = DECIMALS[party][currency]
        for amount in amounts_of(currency, decimals=decimals):
            written = as_written(amount, decimals=decimals)
            line, *_ = read(io.BytesIO(report(currency, written, as_written(money.zero(currency), decimals=decimals))))
            assert (line.gross, line.net, line.currency) == (amount.amount, amount.amount, currency), (currency, written)


@pytest.mark.parametrize(("party", "report", "read"), REPORTS, ids=["stripe", "adyen"])
def test_pg_16_what_is_finer_than_the_currency_counts_is_refused_whoever_writes_it(
    party: str, report: Callable[[str, str, str], bytes], read: Callable[[io.BytesIO], Iterator[SettlementLine]]
) -> None:
    for currency in CODES:
        finer = "5." + "0" * DECIMALS["decimals"][currency] + "1"
        with pytest.raises(MalformedFile, match=f"finer than {currency} counts"):
            list(read(io.BytesIO(report(currency, finer, "0"))))


def test_bug_53_adyen_deviates_where_its_list_says_so_and_nowhere_else() -> None:
    deviating = {code: decimals for code, decimals in DECIMALS["adyen"].items() if decimals != DECIMALS["decimals"][code]}
    assert deviating == adyen_settlement.DEVIATING


@pytest.mark.parametrize(("net", "is_read"), [("178234", True), ("178235", True), ("178236", False), ("178234.56", True)])
def test_bug_53_adyen_may_round_what_it_changes_to_its_own_unit(net: str, is_read: bool) -> None:
    payment = ["acct", "psp1", "ord_1", "visa", "2026-11-20 12:00:00", "UTC", "Settled", "mod1", "EUR", "", "9.99", "17841.2973"]
    row = ",".join([*payment, "IDR", "", net, "", "", "", "", "7"])
    lines = adyen_settlement.read(io.BytesIO(f"{','.join(adyen_settlement.COLUMNS)}\n{row}\n".encode()))
    if is_read:
        assert next(lines).net == Decimal(net)
    else:
        with pytest.raises(MalformedFile, match="gross \\* rate"):
            next(lines)


# --- Bank statements and payment files ------------------------------------------------------------------------------


def statement_of(currency: str) -> tuple[bank_files.Statement, list[bank_files.Entry]]:
    counts = [money.to_minor(amount) for amount in amounts_of(currency)]
    entries = [
        bank_files.Entry(number, "payout", -count, f"po_{number}", f"po-{number}", "3201", "") for number, count in enumerate(counts, 1)
    ]
    total = sum(counts)
    return bank_files.Statement("st-1", 1, DAY, currency, "Onebook", total, 0, len(counts), 0, 0, total), entries


def bank_lines(records: Iterator[object]) -> list[Decimal]:
    return [record.amount for record in records if isinstance(record, BankLine)]


@pytest.mark.parametrize("version", camt053.DIALECTS)
def test_bug_52_a_camt_statement_has_its_currencys_decimals(version: str) -> None:
    for currency in CODES:
        statement, entries = statement_of(currency)
        content = b"".join(camt053.written(statement, entries, dialect=camt053.DIALECTS[version]))
        assert bank_lines(camt053_in.read(io.BytesIO(content))) == [-amount.amount for amount in amounts_of(currency)]
        written = [str(element.text) for element in etree.fromstring(content).iterfind(".//{*}Ntry/{*}Amt")]
        assert {decimals_of(each) for each in written} == {DECIMALS["iso20022"][currency]}, currency


def test_bug_52_a_swift_statement_has_its_currencys_decimals_behind_a_comma() -> None:
    for currency in CODES:
        statement, entries = statement_of(currency)
        content = b"".join(mt940.written(statement, entries))
        assert bank_lines(mt940_in.read(io.BytesIO(content))) == [-amount.amount for amount in amounts_of(currency)]
        written = [line.partition("D")[2].partition("N")[0] for line in content.decode().split("\r\n") if line.startswith(":61:")]
        assert all("," in each and decimals_of(each, point=",") == DECIMALS["mt940"][currency] for each in written), (currency, written)


@pytest.mark.parametrize("version", pain001.DIALECTS)
def test_bug_52_a_payment_file_has_its_currencys_decimals(version: str) -> None:
    batches = []
    for place, currency in enumerate(CODES):
        amounts = [amount for amount in amounts_of(currency) if currency != "EUR" or amount.amount <= pain001.LARGEST_SEPA]
        transfers = [
            pain001.Transfer(f"po_{place:030x}{number:02x}", amount, ADA, "payout", number) for number, amount in enumerate(amounts)
        ]
        total = sum(amounts, start=money.zero(currency))
        batches.append((pain001.Batch(f"{currency}-1", len(amounts), total, DAY, OURS), transfers))
    heading = pain001.Heading(version=version, message_id="pf-1", created_at=NOON, sender="Onebook")
    found = etree.fromstring(b"".join(pain001.write(heading, batches)))
    written = [(str(each.get("Ccy")), str(each.text)) for each in found.iterfind(".//{*}InstdAmt")]
    assert [Money(text, currency) for currency, text in written] == [each.amount for _batch, transfers in batches for each in transfers]
    assert all(decimals_of(text) == DECIMALS["iso20022"][currency] for currency, text in written)
    sums = [str(each.text) for each in found.iterfind(".//{*}PmtInf/{*}CtrlSum")]
    assert [Decimal(each) for each in sums] == [batch.total.amount for batch, _transfers in batches]
    assert all(decimals_of(each) <= max(2, DECIMALS["iso20022"][currency]) for each, currency in zip(sums, CODES, strict=True))

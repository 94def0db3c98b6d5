"""The camt.053 of a statement: valid by the official schema of ISO 20022, whatever a seller is called, and its sums are its entries'."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from djmoney.money import Money
from lxml import etree

from ledger.money import exact
from wallet import statements
from wallet.documents import camt053
from wallet.models import Seller, Shop
from wallet.months import Month
from wallet.statements import Figures, Row, Statement

SCHEMA = etree.XMLSchema(etree.parse(Path(__file__).with_name("camt.053.001.08.xsd")))
NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
NAMES = {"": camt053.NAMESPACE}


def eur(amount: str) -> Money:
    return exact(amount, "EUR")


def row(number: int, kind: str, gross: str, fee: str, changed: tuple[str, str, str], balance: str) -> Row:
    at = datetime(2026, 10, number, 9, 31, 10, 412_000, tzinfo=UTC)
    pending, available, reserved = (eur(amount) for amount in changed)
    source = f"ord_{number:032x}"
    money = (eur(gross), eur(fee), eur(gross) - eur(fee))
    return Row(number, at, kind, source, 4000 + number, *money, pending, available, reserved, eur(balance), eur("0.00"))


ROWS = [
    row(1, "sale", "100.00", "10.00", ("90.00", "0.00", "0.00"), "95.00"),
    row(2, "release", "0.00", "0.00", ("-90.00", "80.00", "10.00"), "95.00"),
    row(3, "refund", "-100.00", "-10.00", ("0.00", "-90.00", "0.00"), "5.00"),
    row(31, "payout", "-25.00", "0.00", ("0.00", "-25.00", "0.00"), "-20.00"),
]


def october(*, name: str = "Ada's Books", is_final: bool = True) -> Statement:
    nothing = eur("0.00")
    return Statement(
        seller=Seller(name=name, shop=Shop(name="Northwind & Söhne <AG>")),
        wallet_id=118,
        currency="EUR",
        month=Month(2026, 10),
        number=7,
        since=Month(2026, 10).since,
        until=Month(2026, 10).until if is_final else NOW,
        is_final=is_final,
        opening=Figures(eur("5.00"), nothing, nothing),
        sums=tuple(statements.KindSum(each.kind, 1, each.gross, each.fee, Figures(each.net, nothing, nothing)) for each in ROWS),
        closing=Figures(eur("-20.00"), nothing, nothing),
        credits=2,
        credited=eur("90.00"),
        debited=eur("115.00"),
    )


@pytest.fixture(autouse=True)
def its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    def rows(_statement: Statement) -> Iterator[Row]:
        return iter(ROWS)

    monkeypatch.setattr(statements, "rows", rows)


def file_of(statement: Statement) -> etree._Element:
    """Return the file, read as a strict program reads it, and found valid."""
    document = etree.fromstring("".join(camt053.written(statement, now=NOW)).encode())
    SCHEMA.assertValid(document)
    return document


def test_the_file_is_valid_and_its_balances_and_sums_are_those_of_its_entries() -> None:
    document = file_of(october())
    assert [
        (balance.findtext("Tp/CdOrPrtry/Cd", namespaces=NAMES), signed(balance), balance.findtext("Dt/Dt", namespaces=NAMES))
        for balance in document.iterfind(".//Stmt/Bal", NAMES)
    ][:2] == [("OPBD", 5, "2026-10-01"), ("CLBD", -20, "2026-10-31")]
    entries = document.findall(".//Ntry", NAMES)
    assert [signed(entry) for entry in entries] == [90, 0, -90, -25]
    assert 5 + sum(signed(entry) for entry in entries) == -20
    assert [document.findtext(f".//{name}/Sum", namespaces=NAMES) for name in ("TtlNtries", "TtlCdtNtries", "TtlDbtNtries")] == [
        "205.00",
        "90.00",
        "115.00",
    ]
    sale = entries[0]
    assert (sale.findtext("Chrgs/Rcrd/Amt", namespaces=NAMES), sale.findtext("AmtDtls/InstdAmt/Amt", namespaces=NAMES)) == (
        "10.00",
        "100.00",
    )
    assert sale.findtext(".//RmtInf/Ustrd", namespaces=NAMES) == f"ord_{1:032x}"
    assert entries[1].findtext("AddtlNtryInf", namespaces=NAMES) == "Delivered: now available: 80.00 EUR"
    assert document.findtext(".//ElctrncSeqNb", namespaces=NAMES) == "7"


def test_a_month_that_is_not_over_closes_with_an_interim_balance() -> None:
    codes = [each.text for each in file_of(october(is_final=False)).iterfind(".//Bal/Tp/CdOrPrtry/Cd", NAMES)]
    assert codes == ["OPBD", "ITBD", "OPAV", "ITAV"]


@pytest.mark.parametrize("name", ["北京书店", "A\x00B\x0b<&>\"'\ud800", "]]><!--", "x" * 500, "\x01"])
def test_whatever_a_seller_is_called_the_file_stays_valid(name: str) -> None:
    said = file_of(october(name=name)).findtext(".//Ownr/Nm", namespaces=NAMES)
    assert said
    assert len(said) <= 140
    assert "\x00" not in said


def signed(element: etree._Element) -> float:
    amount, direction = (element.findtext(name, namespaces=NAMES) for name in ("Amt", "CdtDbtInd"))
    return (-1 if direction == "DBIT" else 1) * float(amount or "nothing")

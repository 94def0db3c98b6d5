"""pain.001, judged by the schemas of ISO 20022 themselves: both versions, many transfers, names of every script, and what no bank would take."""

import string
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import pytest
import sepaxml
from djmoney.money import Money
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from ledger.money import exact
from payouts import pain001
from payouts.pain001 import Account, Batch, CannotBeWritten, DoesNotAddUp, Heading, Transfer

SCHEMAS = Path(sepaxml.__file__).parent / "schemas"
VERSIONS = sorted(pain001.DIALECTS)
OURS = Account(holder="Onebook GmbH & Co. KG", iban="DE89370400440532013000", bic="COBADEFFXXX")
ADA = Account(holder="Ada Müller", iban="AT611904300234573201")
BEN = Account(holder="Ben Okafor", country="US", account_number="000123456789", bank_code="110000000")
CHO = Account(holder="張偉", country="JP", account_number="1234567", bank_code="0005001", bic="BOTKJPJT")
NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)


def heading(version: str = "pain.001.001.09") -> Heading:
    return Heading(version=version, message_id="pf-0199f3c4a7d27b3c8a1e5d6f7a8b9c0d", created_at=NOON, sender="Onebook")


def transfer(
    number: int = 0, amount: str = "12.34", currency: str = "EUR", creditor: Account = ADA, text: str = "Northwind payout"
) -> Transfer:
    return Transfer(f"po_{number:032x}", exact(amount, currency), creditor, text, number)


def batch(count: int, total: str, currency: str = "EUR", debtor: Account = OURS) -> Batch:
    return Batch(id=f"{currency}-1", count=count, total=exact(total, currency), execute_on=date(2026, 11, 3), debtor=debtor)


def document(*batches: tuple[Batch, list[Transfer]], version: str = "pain.001.001.09") -> etree._Element:
    """Return the file, read by another XML library and found valid by the schema of its version."""
    found = etree.fromstring(b"".join(pain001.write(heading(version), batches)))
    etree.XMLSchema(etree.parse(SCHEMAS / f"{version}.xsd")).assertValid(found)
    return found


def said(found: etree._Element, name: str) -> list[str | None]:
    return [element.text for element in found.iterfind(f".//{{*}}{name}")]


@pytest.mark.parametrize("version", VERSIONS)
def test_two_thousand_transfers_in_three_currencies_are_valid_and_counted_at_both_levels(version: str) -> None:
    euros = [transfer(number, amount=f"{number}.07") for number in range(1, 2001)]
    dollars = [transfer(number, "0.50", "USD", BEN) for number in range(3001, 3003)]
    yens = [transfer(4001, "7000", "JPY", CHO)]
    local = Account(holder="Onebook KK", country="JP", account_number="7654321", bic="BOTKJPJT")
    three = ((batch(2000, "2001140.00"), euros), (batch(2, "1.00", "USD"), dollars), (batch(1, "7000", "JPY", local), yens))
    found = document(*three, version=version)
    assert said(found, "NbOfTxs") == ["2003", "2000", "2", "1"]
    assert said(found, "CtrlSum") == ["2008141.00", "2001140.00", "1.00", "7000.00"]
    assert [element.get("Ccy") for element in found.iterfind(".//{*}InstdAmt")] == ["EUR"] * 2000 + ["USD"] * 2 + ["JPY"]
    assert said(found, "InstdAmt")[-3:] == ["0.50", "0.50", "7000"]
    assert said(found, "ChrgBr") == ["SLEV", "SHAR", "SHAR"]
    assert len(set(said(found, "EndToEndId"))) == 2003
    assert len(said(found, "UETR")) == (2003 if version.endswith("09") else 0)


def test_the_end_to_end_id_is_the_public_id_and_comes_back_as_it() -> None:
    found = document((batch(1, "12.34"), [transfer()]))
    [end_to_end] = said(found, "EndToEndId")
    assert end_to_end is not None and len(end_to_end) == 35
    assert pain001.public_id_of(end_to_end) == transfer().public_id


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("Søren Ødegård & Łukasz Żółć", "Soren Odegard + Lukasz Zolc"),
        ("Straße 7 @ Köln_Süd", "Strasse 7 . Koln-Sud"),
        ("Γιώργος Παπαδόπουλος", "Giorgos Papadopoylos"),
        ("Ђорђе", "Djordje"),
        ("<script>&amp;]]>", "(script)+amp.)))"),
        ("  two\n\tlines\u202e ", "two lines"),
        ("x" * 80, "x" * 70),
    ],
)
def test_names_are_written_in_the_characters_of_sepa(name: str, written: str) -> None:
    creditor = Account(holder=name, iban=ADA.iban)
    assert said(document((batch(1, "12.34"), [transfer(creditor=creditor)])), "Nm")[-1] == written


@given(name=st.text(max_size=90))
@settings(max_examples=50, deadline=None)
def test_whatever_somebody_calls_himself_is_written_plainly(name: str) -> None:
    written = pain001.plain(f"A {name}", longest=70, field="holder", whose="po_1")
    assert set(written) <= {*string.ascii_letters, *string.digits, *"/-?:().,'+ "}
    assert 1 <= len(written) <= 70 and written == written.strip()


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (transfer(creditor=Account(holder="Ada", iban="AT611904300234573202")), "iban"),
        (transfer(creditor=Account(holder="Ada", iban="AT61 1904 3002 3457 3201")), "iban"),
        (transfer(creditor=BEN), "iban"),
        (transfer(creditor=Account(holder="Ada", iban=ADA.iban, bic="NOT-A-BIC")), "bic"),
        (transfer(creditor=Account(holder="---", iban=ADA.iban)), "holder"),
        (transfer(amount="1000000000.00"), "amount"),
        (transfer(amount="0.00"), "amount"),
        (transfer(currency="USD"), "currency"),
        (Transfer(f"po_{'0' * 33}", exact("12.34", "EUR"), ADA, "too long an id", 1), "public_id"),
    ],
)
def test_what_no_bank_would_take_is_refused_by_name_and_never_shows_the_number(wrong: Transfer, field: str) -> None:
    with pytest.raises(CannotBeWritten) as refused:
        list(pain001.write(heading(), [(batch(1, "12.34"), [wrong])]))
    assert refused.value.field == field
    assert wrong.creditor.iban not in refused.value.detail or not wrong.creditor.iban
    assert "904300" not in repr(wrong)


@pytest.mark.parametrize(("count", "total"), [(2, "24.68"), (1, "12.35"), (0, "0.00")])
def test_a_batch_that_is_not_what_it_says_has_no_end(count: int, total: str) -> None:
    pieces: list[bytes] = []
    with pytest.raises(DoesNotAddUp):
        pieces.extend(pain001.write(heading(), [(batch(count, total), [transfer()])]))
    assert b"</Document>" not in b"".join(pieces)


def test_the_same_rows_make_the_same_bytes_and_a_piece_is_all_that_is_held() -> None:
    seen: list[int] = []

    def many() -> Iterator[Transfer]:
        for number in range(1000):
            seen.append(number)
            yield transfer(number, "1.00")

    pieces = pain001.write(heading(), [(batch(1000, "1000.00"), many())])
    first = next(pieces)
    assert len(first) < 2 * pain001.PIECE
    assert len(seen) < 200
    elsewhere = Heading("pain.001.001.09", heading().message_id, NOON.astimezone(timezone(timedelta(hours=9))), "Onebook")
    again = b"".join(pain001.write(elsewhere, [(batch(1000, "1000.00"), many())]))
    assert first + b"".join(pieces) == again


def test_a_sum_keeps_what_finer_currencies_count() -> None:
    found = document((Batch("KWD-1", 1, Money("1.005", "KWD"), date(2026, 11, 3), OURS), [transfer(1, "1.005", "KWD", BEN)]))
    assert said(found, "CtrlSum") == ["1.005", "1.005"]

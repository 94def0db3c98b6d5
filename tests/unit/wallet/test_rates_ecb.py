"""The European Central Bank's files: both forms say the same, and whatever else comes is refused with its line."""

from datetime import date
from decimal import Decimal

import pytest

from tests.rates import daily_csv, xml
from wallet import rates_ecb
from wallet.rates_ecb import UnreadableRates

FRIDAY, THURSDAY = date(2026, 11, 20), date(2026, 11, 19)
GOOD = xml(("2026-11-20", {"USD": "1.0512", "JPY": "163.11"}))


def test_a_day_is_read_alike_from_xml_and_from_csv() -> None:
    expected = {FRIDAY: {"USD": Decimal("1.0512"), "JPY": Decimal("163.11")}}
    assert rates_ecb.read(GOOD).days == expected
    assert rates_ecb.read(daily_csv(FRIDAY, USD="1.0512", JPY="163.11")).days == expected


def test_the_history_is_read_from_its_earliest_day_on_without_what_was_not_quoted_or_is_gone() -> None:
    history = b"Date,USD,CYP,ISK,\n2026-11-20,1.0512,N/A,N/A,\n2026-11-19,1.05,0.58,140.5,\n\n"
    found = rates_ecb.read(history)
    assert list(found.days) == [THURSDAY, FRIDAY]
    assert found.days == {THURSDAY: {"USD": Decimal("1.05"), "ISK": Decimal("140.5")}, FRIDAY: {"USD": Decimal("1.0512")}}
    assert found.left_out == {"CYP"}
    as_xml = xml(("2026-11-20", {"USD": "1.0512"}), ("2026-11-19", {"USD": "1.05", "CYP": "0.58", "ISK": "140.5"}))
    assert rates_ecb.read(as_xml) == found


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", 1),
        (b"\xff\xfe\x00", 1),
        (b"Day,USD\n2026-11-20,1\n", 1),
        (b"Date,USD\n", 1),
        (b"Date,USD,USD\n2026-11-20,1,1\n", 1),
        (b"Date,EUR\n2026-11-20,1\n", 1),
        (b"Date,usd\n2026-11-20,1\n", 1),
        (b"Date,USD,JPY\n2026-11-20,1\n", 2),
        (b"Date,USD\n2026-11-20,1,2\n", 2),
        (b"Date,USD\n2026-02-30,1\n", 2),
        (b"Date,USD\n20/11/2026,1\n", 2),
        (b"Date,USD\n2026-11-20,1\n2026-11-20,1\n", 3),
        *((f"Date,USD\n2026-11-20,{rate}\n".encode(), 2) for rate in ("0", "0.000", "-1", "1e5", "NaN", "1.0000000000001", "1 000", "x")),
        (GOOD[:-10], 13),
        (b"<a/>", 1),
        (b'<?xml version="1.0"?>\n<!DOCTYPE a [<!ENTITY b "c">]>\n<a>&b;</a>', 2),
        (GOOD.replace(b"UTF-8", b"UTF-7"), 1),
        (GOOD.replace(b"time=", b"day="), 8),
        (GOOD.replace(b"'1.0512'", b"'1,0512'"), 9),
        (GOOD.replace(b"JPY", b"USD"), 10),
        (GOOD.replace(b"<gesmes:subject>", b"<gesmes:subject>" + b"<gesmes:name>" * 100_000), 3),
        (GOOD.replace(b"<Cube currency='JPY'", b"<Cube weight='1' currency='JPY'"), 10),
        (xml(("2026-11-20", {"USD": "1"}), ("2026-11-20", {"USD": "1"})), 11),
        (xml(("2026-11-20", {})), 1),
    ],
)
def test_a_file_that_is_none_is_refused_with_its_line(content: bytes, line: int) -> None:
    with pytest.raises(UnreadableRates, match=f"^Line {line}: .*Nothing of the file was taken"):
        rates_ecb.read(content)


def test_a_file_larger_than_any_of_the_banks_is_not_read() -> None:
    with pytest.raises(UnreadableRates, match="million bytes"):
        rates_ecb.read(b" " * (rates_ecb.LARGEST + 1))

"""Files of real banks, from the test suites of public projects: each is read with its balances proved, or refused for what is wrong in it.

They lie beside the project and not in it; without them these tests are skipped.  Most were shortened by whoever published them, so that
their balances no longer agree.
"""

from decimal import Decimal
from pathlib import Path

import pytest

from reconciliation.formats import registry
from reconciliation.formats.records import BankLine, MalformedFile, StatementClosed, StatementOpened

DATA = Path(__file__).resolve().parents[5] / "shared" / "data"
PROVED = {  # the balance before and after each statement, and its lines
    "mt940/jejik-generic.sta": [("100.00", "90.00", 1), ("90.00", "80.00", 1)],
    "mt940/jejik-rabobank-iban.sta": [("1000.00", "965.00", 2), ("965.00", "930.00", 2)],
    "mt940/mBank-mt940.sta": [("0.40", "0.43", 3)],
    "mt940/self-provided-february_30.sta": [("1200.00", "1194.00", 1)],
}
REFUSED = {  # the line, and what does not agree there
    "camt053/oca-test-camt053.xml": (287, "the closing balance is 15121.12, but the opening 15568.27 and 3 lines of together -12.99"),
    "mt940/jejik-abnamro.sta": (27, "the closing balance is 876.84, but the opening 3236.28 and 8 lines of together -321.44"),
    "mt940/jejik-ing.sta": (26, "the closing balance is 3.47, but the opening 0.00 and 7 lines of together -45.59"),
    "mt940/jejik-triodos.sta": (12, "the closing balance is 4370.79, but the opening 4975.09 and 2 lines of together -715.70"),
    "mt940/self-provided-invalid_statement.sta": (1, "the file has no statement"),
    "mt940/self-provided-raiffeisen-cmi.sta": (
        40,
        "the closing balance is 25281687.60, but the opening 25170637.10 and 7 lines of together -1012213.50",
    ),
}
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the bank files of ../shared/data are not here")


def statements_in(name: str) -> list[tuple[Decimal, Decimal, int]]:
    """Return opening, closing and count of each statement, added up here once more."""
    found: list[tuple[Decimal, Decimal, int]] = []
    opening, lines = Decimal(0), list[Decimal]()
    with (DATA / name).open("rb") as stream:
        for record in registry.named(name.partition("/")[0]).read(stream):
            if isinstance(record, StatementOpened):
                opening, lines = record.opening, []
            elif isinstance(record, BankLine):
                lines.append(record.amount)
            elif isinstance(record, StatementClosed):
                assert opening + sum(lines) == record.closing
                found.append((opening, record.closing, len(lines)))
    return found


@pytest.mark.parametrize("name", PROVED)
def test_the_balances_of_a_banks_file_are_proved(name: str) -> None:
    assert statements_in(name) == [(Decimal(opening), Decimal(closing), lines) for opening, closing, lines in PROVED[name]]


@pytest.mark.parametrize("name", REFUSED)
def test_a_banks_file_that_does_not_agree_is_refused_with_its_line(name: str) -> None:
    line, reason = REFUSED[name]
    with pytest.raises(MalformedFile) as refused:
        statements_in(name)
    assert refused.value.line == line
    assert refused.value.reason.startswith(reason)


def test_each_banks_file_that_is_there_is_in_one_of_the_lists() -> None:
    there = {str(path.relative_to(DATA)) for folder in ("camt053", "mt940") for path in (DATA / folder).iterdir()}
    assert there <= PROVED.keys() | REFUSED.keys()

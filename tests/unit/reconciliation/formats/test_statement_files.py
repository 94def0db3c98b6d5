"""What the statements of banks say in the cases that their golden files do not have."""

import io
import time
from datetime import date
from decimal import Decimal

import mt940 as library
import pytest

from reconciliation.formats import camt053, mt940, registry
from reconciliation.formats.records import BankLine, BankRecord, MalformedFile, StatementClosed, StatementOpened
from tests.unit.reconciliation.formats.golden_files import golden_file, golden_records, told


def statement(*lines: str, closing: str = "C261120EUR100,00", opening: str = "C261119EUR100,00") -> list[BankRecord]:
    """Read an MT940 of these lines."""
    content = "\n".join([":20:X", ":25:1", ":28C:1/1", f":60F:{opening}", *lines, f":62F:{closing}", "-"])
    return list(mt940.read(io.BytesIO(content.encode())))


def line_of(*lines: str, closing: str) -> BankLine:
    """Read the only line of an MT940 that opens with 100.00 EUR."""
    (line,) = (record for record in statement(*lines, closing=closing) if isinstance(record, BankLine))
    return line


@pytest.mark.parametrize(
    ("text", "valued_on", "booked_on"),
    [
        (":61:2612310102C1,00NTRFX", date(2026, 12, 31), date(2027, 1, 2)),
        (":61:2701021231C1,00NTRFX", date(2027, 1, 2), date(2026, 12, 31)),
        (":61:7912311231C1,00NTRFX", date(2079, 12, 31), date(2079, 12, 31)),
        (":61:8001010101C1,00NTRFX", date(1980, 1, 1), date(1980, 1, 1)),
        (":61:270230C1,00NTRFX", date(2027, 2, 28), date(2027, 2, 28)),  # months of 30 days
        (":61:2702290228C1,00NTRFX", date(2027, 2, 28), date(2027, 2, 28)),
        (":61:2802290229C1,00NTRFX", date(2028, 2, 29), date(2028, 2, 29)),
        (":61:261120    C1,00NTRFX", date(2026, 11, 20), date(2026, 11, 20)),
    ],
)
def test_the_days_of_a_line_are_in_the_year_that_is_meant(text: str, valued_on: date, booked_on: date) -> None:
    line = line_of(text, closing="C261120EUR101,00")
    assert (line.valued_on, line.booked_on) == (valued_on, booked_on)


@pytest.mark.parametrize(
    ("mark", "amount", "is_reversal"),
    [("C", 1, False), ("D", -1, False), ("RC", -1, True), ("RD", 1, True), ("CR", 1, False), ("DR", -1, False), ("RCR", -1, True)],
)
def test_what_takes_a_credit_back_is_a_debit(mark: str, amount: int, is_reversal: bool) -> None:
    line = line_of(f":61:261120{mark}1,00NTRFX", closing=f"C261120EUR{100 + amount},00")
    assert (line.amount, line.is_reversal) == (Decimal(amount), is_reversal)


def test_an_account_that_is_overdrawn_is_below_nothing() -> None:
    opened, _, closed = statement(":61:261120D5,NTRFX", opening="D261119EUR10,5", closing="D261120EUR15,50")
    assert isinstance(opened, StatementOpened)
    assert isinstance(closed, StatementClosed)
    assert (opened.opening, closed.closing) == (Decimal("-10.50"), Decimal("-15.50"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (":61:261120EC1,00NTRFX", "an expected line, which no statement has"),
        (":61:2611201332C1,00NTRFX", "1332 is no day of the calendar"),
        (":61:261120C1,00", ":61: is '261120C1,00'"),
        (":61:261120C1234567890123456,00NTRFX", ":61: is '261120C1234567890123456,00NTRFX'"),
        (":62F:C261120EUR100,00\n:61:261120C1,00NTRFX", ":61: comes before an opening balance"),
        (":60F:C261120EUR100,00", "the statement that begins in line 1 has no closing balance"),
    ],
)
def test_a_line_that_no_bank_writes_is_refused(text: str, reason: str) -> None:
    with pytest.raises(MalformedFile, match=reason):
        statement(text)


def test_the_letters_of_a_bank_that_writes_latin_1_are_read() -> None:
    content = golden_file("mt940").replace(b"Storno", "Rückgängig".encode("latin-1"))
    assert [record.text for record in mt940.read(io.BytesIO(content)) if isinstance(record, BankLine)][-1] == "Rückgängig einer Gutschrift"


def test_an_independent_library_reads_the_same_lines() -> None:
    """All but their sign: to the library, a credit that is taken back (RC) is a credit."""
    ours = [record for record in mt940.read(io.BytesIO(golden_file("mt940"))) if isinstance(record, BankLine)]
    theirs = library.parse(golden_file("mt940")).transactions
    assert [(abs(line.amount), line.valued_on, line.booked_on, line.bank_reference) for line in ours] == [
        (abs(one.data["amount"].amount), date(*one.data["date"].timetuple()[:3]), one.data["entry_date"], one.data["bank_reference"])
        for one in theirs
    ]


def test_a_text_that_begins_with_an_amount_is_a_text() -> None:
    line = line_of(":61:261120C1,00NTRFX", ":86:100,00 EUR", "for shoes", closing="C261120EUR101,00")
    assert (line.text, line.code) == ("100,00 EUR for shoes", "NTRF")


def xml(content: str) -> list[BankRecord]:
    return list(camt053.read(io.BytesIO(content.encode())))


OLD = (
    golden_file("camt053").decode().replace("001.08", "001.02").replace("<Sts><Cd>BOOK</Cd></Sts>", "<Sts>BOOK</Sts>")
    .replace("<Pty><Nm>", "<Nm>").replace("</Nm></Pty>", "</Nm>").replace("<Sts><Cd>PDNG</Cd></Sts>", "<Sts>PDNG</Sts>")
)  # fmt: skip


def test_version_02_says_the_same_in_other_elements() -> None:
    assert "Pty" not in OLD
    assert [told(record) for record in xml(OLD)] == golden_records("camt053")


@pytest.mark.parametrize("encoding", ["utf-16", "iso-8859-1"])
def test_xml_is_read_in_the_encoding_that_it_says(encoding: str) -> None:
    content = OLD.replace("UTF-8", encoding).replace("Schmidt", "Schmüdt").encode(encoding)
    format_ = registry.recognise(content[: registry.HEAD])
    assert format_ is registry.named("camt053")
    assert "Anna Schmüdt" in [record.counterparty for record in format_.read(io.BytesIO(content)) if isinstance(record, BankLine)]


def test_the_second_part_of_a_statement_opens_with_the_interim_balance() -> None:
    content = golden_file("camt053").decode().replace("OPBD", "ITBD")
    opened, *_, closed = xml(content)
    assert isinstance(opened, StatementOpened)
    assert isinstance(closed, StatementClosed)
    assert (opened.is_intermediate, closed.is_intermediate) == (True, False)
    opened, *_, closed = xml(golden_file("camt053").decode().replace("CLBD", "ITBD"))
    assert isinstance(opened, StatementOpened)
    assert isinstance(closed, StatementClosed)
    assert (opened.is_intermediate, closed.is_intermediate) == (False, True)


def test_a_statement_without_a_booked_entry_is_read() -> None:
    content = golden_file("camt053").decode()
    quiet = content[: content.index("   <Ntry>")].replace("NbOfNtries>4", "NbOfNtries>0000").replace("892.90", "1000.00")
    opened, closed = xml(quiet + "</Stmt></BkToCstmrStmt></Document>")
    assert isinstance(opened, StatementOpened)
    assert isinstance(closed, StatementClosed)
    assert (opened.opening, closed.closing, closed.lines) == (Decimal("1000.00"), Decimal("1000.00"), 0)


def test_elements_of_other_namespaces_are_passed_over() -> None:
    content = golden_file("camt053").decode().replace("<NtryRef>", '<x:Amt xmlns:x="urn:x" Ccy="USD">9</x:Amt><NtryRef>')
    assert [told(record) for record in xml(content)] == golden_records("camt053")


BOMB = '<!DOCTYPE l [<!ENTITY a "ha">' + "".join(f'<!ENTITY {chr(98 + at)} "{f"&{chr(97 + at)};" * 10}">' for at in range(9)) + "]>"
BEGUN = '<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"><BkToCstmrStmt>'
ENTRY = golden_file("camt053").decode().partition("<NtryDtls>")[0] + "<NtryDtls>"
ATTACKS = {  # how the file begins, what comes again and again, and why it is refused
    "billion laughs": (BOMB + BEGUN, "&j;", "a document type or an entity"),
    "an entity from outside": ('<!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + BEGUN, "&x;", "a document type or an entity"),
    "elements": (BEGUN, "<x/>", "more elements here than any bank sends"),
    "elements in a statement": (BEGUN + "<Stmt>", "<x/>", "more elements here than any bank sends"),
    "balances": (BEGUN + "<Stmt>", "<Bal/>", "more elements here than any bank sends"),
    "elements in an entry": (ENTRY, "<x/>", "more elements here than any bank sends"),
    "elements in a transfer": (ENTRY + "<TxDtls>", "<x/>", "more elements here than any bank sends"),
    "transfers": (ENTRY, "<TxDtls/>", "more elements here than any bank sends"),
    "levels": (BEGUN, "<x>", "more than 24 levels"),
    "a tag": (BEGUN + '<x y="', "z", "a tag is longer than 1,048,576 bytes"),
    "attributes": (BEGUN + "<x", ' y="z"', "a tag is longer than 1,048,576 bytes"),
    "a text": (BEGUN + "<Stmt><Id>", "z", "more than 4,000 characters in Id"),
    "a comment": (BEGUN + "<!--", "z", "a tag is longer than 1,048,576 bytes"),
}


class Endless(io.RawIOBase):
    """A stream that begins so and never ends.  Counts what is taken of it."""

    def __init__(self, head: str, again: str) -> None:
        self._head, self._again, self.taken = head.encode(), again.encode(), 0

    def read(self, size: int = -1, /) -> bytes:
        piece, self._head = self._head or self._again * (size // len(self._again)), b""
        self.taken += len(piece)
        return piece


@pytest.mark.parametrize("attack", ATTACKS)
def test_sec_21_xml_that_never_ends_is_refused_in_a_second_and_little_memory(attack: str) -> None:
    head, again, reason = ATTACKS[attack]
    stream, began = Endless(head, again), time.process_time()
    with pytest.raises(MalformedFile, match=reason):
        list(camt053.read(stream))  # type: ignore[arg-type]
    assert time.process_time() - began < 1
    assert stream.taken < 5_000_000

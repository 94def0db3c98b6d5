"""The corpus of broken files: each golden file broken in every way that happens, and some that only an attacker thinks of.

A file is read as if nothing had been broken, or it is refused with a line and a reason.  There is nothing else: no other error, and never
other records than the golden ones.
"""

import csv
import io
import re
from collections.abc import Iterator

import pytest

from reconciliation.formats import adyen_settlement, registry, sandbox_settlement, stripe, stripe_payout_reconciliation
from reconciliation.formats.records import MalformedFile
from reconciliation.formats.registry import Format
from tests.unit.reconciliation.formats.golden_files import golden_file, golden_records, read, told

Variant = tuple[str, bytes]

NEEDED = {
    "sandbox_settlement": sandbox_settlement.COLUMNS,
    "adyen_settlement": adyen_settlement.COLUMNS,
    "stripe_payout_reconciliation": stripe_payout_reconciliation.COLUMNS,
    "stripe_balance_change": stripe.COLUMNS,
}
AMOUNTS = {  # a column of amounts, and a line (from 0, below the header) that has one
    "sandbox_settlement": [("gross", 0), ("fee", 0), ("net", 0)],
    "adyen_settlement": [("Gross Credit (GC)", 0), ("Net Credit (NC)", 0), ("Markup (NC)", 0), ("Exchange Rate", 1)],
    "stripe_payout_reconciliation": [("gross", 0), ("fee", 0), ("net", 0)],
    "stripe_balance_change": [("gross", 0), ("fee", 0), ("net", 0)],
}
MOMENTS = {"sandbox_settlement": "occurred_at", "adyen_settlement": "Creation Date"}
NO_AMOUNTS = [
    "1,234.00",
    "12,50",
    "1.234,00",
    "1e2",
    "NaN",
    "Infinity",
    "１２.００",
    "--1",
    "+5.00",
    "1_000",
    "0x10",
    "12.3456",
    "1 000.00",
    "€5",
]
NO_MOMENTS = [
    "20/11/2026 10:00:00",
    "11/20/2026",
    "2026-02-30 10:00:00",
    "2026-11-20T25:00:00Z",
    "1763625600",
    "",
    "2026-W47-5",
    "20261120100000",
]

settlements = pytest.mark.parametrize("format_", [one for one in registry.FORMATS if one.kind == "settlement"], ids=lambda one: one.name)
statements = pytest.mark.parametrize("format_", [one for one in registry.FORMATS if one.kind == "statement"], ids=lambda one: one.name)


def unharmed(content: bytes) -> Iterator[Variant]:
    """Yield what every format reads as if nothing was."""
    yield "untouched", content
    yield "UTF-8 mark", b"\xef\xbb\xbf" + content
    yield "CRLF", content.replace(b"\n", b"\r\n")
    yield "no last newline", content.rstrip(b"\n")
    yield "empty lines at the end", content + b"\n\r\n\n"


def torn(content: bytes) -> Iterator[Variant]:
    """Yield what no format reads, or only without harm."""
    yield "empty", b""
    yield "one newline", b"\n"
    yield "a UTF-8 mark alone", b"\xef\xbb\xbf"
    yield "UTF-16, little end first", b"\xff\xfe" + content.decode().encode("utf-16-le")
    yield "UTF-16, big end first", b"\xfe\xff" + content.decode().encode("utf-16-be")
    yield "UTF-16 without mark", content.decode().encode("utf-16-le")
    yield "NUL", content[:400] + b"\0" + content[400:]
    yield "HTML", b"<html><body>Please log in</body></html>\n"
    yield "PDF", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"
    yield "a line of 70,000 characters", content + b"x" * 70_000
    yield "only newlines", b"\n" * 5_000
    yield "carriage returns only", content.replace(b"\n", b"\r")


def table(name: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(golden_file(name).decode())))


def written(rows: list[list[str]], **options: str | int) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n", **options).writerows(rows)  # type: ignore[arg-type]
    return text.getvalue().encode()


def harmless_tables(name: str) -> Iterator[Variant]:
    rows = table(name)
    yield "all quoted", written(rows, quoting=csv.QUOTE_ALL)
    yield "blanks around the header's names", written([[f" {cell} " for cell in rows[0]], *rows[1:]])
    yield "a column that nobody knows", written([[*row, "New Column" if at == 0 else "x,y"] for at, row in enumerate(rows)])
    yield "columns in another order", written([row[::-1] for row in rows])


def broken_tables(name: str) -> Iterator[Variant]:
    rows = table(name)
    header, first, *others = rows
    for column in NEEDED[name]:
        place = header.index(column)
        yield f"without the column {column}", written([row[:place] + row[place + 1 :] for row in rows])
        yield f"{column} twice", written([[*row, row[place]] for row in rows])
        yield f"{column} of 400 characters", written([header, [*first[:place], "9" * 400, *first[place + 1 :]], *others])
    for column, line in AMOUNTS[name]:
        for text in NO_AMOUNTS:
            yield f"{column} is {text}", written(changed(rows, line, column, text))
    currency = "Net Currency" if name == "adyen_settlement" else "currency"
    for text in ["EURO", "XXX", "ZZZ", "", "978"]:
        yield f"the currency {text}", written(changed(rows, 0, currency, text))
    for text in NO_MOMENTS:
        yield f"the moment {text}", written(changed(rows, 0, MOMENTS.get(name, "created_utc"), text))
    yield "Latin-1", golden_file(name)[:400] + b"\xdc" + golden_file(name)[400:]
    yield "semicolons", written(rows, delimiter=";")
    yield "header twice", written([header, first, header, *others])
    yield "a cell too many", written([header, [*first[:3], "", *first[3:]], *others])
    yield "a cell too few", written([header, first[1:], *others])
    yield "all shifted", written([header, *([*row[1:], row[0]] for row in rows[1:])])
    yield "a quotation mark within a cell", golden_file(name).replace(b",EUR", b',"E"UR', 1).replace(b",eur", b',"e"ur', 1)
    yield "a quotation mark that does not end", golden_file(name).replace(b",EUR", b',"EUR', 1).replace(b",eur", b',"eur', 1)
    yield "a carriage return within a cell", golden_file(name).replace(b",EUR", b",E\rUR", 1).replace(b",eur", b",e\rur", 1)
    yield "cut within the last line", golden_file(name)[:-20]
    yield "no header", golden_file(name).partition(b"\n")[2]


def unproved_tables(name: str) -> Iterator[Variant]:
    """Yield what only a sum can show: a line lost, doubled or changed together with its net."""
    header, *rows = table(name)
    yield "header only", written([header])
    for line in range(len(rows)):
        yield f"without line {line}", written([header, *rows[:line], *rows[line + 1 :]])
        yield f"line {line} twice", written([header, *rows[: line + 1], *rows[line:]])


def changed(rows: list[list[str]], line: int, column: str, text: str) -> list[list[str]]:
    """Return the table with one cell changed."""
    place, row = rows[0].index(column), rows[line + 1]
    return [*rows[: line + 1], [*row[:place], text, *row[place + 1 :]], *rows[line + 2 :]]


def broken_statements(name: str) -> Iterator[Variant]:
    content = golden_file(name)
    if name == "camt053":
        yield from broken_xml(content)
    else:
        yield from broken_swift(content)
    last = content.rindex({"camt053": b"<?xml", "mt940": b":61:", "mt942": b":90C:"}[name])
    for cut in range(last, len(content), max(1, (len(content) - last) // 40)):
        yield f"cut at byte {cut}", content[:cut]


def broken_xml(content: bytes) -> Iterator[Variant]:
    bomb = (
        b'<!DOCTYPE l [<!ENTITY a "ha">' + b"".join(b'<!ENTITY %c "%s">' % (98 + at, b"&%c;" % (97 + at) * 10) for at in range(9)) + b"]>"
    )
    outside = b'<!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/hostname">]>'
    head = b'<?xml version="1.0" encoding="UTF-8"?>'
    yield "billion laughs", content.replace(head, head + bomb).replace(b"Adyen N.V.", b"&j;")
    yield "an entity from outside", content.replace(head, head + outside).replace(b"Adyen N.V.", b"&x;")
    yield "a document type from outside", content.replace(head, head + b'<!DOCTYPE d SYSTEM "http://127.0.0.1/d.dtd">')
    yield "an entity that is not there", content.replace(b"Adyen N.V.", b"&nbsp;")
    yield "an encoding that is not there", content.replace(b"UTF-8", b"UTF-9")
    yield "another encoding than it says", content.replace(b"UTF-8", b"UTF-16")
    yield "30 levels", content.replace(b"<NtryRef>1</NtryRef>", b"<x>" * 30 + b"</x>" * 30)
    yield "a text of 5,000 characters", content.replace(b"NorthwindEU &amp; Co", b"x" * 5_000)
    for version in ("01", "09", "8", ""):
        yield f"version {version}", content.replace(b"053.001.08", f"053.001.{version}".encode())
    yield "camt.054", content.replace(b"camt.053", b"camt.054")
    yield "Latin-1 that says it is UTF-8", content.replace(b"Schmidt", b"Schm\xfcdt")
    yield "no namespace", content.replace(b' xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"', b"")
    for tag in ("CdtDbtInd", "Amt", "Sts"):
        for nth, found in enumerate(re.finditer(rf"<{tag}.*?</{tag}>".encode(), content)):
            line = content[content.rindex(b"\n", 0, found.start()) : content.index(b"\n", found.end())]
            if b"TxDtls" not in line and b"800.00" not in line and b"PDNG" not in line:  # there, nothing needs them
                yield f"without {tag} {nth}", content[: found.start()] + content[found.end() :]
                yield f"{tag} {nth} twice", content[: found.end()] + found[0] + content[found.end() :]
    for amount in ("-83.00", "83,00", "8.3e1", "NaN", "83.001", "", "1 083.00", "83.01"):
        yield f"the amount {amount}", content.replace(b">83.00<", f">{amount}<".encode())
    for before, after in {
        'Ccy="EUR">83': 'Ccy="USD">83', 'Ccy="EUR">1000': 'Ccy="XXX">1000', "<Ccy>EUR": "<Ccy>USD", "OPBD": "XXXX", "CLBD": "OPBD",
        "CLAV": "CLBD", "DBIT</CdtDbtInd><Sts>": "D</CdtDbtInd><Sts>", "<RvslInd>true": "<RvslInd>yes", "50.00</Amt>": "50.01</Amt>",
        "NbOfNtries>4": "NbOfNtries>5", "<IBAN>DE89370400440532013000</IBAN>": "", "<Dt>2026-11-21": "<Dt>2026-02-30", "<Stmt>": "<Stmt/><Stmt>",
        "<Dt>2026-11-20</Dt></BookgDt>": "<Dt>20.11.2026</Dt></BookgDt>", "</Stmt>": "", "<BkToCstmrStmt>": "<BkToCstmrStmt><BkToCstmrStmt>",
    }.items():  # fmt: skip
        yield f"{before} is {after}", content.replace(before.encode(), after.encode(), 1)


def broken_swift(content: bytes) -> Iterator[Variant]:
    lines = content.split(b"\n")
    for at, line in enumerate(lines):
        if line.startswith((b":61:", b":60", b":62", b":25:", b":34F")):
            yield f"without line {at}", b"\n".join(lines[:at] + lines[at + 1 :])
        if line.startswith((b":61:", b":60", b":62F")):
            yield f"line {at} twice", b"\n".join(lines[: at + 1] + lines[at:])
    first = next(line for line in lines if line.startswith(b":61:"))
    start, amount = (first[: 4 + 10], re.search(rb"[0-9]+,[0-9]{2}", first)[0])  # type: ignore[index]
    for text in ["83.00", "8300", "1.083,00", "-83,00", "NaN", "", "83,001", "８３,00"]:
        yield f"the amount {text}", content.replace(first, first.replace(amount, text.encode()))
    for text in [":61:260431", ":61:261320", ":61:26-11-", ":61:2611201332", ":61:", ":61:2611200230"]:
        yield f"the day {text}", content.replace(start, text.encode())
    yield "mark X", content.replace(first, first.replace(b"CR", b"X"))
    yield "no kind of booking", content.replace(first, first[: first.index(b",") + 3])
    yield "300 lines of text", content.replace(first, first + b"\n:86:x" + b"\ny" * 300)
    yield "its fields only", b"\n".join(line for line in lines if line.startswith(b":8"))
    for before, after in {":60F:C": ":60F:X", "C261119EUR": "C261119EURO", "EUR1000,00": "XXX1000,00", "EUR892": "USD892", ":34F:EUR0,": ":34F:XXX0,",
                          ":90D:1": ":90D:2", ":90C:2EUR119,00": ":90C:2EUR119,01", ":90D:1EUR": ":90D:1USD"}.items():  # fmt: skip
        if before.encode() in content:
            yield f"{before} is {after}", content.replace(before.encode(), after.encode(), 1)


def outcome(format_: Format, content: bytes) -> str:
    """Return `the same`, `refused`, or what must not be."""
    try:
        records = [told(record) for record in read(format_, content)]
    except MalformedFile as refused:
        return "refused" if refused.line > 0 and len(refused.reason) > 10 else f"refused without line or reason: {refused}"
    golden = golden_records(format_.name)
    return "the same" if without_lines(records) == without_lines(golden) else f"read as {len(records)} other records"


def without_lines(records: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{field: text for field, text in record.items() if field != "line"} for record in records]


def outcomes(format_: Format, variants: Iterator[Variant], *, allowed: set[str]) -> dict[str, str]:
    """Return the variants whose outcome is not allowed."""
    found = {name: outcome(format_, content) for name, content in variants}
    assert found
    return {name: what for name, what in found.items() if what not in allowed}


@settlements
def test_a_settlement_file_that_only_looks_different_is_read_the_same(format_: Format) -> None:
    assert not outcomes(format_, unharmed(golden_file(format_.name)), allowed={"the same"})
    assert not outcomes(format_, harmless_tables(format_.name), allowed={"the same"})


@settlements
def test_a_broken_settlement_file_is_refused_with_line_and_reason(format_: Format) -> None:
    assert not outcomes(format_, torn(golden_file(format_.name)), allowed={"refused"})
    assert not outcomes(format_, broken_tables(format_.name), allowed={"refused"})


@pytest.mark.parametrize("name", ["sandbox_settlement", "adyen_settlement"])
def test_a_lost_or_doubled_line_shows_in_the_sum(name: str) -> None:
    assert not outcomes(registry.named(name), unproved_tables(name), allowed={"refused"})


@statements
def test_a_statement_that_only_looks_different_is_read_the_same(format_: Format) -> None:
    assert not outcomes(format_, unharmed(golden_file(format_.name)), allowed={"the same"})


@statements
def test_a_broken_statement_is_refused_with_line_and_reason_or_read_the_same(format_: Format) -> None:
    assert not outcomes(format_, torn(golden_file(format_.name)), allowed={"refused", "the same"})
    wrong = outcomes(format_, broken_statements(format_.name), allowed={"refused"})
    assert {what for name, what in wrong.items() if not name.startswith("cut at")} <= set(), wrong
    assert set(wrong.values()) <= {"the same"}, wrong  # cut behind the last thing that counts


def test_the_corpus_has_hundreds_of_files() -> None:
    tables = [variant for name in NEEDED for variant in (*harmless_tables(name), *broken_tables(name))]
    others = [variant for name in ("camt053", "mt940", "mt942") for variant in broken_statements(name)]
    assert len({content for _, content in (*tables, *others)}) > 500

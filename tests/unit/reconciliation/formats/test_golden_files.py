"""Every format has a golden file: a file as a PSP or a bank sends it, and the records that it is."""

import csv
import io

import pytest

from reconciliation.formats import registry
from reconciliation.formats.registry import Format
from tests.unit.reconciliation.formats.golden_files import golden_file, golden_records, read, told

formats = pytest.mark.parametrize("format_", registry.FORMATS, ids=lambda format_: format_.name)


@formats
def test_a_golden_file_says_what_it_said(format_: Format) -> None:
    assert [told(record) for record in read(format_, golden_file(format_.name))] == golden_records(format_.name)


@formats
def test_a_file_is_recognised_by_its_first_bytes_and_found_by_its_name(format_: Format) -> None:
    assert registry.recognise(golden_file(format_.name)[: registry.HEAD]) is format_
    assert registry.named(format_.name) is format_


def test_a_report_of_stripes_payouts_is_recognised_in_whatever_order_its_columns_stand() -> None:
    for name in ("stripe_payout_reconciliation", "stripe_balance_change"):
        first, *others = csv.reader(io.StringIO(golden_file(name).decode()))
        text = io.StringIO()
        csv.writer(text).writerows(row[::-1] for row in (first, *others))
        for content in (golden_file(name), text.getvalue().encode()):
            assert registry.recognise(content[: registry.HEAD]) is registry.named(name)


@formats
def test_a_file_is_read_while_it_comes_and_not_before(format_: Format) -> None:
    class Torn(io.BytesIO):
        """A stream that breaks when it is read to its end."""

        def read(self, size: int | None = -1, /) -> bytes:
            piece = super().read(size)
            if not piece:
                raise ConnectionError
            return piece

        def readline(self, size: int | None = -1, /) -> bytes:
            line = super().readline(size)
            if not line:
                raise ConnectionError
            return line

    records = format_.read(Torn(golden_file(format_.name)))
    assert told(next(records)) == golden_records(format_.name)[0]
    with pytest.raises(ConnectionError):
        list(records)


def test_what_is_no_file_of_ours_is_not_recognised() -> None:
    assert registry.recognise(b"") is None
    assert registry.recognise(b"%PDF-1.7\n") is None
    assert registry.recognise(b"a,b,c\n1,2,3\n") is None
    assert registry.recognise(b'"a') is None
    with pytest.raises(registry.UnknownFormat, match="'bai2' is no format that we read"):
        registry.named("bai2")

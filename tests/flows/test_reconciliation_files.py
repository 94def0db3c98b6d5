"""Files of PSPs and banks: kept once as they came, staged to the end or refused with line and reason, never half."""

import gzip
import io
import os
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.cache import cache
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.db import IntegrityError, InternalError, connection, transaction
from django.test import Client
from django.utils import timezone

from reconciliation import expected, folder, ingestion, staging
from reconciliation.formats import registry, sandbox_settlement
from reconciliation.formats.records import BankLine, BankRecord, SettlementLine, StatementClosed, StatementOpened
from reconciliation.formats.registry import Format, SettlementFormat, StatementFormat
from reconciliation.ingestion import EmptyFile, FileOfAnotherKind, FileTooLarge, NotRefused, ReceivedFromAnother, UnknownSource
from reconciliation.models import BankStatement, ExpectedFile, FolderEntry, SourceChunk, SourceFile, StagedBankLine, StagedLine
from tests.contract.api.conftest import caller_of
from tests.factories import new_shop
from tests.settlement_files import settlement_file, stumbling
from tests.unit.reconciliation.formats.golden_files import golden_file

pytestmark = pytest.mark.django_db
NOW = timezone.now()
BODY = settlement_file(3)


def receive(body: bytes = BODY, name: str = "sb-20261120-eur.csv", source: str = "sandbox") -> SourceFile:
    file, _is_new = ingestion.receive(io.BytesIO(body), name, source=source, received_by="shell:ada", now=NOW)
    return file


def staged(body: bytes = BODY) -> SourceFile:
    return ingestion.stage(receive(body).pk, now=NOW)


def numbers_of(file: SourceFile) -> list[int]:
    return list(StagedLine.objects.filter(file=file).order_by("pk").values_list("number", flat=True))


def zipped(*members: bytes, comment: bytes = b"", name: str = "../../etc/{}.csv") -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.comment = comment
        for number, member in enumerate(members):
            archive.writestr(zipfile.ZipInfo(name.format(number)), member, zipfile.ZIP_DEFLATED)
    return packed.getvalue()


# --- Once, and to the end -------------------------------------------------------------------------------------------


def test_a_file_is_kept_as_it_came_and_read_to_its_end() -> None:
    file = staged()
    assert (file.status, file.kind, file.format, file.staged) == ("STAGED", "settlement", "sandbox_settlement", 4)
    assert (file.currencies, file.last_day, file.size) == (["EUR"], date(2026, 11, 20), len(BODY))
    assert b"".join(ingestion.contents_of(file)) == BODY
    lines = StagedLine.objects.filter(file=file).order_by("number")
    assert [(line.number, line.line, line.kind, line.net) for line in lines] == [
        *((number, number + 1, "capture", Decimal("9.70")) for number in (1, 2, 3)),
        (4, 5, "payout", Decimal("-29.10")),
    ]
    assert lines[0].our_reference == f"ord_{1:032x}"


def test_lines_that_are_read_slowly_are_not_cut_off_by_the_timeout_of_a_statement() -> None:
    def timeout() -> str:
        with connection.cursor() as cursor:
            cursor.execute("SHOW statement_timeout")
            return str(cursor.fetchone()[0])

    assert timeout() == "30s"
    staged()
    assert timeout() == "4min", "until the commit of the chunk, which this test's transaction holds back"


def test_a_file_that_takes_too_long_is_read_on_at_the_next_look_and_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = receive(settlement_file(20_000))
    with monkeypatch.context() as impatient:
        impatient.setattr(staging, "LONGEST_S", 0.002)
        assert ingestion.stage(slow.pk, now=NOW).status == SourceFile.Status.RECEIVED
    other = receive(settlement_file(3, batch="sb-20261119-eur"), "other.csv")
    assert ingestion.stage_waiting(now=NOW) == 2
    assert {numbers_of(file)[-1] for file in (slow, other)} == {20_001, 4}


def test_every_field_of_a_record_has_its_column() -> None:
    for model, record in ((StagedLine, SettlementLine), (StagedBankLine, BankLine)):
        assert set(record._fields) <= {field.name for field in model._meta.fields}


def test_the_same_bytes_are_the_same_file_whatever_they_are_called() -> None:
    file = staged()
    again, is_new = ingestion.receive(io.BytesIO(BODY), "copy of it.csv", source="sandbox", received_by="folder", now=NOW)
    assert (again, is_new, again.name, again.status) == (file, False, "sb-20261120-eur.csv", "STAGED")
    assert ingestion.stage(again.pk, now=NOW).staged == 4
    assert (SourceFile.objects.count(), SourceChunk.objects.count(), StagedLine.objects.count()) == (1, 1, 4)
    with pytest.raises(ReceivedFromAnother, match=file.public_id):
        receive(source="sandbox_bank")


def test_a_psp_brings_no_bank_statements_and_a_bank_no_settlement_files() -> None:
    for body, wrong, right in ((BODY, "sandbox_bank", "sandbox"), (golden_file("mt940"), "sandbox", "sandbox_bank")):
        with pytest.raises(FileOfAnotherKind, match=f"from {wrong} come"):
            receive(body, source=wrong)
        assert receive(body, source=right).status == "RECEIVED"


def test_what_cannot_be_a_file_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingestion, "LARGEST", 100)
    for body, source, refusal in ((b"", "sandbox", EmptyFile), (BODY, "sandbox", FileTooLarge), (b"x", "nobody", UnknownSource)):
        with pytest.raises(refusal):
            receive(body, source=source)
    assert not SourceFile.objects.exists()


@pytest.mark.parametrize("pack", [gzip.compress, zipped])
def test_a_packed_file_is_unpacked_and_kept_packed(pack: Callable[[bytes], bytes]) -> None:
    body = pack(BODY)
    file = staged(body)
    assert (file.status, numbers_of(file)) == ("STAGED", [1, 2, 3, 4])
    assert b"".join(ingestion.contents_of(file)) == body


def test_an_original_of_many_pieces_is_read_back_as_it_came() -> None:
    body = os.urandom(2_500_000)
    file = receive(body)
    assert SourceChunk.objects.filter(file=file).count() == 3
    assert b"".join(ingestion.contents_of(file)) == body


# --- Or not at all --------------------------------------------------------------------------------------------------


LINES = BODY.splitlines(keepends=True)


@pytest.mark.parametrize(
    ("body", "line", "reason"),
    [
        (b"".join(LINES[:-1]), 4, "adds up to"),
        (b"".join([*LINES[:3], LINES[3].replace(b"9.70", b"9.7x"), LINES[4]]), 4, "9.7x"),
        (b"".join([*LINES[:2], LINES[2][:40]]), 3, "cells"),
        (b"%PDF-1.7 not a table", None, "looks like nothing"),
        (gzip.compress(BODY)[:-12], None, "damaged"),
        (gzip.compress(BODY) + b"and more", None, "damaged"),
        (zipped(BODY, BODY), None, "2 members"),
        (zipped(), None, "0 members"),
        (zipped(BODY, comment=b"hello"), None, "comment"),
        (zipped(BODY)[:-30], None, "cut off"),
        (zipped(BODY, name=""), None, "without a name"),
        (zipped(zipped(BODY)), None, "looks like nothing"),
    ],
)
def test_a_malformed_file_is_refused_with_line_and_reason_and_leaves_no_rows(body: bytes, line: int | None, reason: str) -> None:
    file = staged(body)
    assert (file.status, file.error_line, file.staged) == ("REFUSED", line, 0)
    assert reason in file.error
    assert not StagedLine.objects.exists()
    assert b"".join(ingestion.contents_of(file)) == body


@pytest.mark.parametrize("pack", [gzip.compress, zipped])
def test_sec_24_a_bomb_is_refused_at_its_hundredfold(pack: Callable[[bytes], bytes]) -> None:
    bomb = pack(BODY[: BODY.index(b"\n") + 1] + b"\n" * 10_000_000)
    file = staged(bomb)
    assert (file.status, f"{100 * len(bomb):,} bytes" in file.error) == ("REFUSED", True)


def test_a_mistake_behind_the_first_chunk_takes_back_what_was_staged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "CHUNK", 2)
    body = settlement_file(7).replace(b"-67.90", b"-67.91")
    file = receive(body)
    with pytest.raises(Killed):
        staging.stage_settlement(file, until_killed(sandbox_settlement.read(io.BytesIO(body)), after=5))
    assert numbers_of(file) == [1, 2, 3, 4]
    file = ingestion.stage(file.pk, now=NOW)
    assert (file.status, file.error_line, file.staged, numbers_of(file)) == ("REFUSED", 9, 0, [])


def test_a_day_that_is_yet_to_come_is_refused_with_its_line() -> None:
    far = "2076-11-20"
    for body, line in (
        (settlement_file(1, day=far), 2),
        (BODY.replace(b"2026-11-20T02", b"2076-11-20T02"), 3),
        (golden_file("mt940").replace(b":61:2611201120", b":61:7611201120"), 6),
    ):
        source = "sandbox" if body.startswith(b"batch") else "sandbox_bank"
        file = ingestion.stage(receive(body, source=source).pk, now=NOW)
        assert (file.status, file.error_line) == ("REFUSED", line), file.error
        assert f"is of {far}" in file.error and "more than 7 days after the file came" in file.error
    soon = f"{NOW + timedelta(days=7):%Y-%m-%d}"
    assert staged(settlement_file(1, day=soon)).status == "STAGED"


def read_as(patch: pytest.MonkeyPatch, records: Callable[[], Iterator[Any]], kind: type[Format] = SettlementFormat) -> None:
    """Let every file be read as these records."""
    patch.setattr(registry, "named", lambda name: kind(name, name, lambda _head: True, lambda _stream: records()))


def test_what_postgres_cannot_keep_is_refused_with_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = list(sandbox_settlement.read(io.BytesIO(BODY)))
    for wrong in (lines[1]._replace(gross=Decimal(10**21)), lines[1]._replace(text="a\0b"), lines[1]._replace(currency="EURO")):
        read_as(monkeypatch, partial(iter, [lines[0], wrong]))
        file = staged(BODY + wrong.text.encode() + wrong.currency.encode() + b"\n")
        assert (file.status, file.error_line, numbers_of(file)) == ("REFUSED", 3, [])


def test_a_statement_that_postgres_cannot_keep_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for number, wrong in enumerate(({"account": "a\0b"}, {"currency": "EURO"}, {"opening": Decimal(10**21)})):
        records = [next(iter(bank_records()))._replace(**wrong)]  # type: ignore[arg-type]
        read_as(monkeypatch, partial(iter, records), StatementFormat)
        file = staged(settlement_file(number))
        assert (file.status, "cannot be kept" in file.error, BankStatement.objects.count()) == ("REFUSED", True, 0)


def test_a_mistake_of_a_reader_refuses_the_file_until_it_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        read_as(patch, lambda: iter([Decimal(1) / 0]))
        file = staged()
    assert (file.status, file.error) == ("REFUSED", "our reader of sandbox_settlement fails over it (DivisionByZero)")
    ingestion.read_again(file.pk)
    assert ingestion.stage_waiting(now=NOW) == 1
    file.refresh_from_db()
    assert (file.status, file.error, file.staged) == ("STAGED", "", 4)
    with pytest.raises(NotRefused):
        ingestion.read_again(file.pk)


class Killed(BaseException):
    """What ends a process, seen from inside."""


def until_killed(records: Iterator[Any], *, after: int) -> Iterator[Any]:
    for number, record in enumerate(records, start=1):
        if number > after:
            raise Killed
        yield record


@pytest.mark.parametrize("after", [0, 1, 2, 5, 9])
def test_cp_39_whoever_is_killed_at_any_line_leaves_a_file_that_goes_on_where_it_stood(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    monkeypatch.setattr(staging, "CHUNK", 2)
    body = settlement_file(9)
    file = receive(body)
    with pytest.raises(Killed):
        staging.stage_settlement(file, until_killed(sandbox_settlement.read(io.BytesIO(body)), after=after))
    file.refresh_from_db()
    assert (file.status, file.staged, numbers_of(file)) == ("RECEIVED", after // 2 * 2, list(range(1, after // 2 * 2 + 1)))
    assert ingestion.stage(file.pk, now=NOW).status == "STAGED"
    assert numbers_of(file) == list(range(1, 11))


def test_cp_39_who_comes_too_late_with_a_chunk_stages_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    file = receive()
    slow = SourceFile.objects.get(pk=file.pk)
    ingestion.stage(file.pk, now=NOW)
    with pytest.raises(staging.SomebodyElseWasFaster):
        staging.stage_settlement(slow, sandbox_settlement.read(io.BytesIO(BODY)))
    assert numbers_of(file) == [1, 2, 3, 4]


# --- Bank statements ------------------------------------------------------------------------------------------------


def bank_records() -> Iterator[BankRecord]:
    day = date(2026, 11, 20)
    for number, currency in (("1", "EUR"), ("2", "USD")):
        yield StatementOpened(1, "AT341904300234573299", currency, number, Decimal("10.00"), day)
        for line in (2, 3, 4):
            yield BankLine(line, Decimal("1.50"), currency, day, day, False, f"BK{line}", "po_1", "", "Ada, \\.", "", "a\tb\n;", "NTRF")
        yield StatementClosed(5, Decimal("14.50"), day, 3)


@pytest.mark.parametrize("after", [1, 3, 4, 5, 6, 8])
def test_statements_are_staged_with_their_lines_and_go_on_where_they_stood(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    monkeypatch.setattr(staging, "CHUNK", 3)
    file = receive()
    SourceFile.objects.filter(pk=file.pk).update(kind="statement")
    file.refresh_from_db()
    with pytest.raises(Killed):
        staging.stage_statement(file, until_killed(bank_records(), after=after))
    file.refresh_from_db()
    count = staging.stage_statement(file, bank_records())
    staging.finish(file, count=count, now=NOW)
    file.refresh_from_db()
    assert (file.status, file.staged, file.currencies, file.last_day) == ("STAGED", 10, ["EUR", "USD"], date(2026, 11, 20))
    statements = BankStatement.objects.filter(file=file).order_by("position")
    assert [(one.number, one.opening, one.closing, one.lines, one.bank_lines.count()) for one in statements] == [
        ("1", Decimal(10), Decimal("14.5"), 3, 3),
        ("2", Decimal(10), Decimal("14.5"), 3, 3),
    ]
    for model in (BankStatement, StagedBankLine):
        with pytest.raises(IntegrityError), transaction.atomic():
            model.objects.filter(file=file).update(line=1)
    line = StagedBankLine.objects.filter(file=file).order_by("number")[0]
    assert (line.number, line.amount, line.counterparty, line.text, line.parts) == (2, Decimal("1.5"), "Ada, \\.", "a\tb\n;", 1)


# --- What was received stays ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE reconciliation_sourcefile SET sha256 = repeat('0', 64)",
        "UPDATE reconciliation_sourcefile SET status = 'RECEIVED', staged_at = NULL",
        "DELETE FROM reconciliation_sourcefile",
        "UPDATE reconciliation_sourcechunk SET content = ''",
        "DELETE FROM reconciliation_sourcechunk",
        "DELETE FROM reconciliation_stagedline WHERE number = 2",
        "UPDATE reconciliation_stagedline SET gross = gross + 1, net = net + 1",
        'INSERT INTO reconciliation_stagedline SELECT (again).* FROM (SELECT jsonb_populate_record(said, \'{"id": 0, "number": 9}\') AS again'
        " FROM reconciliation_stagedline AS said WHERE number = 1) AS copy",
        "TRUNCATE reconciliation_stagedline CASCADE",
    ],
)
def test_postgres_keeps_a_file_and_what_it_says(statement: str) -> None:
    staged()
    with pytest.raises((IntegrityError, InternalError)), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


# --- The folder -----------------------------------------------------------------------------------------------------


@pytest.fixture
def inbox(tmp_path: Path, settings: Any) -> Path:
    """Give the folder of the sandbox's files."""
    settings.FILES_FOLDER = str(tmp_path / "files")
    inbox = tmp_path / "files" / "sandbox"
    inbox.mkdir(parents=True)
    return inbox


def put(path: Path, body: bytes, *, age_s: int = 60) -> None:
    path.write_bytes(body)
    os.utime(path, (path.stat().st_mtime - age_s,) * 2)


def test_the_folder_is_read_once_and_again_when_a_file_changes(inbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(inbox / "a.csv", BODY)
    put(inbox / "copy.csv", BODY)
    put(inbox / "empty.csv", b"")
    [file] = folder.pick_up(now=NOW)
    assert (file.name, file.received_by, FolderEntry.objects.count()) == ("a.csv", "folder", 3)
    with monkeypatch.context() as patch:
        patch.setattr(ingestion, "receive", lambda *_args, **_terms: pytest.fail("it is read again"))
        assert folder.pick_up(now=NOW) == []
    put(inbox / "a.csv", settlement_file(4), age_s=40)
    assert [file.size for file in folder.pick_up(now=NOW)] == [len(settlement_file(4))]
    assert sorted(path.name for path in inbox.iterdir()) == ["a.csv", "copy.csv", "empty.csv"]


def test_a_file_of_the_folder_that_is_written_to_while_it_is_read_waits(inbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(path := inbox / "a.csv", BODY)
    whole = ingestion.spooled

    def grown(stream: Any, spool: Any) -> tuple[int, str]:
        path.write_bytes(BODY + BODY)
        return whole(stream, spool)

    with monkeypatch.context() as patch:
        patch.setattr(ingestion, "spooled", grown)
        assert folder.pick_up(now=NOW) == []
    assert not (SourceFile.objects.exists() or FolderEntry.objects.exists())
    put(path, BODY)
    assert len(folder.pick_up(now=NOW)) == 1


def test_a_file_over_which_we_stumble_holds_up_no_other(inbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(inbox / "a.csv", b"stumble")
    put(inbox / "b.csv", BODY)
    os.utime(inbox / "b.csv", (-1000, -1000))
    monkeypatch.setattr(registry, "recognise", stumbling)
    assert [file.name for file in folder.pick_up(now=NOW)] == ["b.csv"]
    assert folder.pick_up(now=NOW) == []


def test_a_file_that_can_never_be_received_is_kept_with_its_reason_and_tried_ever_more_seldom(
    inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(inbox / "a.csv", b"stumble")
    tried: list[datetime] = []
    now = NOW

    def stumbled(head: bytes) -> Any:
        tried.append(now)
        return stumbling(head)

    monkeypatch.setattr(registry, "recognise", stumbled)
    for now in (NOW + minutes * timedelta(minutes=1) for minutes in range(31)):
        assert folder.pick_up(now=now) == []
    assert [at - NOW for at in tried] == [timedelta(minutes=minutes) for minutes in (0, 5, 15)]
    entry = FolderEntry.objects.get()
    assert (entry.file, entry.error, entry.tries, entry.try_after) == (None, "IndexError", 3, NOW + timedelta(minutes=35))
    FolderEntry.objects.update(tries=50, try_after=NOW)
    folder.pick_up(now=NOW)
    assert FolderEntry.objects.get().try_after == NOW + timedelta(days=1)

    put(inbox / "a.csv", BODY)
    [file] = folder.pick_up(now=NOW)
    entry.refresh_from_db()
    assert (entry.file, entry.error, entry.tries, entry.try_after) == (file, "", 0, None)


def test_sec_23_nothing_outside_the_folder_is_read_and_nothing_half_written(inbox: Path, tmp_path: Path) -> None:
    put(tmp_path / "secret.csv", BODY)
    (inbox / "link.csv").symlink_to(tmp_path / "secret.csv")
    (inbox / "nested").mkdir()
    put(inbox / "nested" / "a.csv", BODY)
    put(inbox / ".hidden.csv", BODY)
    put(inbox / "fresh.csv", BODY, age_s=0)
    os.mkfifo(inbox / "pipe.csv")
    (inbox.parent / "sandbox_bank").symlink_to(tmp_path)
    assert folder.pick_up(now=NOW) == []
    assert not SourceFile.objects.exists()


# --- Files that do not come -----------------------------------------------------------------------------------------


def test_a_file_that_is_due_and_not_here_is_missing_until_it_is_read(settings: Any) -> None:
    rule = ExpectedFile.objects.create(
        source="sandbox", kind="settlement", currency="EUR", due_at=time(9), zone="Europe/Berlin", since=date(2026, 11, 20)
    )
    nine = datetime(2026, 11, 21, 8, tzinfo=UTC)
    assert expected.missing(now=nine - timedelta(seconds=1)) == []
    [late] = expected.missing(now=nine)
    assert (late.day, late.due, str(late)) == (
        date(2026, 11, 20), nine, "sandbox Settlement file EUR of 2026-11-20, due since 2026-11-21 09:00 CET",
    )  # fmt: skip
    staged(b"".join(LINES[:-1]))
    staged(settlement_file(2, currency="USD", batch="usd"))
    assert len(expected.missing(now=nine)) == 1
    file = staged()
    assert expected.missing(now=nine) == []
    settings.FILE_FORMATS_ONLY_READ = [file.format]
    assert len(expected.missing(now=nine)) == 1, "it is read and not compared"
    settings.FILE_FORMATS_ONLY_READ = []
    assert [each.day.day for each in expected.missing(now=nine + timedelta(days=2))] == [21, 22]
    rule.has_weekends = False  # the 21st and 22nd are a Saturday and a Sunday
    rule.save()
    assert expected.missing(now=nine + timedelta(days=2)) == []


# --- The desk, the command, the API ---------------------------------------------------------------------------------


def finance(*permissions: str) -> Client:
    cache.clear()
    user = User.objects.create_user("ben", password="-", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    browser = Client(enforce_csrf_checks=True, headers={"accept-language": "en"})
    browser.force_login(user)
    return browser


def upload(browser: Client, body: bytes, source: str = "sandbox") -> Any:
    address = "/admin/reconciliation/sourcefile/upload/"
    browser.get(address)
    token = browser.cookies["csrftoken"].value if "csrftoken" in browser.cookies else ""
    given = SimpleUploadedFile("../x/sb.csv", body)
    return browser.post(address, {"source": source, "file": given, "csrfmiddlewaretoken": token})


def test_finance_uploads_a_file_looks_at_it_and_has_its_original() -> None:
    browser = finance("upload_sourcefile", "download_sourcefile", "view_sourcefile", "view_stagedline", "view_expectedfile")
    page = upload(browser, BODY).headers["Location"]
    file = SourceFile.objects.get()
    assert (file.received_by, file.name) == ("staff:ben", "sb.csv")
    ingestion.stage(file.pk, now=NOW)
    ExpectedFile.objects.create(source="sandbox_bank", kind="statement", due_at=time(9), since=NOW.date() - timedelta(days=9))
    shown = browser.get(page).content.decode()
    assert "expected files are not here, or were refused" in shown
    assert f"stagedline/?q={file.public_id}" in shown
    assert b"ord_" in browser.get(f"/admin/reconciliation/stagedline/?q={file.public_id}").content
    line = StagedLine.objects.filter(file=file).order_by("number")[0]
    assert page in browser.get(f"/admin/reconciliation/stagedline/{line.pk}/change/").content.decode()
    original: Any = browser.get(f"{page.removesuffix('change/')}download/")
    assert (b"".join(original.streaming_content), original["Content-Type"]) == (BODY, "application/octet-stream")
    assert "received before" in browser.get(upload(browser, BODY).headers["Location"]).content.decode()
    assert "not one of the available choices" in upload(browser, BODY, source="nobody").content.decode()
    assert "was received before, from sandbox" in upload(browser, BODY, source="sandbox_bank").content.decode()


def test_finance_looks_at_a_statement_and_its_lines() -> None:
    browser = finance("view_sourcefile", "view_bankstatement", "view_stagedbankline")
    file = receive()
    SourceFile.objects.filter(pk=file.pk).update(kind="statement")
    file.refresh_from_db()
    statements = "/admin/reconciliation/bankstatement/"
    count = staging.stage_statement(file, bank_records())
    assert b"AT341904300234573299" not in browser.get(statements).content, "it is not staged to its end"
    staging.finish(file, count=count, now=NOW)
    assert b"AT341904300234573299" in browser.get(f"{statements}?q={file.public_id}").content
    shown = browser.get(f"{statements}{BankStatement.objects.order_by('pk')[0].pk}/change/").content.decode()
    address = f"/admin/reconciliation/stagedbankline/?q={file.public_id}"
    assert address in shown
    assert b"po_1" in browser.get(address).content
    line = StagedBankLine.objects.order_by("pk")[0]
    assert b"BK2" in browser.get(f"/admin/reconciliation/stagedbankline/{line.pk}/change/").content


def test_finance_says_which_files_are_expected_in_which_zone_and_with_which_fees() -> None:
    browser = finance("add_expectedfile", "view_expectedfile", "add_expectedfee", "view_expectedfee")
    address = "/admin/reconciliation/expectedfile/add/"
    browser.get(address)
    rule = {
        "source": "sandbox", "kind": "settlement", "currency": "EUR", "due_at": "09:00", "days_after": "1", "since": "2026-11-20",
        "csrfmiddlewaretoken": browser.cookies["csrftoken"].value,
    }  # fmt: skip
    assert "no such time zone" in browser.post(address, rule | {"zone": "Mars/Olympus"}).content.decode()
    assert browser.post(address, rule | {"zone": "Europe/Berlin"}).status_code == 302
    assert str(ExpectedFile.objects.get()) == "sandbox Settlement file EUR"
    assert b"Europe/Berlin" in browser.get("/admin/reconciliation/expectedfile/").content
    fee = {"psp": "sandbox", "currency": "EUR", "basis_points": "140", "fixed": "0.25"}
    fee["csrfmiddlewaretoken"] = rule["csrfmiddlewaretoken"]
    assert browser.post("/admin/reconciliation/expectedfee/add/", fee).status_code == 302
    assert b"sandbox" in browser.get("/admin/reconciliation/expectedfee/").content


def test_nobody_uploads_or_takes_away_a_file_without_leave() -> None:
    browser = finance("view_sourcefile")
    file = receive()
    assert upload(browser, settlement_file(2)).status_code == 403
    assert browser.get(f"/admin/reconciliation/sourcefile/{file.pk}/download/").status_code == 403
    assert browser.post(f"/admin/reconciliation/sourcefile/{file.pk}/read_again/", {"note": "x"}).status_code == 403
    assert SourceFile.objects.count() == 1


def test_the_command_receives_and_reads_at_once_and_says_where_a_file_is_wrong(tmp_path: Path) -> None:
    path, out = tmp_path / "sb.csv", io.StringIO()
    path.write_bytes(BODY)
    call_command("receive_file", path, source="sandbox", by="Ada", stdout=out)
    assert "is STAGED: 4 records, EUR." in out.getvalue()
    path.write_bytes(b"".join(LINES[:-1]))
    with pytest.raises(CommandError, match=r"is refused: line 4: .*adds up"):
        call_command("receive_file", path, source="sandbox", by="Ada")


def test_a_file_is_sent_over_the_api_once_and_asked_for_until_it_is_read() -> None:
    api = caller_of(new_shop(), "files:read", "files:write")
    address = "/v1/settlement_files?source=sandbox&name=sb.csv"
    sent, again = (api.post(address, BODY, key=None, content_type="text/csv") for _ in range(2))
    assert (sent.status_code, again.status_code, sent.json()) == (201, 200, again.json())
    assert sent.json() | {"status": "RECEIVED", "records": 0, "error": None, "received_by": None} == sent.json() | {"received_by": None}
    ingestion.stage_waiting(now=NOW)
    found = api.get(f"/v1/settlement_files/{sent.json()['id']}").json()
    assert (found["status"], found["records"], found["currencies"], found["last_day"]) == ("STAGED", 4, ["EUR"], "2026-11-20")
    refused = api.post(address, b"{}", key=None).json()
    assert (refused["status"], refused["format"], refused["kind"]) == ("REFUSED", None, None)
    assert [file["status"] for file in api.get("/v1/settlement_files", status="REFUSED").json()["data"]] == ["REFUSED"]


@pytest.mark.parametrize(
    ("query", "body", "headers", "status", "code"),
    [
        ("source=nobody&name=a", BODY, {}, 400, "unknown_source"),
        ("name=a", BODY, {}, 400, "required"),
        ("source=sandbox&name=%00", BODY, {}, 400, "forbidden_character"),
        ("source=sandbox&name=a", b"", {}, 400, "file_empty"),
        ("source=sandbox&name=a", BODY, {"content_type": "multipart/form-data; boundary=x"}, 415, "unsupported_media_type"),
        ("source=sandbox&name=a", BODY, {"Content-Length": str(201 * 1024 * 1024)}, 413, "file_too_large"),
    ],
)
def test_a_file_that_cannot_be_taken_is_refused_by_name(query: str, body: bytes, headers: dict[str, str], status: int, code: str) -> None:
    api = caller_of(new_shop(), "files:write")
    answer = api.post(f"/v1/settlement_files?{query}", body, key=None, **headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert not SourceFile.objects.exists()

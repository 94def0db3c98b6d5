"""The desk of mismatches: what is due when, whose it is, what people wrote down and attached, and many at once."""

import hashlib
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import DatabaseError, connection, transaction
from django.test import Client

from ledger import clock
from ledger.errors import DomainError
from ledger.models import JournalEntry
from payments.models import PaymentOrder
from reconciliation import causes, invariants, notes, resolution
from reconciliation.causes import Cause
from reconciliation.models import Mismatch, MismatchAttachment, MismatchNote, MismatchTransition, Proposal
from reconciliation.notes import NewFile
from tests.flows.test_admin import page_of, words
from tests.flows.test_matching import charged, sell, settle
from tests.flows.test_resolution import ADA, deed, in_suspense, staff

pytestmark = pytest.mark.django_db
NOW = datetime(2037, 11, 20, 12, 15, tzinfo=UTC)
LIST = "/admin/reconciliation/mismatch/"
PDF = b"%PDF-1.7\n%\xe2\xe3\n"


@pytest.fixture
def orders() -> Iterator[list[PaymentOrder]]:
    yield sell("10.00", "20.00", "30.00")
    assert invariants.violations() == []


@pytest.fixture
def queue(orders: list[PaymentOrder]) -> list[Mismatch]:
    """Give four mismatches: two orders that the PSP settled twice, one that it settled in another amount, and a charge that nobody knows."""
    first, second, third = orders
    settle(
        charged(first), charged(first), charged(second), charged(second), charged(third, "30.01"), ("charge", "ch_x", "", "5.00", "0.00")
    )
    return list(Mismatch.objects.order_by("pk"))


def noticed(kind: str, found_at: datetime) -> Mismatch:
    """Give a mismatch without a line, found then."""
    return Mismatch.objects.create(kind=kind, psp="sandbox", currency="EUR", subject=f"{kind} {found_at}", found_at=found_at)


def days_left(mismatch: Mismatch, *, now: datetime) -> int:
    return int(causes.with_days_left(Mismatch.objects.all(), now=now).values_list("days_left", flat=True).get(pk=mismatch.pk))


# --- Causes, and by when ---------------------------------------------------------------------------------------------


def test_each_kind_has_one_cause() -> None:
    assert sorted(kind for cause in Cause for kind in causes.kinds_of(cause)) == sorted(Mismatch.Kind)


def test_a_mismatch_is_due_after_as_many_bank_days_as_its_cause_is_given() -> None:
    thursday = datetime(2037, 4, 2, 15, tzinfo=UTC)  # before Good Friday; Easter Monday is no bank day either
    late, unknown = noticed("late", thursday), noticed("missing_there", thursday)
    assert (causes.due_on(late), causes.due_on(unknown)) == (date(2037, 4, 7), date(2037, 4, 13))
    assert [days_left(unknown, now=datetime(2037, 4, day, 12, tzinfo=UTC)) for day in (2, 3, 6, 7, 8, 13, 14)] == [5, 4, 4, 4, 3, 0, -1]
    assert [days_left(late, now=datetime(2037, 4, day, 23, tzinfo=UTC)) for day in (6, 7, 8)] == [0, 0, -1]
    on_sunday = noticed("late", datetime(2037, 4, 12, 9, tzinfo=UTC))
    assert causes.due_on(on_sunday) == date(2037, 4, 13)


def test_what_python_and_postgres_count_as_overdue_is_the_same_also_after_years() -> None:
    now = datetime(2037, 5, 4, 12, tzinfo=UTC)
    found = [
        noticed(kind, now - timedelta(hours=hours)) for kind in ("late", "missing_there") for hours in (*range(0, 300, 7), 9_000, 60_000)
    ]
    overdue = set(causes.overdue(now=now).values_list("pk", flat=True))
    assert overdue == {one.pk for one in found if causes.due_on(one) < now.date()}
    assert 0 < len(overdue) < len(found)


def test_the_queue_shows_the_most_urgent_first_and_is_asked_by_cause_and_by_when_it_is_due() -> None:
    now = clock.now()
    unknown, late = noticed("missing_there", now - timedelta(days=4)), noticed("late", now - timedelta(days=5))
    fresh, over = noticed("missing_there", now), noticed("missing_there", now - timedelta(days=40))
    done = noticed("late", now - timedelta(days=41))
    Mismatch.objects.filter(pk=done.pk).update(resolved_at=now)
    browser = staff("ada")

    def shown(asked: str) -> list[str]:
        page = browser.get(f"{LIST}?{asked}").content.decode()
        every = {one.public_id: page.find(one.public_id) for one in (unknown, late, fresh, over, done)}
        return sorted((one for one, at in every.items() if at >= 0), key=lambda one: every[one])

    assert shown("") == [one.public_id for one in (over, late, unknown, fresh)]
    assert shown("cause=automatic") == [late.public_id]
    assert shown("cause=unknown") == [one.public_id for one in (over, unknown, fresh)]
    assert shown("due=over") == [over.public_id, late.public_id]
    assert done.public_id in shown("state=all")
    assert shown("state=resolved") == [done.public_id]
    assert shown(f"q={done.public_id}") == [done.public_id]
    page = words(browser.get(LIST).content)
    assert f"Overdue since {causes.due_on(over).isoformat()}" in page
    assert causes.due_on(fresh).isoformat() in page


# --- Whose it is -----------------------------------------------------------------------------------------------------


def test_a_mismatch_is_given_to_somebody_else_and_given_back(queue: list[Mismatch]) -> None:
    ada = staff("ada", "propose_resolution")
    staff("bea", "propose_resolution")
    staff("cleo", "approve_resolution")
    one = queue[0]
    form = words(ada.get(deed(one, "assign")).content)
    assert "bea" in form
    assert "cleo" not in form
    assert "Select a valid choice" in words(ada.post(deed(one, "assign"), {"owner": "cleo", "note": "Yours"}).content)
    assert ada.post(deed(one, "assign"), {"owner": "bea", "note": "Yours"}).status_code == 302
    assert ada.post(deed(one, "give_back"), {"note": "She is ill"}).status_code == 302
    told = MismatchTransition.objects.filter(mismatch=one, what="owner").order_by("pk").values_list("before", "after", "actor", "reason")
    assert list(told) == [("", "staff:bea", ADA, "Yours"), ("staff:bea", "", ADA, "She is ill")]
    with pytest.raises(DomainError, match="may not look into"):
        resolution.assign(one.pk, "cleo", actor=ADA, reason="Yours")


# --- Notes and attachments -------------------------------------------------------------------------------------------


def test_notes_and_attachments_stay_as_they_are(queue: list[Mismatch]) -> None:
    notes.write(queue[0].pk, "The PSP's support has it:\nticket 4711", actor=ADA, now=NOW)
    attached = notes.attach(queue[0].pk, NewFile("letter.pdf", PDF, "The PSP's letter"), actor=ADA, now=NOW)
    assert (attached.size, attached.sha256) == (len(PDF), hashlib.sha256(PDF).hexdigest())
    for statement in (
        "UPDATE reconciliation_mismatchnote SET text = 'Nothing'",
        "DELETE FROM reconciliation_mismatchnote",
        "UPDATE reconciliation_mismatchattachment SET note = 'Nothing'",
        "DELETE FROM reconciliation_mismatchattachment",
        "INSERT INTO reconciliation_mismatchattachment (mismatch_id, name, media_type, size, sha256, content, note, added_by, added_at) "
        "SELECT mismatch_id, name, media_type, size, repeat('0', 64), content, note, added_by, added_at FROM reconciliation_mismatchattachment",
    ):
        with pytest.raises(DatabaseError, match=r"append-only|attachment_is_what_its_hash_says"), transaction.atomic():
            connection.cursor().execute(statement)
    with pytest.raises(DomainError, match="attached already"):
        notes.attach(queue[0].pk, NewFile("again.pdf", PDF, "Once more"), actor=ADA, now=NOW)
    with pytest.raises(DomainError) as refused:
        notes.write(queue[0].pk, " \n", actor=ADA, now=NOW)
    assert refused.value.field == "note"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("page.html", b"<html>"),
        ("picture.svg", b"<svg>"),
        ("letter.pdf", b"<html><script>"),
        ("letter.pdf.exe", PDF),
        ("letter.txt", b"\xef\xbb\xbf <!doctype html>"),
        ("programme.txt", b"MZ\0\0"),
        ("letter", PDF),
        ("..", PDF),
        ("", PDF),
        ("empty.txt", b""),
        ("large.txt", b"x" * (notes.LARGEST_ATTACHMENT + 1)),
    ],
)
def test_sec_23_what_may_harm_whoever_opens_it_is_not_attached(queue: list[Mismatch], name: str, content: bytes) -> None:
    with pytest.raises(DomainError) as refused:
        notes.attach(queue[0].pk, NewFile(name, content, "Look"), actor=ADA, now=NOW)
    assert (refused.value.code, refused.value.field) == ("attachment_refused", "file")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/letter.pdf", "letter.pdf"),
        ("C:\\mail\\letter.pdf", "letter.pdf"),
        (".letter.pdf", "letter.pdf"),
        ("let\r\nter\x00\u202e.pdf", "letter.pdf"),
        ("x" * 300 + ".pdf", "x" * 90 + ".pdf"),
    ],
)
def test_sec_24_an_attachment_has_a_plain_name_without_a_path(name: str, shown: str) -> None:
    assert notes.shown(name) == shown


def test_sec_24_an_attachment_is_a_download_for_whoever_may_view_its_mismatch(queue: list[Mismatch]) -> None:
    ada, bea = staff("ada", "annotate_mismatch"), staff("bea")
    form = {"note": "The bank's <b>page</b>", "file": SimpleUploadedFile("bank's page; é.txt", b"a page")}
    assert "multipart/form-data" in ada.get(deed(queue[0], "attach")).content.decode()
    assert bea.post(deed(queue[0], "attach"), form).status_code == 403
    assert "Attach one of these" in words(
        ada.post(deed(queue[0], "attach"), form | {"file": SimpleUploadedFile("page.html", b"<html>")}).content
    )
    form["file"] = SimpleUploadedFile("bank's page; é.txt", b"a page")
    assert ada.post(deed(queue[0], "attach"), form).status_code == 302
    assert ada.post(deed(queue[0], "write_note"), {"note": "One line\r\nand <i>another</i>"}).status_code == 302
    attached = MismatchAttachment.objects.get()
    page = bea.get(page_of(queue[0])).content.decode()
    assert "and &lt;i&gt;another" in page
    assert "The bank&#x27;s &lt;b&gt;page" in page
    address = page_of(queue[0]).replace("change/", f"attachments/{attached.pk}/")
    assert address in page
    answer = bea.get(address)
    assert (answer.content, answer["Content-Type"], answer["X-Content-Type-Options"]) == (b"a page", "text/plain", "nosniff")
    assert answer["Content-Disposition"].startswith("attachment;")
    assert bea.get(address.replace(f"/{queue[0].pk}/", f"/{queue[1].pk}/")).status_code == 404
    stranger = Client()
    user = User.objects.create_user("dora", password="-", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename="view_settlementbatch"))
    stranger.force_login(user)
    assert stranger.get(address).status_code == 403
    assert MismatchNote.objects.get().text == "One line\r\nand <i>another</i>"


# --- Many at once ----------------------------------------------------------------------------------------------------


def choose(browser: Client, bulk: str, mismatches: list[Mismatch]) -> str:
    """Choose these in the list; return the page that asks."""
    asked = {"action": bulk, "_selected_action": [one.pk for one in mismatches], "index": "0"}
    return browser.post(f"{LIST}?state=open", asked).content.decode()


def do(browser: Client, bulk: str, keys: list[str], note: str = "All of the same file") -> str:
    """Confirm it for these; return the words of the list, and what it says of what was done."""
    asked: dict[str, Any] = {"chosen": keys, "note": note, "filters": "state=open"}
    return words(browser.post(f"{LIST}chosen/{bulk}/", asked, follow=True).content)


def keys_in(page: str) -> list[str]:
    return [part.partition('"')[0] for part in page.split('name="chosen" value="')[1:]]


def test_many_are_taken_over_proposed_and_approved_each_by_itself(queue: list[Mismatch]) -> None:
    ada, bea = staff("ada", "propose_resolution", "approve_resolution"), staff("bea", "approve_resolution", "propose_resolution")
    twice, again, amount, unknown = queue
    assert "Done, to 4 mismatches" in do(ada, "take_over", keys_in(choose(ada, "take_over", queue)))
    assert set(Mismatch.objects.values_list("owner", flat=True)) == {ADA}

    resolution.propose(amount.pk, "psp_receivable:sandbox", "A cent", actor="staff:bea", now=NOW)
    page = choose(ada, "propose", queue)
    assert keys_in(page) == [f"{one.pk}:0" for one in (twice, again)]
    assert "only a person can say" in page
    assert "A proposal waits already" in page
    said = do(ada, "propose", [f"{one.pk}:0" for one in queue])
    assert "Done, to 2 mismatches" in said
    assert f"{amount.public_id}: A proposal for {amount.public_id} waits already" in said
    assert f"{unknown.public_id}: {unknown.public_id} stands in suspense" in said
    assert JournalEntry.objects.filter(kind="resolution").count() == 0

    page = choose(bea, "approve", queue)
    assert keys_in(page) == [f"{one.pk}:{Proposal.objects.get(mismatch=one).pk}" for one in (twice, again)]
    assert "You proposed it yourself" in page
    shown = words(page.encode())
    assert "suspense 29.40 EUR psp_receivable:sandbox" not in shown
    assert all(part in shown for part in ("29.40", "0.60", "30.00")), "what they come to together"
    assert "Somebody else must decide it" in do(bea, "approve", [f"{amount.pk}:{Proposal.objects.get(mismatch=amount).pk}"])
    resolution.reject(Proposal.objects.get(mismatch=again).pk, actor="staff:cleo", reason="Wait", now=NOW)
    assert "Nothing was done" in do(bea, "approve", keys_in(page), note="")
    assert "not a proposal for this mismatch" in do(bea, "approve", [f"{unknown.pk}:{Proposal.objects.get(mismatch=twice).pk}"])
    said = do(bea, "approve", keys_in(page))
    assert "Done, to 1 mismatch." in said
    assert "was decided by staff:cleo already" in said
    twice.refresh_from_db()
    assert twice.resolved_at is not None
    assert JournalEntry.objects.filter(kind="resolution").count() == 1
    assert in_suspense() == Decimal("19.70") + Decimal("29.71") + Decimal("5.00")


def test_sec_29_nobody_without_the_permission_does_anything_to_many(queue: list[Mismatch]) -> None:
    viewer = staff("vera", "annotate_mismatch")
    assert 'name="action"' not in viewer.get(LIST).content.decode()
    for bulk in ("take_over", "propose", "approve"):
        assert viewer.post(f"{LIST}chosen/{bulk}/", {"chosen": [f"{queue[0].pk}:0"], "note": "Mine"}).status_code == 403
    assert not MismatchTransition.objects.exists()


def test_what_a_forged_form_names_is_left_alone(queue: list[Mismatch]) -> None:
    ada = staff("ada", "propose_resolution")
    assert "Done" not in do(ada, "take_over", ["0:0", "x", "-1:2", f"{10**17}:0", ""])
    assert ada.get(f"{LIST}chosen/take_over/").status_code == 302
    assert "Done, to 1 mismatch." in do(ada, "take_over", [f"{10**17}:0", f"{queue[0].pk}:0"])

"""The invariants watch production: each look is kept and logged, and the admin is red while one does not hold or nobody looks."""

import io
from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.core.cache import cache
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import InternalError, connection, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from config.celery import app
from ledger import journal, seals
from reconciliation import invariants, queues, tasks, watch
from reconciliation.models import AcceptedHead, InvariantRun, QueueHeartbeat
from tests.factories import FEES, RECEIVABLE, draft

RED = 'class="alarm"'
Scope = InvariantRun.Scope


def post(*references: str) -> list[int]:
    with transaction.atomic():
        journal.open_accounts([RECEIVABLE, FEES], currency="EUR")
        return sorted(journal.post([draft(reference) for reference in references]))


def behind_the_guards(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(statement)
        cursor.execute("SET session_replication_role = DEFAULT")


@pytest.fixture
def books(real_db: None) -> list[int]:
    ids = post("one", "second", "third")
    seals.seal()
    return ids


@pytest.fixture
def finance(real_db: None) -> Client:
    cache.clear()
    browser = Client(headers={"accept-language": "en"})
    browser.force_login(User.objects.create_superuser("finance", password="as-long-as-it-is-calm"))
    return browser


def is_red(browser: Client) -> bool:
    return RED in browser.get(reverse("admin:index")).text


# --- The runs -------------------------------------------------------------------------------------------------------


def test_a_run_over_sound_books_is_kept_and_finds_nothing(books: list[int]) -> None:
    quick, full = watch.run_quick(now=timezone.now()), watch.run_full(now=timezone.now())
    assert quick.violations == full.violations == []
    assert full.checked == len(invariants.CHECKS) + 1 > quick.checked
    assert quick.seal_head == full.seal_head == str(seals.head())
    assert set(invariants.CHECKS) == watch.QUICK | invariants.NIGHTLY


def test_a_violation_is_kept_with_its_rows_and_logged_as_an_error_that_names_them(
    books: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    behind_the_guards(f"UPDATE ledger_posting SET amount = amount + 1 WHERE entry_id = {books[1]} AND line = 1")
    with caplog.at_level("ERROR", logger="reconciliation.watch"):
        tasks.check_invariants()
    run = InvariantRun.objects.get()
    found = {violation["invariant"].split()[0]: violation["rows"] for violation in run.violations}
    assert set(found) == {"INV-01", "INV-02", "INV-17"}
    assert found["INV-01"] == [[books[1], "EUR", "1.0000"]]
    assert f"je_{books[1]}: the entry or one of its postings was changed" in found["INV-17"][0]
    said = [record.getMessage() for record in caplog.records if record.name == "reconciliation.watch"]
    assert len(said) == len(run.violations)
    assert any(f"je_{books[1]}" in line for line in said)


def test_inv_17_an_old_edit_is_found_by_the_night_s_look(books: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invariants, "NEWEST", 1)
    behind_the_guards(f"UPDATE ledger_journalentry SET memo = 'another' WHERE id = {books[0]}")
    assert watch.run_quick(now=timezone.now()).violations == []
    [violation] = watch.run_full(now=timezone.now()).violations
    assert f"je_{books[0]}" in violation["rows"][0]


def test_inv_17_a_chain_that_was_cut_off_since_the_run_before_is_found(books: list[int]) -> None:
    watch.run_quick(now=timezone.now())
    for table in ("ledger_posting", "ledger_journalentry", "ledger_entrydigest", "ledger_ledgerseal"):
        behind_the_guards(f"DELETE FROM {table}")
    [violation] = watch.run_quick(now=timezone.now()).violations
    assert violation["invariant"] == watch.ANCHOR
    assert "cut off" in violation["rows"][0]


def test_inv_17_a_chain_written_anew_stays_red_until_a_person_accepts_it_by_name_and_with_a_reason(books: list[int]) -> None:
    watch.run_quick(now=timezone.now())
    anchor = str(seals.head())
    behind_the_guards("DELETE FROM ledger_ledgerseal")
    behind_the_guards("DELETE FROM ledger_entrydigest")
    behind_the_guards("UPDATE ledger_posting SET amount = amount * 100")
    seals.seal()
    forged = str(seals.head())
    for look in (watch.run_quick, watch.run_full, watch.run_quick):
        run = look(now=timezone.now())
        [violation] = run.violations
        assert (violation["invariant"], run.seal_head) == (watch.ANCHOR, anchor)
        assert "written anew" in violation["rows"][0]
    for head, by, note in (
        (anchor, "ada", "restored"),
        ("1:" + "0" * 64, "ada", "restored"),
        (forged, " ", "restored"),
        (forged, "ada", ""),
    ):
        with pytest.raises(CommandError):
            call_command("accept_seals", head, by=by, note=note, verbosity=0)
    assert watch.run_quick(now=timezone.now()).violations
    said = io.StringIO()
    call_command("accept_seals", forged, by="ada", note="restored", stdout=said)
    assert f"{forged} instead of {anchor}; violations now: 0." in said.getvalue()
    kept = AcceptedHead.objects.get()
    assert (kept.head, kept.instead_of, kept.accepted_by, kept.note) == (forged, anchor, "shell:ada", "restored")
    assert watch.alarm(now=timezone.now()) is None
    assert {run.seal_head for run in InvariantRun.objects.order_by("-pk")[:2]} == {forged}


def test_inv_17_a_look_that_was_under_way_while_the_chain_was_accepted_brings_the_old_anchor_back_in_vain(books: list[int]) -> None:
    watch.run_quick(now=timezone.now())
    anchor = str(seals.head())
    behind_the_guards("DELETE FROM ledger_ledgerseal")
    behind_the_guards("DELETE FROM ledger_entrydigest")
    seals.seal()
    watch.accept(seals.head() or pytest.fail("nothing is sealed"), accepted_by="ada", note="restored")
    InvariantRun.objects.create(scope=Scope.FULL, started_at=timezone.now(), took_ms=1, checked=1, seal_head=anchor)
    assert watch.run_quick(now=timezone.now()).violations == []


def test_a_chain_that_goes_through_its_anchor_needs_no_acceptance(books: list[int]) -> None:
    watch.run_quick(now=timezone.now())
    with pytest.raises(CommandError, match="nothing to accept"):
        call_command("accept_seals", str(seals.head()), by="ada", note="restored", verbosity=0)
    with pytest.raises(CommandError, match="A head is the number of a seal"):
        call_command("accept_seals", "the newest", by="ada", note="restored", verbosity=0)


def test_the_checks_only_read(books: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(invariants.CHECKS, "INV-00", "DELETE FROM reconciliation_queueheartbeat RETURNING queue")
    with pytest.raises(InternalError, match="read-only"):
        watch.look(["INV-00"], timeout_s=5)


def test_all_checks_of_a_run_see_one_state_of_the_books(books: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(invariants.CHECKS, "INV-00", "SELECT current_setting('transaction_isolation')")
    [seen], _head = watch.look(["INV-00"], timeout_s=5)
    assert seen.rows == (("repeatable read",),)


def test_a_check_that_takes_too_long_is_a_violation_and_the_others_are_still_made(
    books: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(invariants.CHECKS, "INV-00", "SELECT pg_sleep(30)")
    behind_the_guards("UPDATE ledger_posting SET amount = amount + 1 WHERE line = 1")
    began = timezone.now()
    broken, _head = watch.look(["INV-00", "INV-02 the books sum to nothing in each currency"], timeout_s=1)
    assert [violation.invariant.split()[0] for violation in broken] == ["INV-00", "INV-02"]
    assert "longer than 1 s" in broken[0].rows[0]
    assert timezone.now() - began < timedelta(seconds=15)


def test_runs_are_kept_for_thirty_days(real_db: None) -> None:
    now = timezone.now()
    for days in (29, 31):
        InvariantRun.objects.create(scope=Scope.QUICK, started_at=now - timedelta(days=days), took_ms=1, checked=1)
    watch.run_full(now=now)
    assert [(now - run.started_at).days for run in InvariantRun.objects.order_by("pk")] == [29, 0]


# --- The banner -----------------------------------------------------------------------------------------------------


def test_an_empty_house_is_not_red(finance: Client) -> None:
    assert not is_red(finance)


def test_the_admin_is_red_on_every_page_until_the_next_sound_run(books: list[int], finance: Client) -> None:
    watch.run_quick(now=timezone.now())
    assert not is_red(finance)
    behind_the_guards("UPDATE ledger_journalentry SET memo = 'another' WHERE reference = 'second'")
    run = watch.run_quick(now=timezone.now())
    address = reverse("admin:reconciliation_invariantrun_change", args=[run.pk])
    for page in ("admin:index", "admin:ledger_journalentry_changelist", "admin:auth_user_changelist", "admin:password_change"):
        shown = finance.get(reverse(page)).text
        assert RED in shown
        assert "1 invariant of the books does not hold." in shown
        assert f'href="{address}"' in shown
    assert f"je_{books[1]}" in finance.get(address).text
    behind_the_guards("UPDATE ledger_journalentry SET memo = '' WHERE reference = 'second'")
    watch.run_quick(now=timezone.now())
    assert not is_red(finance)


def test_what_the_night_found_stays_red_through_the_quick_looks_of_the_day(books: list[int], finance: Client) -> None:
    InvariantRun.objects.create(
        scope=Scope.FULL, started_at=timezone.now(), took_ms=1, checked=1, violations=[{"invariant": "x", "rows": []}]
    )
    watch.run_quick(now=timezone.now())
    assert is_red(finance)
    watch.run_full(now=timezone.now())
    assert not is_red(finance)


@pytest.mark.parametrize(("minutes", "red"), [(0, False), (14, False), (16, True), (3000, True)])
def test_a_look_that_is_too_old_is_red(finance: Client, minutes: int, red: bool) -> None:
    InvariantRun.objects.create(scope=Scope.QUICK, started_at=timezone.now() - timedelta(minutes=minutes), took_ms=1, checked=1)
    assert is_red(finance) == red


def test_books_that_were_never_looked_at_are_red_after_a_quarter_of_an_hour(books: list[int], finance: Client) -> None:
    assert not is_red(finance)
    behind_the_guards("UPDATE ledger_journalentry SET booked_at = booked_at - interval '16 minutes'")
    assert "never checked" in finance.get(reverse("admin:index")).text


def test_strangers_see_no_banner_and_staff_without_the_right_no_link(books: list[int]) -> None:
    InvariantRun.objects.create(
        scope=Scope.QUICK, started_at=timezone.now(), took_ms=1, checked=1, violations=[{"invariant": "x", "rows": []}]
    )
    assert RED not in Client().get(reverse("admin:login")).text
    clerk = User.objects.create_user("clerk", password="as-long-as-it-is-calm", is_staff=True)
    browser = Client(headers={"accept-language": "en"})
    browser.force_login(clerk)
    assert RED in browser.get(reverse("admin:index")).text
    assert "invariantrun" not in browser.get(reverse("admin:index")).text
    clerk.user_permissions.add(Permission.objects.get(codename="view_invariantrun"))
    assert "invariantrun" in browser.get(reverse("admin:index")).text


def test_sec_28_runs_can_only_be_looked_at(books: list[int], finance: Client) -> None:
    run = watch.run_quick(now=timezone.now())
    assert finance.get(reverse("admin:reconciliation_invariantrun_changelist")).status_code == 200
    assert finance.get(reverse("admin:reconciliation_invariantrun_changelist"), {"found": "something"}).status_code == 200
    assert finance.post(reverse("admin:reconciliation_invariantrun_change", args=[run.pk]), {"took_ms": 0}).status_code == 403
    assert finance.post(reverse("admin:reconciliation_invariantrun_delete", args=[run.pk]), {"post": "yes"}).status_code == 403
    assert finance.get(reverse("admin:reconciliation_queueheartbeat_changelist")).status_code == 200
    assert finance.get(reverse("admin:reconciliation_acceptedhead_changelist")).status_code == 200
    assert finance.get(reverse("admin:reconciliation_acceptedhead_add")).status_code == 403


# --- The heartbeats -------------------------------------------------------------------------------------------------


def test_a_queue_without_a_heartbeat_for_two_minutes_is_named(real_db: None) -> None:
    with pytest.raises(CommandError, match=r"(?s)money.*webhooks.*bulk"):
        call_command("check_queues", verbosity=0)
    for queue in queues.QUEUES:
        queues.beat(queue)
    call_command("check_queues", verbosity=0)
    QueueHeartbeat.objects.filter(queue="webhooks").update(at=timezone.now() - timedelta(seconds=121))
    with pytest.raises(CommandError, match=r"^The queue webhooks had no heartbeat for 121 s"):
        call_command("check_queues", verbosity=0)


def test_a_canary_of_no_queue_of_ours_is_refused(real_db: None) -> None:
    with pytest.raises(queues.UnknownQueue):
        queues.beat("celery")


def test_beat_looks_every_five_minutes_seals_every_minute_and_sends_a_canary_through_each_queue() -> None:
    schedule = app.conf.beat_schedule
    assert schedule["check_invariants"]["schedule"] == 300
    assert schedule["seal_the_books"]["schedule"] == 60
    canaries = {name: entry for name, entry in schedule.items() if entry["task"] == "reconciliation.tasks.canary"}
    assert {entry["options"]["queue"] for entry in canaries.values()} == set(queues.QUEUES)
    assert {entry["schedule"] for entry in canaries.values()} == {30}

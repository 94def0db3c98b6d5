"""Finance's first page: every figure of the day is a link to exactly its rows, and shown to those who may see them."""

from collections.abc import Iterator
from datetime import datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.cache import cache
from django.db import OperationalError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from djmoney.money import Money

from ledger import chart, clock, journal
from ledger.journal import Draft
from ledger.models import JournalEntry
from payments.models import PspEvent
from payouts import requests
from payouts.models import PayoutSchedule
from reconciliation import matching, reports, today
from reconciliation.models import (
    ExpectedFile,
    InsideLook,
    Mismatch,
    Proposal,
    SettlementBatch,
    SourceFile,
    StagedLine,
)
from reconciliation.today import Tile
from tests.factories import eur, make_available, new_bank_account, new_sellers, new_shop
from wallet.models import OutboxMessage, WebhookDelivery, WebhookEndpoint

pytestmark = pytest.mark.django_db
A_DAY, AN_HOUR = timedelta(days=1), timedelta(hours=1)


@pytest.fixture
def finance() -> Client:
    cache.clear()
    return logged_in(User.objects.create_superuser("finance"))


def logged_in(user: User) -> Client:
    browser = Client(headers={"accept-language": "en"})
    browser.force_login(user)
    return browser


def file_of(name: str, now: datetime, **terms: Any) -> SourceFile:
    said = {
        "source": "sandbox",
        "kind": "settlement",
        "format": "sandbox",
        "status": "STAGED",
        "staged_at": now,
        "last_day": now.date() - A_DAY,
    }
    said |= {"currencies": ["EUR"], "size": 1, "received_by": "folder", "received_at": now, "sha256": name.rjust(64, "0"), "name": name}
    return SourceFile.objects.create(**(said | terms))


def batch_of(file: SourceFile, name: str, now: datetime, **terms: Any) -> SettlementBatch:
    return SettlementBatch.objects.create(file=file, psp="sandbox", name=name, currency="EUR", matched_at=now, **terms)


def off_by(batch: SettlementBatch, number: int, suspended: str, found_at: datetime) -> Mismatch:
    """Return a mismatch of a line of the batch."""
    texts = ("type", "batch", "psp_reference", "charge_reference", "our_reference", "method", "text")
    nothing: dict[str, Any] = dict.fromkeys(texts, "") | dict.fromkeys(("gross", "fee", "net"), Decimal(suspended))
    line = StagedLine.objects.create(
        file=batch.file, number=number, line=number, kind="charge", currency="EUR", net_currency="EUR", rate=1, **nothing
    )
    terms = {"kind": "missing_here", "psp": "sandbox", "currency": "EUR", "suspended": Decimal(suspended), "found_at": found_at}
    return Mismatch.objects.create(batch=batch, line=line, **terms)


def missing_there(number: int, found_at: datetime) -> Mismatch:
    return Mismatch(kind="missing_there", psp="sandbox", currency="EUR", subject=f"ord_{number}", found_at=found_at)


@pytest.fixture
def a_day() -> datetime:
    """Leave something of each kind, and return the time of business."""
    now = clock.now()
    nothing = {"kind": "settlement", "zone": "UTC", "since": now.date() - 90 * A_DAY}
    ExpectedFile.objects.create(source="sandbox", due_at=time(0, 0), **nothing)
    ExpectedFile.objects.create(source="adyen", due_at=time(0, 0), **nothing)
    ExpectedFile.objects.create(source="stripe", due_at=time(0, 0), **nothing)
    here = file_of("1", now, status="RECEIVED", staged_at=None)
    file_of("2", now, source="stripe", status="REFUSED", staged_at=None, error="no header", format="")
    file_of("3", now - 2 * A_DAY, last_day=now.date() - 3 * A_DAY)

    clean = batch_of(here, "b1", now, lines=3, matched=3, paid_out=Decimal("90.00"), fees=Decimal("10.00"))
    off = batch_of(
        here, "b2", now, lines=3, matched=1, mismatched=2, paid_out=Decimal("57.00"), fees=Decimal("3.00"), suspended=Decimal("7.00")
    )
    batch_of(here, "b3", now - 3 * A_DAY, lines=1, matched=1, paid_out=Decimal("5.00"))
    assert clean.pk < off.pk
    first = off_by(off, 1, "5.00", now - AN_HOUR)
    off_by(off, 2, "2.00", now - AN_HOUR)
    SourceFile.objects.filter(pk=here.pk).update(status="STAGED", staged_at=now)
    Mismatch.objects.bulk_create([missing_there(days, now - days * A_DAY) for days in (3, 5, 9, 40, 50, 60)])
    Mismatch.objects.filter(subject="ord_60").update(resolved_at=now)
    Proposal.objects.create(mismatch=first, memo="ours", made_by="staff:ana", made_at=now)
    suspense(eur("7.00"), now)

    [ada] = new_sellers(new_shop(), "Ada")
    new_bank_account(ada)
    make_available(ada, eur("50.00"))
    PayoutSchedule(shop=ada.shop, minimum=eur("0"), keep_back=eur("0")).save()
    for amount in ("20.00", "3.00"):
        requests.request_payout(ada, amount=eur(amount), now=now)

    for number, hours in enumerate((0, 2, 3)):
        event = PspEvent.objects.create(psp="sandbox", event_id=f"e{number}", type="charge.succeeded", body={})
        PspEvent.objects.filter(pk=event.pk).update(received_at=timezone.now() - hours * AN_HOUR)
    endpoint = WebhookEndpoint.objects.create(shop=ada.shop, url="https://shop.example/hooks")
    message = OutboxMessage.objects.latest("pk")
    WebhookDelivery.objects.filter(endpoint=endpoint).delete()
    WebhookDelivery.objects.create(message=message, endpoint=endpoint, next_attempt_at=timezone.now() - 2 * AN_HOUR)
    InsideLook.objects.create(asked_at=timezone.now(), ended_at=timezone.now())
    return now


@transaction.atomic
def suspense(held: Money, now: datetime) -> None:
    journal.open_accounts([chart.suspense(), chart.operating_bank()], currency=held.currency.code)
    journal.post([Draft(JournalEntry.Kind.MANUAL, "suspense", now, [(chart.operating_bank(), held)], [(chart.suspense(), held)])])


def tiles(user: User) -> Iterator[Tile]:
    for section in today.sections(user, now=clock.now(), true_time=timezone.now()):
        yield from section.tiles


def test_every_figure_leads_to_exactly_its_rows(a_day: datetime, finance: Client) -> None:
    shown = list(tiles(User.objects.get()))
    first_page = finance.get(reverse("admin:index")).text
    for tile in shown:
        assert str(tile.shown) in first_page, tile
        answer = finance.get(tile.address)
        assert answer.status_code == 200, tile
        if tile.count is not None:
            assert answer.context["cl"].result_count == tile.count, tile
    figures = [(str(tile.shown), tile.count, tile.tone) for tile in shown]
    assert figures == [
        ("missing", 0, "bad"),
        ("here", None, "good"),
        ("refused", 1, "bad"),
        ("2", 2, ""),
        ("153.00\N{NO-BREAK SPACE}EUR", 2, ""),
        ("7.00\N{NO-BREAK SPACE}EUR", 1, "bad"),
        ("2", 2, ""),
        ("2", 2, "bad"),
        ("1", 1, "bad"),
        ("2", 2, "bad"),
        (figures[10][0], figures[10][1], "bad"),
        ("7.00\N{NO-BREAK SPACE}EUR", None, "bad"),
        ("1", 1, ""),
        ("0", 0, ""),
        ("0", 0, "good"),
        ("23.00\N{NO-BREAK SPACE}EUR", 2, ""),
        ("2", 2, "bad"),
        ("1", 1, "bad"),
        ("money agrees", None, "good"),
    ]
    assert int(figures[10][0]) >= 3  # overdue: by bank days
    [in_suspense] = [tile for tile in shown if tile.what == "in suspense"]
    rows = finance.get(in_suspense.address).context["cl"].result_list
    assert sum(row.suspended for row in rows) == Decimal("7.00")


def test_the_page_asks_some_fifteen_questions_and_counts_no_further_than_its_lists_show(a_day: datetime, finance: Client) -> None:
    user = User.objects.get()
    Mismatch.objects.bulk_create([missing_there(number, a_day - 9 * A_DAY) for number in range(1000, 2100)])
    with CaptureQueriesContext(
        connection,
    ) as asked:
        shown = list(tiles(user))
    statements = [
        query["sql"] for query in asked.captured_queries if not query["sql"].startswith(("SAVEPOINT", "RELEASE", "SELECT set_config"))
    ]
    assert len(statements) <= 19, "\n".join(statements)
    [of_age] = [tile for tile in shown if tile.what == "open for 8 to 30 days"]
    assert (of_age.shown, of_age.count) == ("1000+", 1000)


def test_a_batch_that_cannot_be_compared_stands_in_the_banner_and_among_the_figures(
    finance: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = clock.now()
    is_read = {"status": "STAGED", "staged_at": now - 2 * AN_HOUR}
    files = [file_of(f"{hours}", now - hours * AN_HOUR) for hours in (2, 0, 60)]
    files.append(file_of("waits", now, status="RECEIVED", staged_at=None))
    stuck, lately, since_days, waits = (
        SettlementBatch.objects.create(file=file, psp="sandbox", name=f"b{file.pk}", currency="EUR") for file in files
    )
    line: dict[str, Any] = {"currency": "EUR", "gross": 0, "net_currency": "EUR", "fee": 15, "net": -15, "rate": 1, "number": 1, "line": 1}
    StagedLine.objects.create(file=waits.file, kind="fee", type="dispute_fee", batch=waits.name, psp_reference="dp_1", **line)
    SourceFile.objects.filter(pk=waits.file_id).update(**is_read)

    def fails(*_asked: object, **_terms: object) -> SettlementBatch:
        raise OperationalError

    monkeypatch.setattr(matching, "match", fails)
    assert matching.match_waiting(now=now) == 0
    [tile] = [tile for tile in tiles(User.objects.get()) if "cannot be compared" in str(tile.what)]
    assert (tile.shown, tile.tone) == ("2", "bad")
    assert set(finance.get(tile.address).context["cl"].result_list) == {stuck, since_days}
    page = finance.get(reverse("admin:index")).text
    assert "2 settlement batches cannot be compared with our books" in page
    assert reverse("admin:reconciliation_settlementbatch_change", args=[stuck.pk]) in page
    assert str(lately) not in page
    SettlementBatch.objects.update(matched_at=now)
    assert "cannot be compared" not in finance.get(reverse("admin:index")).text


def test_who_may_not_see_the_rows_does_not_see_their_figures_and_an_empty_day_says_so(finance: Client) -> None:
    viewer = User.objects.create_user("viewer", is_staff=True)
    assert today.sections(viewer, now=clock.now(), true_time=timezone.now()) == []
    viewer.user_permissions.set(Permission.objects.filter(codename="view_settlementbatch"))
    viewer = User.objects.get(pk=viewer.pk)
    [section] = today.sections(viewer, now=clock.now(), true_time=timezone.now())
    assert (section.name, section.tiles, section.empty) == ("settled", [], "No settlement batch was compared with our books today.")
    page = logged_in(viewer).get(reverse("admin:index"))
    assert page.status_code == 200
    assert section.empty in page.text
    assert "in suspense" not in page.text


def test_a_day_that_takes_too_long_to_count_keeps_nobody_from_the_page(finance: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "LONGEST_S", 0.2)
    monkeypatch.setattr(today, "BY_AGE", "SELECT pg_sleep(30), %s, %s, %s, %s, %s, %s, %s, %s")
    page = finance.get(reverse("admin:index"))
    assert page.status_code == 200
    assert "The figures of the day cannot be counted at present" in page.text

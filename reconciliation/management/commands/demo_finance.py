"""`manage.py demo_finance`: the staff of the demo, and something for finance to do: three days that were sold, settled, paid to our bank and
compared.  Runs before `demo_data`, and is safe to run again.

Prints one JSON line: the logins.  The days are lived through on the test clock of both sides, which begins in the past for it and ends at the
true time: buyers pay the usual way, and the files are those that the sandbox makes as each day is over, with a few faults switched on.
"""

import json
import time as stopwatch
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from ledger import approvals, chart, clock, entry_approvals
from ledger.journal import Draft
from ledger.models import JournalEntry
from ledger.money import exact
from payments.management import baskets
from payments.management.baskets import Basket
from payments.management.commands import demo_data
from payments.management.commands.advance_clock import tell_the_sandbox, write
from payments.models import PaymentEvent, PaymentOrder
from reconciliation import bank_matching, ingestion, inside, matching, resolution, sandbox_files
from reconciliation.models import BankStatement, ExpectedFee, ExpectedFile, Mismatch, SettlementBatch, SourceFile
from reconciliation.roles import Role
from reconciliation.tasks import nudge_look
from wallet.management import demo
from wallet.models import Shop

DEADLINE_S = 20
TIMEOUT_S = 10
OPEN_FROM = time(10, tzinfo=UTC)  # so that a day's sales are of one day, whenever the demo is started
STAFF = {
    Role.MAKER: "Finance, proposes",
    Role.CHECKER: "Finance, approves",
    Role.VIEWER: "Finance, looks on",
    Role.AUDITOR: "Auditor",
    Role.ADMINISTRATOR: "Administrator, sees no money",
}
MAKER = "staff:maker"


@dataclass(frozen=True)
class Day:
    """A day of the past: what was sold on it, and what goes wrong with it, by order (basket and number), in the PSP's file.

    `at_the_bank` goes wrong with the payment that our bank books on that day, which is of the day before.
    """

    days_ago: int
    baskets: tuple[Basket, ...]
    in_the_file: tuple[tuple[str, str], ...] = ()
    at_the_bank: str = ""


ADA, BEN, CHIO = demo_data.ADA, demo_data.BEN, demo_data.CHIO
DAYS = (
    Day(
        3,
        (
            Basket("rainy-week", ADA, "EUR", (("ada", "74.00", "Five crime novels"), ("cleo", "52.00", "Soup bowls"))),
            Basket("first-ride", BEN, "EUR", (("bolt", "389.00", "Children's bike"),)),
        ),
        in_the_file=(("rainy-week-2", "line_amount"),),
    ),
    Day(
        2,
        (
            Basket("two-cups", CHIO, "EUR", (("cleo", "38.00", "Two cups"), ("ada", "22.50", "Haiku"))),
            Basket("night-music", BEN, "USD", (("dune", "189.00", "Headphones"),)),
        ),
        in_the_file=(("two-cups-1", "line_doubled"), ("two-cups-2", "line_fee")),
        at_the_bank="line_extra",
    ),
    Day(
        1,
        (
            Basket("sunday-tea", ADA, "EUR", (("cleo", "94.00", "Tea set"), ("bolt", "45.90", "Front light"))),
            Basket("changed-mind", CHIO, "EUR", (("ada", "35.00", "Cookery book"),), refund="35.00"),
        ),
        in_the_file=(("sunday-tea-2", "line_extra"),),
    ),
)


class Command(BaseCommand):
    help = "Give the demo its staff, and three days that are settled and compared (once); print the logins as one JSON line."

    def handle(self, *args: Any, **options: Any) -> None:
        demo.require_demo()
        if clock.offset() < timedelta():  # a first start that was cut short
            put_clock(timedelta())
        if not Shop.objects.filter(name=demo.SHOP_NAME).exists():
            live_through_days(today=clock.now().date())
        for role in STAFF:
            hire(role)
        self.stdout.write(json.dumps({"logins": [login_of(role) for role in STAFF]}))


def hire(role: Role) -> None:
    """Give the role's login, unless it is there."""
    user_model = get_user_model()
    name = role.name.lower()
    if not user_model.objects.filter(username=name).exists():
        with transaction.atomic():
            user = user_model.objects.create_user(name, f"{name}@example.com", demo.password_of(name), is_staff=True)
            user.groups.add(Group.objects.get(name=role.value))


def login_of(role: Role) -> dict[str, str]:
    """Return a row of the demo's table."""
    name = role.name.lower()
    return {"who": STAFF[role], "url": f"{settings.PUBLIC_URL}/admin/", "user": name, "password": demo.password_of(name)}


# --- The days -------------------------------------------------------------------------------------------------------


def live_through_days(*, today: date) -> None:
    """Sell on each day of the past, and read each morning what the PSP and the bank say of the days before; leave some of it for people."""
    ahead, first = clock.offset(), opening_of(DAYS[0], today=today)
    try:
        put_clock(first - timezone.now())
        shop = demo_data.open_shop()
        files_are_expected(since=first.date())
        for day in DAYS:
            put_clock(opening_of(day, today=today) - timezone.now())
            take_files_in(since=first)
            for basket in day.baskets:
                demo_data.live_through(shop, basket)
                date_back(basket.name)
            switch_faults_on(day)
    finally:
        put_clock(ahead)
    take_files_in(since=first)
    something_waits()
    inside.ask(asked_by="", reason="", now=timezone.now())
    nudge_look()


def opening_of(day: Day, *, today: date) -> datetime:
    return datetime.combine(today - timedelta(days=day.days_ago), OPEN_FROM)


def put_clock(ahead: timedelta) -> None:
    """Put the clocks of both sides so far ahead of the true time, or behind it.  Raises CommandError if the sandbox does not answer."""
    offset_s = int(ahead.total_seconds())
    tell_the_sandbox(offset_s)
    write(Path(settings.TEST_CLOCK_FILE), offset_s)


def date_back(checkout_id: str) -> None:
    """Let a paid basket be of the day that the test clock shows: Postgres, whose own clock follows none, wrote when it was opened."""
    event = PaymentEvent.objects.get(shop__name=demo.SHOP_NAME, checkout_id=checkout_id)
    baskets.wait_until_paid(event)
    PaymentEvent.objects.filter(pk=event.pk).update(created_at=F("created_at") + clock.offset())
    event.orders.update(created_at=F("created_at") + clock.offset())


def files_are_expected(*, since: date) -> None:
    """Say which files must come each morning, and what the PSP keeps of a charge by its contract."""
    for source, kind in settings.FILE_SOURCES.items():
        first = since if kind == SourceFile.Kind.SETTLEMENT else since + timedelta(days=1)  # the bank books what was settled the day before
        terms = {"due_at": time(8), "since": first, "has_quiet_days": False}  # the sandbox makes none of a day on which nothing happened
        ExpectedFile.objects.get_or_create(source=source, kind=kind, currency="EUR", defaults=terms)
    ExpectedFee.objects.get_or_create(psp="sandbox", currency="EUR", defaults={"basis_points": 140, "fixed": Decimal("0.25")})


def switch_faults_on(day: Day) -> None:
    """Let the sandbox settle and book wrongly what the day says, once it is over."""
    booked = clock.now().date() - timedelta(days=1)
    faults = [("settlement", kind, order_called(order)) for order, kind in day.in_the_file]
    faults += [("statement", day.at_the_bank, f"sb-{booked:%Y%m%d}-eur")] if day.at_the_bank else []
    headers = {"Authorization": f"Bearer {settings.PSP_SANDBOX_API_KEY}"}
    try:
        with httpx.Client(base_url=settings.PSP_SANDBOX_URL, headers=headers, timeout=TIMEOUT_S, trust_env=False) as sandbox:
            for operation, kind, reference in faults:
                fault = {"operation": operation, "kind": kind, "reference": reference, "times": 1}
                sandbox.put("/v1/faults", json=fault).raise_for_status()
    except httpx.HTTPError as error:
        raise CommandError(f"The sandbox does not answer at {settings.PSP_SANDBOX_URL}: {error}") from error


def order_called(reference: str) -> str:
    """Return the id of an order, by which the PSP's files name it."""
    return PaymentOrder.objects.get(event__shop__name=demo.SHOP_NAME, reference=reference).public_id


def take_files_in(*, since: datetime) -> None:
    """Receive, read and compare what the PSP and its bank have made, as beat does.  Raises CommandError after DEADLINE_S."""
    sandbox_files.fetch(now=clock.now())
    until = stopwatch.monotonic() + DEADLINE_S
    while True:
        ingestion.stage_waiting(now=clock.now())
        matching.match_waiting(now=clock.now())
        bank_matching.match_waiting(now=clock.now())
        if not is_something_waiting(since=since):  # the demo's own worker reads files, too
            return
        if stopwatch.monotonic() > until:
            raise CommandError(f"the sandbox's files are not compared after {DEADLINE_S} s")
        stopwatch.sleep(0.05)


def is_something_waiting(*, since: datetime) -> bool:
    waiting = (
        SourceFile.objects.filter(status=SourceFile.Status.RECEIVED),
        SettlementBatch.objects.filter(matched_at=None, closed_at__gte=since),
        BankStatement.objects.filter(compared=None, closed_on__gte=since.date()),
    )
    return any(rows.exists() for rows in waiting)


def something_waits() -> None:
    """Let the maker propose how one mismatch is resolved, and a journal entry."""
    twice = Mismatch.objects.filter(kind=Mismatch.Kind.DUPLICATE, resolved_at=None).first()
    if twice is not None:
        resolution.take_over(twice.pk, actor=MAKER, reason="I ask the PSP")
        account, memo = resolution.suggested_account(twice), "The PSP settled it twice, and takes it back with its next file"
        resolution.propose(twice.pk, account, memo, actor=MAKER, now=clock.now())
    amount = exact("1.50", "EUR")
    moved = Draft(
        kind=JournalEntry.Kind.MANUAL,
        reference="charges-of-the-bank",
        memo="The bank's charge for the first transfer was booked as a fee of the PSP",
        effective_at=clock.now(),
        debits=[(chart.bank_charges(), amount)],
        credits=[(chart.psp_fees(), amount)],
    )
    approvals.propose(entry_approvals.proposal_of(moved, evidence="Letter of the bank"), actor=MAKER, now=clock.now())

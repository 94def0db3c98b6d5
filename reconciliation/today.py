"""Finance's first page, the day at a glance: which files have come, what was settled, what is to be explained, what waits, and for whom.

Each figure is a link to exactly its rows, and is shown only to whoever may see these.  Some fifteen narrow questions in all: each is answered
by a small table or an index, counts no further than a list shows, and the page goes without them rather than wait for longer than reports do.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db import connection
from django.db.models import Count, F, Q, QuerySet, Sum
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from djmoney.money import Money

from ledger import approvals, chart
from ledger.admin import MOST_SHOWN
from ledger.figures import figure
from ledger.models import Account
from ledger.queries import balance_of
from ledger.templatetags.written import amount, day, moment
from payments.models import Dispute, PspEvent
from payments.states import DisputeStatus
from payouts import conversions
from payouts.models import Payout
from payouts.states import LIVE
from reconciliation import causes, expected, inside, matching, reports
from reconciliation.models import ExpectedFile, Mismatch, SettlementBatch, SourceFile
from wallet import rates
from wallet.models import WebhookDelivery

User = AbstractBaseUser | AnonymousUser
A_DAY = timedelta(days=1)
AN_HOUR = timedelta(hours=1)
SOON = timedelta(days=3)  # within which a dispute is to be answered
NIGHTLY = timedelta(hours=36)  # after which the look of the night was left out
MOST_SOURCES = 50
EVER = datetime(2000, 1, 1, tzinfo=UTC)  # nothing is older
AGES = (  # whole days, from and to
    (0, 1, gettext_lazy("open for a day at most")),
    (2, 7, gettext_lazy("open for 2 to 7 days")),
    (8, 30, gettext_lazy("open for 8 to 30 days")),
    (31, None, gettext_lazy("open for more than 30 days")),
)
OF_AN_AGE = f"""
    (SELECT count(*) FROM (
        SELECT FROM reconciliation_mismatch WHERE resolved_at IS NULL AND found_at > %s AND found_at <= %s LIMIT {MOST_SHOWN}
    ) AS few)
"""  # noqa: S608 (a constant)
BY_AGE = f"SELECT {', '.join(OF_AN_AGE for _age in AGES)}"


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure: what is large in it, what it is about, where its rows are, and good or bad where it is either.

    `count` is how many rows that list has, up to MOST_SHOWN; None where the address is the page of one row.
    """

    shown: Any
    what: Any
    address: str
    tone: str = ""
    count: int | None = None


@dataclass(frozen=True, slots=True)
class Section:
    """Figures that belong together; `empty` is what is said where there are none."""

    name: str
    title: str
    tiles: Sequence[Tile] = field(default_factory=tuple)
    empty: str = ""


def sections(user: User, *, now: datetime, true_time: datetime) -> list[Section]:
    """Return what this person may see of the day.  `now` is the time of business, `true_time` that of the looks inside."""
    asked: list[tuple[str, Callable[[], Section]]] = [
        ("reconciliation.view_sourcefile", lambda: files(now=now)),
        ("reconciliation.view_settlementbatch", lambda: settled(now=now)),
        ("reconciliation.view_mismatch", lambda: to_explain(now=now)),
    ]
    with reports.within_the_time():
        seen = [section() for permission, section in asked if user.has_perm(permission)]  # type: ignore[union-attr]
        people = list(to_decide(user, now=now))
        house = list(in_the_house(user, true_time=true_time))
        house += rates_tiles(now=now) if user.has_perm("wallet.view_exchangerate") else []  # type: ignore[union-attr]
    seen += [Section("decide", _("Waits for somebody"), people)] if people else []
    return seen + ([Section("house", _("In the house"), house)] if house else [])


def listed(rows: str, **filters: Any) -> str:
    """Return the address of the list of such rows (`payments_refund`), with its filters."""
    asked = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in filters.items()}
    address = reverse(f"admin:{rows}_changelist")
    return f"{address}?{urlencode(asked)}" if asked else address


def page(rows: str, pk: int) -> str:
    return reverse(f"admin:{rows}_change", args=[pk])


def counted(found: QuerySet[Any], what: Any, rows: str, *, is_trouble: bool = True, **filters: Any) -> Tile:
    """Return how many there are, up to as many as their list shows; of a trouble there should be none."""
    figured = figure(found, str(what), rows)
    return Tile(figured.shown, what, listed(rows, **filters), tone_of(figured.count) if is_trouble else "", figured.count)


def at_least(count: int, most: int) -> str:
    """Say how many there are, of which no more than `most` were counted."""
    return f"{count}+" if count == most else str(count)


def tone_of(count: int) -> str:
    return "bad" if count else "good"


def midnight(now: datetime) -> datetime:
    return datetime.combine(now.astimezone(UTC).date(), time(), tzinfo=UTC)


# --- Files ------------------------------------------------------------------------------------------------------------


def files(*, now: datetime) -> Section:
    """Say of each file that is due today whether it has come, and how many files came."""
    today = midnight(now)
    wanted = [
        (each, about)
        for each in ExpectedFile.objects.order_by("source", "kind", "currency")[:MOST_SOURCES]
        if (about := due_today(each, now=now))
    ]
    of_these_days = Q(last_day__in={about for _each, about in wanted}, status=SourceFile.Status.STAGED)
    columns = ("pk", "source", "kind", "status", "format", "currencies", "last_day", "received_at")
    found = list(SourceFile.objects.filter(of_these_days | Q(received_at__gte=today)).order_by("-pk").values(*columns)[:MOST_SHOWN])
    came = sum(each["received_at"] >= today for each in found)
    shown = f"{came}+" if len(found) == MOST_SHOWN else str(came)
    tiles = [standing_of(each, about, found, now=now) for each, about in wanted]
    tiles.append(Tile(shown, _("files came today"), listed("reconciliation_sourcefile", received_at__gte=today), "", came))
    return Section("files", _("Files due"), tiles)


def due_today(each: ExpectedFile, *, now: datetime) -> date | None:
    """Return the day about which a file is due today, by the zone of its source; None if none is."""
    about = now.astimezone(ZoneInfo(each.zone)).date() - each.days_after * A_DAY
    return about if expected.is_wanted(each, about) else None


def standing_of(each: ExpectedFile, about: date, found: Sequence[dict[str, Any]], *, now: datetime) -> Tile:
    """Say whether the file about that day is here, was refused, is still awaited, is missing, or need not be, as nothing moved."""
    what = _("%(file)s of %(day)s") % {"file": each, "day": day(about)}
    here = next((one for one in found if is_it(one, each, about)), None)
    if here is not None:
        return Tile(_("here"), what, page("reconciliation_sourcefile", here["pk"]), "good")
    refused = {"source": each.source, "status": SourceFile.Status.REFUSED, "received_at__gte": midnight(now)}
    today = [one for one in found if one["source"] == each.source and one["received_at"] >= midnight(now)]
    rejected = sum(one["status"] == SourceFile.Status.REFUSED and one["kind"] in ("", each.kind) for one in today)
    if rejected:
        count = sum(one["status"] == SourceFile.Status.REFUSED for one in today)
        return Tile(_("refused"), what, listed("reconciliation_sourcefile", **refused), "bad", count)
    if not expected.told_of(each, [about]):
        return Tile(_("quiet"), _("%(file)s: no movements") % {"file": what}, page("reconciliation_expectedfile", each.pk))
    due = expected.due_of(each, about)
    all_of_it = listed("reconciliation_sourcefile", source=each.source, received_at__gte=midnight(now))
    if due > now:
        return Tile(_("awaited"), _("%(file)s, until %(when)s") % {"file": what, "when": f"{due:%H:%M %Z}"}, all_of_it, "", len(today))
    return Tile(_("missing"), _("%(file)s, due at %(when)s") % {"file": what, "when": f"{due:%H:%M %Z}"}, all_of_it, "bad", len(today))


def is_it(one: dict[str, Any], each: ExpectedFile, about: date) -> bool:
    """Return whether a file is the expected one, as expected.py counts it."""
    is_read = one["status"] == SourceFile.Status.STAGED and one["format"] not in settings.FILE_FORMATS_ONLY_READ
    is_of_it = (one["source"], one["kind"], one["last_day"]) == (each.source, each.kind, about)
    return is_read and is_of_it and (not each.currency or each.currency in one["currencies"])


# --- Settled, and to be explained -------------------------------------------------------------------------------------


def settled(*, now: datetime) -> Section:
    """Say what PSPs' batches of today settled, by value, and what of it does not match, per currency."""
    today = midnight(now)
    batches = SettlementBatch.objects.filter(matched_at__gte=today).values("currency").order_by("currency")
    sums = batches.annotate(
        batches=Count("pk"),
        value=Sum(F("paid_out") + F("fees") - F("suspended")),
        lines_matched=Sum("matched"),
        with_mismatches=Count("pk", filter=Q(mismatched__gt=0)),
        lines_off=Sum("mismatched"),
        suspense=Sum("suspended"),
    )
    tiles = [tile for each in sums for tile in of_currency(dict(each), today)]
    if stuck := matching.stuck(now=now):
        address = listed("reconciliation_settlementbatch", id__in=",".join(str(batch.pk) for batch in stuck))
        tiles.append(Tile(at_least(len(stuck), matching.MOST_STUCK), _("cannot be compared: the log says why"), address, "bad", len(stuck)))
    return Section("settled", _("Settled by the PSPs' files"), tiles, _("No settlement batch was compared with our books today."))


def of_currency(sums: dict[str, Any], today: datetime) -> Iterator[Tile]:
    rows, currency = "reconciliation_settlementbatch", sums["currency"]
    lines = ngettext("matched today: %(count)s line", "matched today: %(count)s lines", sums["lines_matched"]) % {
        "count": sums["lines_matched"]
    }
    yield Tile(amount(Money(sums["value"], currency)), lines, listed(rows, currency=currency, matched_at__gte=today), "", sums["batches"])
    off = sums["lines_off"]
    said = ngettext(
        "not matched today: %(count)s line, with that in suspense", "not matched today: %(count)s lines, with that in suspense", off
    )
    what = said % {"count": off} if off else _("not matched today: nothing")
    address = listed(rows, currency=currency, matched_at__gte=today, mismatched__gt=0)
    yield Tile(amount(Money(sums["suspense"], currency)), what, address, tone_of(off), sums["with_mismatches"])


def to_explain(*, now: datetime) -> Section:
    """Say how many mismatches are open, by age, how many are overdue, and what stands in suspense."""
    rows = "reconciliation_mismatch"
    bounds = [(EVER if last is None else now - (last + 1) * A_DAY, now - first * A_DAY) for first, last, _what in AGES]
    with connection.cursor() as cursor:
        cursor.execute(BY_AGE, [bound for both in bounds for bound in both])
        counts: Sequence[int] = cursor.fetchone()
    tiles = []
    for (first, _last, what), (after, until), count in zip(AGES, bounds, counts, strict=True):
        address = listed(rows, state="open", found_at__gt=after, found_at__lte=until)
        tiles.append(Tile(at_least(count, MOST_SHOWN), what, address, "bad" if count and first else "", count))
    tiles.append(counted(causes.overdue(now=now), _("overdue"), rows, state="open", due="over"))
    tiles += [
        Tile(amount(held), _("in suspense"), listed(rows, state="open", in_suspense="yes", currency=held.currency.code), "bad")
        for held in standing(chart.suspense())
        if held
    ]
    return Section("explain", _("Mismatches to be explained"), tiles)


def standing(code: str) -> list[Money]:
    """Return what stands on that account of ours, per currency."""
    currencies = Account.objects.filter(code=code).order_by("currency").values_list("currency", flat=True)
    return [balance_of(code, currency=currency) for currency in currencies]


# --- For somebody to decide -------------------------------------------------------------------------------------------


def to_decide(user: User, *, now: datetime) -> Iterator[Tile]:
    """Yield what waits for a second person, and the disputes to be answered soon."""
    may = user.has_perm  # type: ignore[union-attr]
    if may("reconciliation.view_mismatch"):
        proposed = Mismatch.objects.filter(resolved_at=None, proposals__status="WAITING")
        yield counted(proposed, _("proposals for mismatches to approve"), "reconciliation_mismatch", is_trouble=False, state="proposed")
    if may("ledger.view_approval"):
        yield counted(approvals.waiting(), _("other approvals waiting"), "ledger_approval", is_trouble=False, status__exact="WAITING")
    if may("payments.view_dispute"):
        open_ones = Dispute.objects.filter(status=DisputeStatus.OPEN, evidence_due_at__lte=now + SOON)
        filters: dict[str, Any] = {"status__exact": DisputeStatus.OPEN.value, "evidence_due_at__lte": now + SOON}
        yield counted(open_ones, _("disputes to be answered within three days"), "payments_dispute", **filters)


# --- In the house -----------------------------------------------------------------------------------------------------


def in_the_house(user: User, *, true_time: datetime) -> Iterator[Tile]:
    """Yield what is on its way to sellers' banks, what is stuck in inbox or outbox, and what the last look inside found."""
    may = user.has_perm  # type: ignore[union-attr]
    if may("payouts.view_payout"):
        for held in standing(chart.payouts_in_transit()):
            if held:
                yield in_transit(held)
    an_hour_ago = true_time - AN_HOUR
    if may("payments.view_pspevent"):
        left = PspEvent.objects.filter(status=PspEvent.Status.RECEIVED, received_at__lt=an_hour_ago)
        received: dict[str, Any] = {"status__exact": PspEvent.Status.RECEIVED.value}
        what = _("messages of PSPs left alone for an hour")
        yield counted(left, what, "payments_pspevent", **received, received_at__lt=an_hour_ago)
    if may("wallet.view_webhookdelivery"):
        late = WebhookDelivery.objects.filter(next_attempt_at__lt=an_hour_ago)
        yield counted(late, _("messages to shops late by an hour"), "wallet_webhookdelivery", next_attempt_at__lt=an_hour_ago)
    if may("reconciliation.view_insidelook"):
        yield last_look(true_time=true_time)


def in_transit(held: Money) -> Tile:
    """Say how many payouts are on their way in a currency, and how much that is."""
    currency = held.currency.code
    found = figure(Payout.objects.filter(status__in=LIVE, currency=currency), "", "payouts_payout")
    said = ngettext("in transit to sellers' banks: %(count)s payout", "in transit to sellers' banks: %(count)s payouts", found.count)
    address = listed("payouts_payout", status__in=",".join(LIVE), currency=currency)
    return Tile(amount(held), said % {"count": found.shown}, address, "", found.count)


def last_look(*, true_time: datetime) -> Tile:
    """Say what the last look inside found, and when; bad if that is nothing, or too long ago."""
    look = inside.latest()
    if look is None or look.ended_at is None:
        return Tile(_("never"), _("looked inside: wallets, orders, PSPs and books"), listed("reconciliation_insidelook"), "bad", 0)
    is_old = look.ended_at < true_time - NIGHTLY
    shown = _("money does not agree") if look.drift else _("too long ago") if is_old else _("money agrees")
    what = format_html(_("last look inside: {}"), moment(look.ended_at))
    return Tile(shown, what, page("reconciliation_insidelook", look.pk), "bad" if look.drift or is_old else "good")


def rates_tiles(*, now: datetime) -> list[Tile]:
    """Say how old the newest exchange rates are, if there are any, and how many sellers' wallets wait for one."""
    address, tiles = reverse("admin:wallet_exchangerate_position"), []
    if known := rates.all_newest(now=now):
        newest = max(known, key=lambda rate: rate.quoted_on)
        age = rates.age_in_days(newest, now=now)
        shown = ngettext("%(count)s day old", "%(count)s days old", age) % {"count": age}
        tiles.append(Tile(shown, _("exchange rates"), address, "bad" if rates.is_stale(newest, now=now) else "good"))
    if waiting := conversions.waiting_for_rates(now=now):
        count = sum(count for count, _each in waiting)
        tiles.append(Tile(str(count), _("sellers' wallets that wait for an exchange rate"), address, "bad"))
    return tiles

"""The page /demo/: each way to pay to be tried in a minute, and the test clock of both sides.  Where there is a demo, and nowhere else.

config/urls.py routes it only where `settings.STORIES` says so, which production never does; the views refuse besides.  Whoever reaches the
demo's port on this machine may use it, and what changes anything is a POST of the page's own.  Codes of gift cards are shown from the file in
which `./run demo` keeps what it has shown (DEMO_SHOWN_FILE, readable by its owner alone), and new ones are written there.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from functools import wraps
from pathlib import Path
from typing import Any

from celery import current_app
from django.conf import settings
from django.contrib import messages
from django.core.management.base import CommandError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import path, reverse
from django.utils import timezone, translation
from django.views.decorators.http import require_POST, require_safe

from config.devservers import write_private
from ledger import clock
from ledger.doorbell import ring
from ledger.money import exact
from ledger.templatetags.written import amount
from payments.management import stories
from payments.management.commands import advance_clock, demo_data
from payments.management.stories import STORIES, Story
from payments.models import DueRelease, OpenCheckout
from payouts.models import Payout
from payouts.states import PayoutStatus
from reconciliation.models import SourceFile
from wallet.management import demo
from wallet.models import DueExpiry, Shop

View = Callable[..., HttpResponse]
SEE_OTHER = 303
MORNING = time(8, tzinfo=UTC)  # of the first of a month: by then payouts of the month before are due
SPANS = {"hour": timedelta(hours=1), "day": timedelta(days=1), "fortnight": timedelta(days=14)}


def in_the_demo(view: View) -> View:
    """Answer 404 anywhere else than in a demo with a sandbox and its shop; speak English, and stay out of every cache."""

    @wraps(view)
    def opened(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        shop = Shop.objects.filter(name=demo.SHOP_NAME).order_by("pk").first()
        if settings.PRODUCTION or not (settings.DEMO_SHOWN_FILE and settings.PSP_SANDBOX_URL) or shop is None:
            raise Http404
        with translation.override("en"):
            response = view(request, shop, *args, **kwargs)
        response["Cache-Control"] = "no-store"
        return response

    return opened


@require_safe
@in_the_demo
def show(request: HttpRequest, shop: Shop) -> HttpResponse:
    """Show each story with what it needs, and the clock."""
    codes, now = shown_codes(), clock.now()
    context = {
        "stories": [told(shop, story, code=codes.get(story.name, ""), now=now) for story in STORIES],
        "sandbox": settings.PSP_SANDBOX_URL,
        "has_clock": bool(settings.TEST_CLOCK_FILE),
        "now": now,
        "ahead": in_words(clock.offset()),
        "next_month": first_of_next_month(now),
        "figures": figures(shop),
    }
    return render(request, "demo/stories.html", context)


def told(shop: Shop, story: Story, *, code: str, now: datetime) -> dict[str, Any]:
    """Return what the page says of a story: what is typed, what it costs, and the checkout of it that was paid last.

    A story with a gift card has to make one first, unless the one with this code is whole.
    """
    must_make = bool(story.gift_card) and not stories.is_good(shop, code, now=now)
    return {
        "name": story.name,
        "title": story.title,
        "do": story.do,
        "see": story.see,
        "total": amount(stories.total_of(story.basket)),
        "types": [("Gift card", code)] * (bool(story.gift_card) and not must_make) + list(story.types),
        "must_make": must_make,
        "gift_card": amount(exact(story.gift_card, story.basket.currency)) if story.gift_card else "",
        "last": stories.opened_of(shop, story.basket).filter(confirmations__gt=0).last(),
        "seller": demo_data.SELLERS.get(story.basket.lines[0][0], ""),
        "login": story.basket.lines[0][0],
    }


def figures(shop: Shop) -> list[tuple[str, int, str]]:
    """Return what the clock moves: what it is, how many there are, and where they are listed."""
    return [
        (what, rows.count(), reverse(f"admin:{listed}_changelist"))
        for what, rows, listed in (
            ("Checkouts that can be paid", OpenCheckout.objects.filter(event__shop=shop), "payments_paymentevent"),
            ("Orders whose money is pending", DueRelease.objects.filter(order__shop=shop), "payments_paymentorder"),
            ("Payouts on their way", Payout.objects.filter(status=PayoutStatus.EXECUTING), "payouts_payout"),
            ("Payouts that arrived", Payout.objects.filter(status=PayoutStatus.SUCCESS), "payouts_payout"),
            ("Gift cards that expire one day", DueExpiry.objects.all(), "wallet_giftcard"),
            ("Files of the PSP and its bank", SourceFile.objects.all(), "reconciliation_sourcefile"),
        )
    ]


def in_words(ahead: timedelta) -> str:
    """Return "9 days and 2 hours", to the hour; nothing if it is less than a minute."""
    hours = round(ahead.total_seconds() / 3600)
    parts = [(hours // 24, "day"), (hours % 24, "hour")]
    return " and ".join(f"{count} {unit}{'s' if count > 1 else ''}" for count, unit in parts if count > 0)


@require_POST
@in_the_demo
def open_story(request: HttpRequest, shop: Shop, name: str) -> HttpResponse:
    """Lead to a checkout that nobody has used.  If its gift card has to be made first, the page shows the code before that."""
    story = stories.BY_NAME.get(name)
    if story is None:
        raise Http404
    with stories.one_at_a_time():
        now = clock.now()
        if story.gift_card and not stories.is_good(shop, shown_codes().get(name, ""), now=now):
            keep_code(name, stories.code_of(shop, story, now=now))
            return see(f"{reverse('stories')}#{name}")
        if story.basket.signed_in and not story.basket.fills:
            stories.rosa_has_paid_before(shop, now=now)
        return see(reverse("checkout", args=[stories.checkout_of(shop, story, now=now).token]))


@require_POST
@in_the_demo
def move_clock(request: HttpRequest, shop: Shop) -> HttpResponse:
    """Move the clock of both sides on, or back to the true time, and wake whoever has something to do then."""
    if not settings.TEST_CLOCK_FILE:
        raise Http404
    try:
        advance_clock.put(ahead_after(request.POST.get("step", "")))
    except CommandError as error:
        messages.error(request, str(error))
    else:
        demo_data.load_rates()
        wake_everybody()
        messages.success(request, "The clock was moved and the workers were woken. Load this page again to see what they did.")
    return see(f"{reverse('stories')}#clock")


def ahead_after(step: str) -> timedelta:
    """Return how far ahead of the true time the clock is after a step; anything else than a step is none."""
    if step == "real":
        return timedelta()
    if step == "month":
        return first_of_next_month(clock.now()) - timezone.now() + timedelta(seconds=1)  # of which a part is cut off
    return clock.offset() + SPANS.get(step, timedelta())


def first_of_next_month(now: datetime) -> datetime:
    later = now.astimezone(UTC).replace(day=1) + timedelta(days=32)
    return datetime.combine(later.replace(day=1), MORNING)


def wake_everybody() -> None:
    """Send every task that beat sends by its calendar, but for those that only look or clean up."""
    for entry in current_app.conf.beat_schedule.values():
        task = current_app.tasks.get(entry["task"])
        if task is not None and not entry["task"].endswith((".canary", ".check_all_invariants")):
            ring(task)


def shown_codes() -> dict[str, str]:
    """Return the codes of gift cards that the demo has shown, by story."""
    return dict(shown().get("gift_cards", {}))


def shown() -> dict[str, Any]:
    try:
        return dict(json.loads(Path(settings.DEMO_SHOWN_FILE).read_text()))
    except FileNotFoundError:
        return {}


def keep_code(name: str, code: str) -> None:
    """Write a new code where the demo keeps what it has shown."""
    before = shown()
    codes = before.get("gift_cards", {}) | {name: code}
    write_private(Path(settings.DEMO_SHOWN_FILE), json.dumps(before | {"gift_cards": codes}, indent=1))


def see(address: str) -> HttpResponse:
    response = HttpResponseRedirect(address)
    response.status_code = SEE_OTHER
    return response


urlpatterns = [
    path("", show, name="stories"),
    path("clock", move_clock, name="stories-clock"),
    path("<slug:name>", open_story, name="stories-open"),
]

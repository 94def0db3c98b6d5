"""The look inside: figures of both sides, read in one state; what does not agree stops payouts until a person has it looked at again."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.db import IntegrityError
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from djmoney.money import Money

from config.api import metrics
from ledger import chart, journal, periods
from ledger.models import JournalEntry
from payments import settlement
from payments.models import PaymentEvent
from payments.psp.protocol import Charged, ChargeRequest
from payments.psp.sandbox import SandboxPsp
from payouts import requests, scheduling, stops
from payouts.calendars import Calendar
from payouts.choice import Which
from payouts.models import PayoutRun, PayoutSchedule, PayoutStop
from reconciliation import inside, invariants, tasks, watch
from reconciliation.inside import Check, State
from reconciliation.models import InsideLook, InvariantRun
from tests.factories import draft, eur, make_available, new_bank_account, new_sellers, new_shop
from tests.fixtures_money import (
    VISA,
    Oracle,
    all_at_once,
    captures_of,
    charge_and_keep_the_answer,
    errors_in,
    pay_with_card,
    sandbox_psp,
    session_for,
)
from tests.fixtures_services import SandboxCompany
from tests.flows.test_the_invariants_watch import behind_the_guards
from wallet import months
from wallet.models import Seller


def look(reason: str = "Just to see") -> InsideLook:
    inside.ask(asked_by="staff:ana", reason=reason, now=timezone.now())
    made = inside.look(now=timezone.now(), at=timezone.now())
    assert made is not None
    return made


def figures(made: InsideLook, check: Check) -> list[tuple[str, str, str | None, str | None, str]]:
    wanted = [each for each in made.figures if each["check"] == check]
    return [(each["about"], each["currency"], each["ours"], each["theirs"], each["state"]) for each in wanted]


@pytest.fixture
def ada(real_db: None) -> Seller:
    """Give a seller with 100.00 to pay out, of a shop with a monthly calendar."""
    now = timezone.now()
    [seller] = new_sellers(new_shop(created_at=now - timedelta(days=90)), "Ada")
    new_bank_account(seller)
    make_available(seller, eur("100.00"))
    PayoutSchedule(shop=seller.shop, minimum=eur("0"), keep_back=eur("0"), in_force_since=now - timedelta(days=60)).save()
    return seller


@pytest.fixture
def finance(real_db: None) -> Client:
    cache.clear()
    browser = Client(headers={"accept-language": "en"})
    browser.force_login(User.objects.create_superuser("finance", password="as-long-as-it-is-calm"))
    return browser


def gauge() -> float:
    [stopped] = [each for each in metrics.of_the_watch(timezone.now()) if each.name == "onebook_payouts_stopped"]
    return next(value for _labels, value in stopped.samples)


def test_inv_03_a_damaged_wallet_is_found_at_night_stops_payouts_and_is_lifted_after_a_clean_look(ada: Seller, finance: Client) -> None:
    behind_the_guards("UPDATE wallet_wallet SET available = available + 900")
    tasks.check_all_invariants()
    night = InsideLook.objects.get()
    assert figures(night, Check.WALLETS) == [("seller_available", "EUR", "1000.0000", "100.0000", State.DIFFERS)]
    assert any(line.startswith("INV-03") for line in night.drift)
    assert night.run is not None

    assert scheduling.run_due(now=timezone.now()) == 0
    month = (timezone.now().replace(day=1) - timedelta(days=1)).strftime("%Y-%m")
    which = Which(ada.shop_id, "EUR", Calendar(), month)
    with pytest.raises(stops.PayoutsPaused):
        scheduling.run(which, now=timezone.now(), made_by="staff:ana")
    assert not PayoutRun.objects.exists()

    stop = PayoutStop.objects.get()
    assert "All payouts are stopped since" in finance.get(reverse("admin:index")).text
    assert "1,000.00 EUR" in finance.get(reverse("admin:reconciliation_insidelook_change", args=[night.pk])).text
    assert "INV-03" in finance.get(reverse("admin:payouts_payoutstop_change", args=[stop.pk])).text
    assert gauge() == 1

    lift = reverse("admin:payouts_payoutstop_lift", args=[stop.pk])
    assert "no look was made since" in finance.post(lift, {"note": "Mended"}).text
    look("Is it mended?")
    assert "still finds figures about money" in finance.post(lift, {"note": "Mended"}).text
    behind_the_guards("UPDATE wallet_wallet SET available = available - 900")
    asked = finance.post(reverse("admin:reconciliation_insidelook_ask"), {"note": "Mended by a restore"})
    assert asked.status_code == 302
    tasks.look_inside()
    made = InsideLook.objects.latest("pk")
    assert (made.asked_by, made.reason, made.drift) == ("staff:finance", "Mended by a restore", [])
    assert finance.post(lift, {"note": "Mended by a restore"}).status_code == 302
    stop.refresh_from_db()
    assert (stop.lifted_by, stop.lift_reason) == ("staff:finance", "Mended by a restore")
    assert gauge() == 0
    assert "All payouts are stopped" not in finance.get(reverse("admin:index")).text
    assert scheduling.run(which, now=timezone.now(), made_by="staff:ana")[0].count == 1


def test_the_quick_look_of_the_day_stops_payouts_too_and_what_is_no_money_stops_nothing(
    ada: Seller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(invariants.CHECKS, "INV-20 something waits", "SELECT 1")
    monkeypatch.setitem(invariants.CHECKS, "INV-03 takes too long", "SELECT pg_sleep(30)")
    monkeypatch.setattr(watch, "QUICK", frozenset({"INV-20 something waits", "INV-03 takes too long"}))
    monkeypatch.setitem(watch.TIMEOUT_S, InvariantRun.Scope.QUICK, 0.2)
    assert len(inside.look_quickly(now=timezone.now()).violations) == 2
    assert not PayoutStop.objects.exists()
    monkeypatch.setitem(invariants.CHECKS, "INV-03 takes too long", "SELECT 1")
    inside.look_quickly(now=timezone.now())
    assert PayoutStop.objects.get().reason == "INV-03 takes too long: [1]"


def test_looks_while_payments_are_settled_and_paid_out_never_stop_anything(
    open_payment: Callable[..., PaymentEvent], sellers: list[Seller]
) -> None:
    for seller in sellers:
        new_bank_account(seller)
        make_available(seller, eur("20.00"))

    def busy() -> None:
        for number in range(4):
            pay_with_card(open_payment())
            requests.request_payout(sellers[number % 3], amount=eur("1.00"), now=timezone.now(), requested_by="user:ada")

    def looking() -> list[InsideLook]:
        return [look() for _each in range(3)]

    answers = all_at_once(busy, looking)
    assert errors_in(answers) == []
    looks: Any = answers[1]
    assert [made.drift for made in looks] == [[], [], []]
    assert not PayoutStop.objects.exists()
    assert {figure["state"] for made in looks for figure in made.figures} <= {State.AGREES, State.OPEN}


@pytest.fixture
def of_this_test(sandbox: SandboxCompany, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what the PSP took in other tests, at times of their own."""
    asked = SandboxPsp.taken
    ever = {"since": datetime(2000, 1, 1, tzinfo=UTC), "until": datetime(2100, 1, 1, tzinfo=UTC)}
    before = {each.currency: each for each in asked(sandbox_psp(sandbox), **ever)}

    def taken(psp: SandboxPsp, **_moments: datetime) -> list[Money]:
        return [each - before.get(each.currency, 0 * each) for each in asked(psp, **ever) if each != before.get(each.currency)]

    monkeypatch.setattr(SandboxPsp, "taken", taken)


def test_inv_09_what_the_psp_took_for_us_and_our_books_lack_stops_payouts(
    open_payment: Callable[..., PaymentEvent],
    pay: Callable[..., PaymentEvent],
    of_this_test: None,
    sandbox: SandboxCompany,
    oracle: Oracle,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pay(open_payment("24.90", "5.10"))
    later = timezone.now() + timedelta(hours=3)
    inside.ask(asked_by="", reason="", now=timezone.now())
    made = inside.look(now=timezone.now(), at=later)
    assert made is not None
    assert (figures(made, Check.PSP), made.drift) == ([("sandbox", "EUR", "30.0000", "30.00", State.AGREES)], [])

    token = session_for(eur("7.00"), VISA, nonce="nobody-of-us").payment_token
    charged = sandbox_psp(sandbox).charge(ChargeRequest("nobody-of-us", token, eur("7.00"), "nobody-of-us"))
    assert isinstance(charged, Charged)
    oracle.explain(charged.psp_reference)
    inside.ask(asked_by="", reason="", now=timezone.now())
    made = inside.look(now=timezone.now(), at=later)
    assert made is not None
    assert made.drift == ["psp sandbox EUR 30.0000 against 37.00"]
    stop = PayoutStop.objects.get()
    assert stop.placed_by == inside.BY_THE_WATCH

    monkeypatch.setattr(SandboxPsp, "taken", lambda *_args, **_terms: None)
    inside.ask(asked_by="staff:ana", reason="Does it agree?", now=timezone.now())
    made = inside.look(now=timezone.now(), at=later)
    assert made is not None
    assert made.drift == [], "nobody knows"
    with pytest.raises(stops.LiftRefused, match="could not find out"):
        inside.lift(stop.pk, actor="staff:ana", reason="It agrees", now=timezone.now())


def test_inv_09_a_difference_of_the_past_hour_alone_is_still_under_way(
    open_payment: Callable[..., PaymentEvent], pay: Callable[..., PaymentEvent]
) -> None:
    pay(open_payment("24.90", "5.10"))
    since, later = timezone.now() - timedelta(hours=1), timezone.now() + timedelta(hours=1)
    for taken, state in (((30, 37), State.OPEN), ((37, 37), State.DIFFERS), ((37, 30), State.AGREES), ((30, 30), State.AGREES)):
        told = inside.Told("sandbox", since, later, later, {"EUR": (Decimal(taken[0]), Decimal(taken[1]))})
        assert [figure.state for figure in inside.booked_at(told)] == [state], taken


def test_inv_09_what_we_still_ask_the_psp_for_is_under_way_and_no_more_than_that(open_payment: Callable[..., PaymentEvent]) -> None:
    captures = captures_of(charge_and_keep_the_answer(open_payment("24.90")))
    since, later = timezone.now() - timedelta(days=1), timezone.now() + timedelta(hours=1)
    for taken, state in (("24.90", State.OPEN), ("24.91", State.DIFFERS), ("-0.01", State.DIFFERS)):
        told = inside.Told("sandbox", since, later, later, {"EUR": (Decimal(taken), Decimal(taken))})
        assert [figure.state for figure in inside.booked_at(told)] == [state], taken
    settlement.settle(captures)
    told = inside.Told("sandbox", since, later, later, {"EUR": (Decimal(0), Decimal(0))})
    assert [figure.state for figure in inside.booked_at(told)] == [State.DIFFERS]


def test_inv_09_what_happened_in_a_month_that_was_closed_by_then_counts_when_it_happened(db: None) -> None:
    month = months.of(timezone.now()).previous.first_day
    happened, later = periods.end_of(month) - timedelta(hours=3), periods.end_of(month) - timedelta(hours=1)
    journal.open_accounts([chart.psp_receivable("sandbox"), chart.fee_revenue()], currency="EUR")
    periods.close(month)
    [entry_id] = journal.post([draft("late", "7.00", kind=JournalEntry.Kind.SALE, effective_at=happened)])
    assert JournalEntry.objects.get(pk=entry_id).effective_at > later
    assert inside.first_booked_with("sandbox") == happened
    [figure] = inside.booked_at(inside.Told("sandbox", happened, later, later, {"EUR": (Decimal(7), Decimal(7))}))
    assert (figure.ours, figure.state) == (Decimal(7), State.AGREES)


def test_a_psp_that_does_not_answer_is_not_known_and_stops_nothing(
    open_payment: Callable[..., PaymentEvent], pay: Callable[..., PaymentEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    pay(open_payment("24.90"))
    monkeypatch.setattr(SandboxPsp, "taken", lambda *_args, **_terms: None)
    inside.ask(asked_by="", reason="", now=timezone.now())
    made = inside.look(now=timezone.now(), at=timezone.now() + timedelta(hours=3))
    assert made is not None
    assert (figures(made, Check.PSP), made.drift) == ([("sandbox", "", None, None, State.UNKNOWN)], [])


def test_the_command_looks_now_and_fails_where_money_does_not_agree(ada: Seller, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("look_inside", by="ana", note="before the month is closed")
    assert "wallets seller_available EUR 100.0000 100.0000 agrees" in capsys.readouterr().out
    behind_the_guards("UPDATE wallet_wallet SET pending = pending + 1")
    with pytest.raises(CommandError, match=r"Payouts are stopped\. INV-03"):
        call_command("look_inside", by="ana", note="again")


def test_a_person_stops_payouts_by_hand_and_another_one_lifts_that(ada: Seller, finance: Client) -> None:
    place = reverse("admin:payouts_payoutstop_place")
    assert place in finance.get(reverse("admin:payouts_payoutstop_changelist")).text
    assert "Stop all payouts" in finance.get(place).text
    assert finance.post(place, {"note": " "}).status_code == 200
    assert not PayoutStop.objects.exists()
    assert finance.post(place, {"note": "The bank asks us to wait"}).status_code == 302
    stop = PayoutStop.objects.get()
    assert (stop.placed_by, stop.reason) == ("staff:finance", "The bank asks us to wait")
    with pytest.raises(stops.PayoutsPaused):
        requests.request_payout(ada, amount=eur("1.00"), now=timezone.now(), requested_by="user:ada")
    assert "Payouts were stopped already" in finance.post(place, {"note": "Once more"}, follow=True).text
    assert PayoutStop.objects.get().reason == "The bank asks us to wait"

    look("The bank is ready")
    lift = reverse("admin:payouts_payoutstop_lift", args=[stop.pk])
    assert "You stopped payouts yourself" in finance.post(lift, {"note": "It is ready"}).text
    with pytest.raises(IntegrityError, match="lifted_by_another"):
        PayoutStop.objects.update(lifted_by="staff:finance", lifted_at=timezone.now(), lift_reason="Mine")
    finance.force_login(User.objects.create_superuser("second", password="as-long-as-it-is-calm"))
    assert finance.post(lift, {"note": "It is ready"}).status_code == 302
    assert PayoutStop.objects.get().lifted_by == "staff:second"


def test_who_may_not_ask_for_a_look_or_place_or_lift_a_stop_is_refused(ada: Seller) -> None:
    stop, _is_new = stops.place(reason="INV-03", placed_by="watch", now=timezone.now())
    viewer = User.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.set(Permission.objects.filter(codename__in=("view_payoutstop", "view_insidelook")))
    browser = Client()
    browser.force_login(viewer)
    assert browser.get(reverse("admin:payouts_payoutstop_change", args=[stop.pk])).status_code == 200
    ask, place = reverse("admin:reconciliation_insidelook_ask"), reverse("admin:payouts_payoutstop_place")
    for address in (reverse("admin:payouts_payoutstop_lift", args=[stop.pk]), ask, place):
        assert browser.post(address, {"note": "Let me"}).status_code == 403
    assert not InsideLook.objects.exists()

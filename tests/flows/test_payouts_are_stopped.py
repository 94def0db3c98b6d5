"""While payouts are stopped nothing leaves: none is asked for, run, approved or sent, and no file; what a bank may have already goes on."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.utils import timezone

from payouts import calls, executor, files, queries, requests, scheduling, stops
from payouts.calendars import Calendar
from payouts.choice import Which
from payouts.models import Payout, PayoutAttempt, PayoutRun, PayoutSchedule, PayoutStop
from payouts.states import AttemptStatus, PayoutOperation, PayoutStatus
from payouts.stops import LiftRefused, PayoutsPaused
from tests.factories import eur, make_available, new_bank_account, new_sellers, new_shop
from wallet.models import Seller

pytestmark = pytest.mark.django_db
NOW = timezone.now()


@pytest.fixture
def ada() -> Seller:
    """Give a seller with 100.00 to pay out, of a shop whose payouts above 50.00 are approved first."""
    [seller] = new_sellers(new_shop(created_at=NOW - timedelta(days=90)), "Ada")
    new_bank_account(seller)
    make_available(seller, eur("100.00"))
    PayoutSchedule(
        shop=seller.shop, minimum=eur("0"), keep_back=eur("0"), approval_limit=50, in_force_since=NOW - timedelta(days=60)
    ).save()
    return seller


def ask(seller: Seller, amount: str) -> Payout:
    return requests.request_payout(seller, amount=eur(amount), now=NOW, requested_by="user:ada")


def stop() -> PayoutStop:
    placed, _is_new = stops.place(reason="INV-03: a wallet is off", placed_by="watch", now=NOW)
    return placed


def last_period(seller: Seller) -> Which:
    month = (NOW.replace(day=1) - timedelta(days=1)).strftime("%Y-%m")
    return Which(seller.shop_id, "EUR", Calendar(), month)


def test_nothing_is_asked_for_run_or_approved_until_the_stop_is_lifted(ada: Seller) -> None:
    waiting = ask(ada, "60.00")
    placed = stop()
    assert isinstance(queries.payable(ada, "EUR", now=NOW).why_not, PayoutsPaused)
    with pytest.raises(PayoutsPaused, match="Payouts are paused since"):
        ask(ada, "1.00")
    with pytest.raises(PayoutsPaused):
        requests.approve(waiting.pk, actor="staff:bo", now=NOW)
    with pytest.raises(PayoutsPaused):
        scheduling.run(last_period(ada), now=NOW, made_by="staff:ana")
    assert scheduling.run_due(now=NOW) == 0
    assert not PayoutRun.objects.exists()
    assert Payout.objects.get().status == PayoutStatus.WAITING

    stops.lift(placed.pk, reason="It was a restore.", actor="staff:bo", now=NOW)
    assert requests.approve(waiting.pk, actor="staff:bo", now=NOW).status == PayoutStatus.EXECUTING
    made, is_new = scheduling.run(last_period(ada), now=NOW, made_by="staff:ana")
    assert (is_new, made.count) == (True, 1)


def test_what_waits_to_be_sent_is_held_back_and_what_was_sent_is_asked_for(ada: Seller, monkeypatch: pytest.MonkeyPatch) -> None:
    unsent, sent = ask(ada, "20.00"), ask(ada, "10.00")
    attempt = PayoutAttempt(payout=sent, operation=PayoutOperation.PAY_OUT, number=1, status=AttemptStatus.UNKNOWN, created_at=NOW)
    attempt.provider = sent.provider
    attempt.save()
    stop()
    called: list[tuple[str, str]] = []
    monkeypatch.setattr(calls, "ask", lambda payout, **_terms: called.append(("ask", payout.public_id)))
    monkeypatch.setattr(calls, "send", lambda payout: called.append(("send", payout.public_id)))
    for _each in range(2):
        assert executor.execute_due_payouts(now=NOW) == 1
    assert called == [("ask", sent.public_id)]
    unsent.refresh_from_db()
    assert (unsent.next_attempt_at, unsent.deaths) == (NOW + executor.LOOK_AT_HOLD_AGAIN, 0)
    assert not unsent.attempts.exists()


def test_a_stop_in_the_moment_before_the_call_still_keeps_the_money_here(ada: Seller) -> None:
    payout = ask(ada, "20.00")
    stop()
    assert executor.open_attempt(payout, now=NOW) is None
    assert not payout.attempts.exists()


def test_no_payment_file_is_approved_or_fetched(ada: Seller) -> None:
    PayoutSchedule.objects.update(provider=files.PROVIDER)
    ask(ada, "20.00")
    first = files.make("EUR", execute_on=NOW.date(), made_by="staff:ana", now=NOW)
    placed = stop()
    with pytest.raises(PayoutsPaused):
        files.approve(first.pk, actor="staff:bo", reason="", now=NOW)
    stops.lift(placed.pk, reason="Looked at.", actor="staff:bo", now=NOW)
    files.approve(first.pk, actor="staff:bo", reason="", now=NOW)
    stop()
    with pytest.raises(PayoutsPaused):
        files.fetch(first.pk, actor="staff:bo", now=NOW)


def test_the_seller_reads_that_payouts_are_paused_and_that_the_money_is_safe(ada: Seller) -> None:
    cache.clear()
    user = User.objects.create_user("ada")
    ada.users.add(user)
    browser = Client(headers={"accept-language": "en"})
    browser.force_login(user)
    said = "Payouts to all sellers are paused while we check our figures. Your money is safe"
    for page in ("/seller/", "/seller/payouts"):
        assert said not in browser.get(page, follow=True).text
    stop()
    for page in ("/seller/", "/seller/payouts"):
        shown = browser.get(page, follow=True)
        assert (shown.status_code, said in shown.text) == (200, True), page


def test_a_stop_stands_once_is_lifted_by_somebody_else_with_a_reason_and_stays_for_ever(ada: Seller) -> None:
    placed = stop()
    assert stops.place(reason="something else", placed_by="staff:cleo", now=NOW) == (placed, False)
    with pytest.raises(LiftRefused, match="Say why"):
        stops.lift(placed.pk, reason=" ", actor="staff:bo", now=NOW)
    with pytest.raises(LiftRefused, match="yourself"):
        stops.lift(placed.pk, reason="I did it, I undo it", actor="watch", now=NOW)
    stops.lift(placed.pk, reason="Mended.", actor="staff:bo", now=NOW)
    with pytest.raises(LiftRefused, match="lifted"):
        stops.lift(placed.pk, reason="Mended.", actor="staff:bo", now=NOW)
    for statement in (
        "UPDATE payouts_payoutstop SET reason = 'nothing'",
        "UPDATE payouts_payoutstop SET lifted_at = NULL, lifted_by = '', lift_reason = ''",
        "DELETE FROM payouts_payoutstop",
    ):
        with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)

"""Ways to pay that give money back for some days only: afterwards a refund is refused before the PSP is asked, with the last day in its answer.

What goes back to gift cards and wallets has no end.  What was asked for in time, and reaches the PSP too late, is the PSP's to decide.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from ledger import approvals
from ledger.models import Approval
from payments import cancellations, executor, refunds, sessions, settlement
from payments.cancellations import NotCancellable
from payments.management import buyer
from payments.models import PaymentEvent, PaymentOrder, Refund
from payments.refunds import RefundTooLate, To
from payments.settlement import Failure
from tests.contract.api.conftest import caller_of
from tests.factories import eur, stored_value_of
from tests.fixtures_money import VISA, Oracle, execute_refunds, statuses
from tests.fixtures_services import SandboxCompany
from tests.flows.test_admin import words
from tests.flows.test_admin_dead_letters import NOTE, browser_of, deed
from tests.flows.test_tenders import choose, left_of
from wallet.models import Shop

Open = Callable[..., PaymentEvent]
WINDOW = timedelta(days=180)


def confirm_by(method: str, event: PaymentEvent) -> None:
    """Approve what is left to pay on the PSP's page of that way to pay; nothing is charged before the executor runs."""
    event = PaymentEvent.objects.get(pk=event.pk)
    opened = sessions.open_session(event, language="en", now=timezone.now(), method=method)
    if method == "card":
        buyer.give_card(opened.session.hosted_url, number=VISA)
    else:
        buyer.approve(opened.session.hosted_url)
    sessions.complete(event, now=timezone.now(), session_id=opened.session.id)


def pay_by(method: str, event: PaymentEvent) -> PaymentEvent:
    """Pay what is left in that way, as the buyer and the worker do."""
    confirm_by(method, event)
    executor.execute_due_orders(now=timezone.now())
    event.refresh_from_db()
    return event


def end_of(order: PaymentOrder) -> datetime:
    """Return when the PSP's charge can no longer be given back."""
    order.refresh_from_db()
    assert order.journal_entry
    return order.journal_entry.happened_at + WINDOW


def last_day(order: PaymentOrder) -> str:
    return f"{(end_of(order) - timedelta(microseconds=1)).astimezone(UTC):%Y-%m-%d}"


def ask(order: PaymentOrder, amount: str | None, *, now: datetime, to: To = To.CHARGE, **more: Any) -> Refund:
    wanted = None if amount is None else eur(amount)
    return refunds.request_refund(order.pk, amount=wanted, reason="broken", now=now, to=to, **more)


@pytest.fixture
def move_clock(settings: Any, tmp_path: Path) -> Callable[[timedelta], None]:
    """Put our clock so far ahead of the true time."""
    settings.TEST_CLOCK_FILE = str(tmp_path / "clock")

    def move(distance: timedelta) -> None:
        Path(settings.TEST_CLOCK_FILE).write_text(str(int(distance.total_seconds())))

    return move


@pytest.mark.parametrize("method", ["qr", "pay_later"])
def test_a_refund_is_possible_to_the_last_moment_and_refused_from_then_on(method: str, open_payment: Open, oracle: Oracle) -> None:
    order = pay_by(method, open_payment("100.00")).orders.get()
    end = end_of(order)
    assert ask(order, "1.00", now=end - timedelta(microseconds=1), once="in time").amount == eur("1.00")
    with pytest.raises(RefundTooLate, match=rf"gives money back for 180 days: the last day was {last_day(order)} \(UTC\)\.$"):
        ask(order, "1.00", now=end)
    with pytest.raises(NotCancellable, match=last_day(order)):
        cancellations.cancel_order(order.pk, reason="sold out", once="", requested_by="api:x", now=end)
    assert ask(order, "1.00", now=end, once="in time").amount == eur("1.00"), "the same wish is the refund that stands"
    execute_refunds(now=end)
    assert [row["amount"] for row in oracle.rows("refund.succeeded")] == [100]


def test_a_card_has_no_last_day_and_each_order_goes_by_what_paid_it(open_payment: Open, oracle: Oracle) -> None:
    event = open_payment("60.00", "40.00")
    by_code, by_card = event.orders.order_by("id")
    confirm_by("qr", event)
    settlement.fail([Failure(by_card.pk, 0, by_card.public_id, "", "card_declined", "")])
    executor.execute_due_orders(now=timezone.now())
    assert statuses(event) == ["SUCCESS", "FAILED"]
    event = pay_by("card", event)
    assert (statuses(event), event.method) == (["SUCCESS", "SUCCESS"], "card")
    by_card.refresh_from_db()
    later = end_of(by_code) + timedelta(days=1)
    with pytest.raises(RefundTooLate, match="QR code"):
        ask(by_code, "1.00", now=later)
    ask(by_card, "1.00", now=later)
    execute_refunds(now=later)
    assert [row["amount"] for row in oracle.rows("refund.succeeded")] == [100]


def test_what_gift_cards_paid_goes_back_when_the_rest_no_longer_can(shop: Shop, open_payment: Open, oracle: Oracle) -> None:
    gift = stored_value_of(shop, "30.00")
    order = pay_by("qr", choose(open_payment("100.00"), gift)).orders.get()
    late = end_of(order)
    for amount, to in (("1.00", To.CHARGE), (None, To.CHARGE), (None, To.STORED_VALUE), ("30.01", To.STORED_VALUE)):
        with pytest.raises(RefundTooLate, match=r"Up to 30\.00 EUR can go back to gift cards and the buyer's wallet") as refused:
            ask(order, amount, now=late, to=to)
        assert refused.value.field == "refund_to"
    ask(order, "30.00", now=late, to=To.STORED_VALUE)
    execute_refunds(now=late)
    assert left_of(gift) == (eur("30.00"), eur("0.00"))
    with pytest.raises(RefundTooLate, match=rf"{last_day(order)} \(UTC\)\.$"):
        ask(order, "1.00", now=late, to=To.STORED_VALUE)
    assert oracle.rows("refund.succeeded") == []


def test_what_reaches_the_psp_too_late_fails_by_its_word_and_what_tenders_paid_can_still_go_back(
    shop: Shop, open_payment: Open, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    gift = stored_value_of(shop, "30.00")
    order = pay_by("qr", choose(open_payment("100.00"), gift)).orders.get()
    in_time = end_of(order) - timedelta(seconds=1)
    refund = ask(order, None, now=in_time)
    sandbox.client.put("/v1/clock", json={"advance_s": WINDOW.total_seconds()}).raise_for_status()
    execute_refunds(now=in_time + timedelta(seconds=2))
    refund.refresh_from_db()
    order.refresh_from_db()
    assert (refund.status, order.refunded, left_of(gift)) == ("FAILED", eur("0.00"), (eur("0.00"), eur("0.00")))
    with pytest.raises(RefundTooLate):
        ask(order, None, now=in_time + timedelta(seconds=2))
    ask(order, "30.00", now=in_time + timedelta(seconds=2), to=To.STORED_VALUE)
    execute_refunds(now=in_time + timedelta(seconds=2))
    assert left_of(gift) == (eur("30.00"), eur("0.00"))


def test_over_rest_it_is_refused_at_once_with_the_last_day(
    shop: Shop, open_payment: Open, move_clock: Callable[[timedelta], None], oracle: Oracle
) -> None:
    order = pay_by("pay_later", open_payment("100.00")).orders.get()
    move_clock(WINDOW)
    answer = caller_of(shop).post(f"/v1/orders/{order.public_id}/refunds", {})
    problem = answer.json()
    assert (answer.status_code, problem["code"], last_day(order) in problem["detail"]) == (409, "refund_too_late", True)
    assert not Refund.objects.exists()


def test_at_the_desk_it_is_refused_at_once_and_an_approval_that_waited_for_too_long_gives_nothing_back(
    open_payment: Open, move_clock: Callable[[timedelta], None], settings: Any, oracle: Oracle
) -> None:
    staff = browser_of(User.objects.create_superuser("finance"))
    settings.REFUND_APPROVAL_LIMITS = {"EUR": Decimal(10)}
    order = pay_by("qr", open_payment("100.00")).orders.get()
    said = {"part": "50.00", "fee_policy": "", "note": NOTE}
    move_clock(WINDOW - timedelta(days=3))
    staff.post(deed(order, "refund"), {**said, "once": "admin:1"})
    approval = Approval.objects.get()
    with pytest.raises(RefundTooLate, match=last_day(order)):
        approvals.approve(approval.pk, actor="staff:checker", reason="As agreed", now=end_of(order))
    approval.refresh_from_db()
    assert (approval.status, Refund.objects.count()) == ("WAITING", 0)
    approvals.withdraw(approval.pk, actor=approval.made_by, reason="Too late", now=end_of(order))
    move_clock(WINDOW)
    for part in ("5.00", "50.00"):
        page = staff.post(deed(order, "refund"), {**said, "part": part, "once": f"admin:{part}"})
        assert f"the last day was {last_day(order)}" in words(page.content)
    assert (Approval.objects.count(), Refund.objects.count()) == (1, 0)

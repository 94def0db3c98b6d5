"""A shop's endpoints are told what happened: at least once, signed, to those who want it, whatever a receiver does."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from payments.models import PaymentEvent
from tests.factories import new_shop
from tests.fixtures_house import LiveHouse
from tests.fixtures_money import all_at_once, environment_of_a_child, errors_in
from tests.fixtures_services import ROOT
from tests.receivers import Behaviour, Receiver, answer, in_turn, receiver
from wallet import feed, notifications
from wallet.models import DeliveryAttempt, OutboxMessage, RelayPosition, Shop, WebhookDelivery, WebhookEndpoint, WebhookSecret
from wallet.notifications import Message, delivery, endpoints, relay, sending, signatures

Run = Callable[..., Receiver]
Status = WebhookDelivery.Status
SENDER = """
import django
django.setup()
from django.utils import timezone
from wallet.notifications import delivery
delivery.send_due(clock=timezone.now)
"""


@pytest.fixture
def northwind(real_db: None) -> Shop:
    return new_shop()


@pytest.fixture
def run() -> Iterator[Run]:
    """Run receivers until the test ends."""
    with ExitStack() as stack:
        yield lambda behave=None: stack.enter_context(receiver(behave))


def opened(shop: Shop, there: Receiver, *topics: str, path: str = "/webhooks") -> tuple[WebhookEndpoint, str]:
    return endpoints.open_endpoint(shop, url=there.url(path), topics=topics)


def publish(shop: Shop, *topics: str, about: str = "pay_1") -> list[str]:
    messages = [Message(shop.pk, topic, about, {"n": place}, sequence=place) for place, topic in enumerate(topics, start=1)]
    with transaction.atomic():
        notifications.publish(messages)
    return [message.public_id for message in messages]


def deliver(*, now: datetime | None = None) -> None:
    """Do what the task does, once, at that time."""
    while relay.fan_out(now=now or timezone.now()):
        pass
    delivery.send_due(clock=lambda: now or timezone.now())


def drip(there: list[Receiver]) -> Behaviour:
    """Answer one byte every hundredth of a second, for ever."""

    def behave(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not there[0].may_go_on.wait(0.01):
            request.wfile.write(b"z")

    return behave


def hold(there: list[Receiver]) -> Behaviour:
    """Answer 204 once the test says so."""

    def behave(request: BaseHTTPRequestHandler) -> None:
        there[0].may_go_on.wait(30)
        answer(204)(request)

    return behave


# --- What is sent ---------------------------------------------------------------------------------------------------


def test_sec_19_a_sale_is_told_to_the_shop_as_the_feed_shows_it(
    shop: Shop, open_payment: Callable[..., PaymentEvent], pay: Callable[..., PaymentEvent], run: Run
) -> None:
    there = run()
    _endpoint, secret = opened(shop, there)
    pay(open_payment("24.90", "89.00"))
    deliver()
    shown = feed.messages_after(shop, after="", limit=100, now=timezone.now())
    assert "payment_order.succeeded" in there.types()
    assert sorted(there.ids()) == sorted(message.public_id for message in shown)
    by_id = {message.public_id: notifications.event_of(message) for message in shown}
    for received in there.received:
        assert received.event == by_id[received.headers["webhook-id"]]
        assert received.headers["content-type"] == "application/json"
        assert received.is_signed_with(secret)
        assert not received.is_signed_with(signatures.new_secret())
        assert abs(int(received.headers["webhook-timestamp"]) - datetime.now(UTC).timestamp()) < 60
    assert set(WebhookDelivery.objects.values_list("status", flat=True)) == {Status.DELIVERED}
    assert WebhookEndpoint.objects.get().failing_since is None


def test_bug_22_each_try_sends_the_same_bytes_of_the_committed_row(northwind: Shop, run: Run) -> None:
    there = run(in_turn(answer(500), answer(200)))
    opened(northwind, there)
    now = timezone.now()
    [event] = publish(northwind, "payment.paid")
    deliver(now=now)
    deliver(now=now + timedelta(seconds=10))
    first, second = there.received
    assert first.body == second.body
    kept = OutboxMessage.objects.get()
    assert first.event == {
        "id": event,
        "object": "event",
        "type": "payment.paid",
        "about": "pay_1",
        "sequence": 1,
        "data": {"n": 1},
        "created_at": kept.created_at.isoformat().replace("+00:00", "Z"),
    }
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == event


def test_what_is_rolled_back_is_never_told(northwind: Shop, run: Run) -> None:
    there = run()
    opened(northwind, there)
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        notifications.publish([Message(northwind.pk, "payment.paid", "pay_1", {})])
        raise ZeroDivisionError
    deliver()
    assert there.received == []


def test_an_endpoint_gets_the_topics_it_wants_and_no_others_and_nothing_of_another_shop(northwind: Shop, run: Run) -> None:
    everything, paid, orders, strangers = run(), run(), run(), run()
    opened(northwind, everything)
    opened(northwind, paid, "payment.paid")
    opened(northwind, orders, "payment_order.*", "refund.failed")
    opened(new_shop("Southwind"), strangers)
    publish(
        northwind, "payment.paid", "payment.paid_late", "payment_order.succeeded", "payment_orders.x", "refund.failed", "refund.succeeded"
    )
    deliver()
    assert sorted(paid.types()) == ["payment.paid"]
    assert sorted(orders.types()) == ["payment_order.succeeded", "refund.failed"]
    assert len(everything.received) == 6
    assert strangers.received == []


def test_while_secrets_change_each_message_is_signed_with_both(northwind: Shop, run: Run) -> None:
    there = run()
    endpoint, old = opened(northwind, there)
    now = timezone.now()
    new = endpoints.rotate(endpoint, now=now)
    publish(northwind, "a")
    deliver(now=now + timedelta(hours=23))
    publish(northwind, "b")
    deliver(now=now + timedelta(hours=25))
    first, second = there.received
    assert (first.is_signed_with(old), first.is_signed_with(new)) == (True, True)
    assert (second.is_signed_with(old), second.is_signed_with(new)) == (False, True)


def test_sec_16_there_are_two_valid_secrets_at_most(northwind: Shop, run: Run) -> None:
    endpoint, oldest = opened(northwind, run())
    now = timezone.now()
    second = endpoints.rotate(endpoint, now=now)
    third = endpoints.rotate(endpoint, now=now)
    assert endpoints.secrets_of([endpoint.pk], now=now) == {endpoint.pk: [third, second]}
    leaked = endpoints.rotate(endpoint, old_valid_for=timedelta(0), now=now)
    assert endpoints.secrets_of([endpoint.pk], now=now) == {endpoint.pk: [leaked]}
    assert oldest not in WebhookSecret.objects.values_list("secret", flat=True)


@pytest.mark.slow
def test_the_worker_delivers_without_being_nudged(live_house: LiveHouse, run: Run) -> None:
    there = run()
    opened(live_house.shop, there)
    ids = publish(live_house.shop, "payment.paid", "payment.failed")
    there.wait_for(2)
    assert sorted(there.ids()) == sorted(ids)


# --- Nothing is left out --------------------------------------------------------------------------------------------


@pytest.mark.race
def test_cel_09_a_message_that_commits_late_with_a_lower_id_is_delivered_too(northwind: Shop, run: Run) -> None:
    there = run()
    opened(northwind, there)
    has_drawn_its_id, may_commit = threading.Event(), threading.Event()

    def write_slowly() -> None:
        try:
            with transaction.atomic():
                notifications.publish([Message(northwind.pk, "first", "pay_1", {})])
                has_drawn_its_id.set()
                may_commit.wait(timeout=10)
        finally:
            connection.close()

    writer = threading.Thread(target=write_slowly)
    writer.start()
    assert has_drawn_its_id.wait(timeout=10)
    publish(northwind, "second")
    deliver()
    assert there.received == []  # the first may still come, so the relay stays before it
    may_commit.set()
    writer.join()
    deliver()
    assert sorted(there.types()) == ["first", "second"]
    assert RelayPosition.objects.get().message_id == OutboxMessage.objects.order_by("-pk")[0].pk


@pytest.mark.race
def test_two_relays_and_two_senders_at_once_deliver_each_message_once(northwind: Shop, run: Run) -> None:
    there, other = run(), run()
    opened(northwind, there)
    opened(northwind, other)
    ids = publish(northwind, *["payment.paid"] * 60)
    assert errors_in(all_at_once(deliver, deliver, deliver)) == []
    deliver()
    assert sorted(there.ids()) == sorted(other.ids()) == sorted(ids)
    assert WebhookDelivery.objects.filter(status=Status.DELIVERED, tries=1).count() == 120


@pytest.mark.crash
def test_bug_20_a_sender_that_is_killed_while_sending_leaves_a_message_that_is_sent_again(northwind: Shop, run: Run) -> None:
    inside: list[Receiver] = []
    there = run(hold(inside))
    inside.append(there)
    opened(northwind, there)
    [event] = publish(northwind, "payment.paid")
    relay.fan_out(now=timezone.now())
    with subprocess.Popen([sys.executable, "-c", SENDER], cwd=ROOT, env=environment_of_a_child()) as sender:
        there.wait_for(1)
        os.kill(sender.pid, signal.SIGKILL)
    there.behave = answer(204)
    stuck = WebhookDelivery.objects.get()
    assert (stuck.status, stuck.tries) == (Status.PENDING, 1)
    deliver(now=timezone.now())
    assert there.ids() == [event]  # the lease of the dead one still runs
    deliver(now=timezone.now() + timedelta(seconds=delivery.LEASE_S + 1))
    assert there.ids() == [event, event]
    assert WebhookDelivery.objects.get().status == Status.DELIVERED


def test_bug_20_a_relay_that_dies_before_its_commit_begins_again_where_it_stood(northwind: Shop, run: Run, monkeypatch: Any) -> None:
    there = run()
    opened(northwind, there)
    ids = publish(northwind, "a", "b")
    with monkeypatch.context() as patch:
        patch.setattr(RelayPosition, "save", lambda *_args, **_named: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            relay.fan_out(now=timezone.now())
    assert not WebhookDelivery.objects.exists()
    deliver()
    assert sorted(there.ids()) == sorted(ids)


def test_the_relay_goes_on_in_batches_and_passes_what_nobody_wants(northwind: Shop, run: Run, monkeypatch: Any) -> None:
    monkeypatch.setattr(relay, "MOST_MESSAGES", 3)
    publish(northwind, *["before"] * 4)
    deliver()
    there = run()
    opened(northwind, there)
    ids = publish(northwind, *["after"] * 8)
    deliver()
    assert sorted(there.ids()) == sorted(ids)


# --- What a receiver may do -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behave", "status", "error"),
    [
        (answer(500), 500, ""),
        (answer(404), 404, ""),
        (answer(429), 429, ""),
        (answer(200, b"x" * (sending.LARGEST_ANSWER + 1)), None, "the answer is larger than 64 kB"),
        (lambda request: request.wfile.write(b"220 this is not HTTP\r\n\r\n"), None, "RemoteProtocolError: illegal status line"),
        (lambda request: None, None, "RemoteProtocolError: Server disconnected without sending a response"),
    ],
    ids=["500", "404", "429", "too large", "garbage", "hangs up"],
)
def test_whatever_is_not_2xx_is_tried_again(northwind: Shop, run: Run, behave: Behaviour, status: int | None, error: str) -> None:
    there = run(in_turn(behave, answer(200)))
    endpoint, _secret = opened(northwind, there)
    now = timezone.now()
    publish(northwind, "payment.paid")
    deliver(now=now)
    failed = WebhookDelivery.objects.get()
    assert (failed.status, failed.last_status) == (Status.PENDING, status)
    assert failed.last_error.startswith(error)
    assert failed.next_attempt_at is not None
    assert timedelta(seconds=4.5) <= failed.next_attempt_at - now <= timedelta(seconds=5.5)
    endpoint.refresh_from_db()
    assert endpoint.failing_since == now
    deliver(now=now + timedelta(seconds=4))
    assert len(there.received) == 1
    deliver(now=now + timedelta(seconds=6))
    assert WebhookDelivery.objects.get().status == Status.DELIVERED
    assert WebhookEndpoint.objects.get().failing_since is None
    log = list(DeliveryAttempt.objects.order_by("pk").values_list("number", "status"))
    assert log == [(1, status), (2, 200)]


def test_an_answer_of_64_kb_is_read_and_nothing_of_it_kept(northwind: Shop, run: Run) -> None:
    there = run(answer(400, b"secret " * 9000))
    opened(northwind, there)
    publish(northwind, "payment.paid")
    deliver()
    [attempt] = DeliveryAttempt.objects.all()
    assert (attempt.status, attempt.error) == (400, "")


def test_nobody_there_is_an_answer_too(northwind: Shop) -> None:
    with receiver() as there:
        opened(northwind, there)
    publish(northwind, "payment.paid")
    deliver()
    [failed] = WebhookDelivery.objects.all()
    assert (failed.status, failed.last_status) == (Status.PENDING, None)
    assert failed.last_error.startswith("ConnectError")


def test_a_redirect_is_not_followed(northwind: Shop, run: Run) -> None:
    elsewhere = run()
    there = run(answer(307, Location=elsewhere.url()))
    opened(northwind, there)
    publish(northwind, "payment.paid")
    deliver()
    [failed] = WebhookDelivery.objects.all()
    assert (failed.last_status, failed.last_error) == (307, "redirects are not followed")
    assert elsewhere.received == []


def test_an_answer_that_drips_is_cut_off_at_the_deadline(northwind: Shop, run: Run, monkeypatch: Any) -> None:
    monkeypatch.setattr(sending, "DEADLINE_S", 1)
    inside: list[Receiver] = []
    there = run(drip(inside))
    inside.append(there)
    opened(northwind, there)
    publish(northwind, "payment.paid")
    deliver()
    [attempt] = DeliveryAttempt.objects.all()
    assert attempt.error == "no whole answer within 1 s"
    assert 900 <= attempt.duration_ms <= 5000


@pytest.mark.race
def test_a_slow_receiver_does_not_hold_up_the_others(northwind: Shop, run: Run) -> None:
    inside: list[Receiver] = []
    slow = run(hold(inside))
    inside.append(slow)
    quick = run()
    opened(northwind, slow)
    opened(northwind, quick)
    publish(northwind, *["payment.paid"] * 100)
    sender = threading.Thread(target=send_on_a_connection_of_its_own)
    sender.start()
    try:
        quick.wait_for(100)
        assert len(slow.received) == delivery.IN_FLIGHT_PER_ENDPOINT
    finally:
        slow.may_go_on.set()
        sender.join()
    assert WebhookDelivery.objects.filter(status=Status.DELIVERED).count() == 200


def send_on_a_connection_of_its_own() -> None:
    try:
        deliver()
    finally:
        connection.close()


def test_an_endpoint_that_fails_holds_one_line_until_something_arrives(northwind: Shop, run: Run) -> None:
    there = run(answer(500))
    opened(northwind, there)
    publish(northwind, *["payment.paid"] * 30)
    relay.fan_out(now=timezone.now())
    assert len(delivery.claim_due(now=timezone.now(), limit=64)) == delivery.IN_FLIGHT_PER_ENDPOINT
    assert delivery.claim_due(now=timezone.now(), limit=64) == []
    WebhookEndpoint.objects.update(failing_since=timezone.now())
    later = timezone.now() + timedelta(seconds=delivery.LEASE_S + 1)
    assert len(delivery.claim_due(now=later, limit=64)) == delivery.IN_FLIGHT_WHILE_FAILING


def test_a_verdict_that_comes_too_late_is_not_believed_but_a_success_is(northwind: Shop, run: Run) -> None:
    opened(northwind, run())
    publish(northwind, "payment.paid")
    now = timezone.now()
    relay.fan_out(now=now)
    [lost] = delivery.claim_due(now=now, limit=1)
    later = now + timedelta(seconds=delivery.LEASE_S + 1)
    [held] = delivery.claim_due(now=later, limit=1)
    delivery.record([(lost, sending.Answer(500, "", 1))], now=later)
    assert WebhookDelivery.objects.get().claimed_until is not None  # the second claim stands
    delivery.record([(lost, sending.Answer(200, "", 1))], now=later)
    delivery.record([(held, sending.Answer(500, "", 1))], now=later)
    arrived = WebhookDelivery.objects.get()
    assert (arrived.status, arrived.delivered_at) == (Status.DELIVERED, later)
    assert DeliveryAttempt.objects.count() == 3


# --- Giving up ------------------------------------------------------------------------------------------------------


def test_after_three_days_of_nothing_the_delivery_is_given_up_and_the_endpoint_disabled(
    northwind: Shop, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    there, other = run(answer(503)), run()
    endpoint, _secret = opened(northwind, there)
    opened(northwind, other, "webhook_endpoint.*")
    begin = now = timezone.now()
    publish(northwind, "payment.paid")
    deliver(now=now)
    while (failing := WebhookDelivery.objects.get()).status == Status.PENDING:
        assert failing.next_attempt_at is not None
        now = failing.next_attempt_at
        deliver(now=now)
    assert failing.status == Status.FAILED
    assert timedelta(hours=62) < now - begin <= timedelta(hours=72)
    assert failing.tries == len(there.received) == DeliveryAttempt.objects.filter(delivery=failing).count()
    endpoint.refresh_from_db()
    assert (endpoint.is_enabled, endpoint.disabled_at, endpoint.disabled_reason) == (False, now, "failing")
    assert [record.levelname for record in caplog.records if endpoint.public_id in record.getMessage()] == ["ERROR"]
    deliver(now=now)
    [told] = other.received
    assert (told.event["type"], told.event["about"], told.event["sequence"]) == ("webhook_endpoint.disabled", endpoint.public_id, 1)
    assert told.event["data"]["disabled_reason"] == "failing"


def test_sec_19_the_address_of_an_endpoint_is_told_to_no_other_endpoint(northwind: Shop, run: Run) -> None:
    """Many receivers keep a secret in it."""
    there, other = run(answer(410)), run()
    endpoint, _secret = opened(northwind, there, path="/webhooks?token=s3cret-of-accounting")
    opened(northwind, other, "webhook_endpoint.*")
    publish(northwind, "payment.paid")
    for _time in range(2):
        deliver()
    assert [told.event["type"] for told in other.received] == ["webhook_endpoint.disabled"]
    endpoints.change(endpoint, {"is_enabled": True}, now=timezone.now())
    endpoints.ping(endpoint, now=timezone.now())
    assert {message.topic for message in OutboxMessage.objects.all()} == {"payment.paid", "webhook_endpoint.disabled", "ping"}
    assert "s3cret" not in str([message.payload for message in OutboxMessage.objects.all()])


def test_what_is_given_up_while_others_arrive_does_not_disable_the_endpoint(northwind: Shop, run: Run) -> None:
    there = run(answer(503))
    endpoint, _secret = opened(northwind, there)
    now = timezone.now()
    publish(northwind, "payment.paid")
    deliver(now=now)
    there.behave = answer(200)
    almost_three_days_later = now + timedelta(hours=72, seconds=-10)
    WebhookDelivery.objects.update(next_attempt_at=almost_three_days_later)
    publish(northwind, "payment.paid")
    deliver(now=now + timedelta(hours=1))
    there.behave = answer(503)
    deliver(now=almost_three_days_later)
    endpoint.refresh_from_db()
    assert sorted(WebhookDelivery.objects.values_list("status", flat=True)) == [Status.DELIVERED, Status.FAILED]
    assert endpoint.is_enabled


def test_410_disables_the_endpoint_at_once_and_what_waits_is_sent_when_it_is_enabled(northwind: Shop, run: Run) -> None:
    there = run(answer(410))
    endpoint, _secret = opened(northwind, there)
    now = timezone.now()
    publish(northwind, "payment.paid")
    deliver(now=now)
    endpoint.refresh_from_db()
    assert (endpoint.is_enabled, endpoint.disabled_reason) == (False, "gone")
    assert WebhookDelivery.objects.get().status == Status.PENDING
    there.behave = answer(200)
    publish(northwind, "payment.paid")
    deliver(now=now + timedelta(days=4))
    assert len(there.received) == 1  # it waits, and what happens meanwhile is not for it
    endpoints.change(endpoint, {"is_enabled": True}, now=now + timedelta(days=4))
    deliver(now=now + timedelta(days=4))
    assert len(there.received) == 2
    assert WebhookDelivery.objects.get().status == Status.DELIVERED
    assert (endpoint.is_enabled, endpoint.disabled_at, endpoint.disabled_reason) == (True, None, "")


# --- By hand --------------------------------------------------------------------------------------------------------


def test_what_arrived_or_failed_is_sent_again_by_hand(northwind: Shop, run: Run) -> None:
    there, newcomer = run(), run()
    opened(northwind, there)
    [event] = publish(northwind, "payment.paid")
    now = timezone.now()
    deliver(now=now)
    message = OutboxMessage.objects.get()
    endpoints.resend(message, now=now + timedelta(days=9))
    deliver(now=now + timedelta(days=9))
    late, _secret = opened(northwind, newcomer, "refund.*")
    endpoints.resend_to(late, message, now=now)
    deliver(now=now)
    assert (there.ids(), newcomer.ids()) == ([event, event], [event])
    again = WebhookDelivery.objects.get(endpoint__url=there.url())
    assert (again.status, again.tries, again.earlier_tries) == (Status.DELIVERED, 2, 1)
    assert list(again.attempts.order_by("pk").values_list("number", flat=True)) == [1, 2]


def test_what_is_being_sent_at_this_moment_is_not_taken_from_its_sender(northwind: Shop, run: Run) -> None:
    opened(northwind, run())
    publish(northwind, "payment.paid")
    now = timezone.now()
    relay.fan_out(now=now)
    [parcel] = delivery.claim_due(now=now, limit=1)
    endpoints.resend(OutboxMessage.objects.get(), now=now)
    assert delivery.claim_due(now=now, limit=1) == []
    delivery.record([(parcel, sending.Answer(200, "", 1))], now=now)
    assert WebhookDelivery.objects.get().status == Status.DELIVERED


def test_a_ping_goes_to_one_endpoint_alone_whatever_its_topics(northwind: Shop, run: Run) -> None:
    there, other = run(), run()
    endpoint, secret = opened(northwind, there, "refund.*")
    opened(northwind, other)
    endpoints.ping(endpoint, now=timezone.now())
    deliver()
    [received] = there.received
    assert (received.event["type"], received.event["about"]) == ("ping", endpoint.public_id)
    assert received.is_signed_with(secret)
    assert other.received == []


# --- Housekeeping ---------------------------------------------------------------------------------------------------


def test_what_arrived_is_forgotten_after_30_days_and_what_failed_is_kept(northwind: Shop, run: Run) -> None:
    opened(northwind, run())
    opened(northwind, run(answer(410)))
    failing, _secret = opened(northwind, run(answer(500)))
    publish(northwind, "payment.paid")
    now = timezone.now()
    deliver(now=now)
    WebhookDelivery.objects.filter(endpoint=failing).update(status=Status.FAILED, next_attempt_at=None)
    assert delivery.purge(now=now + timedelta(days=29)) == 0
    assert delivery.purge(now=now + timedelta(days=31)) == 2
    [kept] = WebhookDelivery.objects.all()
    assert kept.endpoint == failing
    assert DeliveryAttempt.objects.count() == 1


def test_the_log_of_tries_cannot_be_rewritten(northwind: Shop, run: Run) -> None:
    opened(northwind, run())
    publish(northwind, "payment.paid")
    deliver()
    with pytest.raises(IntegrityError, match="append-only"):
        DeliveryAttempt.objects.update(status=500)

"""The kinds of races: each function plays one round and returns what broke.  What must hold is said in its first line.

Those of pay-in stand here, those of ways to pay and stored value in race_kinds_ways_to_pay.py, those of pay-out in race_kinds_pay_out.py; KINDS
names them all.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Any

from django.conf import settings
from django.db import transaction

from ledger import clock
from payments import cancellations, confirmation, dead_letters, expiry, intake, refunds, rescue
from payments.confirmation import Confirmed
from payments.models import DeadLetter, DueOrder, PaymentEvent, PaymentOrder, Refund
from payments.psp import registry
from tests.factories import basket
from tests.programmes import race_kinds_pay_out, race_kinds_ways_to_pay, steps
from tests.programmes.flows import VISA, Case
from tests.programmes.race_rounds import expect, letter_steps, paid, race, share, unheard

MANY = 100
SOME = 20


def double_clicks(case: Case) -> list[str]:
    """A hundred confirmations start each order once (BUG-04)."""
    event = case.open()
    session, token = case.house.means_to_pay(VISA, event.amount)
    press = partial(confirmation.confirm, event.pk, Confirmed(session, token, event.amount), now=clock.now())
    answers, broken = race(*[press] * MANY)
    started = sum(len(answer) for answer in answers if isinstance(answer, list))
    return broken + expect(started == event.orders.count(), f"{started} orders were started of {event.orders.count()}")


def order_body(case: Case, checkout_id: str) -> dict[str, Any]:
    [seller, *_others] = case.house.sellers
    amount = {"amount": "10.00", "currency": "EUR"}
    return {"checkout_id": checkout_id, "buyer": {"reference": "rosa"}, "payment_orders": [{"seller": seller.public_id, "amount": amount}]}


def opened(case: Case, prefix: str) -> int:
    events = PaymentEvent.objects.filter(shop=case.house.shop, checkout_id__startswith=prefix)
    case.event_ids += events.values_list("pk", flat=True)
    return len(events)


def same_key_same_body(case: Case) -> list[str]:
    """One key and body sent at once: one effect, the others hear the same or are asked to wait (INV-14)."""
    name = case.checkout_id()
    post = partial(steps.post, "/v1/payments", order_body(case, name), case.house.token, name)
    answers, broken = race(*[post] * SOME)
    broken += expect(set(answers) <= {200, 201, 409}, f"answers were {set(answers)}")
    return broken + expect(opened(case, name) == 1, "not one payment was opened")


def same_key_other_bodies(case: Case) -> list[str]:
    """One key for many bodies: one effect, the others are refused (INV-14)."""
    name = case.checkout_id()
    posts = [partial(steps.post, "/v1/payments", order_body(case, f"{name}-{number}"), case.house.token, name) for number in range(SOME)]
    answers, broken = race(*posts)
    broken += expect(sorted(map(str, answers))[0] == "201" and set(answers) <= {201, 409, 422}, f"answers were {set(answers)}")
    return broken + expect(opened(case, f"{name}-") == 1, "not one payment was opened")


def page_webhook_and_poller(case: Case) -> list[str]:
    """Webhooks, several inboxes and several pollers learn of the same charges at once: each is booked once (BUG-02)."""
    event, orders = unheard(case)
    arriving = letter_steps(case, [order.public_id for order in orders], copies=2)
    case.house.advance(65)
    _answers, broken = race(*arriving, *[steps.apply_events] * 3, *[steps.execute] * 3)
    _answers, again = race(*[steps.apply_events] * 3, *[steps.execute] * 2)
    event.refresh_from_db()
    return broken + again + expect(event.status == "paid", f"{event.public_id} is {event.status}")


def refunds_of_one_order(case: Case) -> list[str]:
    """Two to fifty refunds race for one order, and workers for them: never more goes back than was taken (BUG-17)."""
    order = paid(case).orders.order_by("id")[0]
    wish = partial(refunds.request_refund, order.pk, amount=share(order, 40), reason="", now=clock.now())
    _answers, broken = race(*[wish] * case.chance.randint(2, 50))
    _answers, again = race(*[steps.execute_refunds] * 4)
    order.refresh_from_db()
    return broken + again + expect(order.refunded <= order.amount, f"{order.refunded} of {order.amount} went back")


def refund_and_dispute(case: Case) -> list[str]:
    """A refund and a dispute of one order: the seller never bears the same money twice (BUG-38)."""
    order = paid(case).orders.order_by("id")[0]
    case.house.letters(order.public_id, count=1)
    client = case.house.sandbox.client
    said = client.post("/v1/disputes", json={"reference": order.public_id}).raise_for_status().json()
    arriving = letter_steps(case, [order.public_id])
    _answers, broken = race(*arriving)
    wish = partial(refunds.request_refund, order.pk, amount=share(order, 50), reason="", now=clock.now())
    _answers, again = race(*[steps.apply_events] * 2, *[wish] * 3, *[steps.execute_refunds] * 2)
    client.post(f"/v1/disputes/{said['id']}/close", json={"outcome": "won"}).raise_for_status()
    _answers, third = race(*letter_steps(case, [order.public_id]), steps.apply_events, steps.execute_refunds)
    case.asks_for_disputes = True
    order.refresh_from_db()
    return broken + again + third + expect(order.refunded + order.disputed <= order.amount, "more than was taken went back")


def cancel_and_charge(case: Case) -> list[str]:
    """An order is called off while it is charged: it ends cancelled, or paid and given back, or paid and refused."""
    event = case.open()
    orders = list(event.orders.order_by("id"))
    case.before("confirm", **case.card_terms(event, VISA))
    off = [partial(cancel_order, order) for order in orders]
    _answers, broken = race(*[steps.execute] * 2, *off, steps.follow)
    return broken


def cancel_and_cancel(case: Case) -> list[str]:
    """Many call the same order off: one cancellation lives."""
    event = paid(case) if case.chance.random() < 0.5 else case.open()
    order = event.orders.order_by("id")[0]
    _answers, broken = race(*[partial(cancel_order, order)] * SOME)
    living = order.cancellations.exclude(status="FAILED").count()
    return broken + expect(living == 1, f"{living} cancellations live")


def cancel_order(order: PaymentOrder) -> None:
    cancellations.cancel_order(order.pk, reason="", once="", requested_by="api:programme", now=clock.now())


def two_beats(case: Case) -> list[str]:
    """Every sweep runs several times at once: what is due is done once (CEL-10)."""
    paid_order = paid(case).orders.order_by("id")[0]
    refunds.request_refund(paid_order.pk, amount=share(paid_order, 100), reason="", now=clock.now())
    for _checkout in range(3):
        event = case.open(lifetime_s=60)
        if case.chance.random() < 0.7:
            case.before("confirm", **case.card_terms(event, VISA))
    case.house.advance(70)
    sweeps = [steps.execute, steps.execute_refunds, steps.apply_events, steps.expire, steps.follow]
    _answers, broken = race(*sweeps * 3)
    return broken


def two_executors(case: Case) -> list[str]:
    """Several executors at many due orders: each order is charged by one."""
    for _checkout in range(6):
        event = case.open()
        case.before("confirm", **case.card_terms(event, VISA))
    _answers, broken = race(*[steps.execute] * 6)
    left = DueOrder.objects.filter(order__event_id__in=case.event_ids).count()
    return broken + expect(left == 0, f"{left} orders were left lying")


def two_relays(case: Case) -> list[str]:
    """Several relays and senders: a shop's server hears each message once, while nobody dies (INV-16)."""
    event = paid(case, shop=case.house.listener.shop)
    case.listens = True
    _answers, broken = race(*[steps.deliver] * 3)
    heard = [body for _headers, body in case.house.listener.letterbox.deliveries if event.public_id.encode() in body]
    return broken + expect(len(heard) <= len(set(heard)), f"{event.public_id} was told twice")


def crossing_orders(case: Case) -> list[str]:
    """Baskets of the same sellers in opposite orders settle side by side: nobody deadlocks (BUG-57)."""
    sellers = list(case.house.sellers)
    for turn in range(4):
        event, _is_new = intake.open_event(
            case.house.shop,
            basket(sellers[:: 1 if turn % 2 else -1], "1.00", "2.00", "3.00", checkout_id=case.checkout_id()),
            now=clock.now(),
        )
        case.event_ids.append(event.pk)
        case.before("confirm", **case.card_terms(event, VISA))
    _answers, broken = race(*[steps.execute] * 4)
    return broken


def hot_seller(case: Case) -> list[str]:
    """Sales and refunds of one seller all at once leave its wallet right."""
    ada = case.house.sellers[:1]
    orders = []
    for number in range(8):
        event, _is_new = intake.open_event(case.house.shop, basket(ada, "5.00", checkout_id=case.checkout_id()), now=clock.now())
        case.event_ids.append(event.pk)
        case.before("confirm", **case.card_terms(event, VISA))
        if number == 3:
            case.before("execute")
        orders.append(event.orders.get())
    wishes = [partial(refunds.request_refund, order.pk, amount=order.amount, reason="", now=clock.now()) for order in orders[:4]]
    _answers, broken = race(*wishes, *[steps.execute] * 3, *[steps.execute_refunds] * 3)
    return broken


def rotated_secret(case: Case) -> list[str]:
    """The secret of the PSP's webhooks is changed while they come: none of them is refused (SEC-16)."""
    _event, orders = unheard(case)
    old = list(settings.PSP_SANDBOX_WEBHOOK_SECRETS)
    arriving = letter_steps(case, [order.public_id for order in orders], copies=4)

    def rotate() -> None:
        settings.PSP_SANDBOX_WEBHOOK_SECRETS = ["another-secret-of-32-characters!", *old]
        registry.psp_named.cache_clear()

    try:
        answers, broken = race(rotate, *arriving, rotate)
    finally:
        settings.PSP_SANDBOX_WEBHOOK_SECRETS = old
        registry.psp_named.cache_clear()
    return broken + expect(set(answers[1:-1]) == {200}, f"webhooks were answered {set(answers[1:-1])}")


def one_checkout_id(case: Case) -> list[str]:
    """One checkout id sent at once, with the same terms and with others, is opened once (BUG-05)."""
    name = case.checkout_id()
    asked = [basket(case.house.sellers, amount, checkout_id=name) for amount in ("10.00", "10.00", "11.00")]
    answers, broken = race(*[partial(intake.open_event, case.house.shop, terms, now=clock.now()) for terms in asked * 6])
    new = [answer[0].pk for answer in answers if isinstance(answer, tuple) and answer[1]]
    case.event_ids += new
    return broken + expect(len(new) == 1, f"{len(new)} payments were opened")


def late_success_and_expiry(case: Case) -> list[str]:
    """The money of a given-up order comes while the checkout's time is up: it is booked, or it goes back (BUG-59)."""
    event, orders = unheard(case)
    case.give_up(orders)
    arriving = letter_steps(case, [order.public_id for order in orders])
    _answers, broken = race(*arriving)
    over = event.expires_at + timedelta(seconds=1)
    _answers, again = race(*[steps.apply_events] * 2, *[partial(expiry.expire_checkouts, now=over)] * 2)
    return broken + again


def refund_asked_for_twice(case: Case) -> list[str]:
    """The same wish for a refund, sent many times at once under one reference, is one refund."""
    order = paid(case).orders.order_by("id")[0]
    wish = partial(refunds.request_refund, order.pk, amount=share(order, 30), reason="", reference="once", now=clock.now())
    _answers, broken = race(*[wish] * SOME)
    asked = Refund.objects.filter(order=order).count()
    return broken + expect(asked == 1, f"{asked} refunds stand")


def dead_letter_decided_twice(case: Case) -> list[str]:
    """Several people decide one dead letter at once: one decision counts, and what the PSP took is booked or goes back."""
    _event, [order, *_others] = unheard(case)
    with transaction.atomic():
        dead_letters.bury(PaymentOrder.objects.select_for_update().get(pk=order.pk).pk, reason="unknown_too_long", detail="")
    letter = DeadLetter.objects.get(order=order)
    choices = [rescue.redrive, rescue.fail, rescue.void] * 3
    answers, broken = race(*[partial(decide, letter.pk, actor="staff:ada", note="a race", now=clock.now()) for decide in choices])
    counted = sum(isinstance(answer, DeadLetter) for answer in answers)
    _answers, again = race(*letter_steps(case, [order.public_id]), *[steps.apply_events] * 2)
    return broken + again + expect(counted == 1, f"{counted} decisions counted")


KINDS: Mapping[str, Callable[[Case], list[str]]] = {
    kind.__name__: kind
    for kind in (
        double_clicks,
        same_key_same_body,
        same_key_other_bodies,
        page_webhook_and_poller,
        refunds_of_one_order,
        refund_asked_for_twice,
        race_kinds_pay_out.release_against_refund,
        race_kinds_pay_out.two_release_sweeps,
        race_kinds_pay_out.payout_against_payout,
        race_kinds_pay_out.payout_against_refund,
        race_kinds_pay_out.payout_told_by_many,
        race_kinds_pay_out.two_payment_files,
        race_kinds_pay_out.conversion_against_conversion,
        race_kinds_pay_out.conversion_against_payout,
        race_kinds_ways_to_pay.two_tabs_with_two_methods,
        race_kinds_ways_to_pay.qr_code_approved_twice,
        race_kinds_ways_to_pay.one_gift_card_in_two_checkouts,
        race_kinds_ways_to_pay.one_wallet_in_two_checkouts,
        race_kinds_ways_to_pay.gift_card_spent_and_expired,
        race_kinds_ways_to_pay.top_up_replayed,
        refund_and_dispute,
        cancel_and_charge,
        cancel_and_cancel,
        two_beats,
        two_executors,
        two_relays,
        crossing_orders,
        hot_seller,
        rotated_secret,
        one_checkout_id,
        late_success_and_expiry,
        dead_letter_decided_twice,
    )
}

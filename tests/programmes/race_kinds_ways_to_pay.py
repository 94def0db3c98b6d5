"""The kinds of races of ways to pay and of stored value: tabs, codes, gift cards, wallets.  What must hold is said in its first line."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from djmoney.money import Money

from ledger import clock, money
from payments import confirmation, queries, tenders
from payments.confirmation import Confirmed
from payments.management import buyer
from payments.models import CheckoutSession, ChosenTender, PaymentEvent
from payments.states import PAYABLE, OrderStatus
from tests.factories import stored_value_of
from tests.programmes import flow_approvals, steps
from tests.programmes.flow_stored_value import verdict_on_tenders
from tests.programmes.flows import A_DAY_S, VISA, Case
from tests.programmes.race_rounds import expect, letter_steps, race
from wallet import gift_card_expiry, gift_cards
from wallet.gift_cards import NewGiftCard
from wallet.models import StoredValue, StoredValueEntry

SOME = 12


def two_tabs_with_two_methods(case: Case) -> list[str]:
    """One tab shows a code, another a card, and both are approved: one of them pays, once, and the other takes no money (BUG-11)."""
    event = case.open()
    code, card = (opened(case, event, method) for method in ("qr", "card"))
    for method, session in (("qr", code), ("card", card)):
        flow_approvals.approve(case, method, session)
    case.approved.remove(card)  # who presses in neither tab pays nothing by it
    case.house.advance(flow_approvals.SOON_S)
    _answers, broken = race(
        *[steps.look] * 2,
        *[partial(steps.press_pay, event.token, card)] * 3,
        partial(steps.come_back, event.token, "qr"),
        *[steps.execute] * 2,
    )
    _answers, again = race(*[steps.look] * 2, *[steps.execute] * 2)
    return broken + again + confirmed_once(event)


def qr_code_approved_twice(case: Case) -> list[str]:
    """A code is approved on two phones at once, and its webhooks come doubled to many workers: one approval counts, and pays once."""
    event = case.open()
    session = opened(case, event, "qr")
    phone = case.house.sandbox.client.get(f"/v1/sessions/{session}").raise_for_status().json()["hosted_url"]
    _answers, broken = race(*[partial(approve_by_phone, phone)] * 3)
    case.approved.append(session)
    arriving = letter_steps(case, [session], copies=2)
    case.house.advance(flow_approvals.SOON_S)
    back = partial(steps.come_back, event.token, "qr")
    _answers, again = race(*arriving, *[steps.apply_events] * 2, *[steps.look] * 3, back, back)
    _answers, third = race(*[steps.apply_events] * 2, *[steps.look] * 2, *[steps.execute] * 3)
    case.house.journal.read_on()
    counted = sum((row["object_id"], row["type"]) == (session, "session.completed") for row in case.house.journal.rows)
    return broken + again + third + confirmed_once(event) + expect(counted == 1, f"{counted} approvals counted")


def approve_by_phone(url: str) -> None:
    """Approve on the phone's page, unless it says that this was done already."""
    with suppress(ValueError):  # the page of a code that is paid asks nothing
        buyer.approve(url)


def one_gift_card_in_two_checkouts(case: Case) -> list[str]:
    """Several checkouts pay with one gift card at once: nothing of it is spent twice, and whoever comes too late is told (INV-23)."""
    events = [case.open() for _checkout in range(3)]
    units = max(money.to_minor(event.amount) for event in events)
    return spent_at_once(case, events, stored_value_of(case.house.shop, in_euros(units)))


def one_wallet_in_two_checkouts(case: Case) -> list[str]:
    """A buyer pays several checkouts from one wallet at once: nothing of it is spent twice, and whoever comes too late is told (INV-23)."""
    name = f"rosa-{case.checkout_id()}"
    events = [case.open(buyer_reference=name, buyer_signed_in=True) for _checkout in range(3)]
    units = min(money.to_minor(event.amount) for event in events)
    return spent_at_once(case, events, stored_value_of(case.house.shop, in_euros(units), buyer=events[0].buyer))


def spent_at_once(case: Case, events: Sequence[PaymentEvent], value: StoredValue) -> list[str]:
    """Let all confirm at once with what they were shown, a card for the rest; those that were refused then pay with what is left."""
    case.values[value.pk] = money.to_minor(value.balance)
    ChosenTender.objects.bulk_create(ChosenTender(event=event, value=value) for event in events)
    broken: list[str] = []
    for _turn in events:  # in each of which one can pay at least
        late = [press(case, event) for event in events if not event.orders.exclude(status__in=PAYABLE).exists()]
        _answers, accidents = race(*late, *[steps.execute] * 2)
        broken += accidents
    steps.execute()
    value.refresh_from_db()
    broken += verdict_on_tenders(case).sentences() + expect(not value.balance and not value.held, f"{value.balance} are left of it")
    paid = sum(not event.orders.exclude(status=OrderStatus.SUCCESS).exists() for event in events)
    return broken + expect(paid == len(events), f"{paid} of {len(events)} checkouts are paid")


def press(case: Case, event: PaymentEvent) -> Callable[[], object]:
    """Return the button of a page that shows what the chosen gift card or wallet would pay as things stand, with a card for the rest."""
    payable = [order for order in event.orders.order_by("id") if order.status in PAYABLE]
    rest = tenders.plan(event, queries.sum_of(payable), now=clock.now()).rest
    session, token = case.house.means_to_pay(VISA, rest) if rest else (f"stored:{event.public_id}:{event.confirmations + 1}", "")
    return partial(confirmation.confirm, event.pk, Confirmed(session, token, rest), now=clock.now())


def gift_card_spent_and_expired(case: Case) -> list[str]:
    """A gift card is spent as its time is up: each unit of it is spent or expires, once (INV-23)."""
    event, now = case.open(), clock.now()
    asked = NewGiftCard(money.from_minor(money.to_minor(event.amount) + case.chance.choice((-1, 0, 500)), "EUR"), valid_days=1)
    card, _is_new = gift_cards.grant(case.house.shop, asked, reason="Goodwill", by="api:programme", now=now)
    case.values[card.value_id] = money.to_minor(card.amount)
    case.expiring = [card.value_id]
    ChosenTender.objects.create(event=event, value=card.value)
    spend = press(case, event)
    case.house.advance(A_DAY_S)
    over = partial(gift_card_expiry.expire_due, now=clock.now())
    _answers, broken = race(spend, *[over] * 3, spend, *[steps.execute] * 2)
    _answers, again = race(*[steps.execute] * 2, *[steps.expire_gift_cards] * 2)
    moved = StoredValueEntry.objects.filter(value=card.value_id).exclude(kind=StoredValueEntry.Kind.GRANTED)
    taken = sum(-money.to_minor(entry.amount) for entry in moved)
    return broken + again + expect(taken <= money.to_minor(card.amount), f"{taken} units of {card.amount} were spent or expired")


def top_up_replayed(case: Case) -> list[str]:
    """One top-up is asked for many times at once, and paid by many workers and webhooks: it comes to the wallet once (INV-14, INV-23)."""
    name, amount = case.checkout_id(), in_euros(case.chance.randint(1, 50_000))
    body = {"amount": {"amount": amount, "currency": "EUR"}, "checkout_id": name}
    path = f"/v1/buyers/rosa-{name}/wallet/top_ups"
    keys = [f"{name}-{number % 3}" for number in range(SOME)]
    answers, broken = race(*[partial(steps.post, path, body, case.house.token, key) for key in keys])
    broken += expect(set(answers) <= {200, 201, 409} and answers.count(201) >= 1, f"answers were {set(answers)}")
    [event] = PaymentEvent.objects.filter(shop=case.house.shop, checkout_id=name)
    case.event_ids.append(event.pk)
    order = event.orders.get()
    case.before("confirm", **case.card_terms(event, VISA))
    case.mishap("charge", order.public_id, "execute_then_500")
    case.before("execute")
    arriving = letter_steps(case, [order.public_id], copies=2)
    case.house.advance(65)
    ask_again = partial(steps.post, path, body, case.house.token, f"{name}-again")
    _answers, again = race(*arriving, *[steps.apply_events] * 3, *[steps.execute] * 3, ask_again)
    _answers, third = race(*[steps.apply_events] * 2, *[steps.execute] * 2)
    came = StoredValueEntry.objects.filter(source=order.public_id).count()
    wallet = StoredValue.objects.get(buyer=event.buyer, currency="EUR")
    return (
        broken
        + again
        + third
        + expect((came, wallet.balance) == (1, order.amount), f"{came} movements, {wallet.balance} of {order.amount}")
    )


def opened(case: Case, event: PaymentEvent, method: str) -> str:
    """Let the page open the PSP's session for this way to pay; return its id."""
    case.insist("open_session", token=event.token, method=method)
    return CheckoutSession.objects.filter(event=event, method=method).latest("pk").session


def confirmed_once(event: PaymentEvent) -> list[str]:
    event.refresh_from_db()
    return expect((event.confirmations, event.status) == (1, "paid"), f"{event.public_id} is {event.status}, by {event.confirmations}")


def in_euros(units: int) -> str:
    amount: Money = money.from_minor(units, "EUR")
    return str(amount.amount)

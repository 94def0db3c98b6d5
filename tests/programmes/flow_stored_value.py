"""The cases of stored value: gift cards and wallets that are bought, pay a part of a basket, get back what they paid, and expire.

Whoever dies on the way: what the buyer gave and got, and what is left, add up to the minor unit, by the PSP's journal and by ours.
"""

from ledger import clock, money
from payments import confirmation, queries, tenders
from payments.models import ChosenTender, PaymentEvent, PaymentOrder
from payments.states import OrderStatus, RefundStatus
from tests.factories import stored_value_of
from tests.programmes.flow_files import judge_count
from tests.programmes.flows import (
    A_DAY_S,
    CARDS,
    DECLINED,
    MISHAPS,
    MOST_TRIES,
    REFUND_CARDS,
    REFUND_FAILS_LATER,
    REFUND_REFUSED,
    VISA,
    Case,
)
from tests.programmes.points import PSP
from tests.programmes.verdicts import Verdicts
from wallet import gift_cards
from wallet.gift_cards import NewGiftCard
from wallet.models import GiftCard, OutboxMessage, StoredValue, StoredValueEntry

AN_HOUR_S = 3600 + 60
MISHAP_SHARE, CALLED_OFF_SHARE, ALL_SHARE, REFUND_SHARE = 0.25, 0.1, 0.3, 0.5


def place_of(case: Case) -> str:
    return f"{case.point.place} {case.point.within}"


# --- It pays a part ---------------------------------------------------------------------------------------------------


def tender(case: Case) -> None:
    """Gift cards and the buyer's wallet pay a part or all, a card the rest; orders are called off, or refunded, once or in two parts."""
    event, card = case.open(buyer_reference=f"rosa-{case.checkout_id()}"), card_for(case)
    case.refunds_fail_later = card == REFUND_FAILS_LATER
    charges = case.point.place in (f"{PSP}.charge", f"{PSP}.refund", "payments.settlement.settle")
    choose(case, event, all_of_it=card == VISA and not charges and case.chance.random() < ALL_SHARE)
    if card == VISA and case.chance.random() < MISHAP_SHARE:
        case.mishap("charge", event.orders.order_by("id")[0].public_id, *MISHAPS)
    confirm(case, event, card)
    if "cancel" in place_of(case) or (card in CARDS and case.chance.random() < CALLED_OFF_SHARE):
        call_off(case, event)
    settle(case, event)
    if event.orders.filter(status=OrderStatus.FAILED).exists():
        confirm(case, event, VISA)
        settle(case, event)
    for order in event.orders.filter(status=OrderStatus.SUCCESS).order_by("id"):
        if "refund" in place_of(case) or "value_returns" in place_of(case) or case.chance.random() < REFUND_SHARE:
            give_back(case, order)
    case.step("execute_refunds")


def card_for(case: Case) -> str:
    """Return a card with which the point is passed: what takes money needs one that pays, what fails one that is refused."""
    place = place_of(case)
    if "fail_refund" in place:
        return REFUND_REFUSED
    if any(word in place for word in ("reverse_refund", "take_again", "fill_again")):
        return REFUND_FAILS_LATER
    if "settlement.fail" in place:
        return DECLINED
    takes_money = (PSP, "settlement", "tenders.take", "value_returns", "refunds", "buy_back", "make_code")
    return VISA if any(word in place for word in takes_money) else case.chance.choice((*CARDS, *REFUND_CARDS))


def choose(case: Case, event: PaymentEvent, *, all_of_it: bool) -> None:
    """Give the buyer one or two of gift cards and a wallet, and let them pay a part of the basket, or all of it."""
    total = money.to_minor(event.amount)
    left = total + case.chance.randint(0, 500) if all_of_it else case.chance.randint(1, max(1, total - event.orders.count()))
    owners = case.chance.choice(((None,), (event.buyer,), (None, event.buyer), (None, None)))
    for number, owner in enumerate(owners, start=1):
        units = left if number == len(owners) else case.chance.randint(1, left)
        left -= units
        if units:
            value = stored_value_of(case.house.shop, str(money.from_minor(units, "EUR").amount), buyer=owner)
            case.values[value.pk] = money.to_minor(value.balance)
            ChosenTender.objects.create(event=event, value=value)


def confirm(case: Case, event: PaymentEvent, card: str) -> None:
    """Let the buyer press the button until the payment has begun; of what gift cards and the wallet pay, the PSP hears nothing."""
    payable = confirmation.payable_of(list(event.orders.order_by("id")))
    if not payable:
        return
    event.refresh_from_db()
    rest = tenders.plan(event, queries.sum_of(payable), now=clock.now()).rest
    session, token = case.house.means_to_pay(card, rest) if rest else (f"stored:{event.public_id}:{event.confirmations + 1}", "")
    terms = {"session": session, "payment_token": token, "amount": str(rest.amount), "currency": rest.currency.code}
    for _press in range(MOST_TRIES):
        case.step("confirm", event=event.pk, **terms)
        if PaymentEvent.objects.get(pk=event.pk).confirmations > event.confirmations:
            return


def call_off(case: Case, event: PaymentEvent) -> None:
    """Let the shop call an order off that is being paid, until that stands."""
    order = event.orders.order_by("id")[0]
    for _try in range(MOST_TRIES):
        case.step("cancel", order=order.pk, once=f"cancel-{order.public_id}")
        if order.cancellations.exists():
            return


def settle(case: Case, event: PaymentEvent) -> None:
    """Let workers execute until nothing of the checkout is under way."""
    for _try in range(MOST_TRIES):
        case.step("execute")
        case.step("follow")
        if not event.orders.filter(status=OrderStatus.EXECUTING).exists():
            return
        case.house.advance(65)


def give_back(case: Case, order: PaymentOrder) -> None:
    """Ask for what is left of the order back, at once or in two parts."""
    units = money.to_minor(order.left)
    first = case.chance.choice((units, case.chance.randint(0, units)))
    for part in (first, units - first):
        if part:
            case.ask_back(order, money.from_minor(part, "EUR"))


def verdict_on_tenders(case: Case) -> Verdicts:
    """What the gift cards and wallets gave, and the PSP took and gave back, is what the orders and refunds say; nothing is held."""
    found = Verdicts()
    orders, refunds = case.orders(), case.refunds()
    under_way = [order for order in orders if order.status == OrderStatus.EXECUTING]
    if under_way or any(refund.status == RefundStatus.EXECUTING for refund in refunds):
        return found  # the PSP does not know its end yet, or a person does not
    journal = case.house.journal
    journal.read_on()
    paid = sum(journal.moved(order.public_id, "charge") for order in orders)
    paid -= sum(journal.moved(refund.public_id, "refund") for refund in refunds)
    for value in StoredValue.objects.filter(pk__in=case.values):
        paid += case.values[value.pk] - money.to_minor(value.balance)
        if value.held:
            found.stuck.append(f"{value.held} of stored value {value.pk} are held for nothing")
    owed = sum(money.to_minor(order.amount) for order in orders if order.status == OrderStatus.SUCCESS)
    owed -= sum(money.to_minor(refund.amount) for refund in refunds if refund.status == RefundStatus.SUCCESS)
    if paid < owed:
        found.lost.append(f"{owed - paid} units that the orders say were paid came from nowhere")
    elif paid > owed:
        found.doubled.append(f"{paid - owed} units more were taken of the buyer than the orders say")
    return found


# --- It is bought, or given away --------------------------------------------------------------------------------------


def purchase(case: Case) -> None:
    """A gift card is sold, or a wallet topped up, over REST and by a card that pays for it; or a card is given away."""
    if "gift_cards.grant" in place_of(case):
        grant(case)
    else:
        buy(case)


def buy(case: Case) -> None:
    """Open the checkout, pay it, make the card's code, and ask for a part back; whoever opens it again changes nothing."""
    place, name = place_of(case), case.checkout_id()
    is_card = "gift_cards" in place or ("open_wallet" not in place and case.chance.random() < 0.5)
    [amount, *_more] = case.amounts()
    body: dict[str, object] = {"amount": {"amount": amount, "currency": "EUR"}}
    if is_card:
        path = "/v1/gift_cards"
        body["sold_to"] = {"checkout_id": name, "buyer": {"reference": f"rosa-{name}"}}
    else:
        path = f"/v1/buyers/rosa-{name}/wallet/top_ups"
        body["checkout_id"] = name
    case.insist("post", path=path, body=body, token=case.house.token, key=f"key-{name}")
    event = PaymentEvent.objects.get(shop=case.house.shop, checkout_id=name)
    case.event_ids.append(event.pk)
    card = card_for(case)
    case.refunds_fail_later = card == REFUND_FAILS_LATER
    order = event.orders.get()
    if card == VISA and case.chance.random() < MISHAP_SHARE:
        case.mishap("charge", order.public_id, *MISHAPS)
    case.confirm(event, card)
    settle(case, event)
    case.insist("post", path=path, body=body, token=case.house.token, key=f"again-{name}")
    order.refresh_from_db()
    if order.status != OrderStatus.SUCCESS:
        return
    if is_card:
        code = f"/v1/gift_cards/{GiftCard.objects.get(value=order.fills).public_id}/code"
        case.insist("post", path=code, body={}, token=case.house.token, key=f"code-{name}")
    if "refund" in place or "value_returns" in place or case.chance.random() < REFUND_SHARE:
        give_back(case, order)
        case.step("execute_refunds")


def grant(case: Case) -> None:
    """Give a card away; the same wish again, and once more, is the same card."""
    [amount, *_more] = case.amounts()
    key = f"key-{case.checkout_id()}"
    case.wishes[key] = amount
    body = {"amount": {"amount": amount, "currency": "EUR"}, "reason": "The vase came broken", "reference": key}
    for again in ("", "-again"):
        case.insist("post", path="/v1/gift_cards", body=body, token=case.house.token, key=key + again)


def verdict_on_purchases(case: Case) -> Verdicts:
    """What was bought came to its gift card or wallet once, and left it as its refunds say; what was given away is there once."""
    found = Verdicts()
    refunds = [refund for refund in case.refunds() if refund.status == RefundStatus.SUCCESS]
    for order in case.orders():
        is_paid = order.status == OrderStatus.SUCCESS
        came = StoredValueEntry.objects.filter(source=order.public_id, kind=StoredValueEntry.Kind.BOUGHT)
        judge_count(found, f"movements of {order.public_id}", came.count(), int(is_paid))
        left = order.amount * int(is_paid) - sum((refund.amount for refund in refunds if refund.order_id == order.pk), order.amount * 0)
        value = StoredValue.objects.get(pk=order.fills_id or 0)
        if value.balance != left:
            (found.lost if value.balance < left else found.doubled).append(
                f"{value.balance} are on what {order.public_id} filled, not {left}"
            )
    for key, amount in case.wishes.items():
        cards = GiftCard.objects.filter(shop=case.house.shop, reference=key).select_related("value")
        judge_count(found, f"gift cards of {key}", len(cards), 1)
        found.lost += [f"{card.value.balance} are on {card.public_id}, not {amount}" for card in cards if card.value.balance != card.amount]
    return found


# --- Its time is up ---------------------------------------------------------------------------------------------------


def breakage(case: Case) -> None:
    """Gift cards are given away for a day, one of them is held by a checkout as its time is up, and what is left of each expires."""
    for amount in case.amounts():
        card, _is_new = gift_cards.grant(
            case.house.shop, NewGiftCard(money.exact(amount, "EUR"), valid_days=1), reason="Goodwill", by="api:programme", now=clock.now()
        )
        case.values[card.value_id] = money.to_minor(card.amount)
    case.expiring = list(case.values)
    if case.chance.random() < 0.5:
        event = case.open()
        ChosenTender.objects.create(event=event, value_id=case.expiring[0])
        confirm(case, event, case.chance.choice((VISA, DECLINED)))
    case.house.advance(A_DAY_S)
    case.step("expire_gift_cards")
    case.step("execute")
    case.house.advance(AN_HOUR_S)
    case.step("expire_gift_cards")


def verdict_on_breakage(case: Case) -> Verdicts:
    """Nothing is left on a card, and of each part that expired the world was told once."""
    found = Verdicts()
    for card in GiftCard.objects.filter(value__in=case.expiring).select_related("value"):
        if card.value.balance:
            found.stuck.append(f"{card.value.balance} are on {card.public_id}, and its time is up")
        parts = StoredValueEntry.objects.filter(value=card.value, kind=StoredValueEntry.Kind.EXPIRED).count()
        told = OutboxMessage.objects.filter(about=card.public_id, topic="gift_card.expired").count()
        judge_count(found, f"messages of {card.public_id}", told, parts)
    return found

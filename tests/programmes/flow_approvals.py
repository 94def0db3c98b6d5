"""The cases of approvals: a buyer approves at the PSP, and the server confirms, whoever dies on the way and whether or not anybody tells it."""

from payments.management import buyer
from payments.methods.registry import METHODS, refusal_of
from payments.models import CheckoutSession, PaymentEvent
from payments.psp import registry
from payments.states import OrderStatus, SessionStatus
from tests.programmes.flow_files import judge_count
from tests.programmes.flows import VISA, Case
from tests.programmes.verdicts import Verdicts

NO_LETTER, LETTERS, THE_BUYER = "nobody", "letters", "the buyer who comes back"  # who tells of an approval
TOLD_BY = (NO_LETTER, LETTERS, LETTERS, THE_BUYER)
CARD_SHARE, DECLINED_SHARE = 0.2, 0.2
DECLINED_IN_WALLET = "visa_us_0002"
SOON_S = 10  # then the PSP is asked


def approval(case: Case) -> None:
    """A buyer opens a way to pay on the page and approves it at the PSP; a webhook tells it, the buyer comes back, or nobody says a word."""
    event = case.open()
    method = method_for(case, event)
    case.insist("open_session", token=event.token, method=method)
    session = CheckoutSession.objects.filter(event=event).latest("pk").session
    approve(case, method, session)
    if method == "card":
        case.insist("press_pay", token=event.token, session=session)
    told_by = LETTERS if "inbox" in case.point.place else case.chance.choice(TOLD_BY)
    if told_by == LETTERS:
        for letter in case.house.letters(session, count=1) * 2:
            case.insist("receive", body=letter.decode(), signature=case.house.signed(letter))
        case.step("apply_events")
    elif told_by == THE_BUYER:
        case.step("come_back", token=event.token, method=method)
    if told_by != LETTERS:
        case.house.advance(SOON_S)
    case.step("look")
    case.step("execute")


def method_for(case: Case, event: PaymentEvent) -> str:
    """Return a way to pay that can do the sum; a card, which is confirmed on our page, where the point lies on its way, too."""
    place = f"{case.point.place} {case.point.within}"
    if "inbox" not in place and "claim_due" not in place and case.chance.random() < CARD_SHARE:
        return "card"
    psp = registry.psp_named(event.psp)
    return case.chance.choice([each.name for each in METHODS.values() if each.confirms_itself and not refusal_of(each, psp, event.amount)])


def approve(case: Case, method: str, session: str) -> None:
    """Let the buyer approve on the PSP's own page, in a browser that belongs to no process of ours."""
    said = case.house.sandbox.client.get(f"/v1/sessions/{session}").raise_for_status().json()
    if method == "card":
        buyer.give_card(said["hosted_url"], number=VISA)
    elif method == "digital_wallet" and case.chance.random() < DECLINED_SHARE:
        buyer.approve(said["hosted_url"], card=DECLINED_IN_WALLET)
    else:
        buyer.approve(said["hosted_url"])
    case.approved.append(session)


def verdict(case: Case) -> Verdicts:
    """What was approved in time is confirmed, once."""
    found = Verdicts()
    for row in CheckoutSession.objects.filter(session__in=case.approved).select_related("event"):
        judge_count(found, f"confirmations of {row.event.public_id}", row.event.confirmations, 1)
        if row.status not in (SessionStatus.CONFIRMED, SessionStatus.COMPLETE):  # complete: waits still, and is stuck
            found.lost.append(f"{row.session} was approved, and is {row.status}")
    found.lost += [
        f"{order.public_id} was approved, and is {order.status}" for order in case.orders() if order.status == OrderStatus.NOT_STARTED
    ]
    return found

"""What a lost dispute left frozen is let go by two people: what is left can be spent again, and what the platform bore stays its loss."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone
from djmoney.money import Money

from ledger import approvals, chart
from ledger.models import Approval, JournalEntry
from payments import confirmation, disputes, intake
from payments.confirmation import Confirmed
from payments.intake import NewOrder, NewPayment
from payments.models import PaymentEvent, PaymentOrder
from payments.psp.sandbox import dispute_of
from payments.thaws import NothingToThaw
from reconciliation import audit
from reconciliation.audit import Asked
from tests.contract.api.conftest import Caller, caller_of
from tests.factories import eur
from tests.fixtures_money import all_at_once, errors_in, pay_with_card
from tests.fixtures_services import SandboxCompany
from tests.flows.test_admin import words as words_of
from tests.flows.test_disputes import balance, close, decide, dispute, open_
from tests.flows.test_tender_refunds import NOTHING, give_back
from tests.flows.test_tenders import choose
from wallet import gift_cards, stored_value
from wallet.buyer_wallets import TopUp
from wallet.gift_cards import NewGiftCard, Sale
from wallet.models import GiftCard, Shop, StoredValue

Open = Callable[..., PaymentEvent]


def buy(shop: Shop, fills: Sale | TopUp, amount: str = "50.00", *, checkout: str = "gift-1") -> PaymentOrder:
    """Let the buyer pay for a gift card or a top-up by card; return the order that filled it."""
    event, _is_new = intake.open_event(shop, NewPayment(checkout, "rosa", [NewOrder("", eur(amount), fills=fills)]), now=timezone.now())
    return pay_with_card(event).orders.select_related("fills").get()


def spend(open_payment: Open, value: StoredValue, amount: str) -> PaymentOrder:
    event = choose(open_payment(amount), value)
    confirmation.confirm(event.pk, Confirmed(f"stored:{event.public_id}", "", NOTHING), now=timezone.now())
    return event.orders.get()


def frozen_for(value: StoredValue) -> list[str]:
    value.refresh_from_db()
    return stored_value.reasons_of(value)


@pytest.fixture
def card(shop: Shop, open_payment: Open, sandbox: SandboxCompany) -> GiftCard:
    """Give a gift card of 50.00 of which 31.00 were spent and came back after the bank had taken the 50.00: frozen, with 31.00 on it."""
    bought = buy(shop, Sale(NewGiftCard(eur("50.00")), now=timezone.now()))
    card = GiftCard.objects.select_related("value").get()
    goods = spend(open_payment, card.value, "31.00")
    close(decide(sandbox, dispute(sandbox, bought), "lost"))
    give_back(goods, None)
    card.value.refresh_from_db()
    assert (card.value.balance, balance(chart.dispute_losses())) == (eur("31.00"), eur("31.00"))
    return card


def staff(name: str, *rights: str) -> Client:
    user = User.objects.create_user(name, is_staff=True)
    known = ("view_giftcard", "view_storedvalue", "view_approval")
    user.user_permissions.set(Permission.objects.filter(codename__in=(*known, *rights)))
    client = Client(headers={"accept-language": "en"})
    client.force_login(user)
    return client


def proposed(value: StoredValue, *disputes_: str, left: Money | None = None) -> Approval:
    """Let Ada propose to let go what is left of the value."""
    asked = value.balance if left is None else left
    terms = {"value": value.pk, "amount": f"{asked.amount:.2f}", "currency": "EUR", "disputes": list(disputes_) or frozen_for(value)}
    return approvals.propose(approvals.Proposal("thaw", f"value_{value.pk}", terms, "A gift"), actor="staff:ada", now=timezone.now())


def approve(approval: Approval) -> Approval:
    return approvals.approve(approval.pk, actor="staff:bea", reason="I saw it", now=timezone.now())


def status(api: Caller, card: GiftCard) -> str:
    return str(api.get(f"/v1/gift_cards/{card.public_id}").json()["status"])


def words(answer: Any) -> str:
    return words_of(answer.content)


def test_sec_29_a_frozen_card_is_let_go_by_two_people_and_buyers_and_shops_see_it(shop: Shop, card: GiftCard, open_payment: Open) -> None:
    ada, bea = staff("ada", "propose_thaw"), staff("bea", "approve_thaw")
    api, page = caller_of(shop), f"/admin/wallet/giftcard/{card.pk}"
    code = gift_cards.make_code(card.pk, now=timezone.now())
    event, [reason] = open_payment("31.00"), frozen_for(card.value)
    entries = JournalEntry.objects.count()
    use = partial(Client().post, f"/checkout/{event.token}/gift-card", {"code": code}, headers={"accept": "application/json"})
    assert (status(api, card), use().json()["code"]) == ("frozen", "gift_card_frozen")

    assert "Let go after a lost dispute" in words(ada.get(f"{page}/change/"))
    for _press in range(2):
        ada.post(f"{page}/thaw_lost/", {"note": "Rosa was given it, and knew nothing"})
    approval = Approval.objects.get()
    assert (frozen_for(card.value), status(api, card)) == ([reason], "frozen"), "proposing was tried and undone"
    ada.post(f"/admin/ledger/approval/{approval.pk}/approve/", {"note": "Mine"})
    assert frozen_for(card.value) == [reason]
    seen = words(bea.get(f"/admin/ledger/approval/{approval.pk}/change/"))
    assert all(each in seen for each in ("31.00 EUR", reason, card.public_id)), seen
    assert "Approved, and done." in words(bea.post(f"/admin/ledger/approval/{approval.pk}/approve/", {"note": "So it is"}, follow=True))

    assert (frozen_for(card.value), status(api, card), use().status_code) == ([], "active", 200)
    assert (JournalEntry.objects.count(), balance(chart.dispute_losses())) == (entries, eur("31.00")), "what we bore stays our loss"
    assert "Let go after a lost dispute" not in words(ada.get(f"{page}/change/"))
    confirmation.confirm(event.pk, Confirmed("stored", "", NOTHING), now=timezone.now())
    card.value.refresh_from_db()
    assert (card.value.balance, event.orders.get().status) == (NOTHING, "SUCCESS")
    moment = timezone.now()
    done = audit.rows(Asked(moment - timedelta(hours=1), moment, about=approval.public_id), limit=9)
    assert {(each.actor, each.after, each.reason) for each in done} >= {("staff:bea", "Approved", "So it is")}


def test_sec_who_may_not_propose_and_what_is_not_decided_is_not_let_go(shop: Shop, open_payment: Open, sandbox: SandboxCompany) -> None:
    bought = buy(shop, TopUp("EUR"))
    assert bought.fills is not None
    ada, page = staff("ada", "propose_thaw"), f"/admin/wallet/storedvalue/{bought.fills.pk}"
    kept = open_(dispute(sandbox, bought))
    assert "Let go after a lost dispute" not in words(ada.get(f"{page}/change/"))
    assert "not possible any more" in words(ada.post(f"{page}/thaw_lost/", {"note": "Now"}))
    with pytest.raises(NothingToThaw, match=f"{kept.public_id} any more, or that is not decided"):
        proposed(bought.fills)
    assert staff("vic").post(f"{page}/thaw_lost/", {"note": "Now"}).status_code == 403
    assert (frozen_for(bought.fills), Approval.objects.count()) == ([kept.public_id], 0)


@pytest.fixture
def wallet(shop: Shop, open_payment: Open, sandbox: SandboxCompany) -> StoredValue:
    """Give a buyer's wallet whose first 50.00 were spent and then taken back by the bank; 20.00 were paid into it since."""
    bought = buy(shop, TopUp("EUR"), checkout="top-1")
    assert bought.fills is not None
    spend(open_payment, bought.fills, "50.00")
    close(decide(sandbox, dispute(sandbox, bought), "lost"))
    buy(shop, TopUp("EUR"), "20.00", checkout="top-2")
    bought.fills.refresh_from_db()
    return bought.fills


def second_dispute(sandbox: SandboxCompany) -> dict[str, Any]:
    return dispute(sandbox, PaymentOrder.objects.get(event__checkout_id="top-2"))


def test_a_wallet_is_let_go_on_its_own_page_and_says_so_over_rest(shop: Shop, wallet: StoredValue) -> None:
    ada, bea, api = staff("ada", "propose_thaw"), staff("bea", "approve_thaw"), caller_of(shop)
    assert is_frozen(api)
    ada.post(f"/admin/wallet/storedvalue/{wallet.pk}/thaw_lost/", {"note": "The bank was wrong"})
    approval = Approval.objects.get()
    assert "rosa" in words(bea.get(f"/admin/ledger/approval/{approval.pk}/change/"))
    bea.post(f"/admin/ledger/approval/{approval.pk}/approve/", {"note": "So it is"})
    assert "Approved" in words(ada.get(f"/admin/wallet/storedvalue/{wallet.pk}/change/"))
    wallet.refresh_from_db()
    assert (is_frozen(api), stored_value.usable(wallet, currency="EUR", now=timezone.now())) == (False, eur("20.00"))


def is_frozen(api: Caller) -> bool:
    return bool(api.get("/v1/buyers/rosa/wallet").json()["balances"][0]["is_frozen"])


@pytest.mark.race
def test_a_thaw_and_another_dispute_at_once_leave_it_frozen_for_the_other_one(wallet: StoredValue, sandbox: SandboxCompany) -> None:
    approval, other = proposed(wallet), second_dispute(sandbox)
    answers = all_at_once(partial(approve, approval), partial(approve, approval), lambda: open_(other))
    assert [type(error) for error in errors_in(answers)] == [approvals.AlreadyDecided]
    kept = disputes.open_dispute(dispute_of(other), psp="sandbox")
    assert (frozen_for(wallet), wallet.balance) == ([kept.public_id], eur("20.00"))
    close(decide(sandbox, other, "won"))
    assert (frozen_for(wallet), balance(chart.dispute_losses())) == ([], eur("50.00"))


def test_who_dies_between_a_thaw_and_its_approval_has_done_nothing_and_whose_answer_is_lost_did_it_once(
    wallet: StoredValue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_args: Any, **_terms: Any) -> None:
        raise SystemExit

    approval, [first] = proposed(wallet), frozen_for(wallet)
    with monkeypatch.context() as dying:
        dying.setattr(approvals, "decide", dies)
        with pytest.raises(SystemExit):
            approve(approval)
    assert (frozen_for(wallet), approvals.waiting().get()) == ([first], approval)
    approve(approval)
    with pytest.raises(approvals.AlreadyDecided):
        approve(approval)
    assert (frozen_for(wallet), wallet.balance) == ([], eur("20.00"))


def test_what_is_not_as_it_was_seen_is_not_let_go(wallet: StoredValue, sandbox: SandboxCompany) -> None:
    """The bank takes what was to be let go; and another one proposes what is left now."""
    approval, [first] = proposed(wallet), frozen_for(wallet)
    close(decide(sandbox, second_dispute(sandbox), "lost"))
    with pytest.raises(NothingToThaw, match=r"0\.00 EUR are left now, and 20\.00 were when"):
        approve(approval)
    assert (frozen_for(wallet), wallet.balance) == ([first], NOTHING)
    approvals.withdraw(approval.pk, actor="staff:ada", reason="It is gone", now=timezone.now())
    approve(proposed(wallet))
    assert frozen_for(wallet) == []


def test_a_card_whose_time_ended_while_it_was_frozen_is_good_for_some_time(card: GiftCard) -> None:
    StoredValue.objects.filter(pk=card.value_id).update(expires_at=timezone.now() - timedelta(days=1))
    approve(proposed(card.value))
    card.value.refresh_from_db()
    assert card.value.expires_at is not None
    assert card.value.expires_at > timezone.now() + timedelta(days=89)
    gift_cards.require_usable(card, currency="EUR", now=timezone.now())

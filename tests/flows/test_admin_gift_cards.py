"""Gift cards in the admin: given away by one person or two, frozen and let go with a reason, and never a code to be seen."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from ledger.models import Approval
from payments import disputes, intake
from payments.intake import NewOrder, NewPayment
from payments.psp.protocol import DisputeNotice
from reconciliation import invariants
from tests.contract.api.conftest import pay
from tests.factories import eur, new_shop
from tests.flows.test_admin import words as words_of
from wallet import gift_cards, stored_value
from wallet.gift_cards import NewGiftCard, Sale
from wallet.models import Buyer, GiftCard, Shop, StoredValueEntry

GRANT = "/admin/wallet/giftcard/grant/"
RIGHTS = ("view_giftcard", "add_giftcard", "change_giftcard", "approve_giftcard", "view_storedvalue", "view_approval")


@pytest.fixture
def shop(db: None) -> Iterator[Shop]:
    yield new_shop()
    assert invariants.violations() == []


def words(answer: Any) -> str:
    return words_of(answer.content)


def staff(name: str, *rights: str) -> Client:
    user = User.objects.create_user(name, is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=rights or RIGHTS))
    client = Client()
    client.force_login(user)
    return client


def asked(shop: Shop, amount: str = "25.00", **said: Any) -> dict[str, Any]:
    return {"shop": shop.pk, "amount": amount, "currency": "EUR", "note": "The vase came broken", "once": "form_1", **said}


def page_of(card: GiftCard, deed: str = "change") -> str:
    return f"/admin/wallet/giftcard/{card.pk}/{deed}/"


def granted(shop: Shop) -> GiftCard:
    card, _is_new = gift_cards.grant(shop, NewGiftCard(eur("25.00")), reason="a vase", by="staff:ada", now=timezone.now())
    return card


def test_one_person_gives_a_small_card_away_and_a_form_sent_twice_is_one_card(shop: Shop) -> None:
    ada = staff("ada")
    for _time in range(2):
        assert ada.post(GRANT, asked(shop)).status_code == 302
    card = GiftCard.objects.get()
    assert (card.reason, card.issued_by, card.value.balance) == ("The vase came broken", "staff:ada", eur("25.00"))
    code = gift_cards.make_code(card.pk, now=timezone.now())
    shown = words(ada.get(page_of(card)))
    assert "25.00 EUR" in shown and "Can be used" in shown and "Granted" in shown
    assert code not in shown and f"…{code[-4:]}" in shown
    assert code[-4:] not in words(ada.get("/admin/wallet/giftcard/")), "the list says nothing of codes"


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ({"amount": "0"}, "more than zero"),
        ({"amount": "1.001"}, "finer"),
        ({"amount": "ten"}, "not an amount"),
        ({"note": " "}, "required"),
        ({"valid_days": "40000"}, "36500"),
    ],
)
def test_a_card_that_cannot_be_is_refused_beside_its_field(shop: Shop, said: dict[str, Any], complaint: str) -> None:
    assert complaint in words(staff("ada").post(GRANT, asked(shop, **said)))
    assert not GiftCard.objects.exists()


def test_sec_29_a_large_card_waits_for_a_second_person(shop: Shop, settings: Any) -> None:
    settings.GIFT_CARD_APPROVAL_LIMITS = {"EUR": Decimal(20)}
    ada, bea = staff("ada"), staff("bea")
    for _time in range(2):
        ada.post(GRANT, asked(shop))
    approval = Approval.objects.get()
    assert not GiftCard.objects.exists()
    said = {"note": "I saw the photograph"}
    ada.post(f"/admin/ledger/approval/{approval.pk}/approve/", said)
    assert not GiftCard.objects.exists()
    assert "25.00 EUR" in words(bea.get(f"/admin/ledger/approval/{approval.pk}/change/"))
    bea.post(f"/admin/ledger/approval/{approval.pk}/approve/", said)
    card = GiftCard.objects.get()
    assert (card.issued_by, card.value.balance) == ("staff:ada, staff:bea", eur("25.00"))
    approval.refresh_from_db()
    assert approval.result == card.public_id
    assert approval.journal_entry_id == StoredValueEntry.objects.get().journal_entry_id


def test_sec_29_many_small_cards_of_one_day_are_a_large_one(shop: Shop, settings: Any) -> None:
    settings.GIFT_CARD_APPROVAL_LIMITS = {"EUR": Decimal(60)}
    ada, bea = staff("ada"), staff("bea")
    for once in ("1", "2", "2"):
        ada.post(GRANT, asked(shop, once=once))
    shown = words(ada.post(GRANT, asked(shop, once="3"), follow=True))
    assert "60.00 EUR within 24 hours, of which 50.00 EUR are given: 10.00 EUR are left" in shown
    assert (GiftCard.objects.count(), Approval.objects.count()) == (2, 1)
    bea.post(f"/admin/ledger/approval/{Approval.objects.get().pk}/approve/", {"note": "So many vases"})
    ada.post(GRANT, asked(shop, "10.00", once="4"))
    ada.post(GRANT, asked(shop, once="5", currency="USD"))
    bea.post(GRANT, asked(shop, once="6"))
    assert GiftCard.objects.count() == 6, "what two decided, another currency, and what somebody else gives away count for themselves"
    GiftCard.objects.filter(once="1").update(created_at=timezone.now() - timedelta(hours=25))
    ada.post(GRANT, asked(shop, once="7"))
    assert GiftCard.objects.filter(issued_by="staff:ada", currency="EUR").count() == 4


def test_a_card_is_frozen_and_let_go_with_a_reason_and_what_a_dispute_froze_is_not(shop: Shop) -> None:
    ada, card = staff("ada"), granted(shop)
    ada.post(page_of(card, "freeze"), {"note": "Stolen, says the buyer"})
    card.value.refresh_from_db()
    assert card.value.frozen_because == "staff:ada: Stolen, says the buyer"
    ada.post(page_of(card, "thaw"), {"note": "Found again"})
    card.value.refresh_from_db()
    assert card.value.frozen_at is None
    stored_value.freeze(card.value_id, because="dsp_1", now=timezone.now())
    ada.post(page_of(card, "thaw"), {"note": "Found again"})
    card.value.refresh_from_db()
    assert card.value.frozen_because == "dsp_1"


def test_a_card_that_staff_froze_is_not_let_go_while_what_bought_it_is_disputed(shop: Shop) -> None:
    ada, now = staff("ada"), timezone.now()
    order = NewOrder("", eur("25.00"), fills=Sale(NewGiftCard(eur("25.00")), now=now))
    event, _is_new = intake.open_event(shop, NewPayment("gift-1", "rosa", [order]), now=now)
    pay(event.orders.get().public_id)
    card = GiftCard.objects.get()
    ada.post(page_of(card, "freeze"), {"note": "The buyer's bank called"})
    bought, nothing = event.orders.get(), eur("0.00")
    charge = bought.attempts.get().psp_reference
    said = (bought.public_id, bought.public_id, charge, "open", bought.amount, nothing, nothing, "fraudulent", now, now, now)
    dispute = disputes.open_dispute(DisputeNotice("dp_1", *said), psp="sandbox")
    assert dispute.public_id in words(ada.get(page_of(card)))
    ada.post(page_of(card, "thaw"), {"note": "It was nothing"})
    card.value.refresh_from_db()
    assert card.value.frozen_because == dispute.public_id


def test_sec_who_may_only_look_gives_nothing_away_and_freezes_nothing(shop: Shop) -> None:
    viewer, card = staff("vic", "view_giftcard", "view_storedvalue"), granted(shop)
    assert viewer.get(page_of(card)).status_code == 200
    assert viewer.post(GRANT, asked(shop)).status_code == viewer.post(page_of(card, "freeze"), {"note": "x"}).status_code == 403
    assert GiftCard.objects.count() == 1


def test_buyers_wallets_are_listed_and_gift_cards_are_not_among_them(shop: Shop) -> None:
    ada, card = staff("ada"), granted(shop)
    wallet = stored_value.open_wallet(Buyer.objects.create(shop=shop, reference="rosa"), currency="EUR")
    assert "rosa" in words(ada.get("/admin/wallet/storedvalue/"))
    assert ada.get(f"/admin/wallet/storedvalue/{wallet.pk}/change/").status_code == 200
    assert ada.get(f"/admin/wallet/storedvalue/{card.value_id}/change/").status_code == 302

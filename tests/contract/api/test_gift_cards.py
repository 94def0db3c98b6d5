"""Gift cards and buyers' wallets over REST: one wish is one card, a code is shown once and kept nowhere, and another shop's are not found."""

import json
from decimal import Decimal
from typing import Any

import pytest
from django.conf import settings as standing
from django.utils import timezone

from config.logs import HideTokens
from ledger.models import JournalEntry
from ledger.money import exact
from tests.contract.api.conftest import Caller, caller_of, pay, stored
from tests.factories import new_sellers
from wallet import gift_cards, idempotency
from wallet.gift_cards import NewGiftCard
from wallet.models import Buyer, GiftCard, IdempotencyRecord, OutboxMessage, StoredValue

GRANT = {"amount": {"amount": "50.00", "currency": "EUR"}, "reason": "The vase came broken", "reference": "goodwill-17"}
SOLD_TO = {"buyer": {"reference": "customer-7"}, "checkout_id": "gift-1", "return_url": "https://shop.example/thanks", "locale": "de"}
SALE = {"amount": {"amount": "50.00", "currency": "EUR"}, "sold_to": SOLD_TO}
TOP_UP = {"amount": {"amount": "80.00", "currency": "EUR"}, "checkout_id": "top-1"}
WRONG = "0000-0000-0000-0000-0000"


def eur(amount: str) -> dict[str, str]:
    return {"amount": amount, "currency": "EUR"}


@pytest.fixture
def card(api: Caller) -> dict[str, Any]:
    answer: dict[str, Any] = api.post("/v1/gift_cards", GRANT).json()
    return answer


def test_a_card_is_given_away_and_read_and_never_shows_its_code(api: Caller, card: dict[str, Any]) -> None:
    assert (card["object"], card["origin"], card["status"], card["payment"]) == ("gift_card", "granted", "active", None)
    assert (card["balance"], card["held"], card["last4"], card["reason"]) == (eur("50.00"), eur("0.00"), None, "The vase came broken")
    made = api.post(f"/v1/gift_cards/{card['id']}/code", {}, key=None)
    assert made.status_code == 201
    code = made.json()["code"]
    assert made.json() == {"gift_card": card["id"], "object": "gift_card_code", "code": code}
    read = api.get(f"/v1/gift_cards/{card['id']}")
    assert read.json()["last4"] == code[-4:]
    listed = api.get("/v1/gift_cards", reference="goodwill-17", origin="granted")
    assert [each["id"] for each in listed.json()["data"]] == [card["id"]]
    assert code not in read.content.decode() + listed.content.decode()
    [entry] = api.get(f"/v1/gift_cards/{card['id']}/entries").json()["data"]
    assert (entry["kind"], entry["amount"], entry["source"]) == ("granted", eur("50.00"), card["id"])


def test_sec_no_answer_that_is_kept_holds_a_code_even_where_a_key_came_with_it(api: Caller, card: dict[str, Any]) -> None:
    first, second = (api.post(f"/v1/gift_cards/{card['id']}/code", {}, key="k").json()["code"] for _time in range(2))
    assert first != second
    assert not IdempotencyRecord.objects.filter(route__endswith="/code").exists()
    kept = json.dumps(list(IdempotencyRecord.objects.values_list("body", flat=True))) + json.dumps(
        list(OutboxMessage.objects.values_list("payload", flat=True))
    )
    assert first not in kept and second not in kept
    assert api.post("/v1/gift_cards/balance", {"code": first}).json()["code"] == "unknown_gift_card"
    assert api.post("/v1/gift_cards/balance", {"code": second}).json()["balance"] == eur("50.00")


def test_an_answer_that_was_lost_gives_no_second_card(api: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(*_args: Any) -> None:
        raise SystemExit

    with monkeypatch.context() as broken:
        broken.setattr(idempotency, "finish", dies)
        with pytest.raises(SystemExit):
            api.post("/v1/gift_cards", {name: GRANT[name] for name in ("amount", "reason")}, key="lost")
    IdempotencyRecord.objects.update(claimed_until=timezone.now())
    again = api.post("/v1/gift_cards", {name: GRANT[name] for name in ("amount", "reason")}, key="lost")
    assert (again.status_code, GiftCard.objects.count(), JournalEntry.objects.filter(kind="gift_card_grant").count()) == (200, 1, 1)


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"amount": eur("60.00")}, "gift_card_conflict", "amount"),
        ({"reason": "another"}, "gift_card_conflict", "reason"),
        ({"sold_to": SOLD_TO}, "sold_or_granted", "reason"),
        ({"amount": eur("0.00")}, "amount_not_positive", "amount.amount"),
        ({"amount": eur("1.001")}, "finer_than_minor_unit", "amount.amount"),
        ({"valid_days": 36501}, "too_large", "valid_days"),
        ({"valid_days": "30"}, "wrong_type", "valid_days"),
        ({"code": "MINE"}, "unknown_field", "code"),
    ],
)
def test_a_card_that_cannot_be_is_refused_by_name(api: Caller, card: dict[str, Any], change: dict[str, Any], code: str, field: str) -> None:
    before = stored()
    answer = api.post("/v1/gift_cards", GRANT | change)
    assert (answer.json()["code"], answer.json()["field"]) == (code, field)
    assert stored() == before


def test_neither_sold_nor_granted_is_refused(api: Caller) -> None:
    assert api.post("/v1/gift_cards", {"amount": eur("5.00")}).json()["code"] == "sold_or_granted"


def test_sec_what_a_key_may_not_give_away_alone_is_refused(api: Caller, settings: Any) -> None:
    settings.API_GIFT_CARD_LIMITS = {"EUR": Decimal(49)}
    answer = api.post("/v1/gift_cards", GRANT)
    assert (answer.status_code, answer.json()["code"]) == (409, "approval_needed")
    assert GiftCard.objects.count() == 0


def test_sec_many_small_cards_of_one_key_are_a_large_one_and_another_key_has_its_own_limit(
    api: Caller, card: dict[str, Any], settings: Any
) -> None:
    settings.API_GIFT_CARD_LIMITS = {"EUR": Decimal(60)}
    more = GRANT | {"reference": "goodwill-18", "amount": eur("10.01")}
    refused = api.post("/v1/gift_cards", more).json()
    assert (refused["code"], refused["field"]) == ("approval_needed", "amount")
    assert "60.00 EUR within 24 hours, of which 50.00 EUR are given: 10.00 EUR are left." in refused["detail"]
    assert api.post("/v1/gift_cards", GRANT).json()["id"] == card["id"], "the card that stands is no other one"
    assert api.post("/v1/gift_cards", more | {"amount": eur("10.00")}).status_code == 201
    assert caller_of(api.shop).post("/v1/gift_cards", GRANT | {"reference": "another"}).status_code == 201
    assert GiftCard.objects.count() == 3


def test_a_card_is_sold_by_a_payment_and_opened_again_is_the_same(api: Caller) -> None:
    answer = api.post("/v1/gift_cards", SALE)
    sold = answer.json()
    assert (answer.status_code, sold["status"], sold["balance"]) == (201, "awaiting_payment", eur("0.00"))
    [order] = sold["payment"]["payment_orders"]
    assert sold["payment"]["checkout_url"].startswith(f"{standing.PUBLIC_URL}/checkout/")
    assert (order["fee"], order["charge"], order["tenders"]) == (eur("0.00"), eur("50.00"), [])
    assert order["fills"] == {"type": "gift_card", "gift_card": sold["id"]}
    assert api.post(f"/v1/gift_cards/{sold['id']}/code", {}).json()["code"] == "gift_card_empty"
    again = api.post("/v1/gift_cards", SALE)
    assert (again.status_code, again.json()["id"]) == (200, sold["id"])
    other = api.post("/v1/gift_cards", SALE | {"amount": eur("60.00")})
    assert (other.status_code, other.json()["code"], other.json()["field"]) == (409, "checkout_conflict", "amount")
    assert api.post("/v1/gift_cards", SALE | {"reference": "another"}).json()["field"] == "sold_to.checkout_id"
    goods = [{"seller": seller.public_id, "amount": eur("25.00")} for seller in new_sellers(api.shop, "Ada", "Bolt")]
    assert api.post("/v1/payments", SOLD_TO | {"checkout_id": "basket", "payment_orders": goods}).status_code == 201
    taken = api.post("/v1/gift_cards", SALE | {"sold_to": SOLD_TO | {"checkout_id": "basket"}}).json()
    assert (taken["code"], taken["field"], "payment_orders" in taken["detail"]) == ("checkout_conflict", "sold_to.checkout_id", False)
    assert GiftCard.objects.count() == 1
    pay(order["id"])
    assert api.get(f"/v1/gift_cards/{sold['id']}").json()["status"] == "active"
    assert api.post(f"/v1/gift_cards/{sold['id']}/code", {}).status_code == 201


def test_a_sale_that_is_refused_leaves_no_card(api: Caller) -> None:
    before = stored()
    answer = api.post("/v1/gift_cards", SALE | {"sold_to": SOLD_TO | {"return_url": "https://elsewhere.example"}})
    assert (answer.json()["code"], answer.json()["field"]) == ("return_url_not_allowed", "sold_to.return_url")
    nowhere = api.post("/v1/gift_cards", SALE | {"sold_to": SOLD_TO | {"buyer": {"reference": "customer-7", "country": "QQ"}}})
    assert (nowhere.json()["code"], nowhere.json()["field"]) == ("unknown_country", "sold_to.buyer.country")
    assert (GiftCard.objects.count(), StoredValue.objects.count(), stored()) == (0, 0, before)


def test_who_stands_for_the_shop_is_no_seller_to_anybody(api: Caller) -> None:
    [order] = api.post("/v1/gift_cards", SALE).json()["payment"]["payment_orders"]
    house = order["seller"]["id"]
    assert api.get("/v1/sellers").json()["data"] == []
    assert api.get(f"/v1/sellers/{house}").status_code == 404
    assert api.post("/v1/wallet", {"seller": house, "currency": "EUR"}).json()["code"] == "unknown_seller"
    asked = {"checkout_id": "b-1", "buyer": {"reference": "x"}, "payment_orders": [{"seller": house, "amount": eur("5.00")}]}
    assert api.post("/v1/payments", asked).json()["code"] == "unknown_seller"


def test_sec_wrong_codes_end_in_429_and_say_when_to_come_back(api: Caller, card: dict[str, Any]) -> None:
    code = api.post(f"/v1/gift_cards/{card['id']}/code", {}).json()["code"]
    for _time in range(20):
        wrong = api.post("/v1/gift_cards/balance", {"code": WRONG, "buyer": "customer-7"})
        assert (wrong.status_code, wrong.json()["code"], wrong.json()["field"]) == (400, "unknown_gift_card", "code")
    refused = api.post("/v1/gift_cards/balance", {"code": code, "buyer": "customer-7"})
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_codes_tried")
    assert 3500 < int(refused["Retry-After"]) <= 3600
    assert code not in refused.content.decode()
    assert api.post("/v1/gift_cards/balance", {"code": code, "buyer": "customer-8"}).status_code == 200


def test_sec_another_shops_cards_and_buyers_are_not_found(api: Caller, card: dict[str, Any], stranger: Caller) -> None:
    code = api.post(f"/v1/gift_cards/{card['id']}/code", {}).json()["code"]
    api.post("/v1/buyers/customer-7/wallet/top_ups", TOP_UP)
    for path in (f"/v1/gift_cards/{card['id']}", f"/v1/gift_cards/{card['id']}/entries", "/v1/buyers/customer-7/wallet"):
        assert (api.get(path).status_code, stranger.get(path).status_code) == (200, 404)
    assert stranger.post(f"/v1/gift_cards/{card['id']}/code", {}).status_code == 404
    assert stranger.post("/v1/gift_cards/balance", {"code": code}).json()["code"] == "unknown_gift_card"
    assert stranger.get("/v1/gift_cards").json()["data"] == []


def test_reading_scopes_issue_nothing(api: Caller, card: dict[str, Any]) -> None:
    reader = caller_of(api.shop, "gift_cards:read", "buyers:read")
    assert reader.get(f"/v1/gift_cards/{card['id']}").status_code == 200
    for path, body in (
        ("/v1/gift_cards", GRANT),
        (f"/v1/gift_cards/{card['id']}/code", {}),
        ("/v1/buyers/customer-7/wallet/top_ups", TOP_UP),
    ):
        assert reader.post(path, body).json()["code"] == "scope_missing"


def test_a_top_up_is_a_payment_and_then_in_the_wallet(api: Caller) -> None:
    assert api.get("/v1/buyers/customer-7/wallet").status_code == 404
    opened = api.post("/v1/buyers/customer-7/wallet/top_ups", TOP_UP)
    [order] = opened.json()["payment_orders"]
    assert (opened.status_code, order["fills"], order["description"]) == (201, {"type": "wallet", "gift_card": None}, "Top-up")
    again = api.post("/v1/buyers/customer-7/wallet/top_ups", TOP_UP)
    assert (again.status_code, again.json()["id"]) == (200, opened.json()["id"])
    assert api.post("/v1/buyers/customer-8/wallet/top_ups", TOP_UP).json()["field"] == "buyer.reference"
    for other, field in ((eur("81.00"), "amount"), ({"amount": "80.00", "currency": "USD"}, "checkout_id")):
        conflict = api.post("/v1/buyers/customer-7/wallet/top_ups", TOP_UP | {"amount": other}).json()
        assert (conflict["code"], conflict["field"]) == ("checkout_conflict", field)
        assert "payment_orders" not in conflict["detail"]
    pay(order["id"])
    assert api.get("/v1/buyers/customer-7/wallet").json() == {
        "object": "buyer_wallet",
        "buyer": {"id": Buyer.objects.get(reference="customer-7").public_id, "reference": "customer-7"},
        "balances": [{"currency": "EUR", "balance": eur("80.00"), "held": eur("0.00"), "is_frozen": False}],
    }
    [entry] = api.get("/v1/buyers/customer-7/wallet/entries", currency="EUR").json()["data"]
    assert (entry["kind"], entry["amount"], entry["source"]) == ("bought", eur("80.00"), order["id"])
    assert api.get("/v1/buyers/customer-7/wallet/entries", currency="USD").json()["data"] == []


@pytest.mark.parametrize(("written", "reference"), [("a%2Fb", "a/b"), ("K%C3%A4ufer%20%C3%84", "Käufer Ä"), ("x/wallet", "x/wallet")])
def test_a_buyer_may_be_called_anything_that_can_be_read(api: Caller, written: str, reference: str) -> None:
    assert api.post(f"/v1/buyers/{written}/wallet/top_ups", TOP_UP).status_code == 201
    assert api.get(f"/v1/buyers/{written}/wallet").json()["buyer"]["reference"] == reference


@pytest.mark.parametrize("written", ["%00", "a%0Ab", "%E2%80%AE", "x" * 121, "%20"])
def test_a_buyer_whose_name_cannot_be_read_is_no_address(api: Caller, written: str) -> None:
    for answer in (api.get(f"/v1/buyers/{written}/wallet"), api.post(f"/v1/buyers/{written}/wallet/top_ups", TOP_UP)):
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_sec_what_a_shop_calls_its_buyer_gets_into_no_log(api: Caller, caplog: pytest.LogCaptureFixture) -> None:
    assert api.get("/v1/buyers/ada%40example.com%20x/wallet").status_code == 404
    [logged] = caplog.records
    assert "hide_tokens" in str(standing.LOGGING["handlers"])
    assert HideTokens().filter(logged)
    assert logged.getMessage() == "Not Found: /v1/buyers/..."


def test_the_answers_of_a_list_come_in_pages(api: Caller) -> None:
    now = timezone.now()
    for number in range(3):
        gift_cards.grant(api.shop, NewGiftCard(exact(f"{number + 1}.00", "EUR")), reason="a vase", by="anna", now=now)
    first = api.get("/v1/gift_cards", limit=2).json()
    second = api.get("/v1/gift_cards", limit=2, cursor=first["next_cursor"]).json()
    assert [len(first["data"]), len(second["data"]), second["has_more"]] == [2, 1, False]

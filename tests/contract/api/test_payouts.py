"""Payouts over REST: what cannot be is refused by its field and takes nothing, and what was paid opens the movements that it is made of."""

import hashlib
import hmac
import re
import time
from datetime import timedelta
from typing import Any

import pytest
from django.conf import LazySettings
from django.test import Client

from ledger import clock
from payouts import calendars, scheduling, stops
from payouts.calendars import Calendar
from payouts.choice import Which
from payouts.models import Payout
from payouts.providers import registry
from tests.contract.api.conftest import Caller, caller_of, stored
from tests.factories import eur, make_available, new_bank_account
from wallet.models import Seller, Shop, Wallet

SECRET = "a-secret-of-the-bank-with-32-characters"
DELETE = object()


@pytest.fixture
def rich(ada: Seller) -> Seller:
    """Give a seller with 100.00 EUR that can be paid out."""
    new_bank_account(ada)
    make_available(ada, eur("60.00"))
    make_available(ada, eur("40.00"))
    return ada


def wanted(seller: Seller) -> dict[str, Any]:
    return {"seller": seller.public_id, "amount": {"amount": "30.00", "currency": "EUR"}}


def euros(amount: Any) -> dict[str, Any]:
    return {"amount": {"amount": amount, "currency": "EUR"}}


@pytest.mark.parametrize(
    ("terms", "status", "code", "field"),
    [
        (euros("100.01"), 409, "not_payable", "amount"),
        (euros("0.00"), 400, "amount_not_positive", "amount.amount"),
        (euros("-1.00"), 400, "amount_not_positive", "amount.amount"),
        (euros("NaN"), 400, "not_an_amount", "amount.amount"),
        (euros("1e400"), 400, "not_an_amount", "amount.amount"),
        (euros("1,00"), 400, "not_an_amount", "amount.amount"),
        (euros("１.00"), 400, "not_an_amount", "amount.amount"),
        (euros("1.001"), 400, "finer_than_minor_unit", "amount.amount"),
        (euros(1), 400, "must_be_a_string", "amount.amount"),
        ({"currency": "EUR"}, 400, "unknown_field", "currency"),
        ({"amount": DELETE}, 400, "required", "currency"),
        ({"amount": DELETE, "currency": "CHF"}, 409, "unknown_wallet", "currency"),
        ({"seller": "sel_nobody"}, 400, "unknown_seller", "seller"),
        ({"reference": "a\x00"}, 400, "forbidden_character", "reference"),
        ({"reference": "\u202ea"}, 400, "forbidden_character", "reference"),
        ({"reference": "\ud800"}, 400, "forbidden_character", "reference"),
        ({"reference": "\u200b\ufeff"}, 400, "blank", "reference"),
        ({"reference": "x" * 10_000}, 400, "too_long", "reference"),
    ],
)
def test_a_wrong_payout_names_its_field_and_takes_nothing(
    api: Caller, rich: Seller, terms: dict[str, Any], status: int, code: str, field: str
) -> None:
    before = stored()
    body = {name: value for name, value in (wanted(rich) | terms).items() if value is not DELETE}
    answer = api.post("/v1/payouts", body)
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (status, code, field)
    assert (stored(), Payout.objects.count(), Wallet.objects.get().available) == (before, 0, eur("100.00"))


def test_a_payout_opens_the_movements_that_it_is_made_of_a_page_at_a_time(api: Caller, stranger: Caller, rich: Seller) -> None:
    made = api.post("/v1/payouts", wanted(rich)).json()
    assert made["bank_account"]["masked"].startswith(made["bank_account"]["country"])
    address = f"/v1/payouts/{made['id']}/entries"
    first = api.get(address, limit=1).json()
    second = api.get(address, limit=1, cursor=first["next_cursor"]).json()
    assert [page["data"][0]["available"]["amount"] for page in (first, second)] == ["40.00", "60.00"]
    [part] = made["contents"]["movements"]
    assert (part["count"], part["amount"]["amount"], second["has_more"]) == (2, "100.00", False)
    assert stranger.get(address).status_code == 404
    assert caller_of(api.shop, "wallet:read").get(address).json()["code"] == "scope_missing"


def test_what_can_be_paid_out_is_told_with_what_is_in_the_way(api: Caller, rich: Seller) -> None:
    address = f"/v1/sellers/{rich.public_id}/payable"
    euros, francs = (api.get(address, currency=currency).json() for currency in ("EUR", "CHF"))
    assert (euros["amount"]["amount"], euros["available"]["amount"], euros["why_not"]) == ("100.00", "100.00", None)
    assert (francs["amount"]["amount"], francs["why_not"]["code"]) == ("0.00", "no_bank_account")
    assert api.get(address).json()["field"] == "currency"


def test_while_payouts_are_stopped_asking_says_that_they_are_paused_and_the_same_request_goes_through_later(
    api: Caller, rich: Seller
) -> None:
    stop, _is_new = stops.place(reason="INV-03", placed_by="watch", now=clock.now())
    refused = api.post("/v1/payouts", wanted(rich), key="p-1").json()
    assert (refused["status"], refused["code"]) == (409, "payouts_paused")
    assert re.search(r"Payouts are paused since .* UTC, while our figures are checked\. No money is lost\.", refused["detail"])
    address = f"/v1/sellers/{rich.public_id}/payable"
    assert api.get(address, currency="EUR").json()["why_not"]["code"] == "payouts_paused"
    stops.lift(stop.pk, reason="Mended", actor="staff:bo", now=clock.now())
    assert api.post("/v1/payouts", wanted(rich), key="p-1").status_code == 201


def test_payouts_are_found_by_their_run_and_no_other_shops_are(api: Caller, stranger: Caller, rich: Seller) -> None:
    asked_for = api.post("/v1/payouts", wanted(rich)).json()["id"]
    Shop.objects.filter(pk=rich.shop_id).update(created_at=clock.now() - timedelta(days=90))
    last_month = calendars.last_over(Calendar(), clock.now()).name
    run, _is_new = scheduling.run(Which(rich.shop_id, "EUR", Calendar(), last_month), now=clock.now(), made_by="staff:ana")
    [of_the_run] = api.get("/v1/payouts", run=run.public_id).json()["data"]
    assert (of_the_run["run"], of_the_run["cause"], of_the_run["amount"]["amount"]) == (run.public_id, "run", "70.00")
    assert [each["id"] for each in api.get("/v1/payouts", seller=rich.public_id).json()["data"]] == [of_the_run["id"], asked_for]
    nothing_left = api.post("/v1/payouts", {"seller": rich.public_id, "currency": "EUR"})
    assert (nothing_left.status_code, nothing_left.json()["code"], nothing_left.json()["field"]) == (409, "not_payable", "currency")
    for asked in ({"run": run.public_id}, {"seller": rich.public_id}):
        refused = stranger.get("/v1/payouts", **asked)
        assert (refused.status_code, refused.json()["field"]) == (404, *asked)
    assert stranger.get("/v1/payouts").json()["data"] == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"[" * 100_000,
        b'{"type": "payout.paid", "account": "acct_onebook", "data": {"object": {"key": "po_\\u0000"}}}',
        b'{"type": "payout.paid", "account": "acct_onebook", "data": {"object": {"key": "po_\\ud800"}}}',
        b'{"type": "payout.paid", "account": "acct_onebook", "data": {"object": {"key": 7}}}',
    ],
    ids=["nothing", "a page", "a list", "too deep", "NUL", "half a character", "a number"],
)
def test_sec_18_a_signed_webhook_that_no_bank_would_send_is_refused(db: None, settings: LazySettings, body: bytes) -> None:
    settings.PSP_SANDBOX_URL, settings.PSP_SANDBOX_WEBHOOK_SECRETS = "http://127.0.0.1:1", [SECRET]
    registry.provider_named.cache_clear()
    moment = str(int(time.time()))
    signature = hmac.new(SECRET.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
    headers = {"Sandbox-Signature": f"t={moment},v1={signature}"}
    browser = Client(raise_request_exception=False)
    try:
        answer = browser.post("/webhooks/payouts/sandbox", body, content_type="application/json", headers=headers)
    finally:
        registry.provider_named.cache_clear()
    assert answer.status_code == 400

"""Rates and conversions over REST: one conversion for each key, and every refusal names its field."""

from typing import Any

import pytest

from ledger import clock
from ledger.money import exact
from payouts.models import PayoutSchedule
from tests.contract.api.conftest import Caller, caller_of
from tests.factories import make_available, new_shop
from tests.rates import quote_euro
from wallet.models import Conversion, ExchangeRate, Seller

USD_100 = {"amount": "100.00", "currency": "USD"}


@pytest.fixture
def rich(ada: Seller) -> Seller:
    """Give a seller with 1,000 USD, on a day on which the bank quotes."""
    quote_euro(clock.now(), USD="1.0512", JPY="163.11")
    make_available(ada, exact("1000.00", "USD"))
    return ada


def test_a_rate_is_read_with_the_rates_that_it_is_made_of(api: Caller, rich: Seller) -> None:
    rate, day = api.get("/v1/rates?base=USD&quote=JPY").json(), ExchangeRate.objects.latest("pk").quoted_on
    assert (rate["rate"], rate["source"], rate["quoted_on"]) == ("155.165525114155", "ecb", day.isoformat())
    assert [(each["base"], each["quote"], each["rate"]) for each in rate["made_of"]] == [("EUR", "USD", "1.0512"), ("EUR", "JPY", "163.11")]
    for asked, status, code, field in (
        ("base=USD&quote=USD", 400, "same_currency", "quote"),
        ("base=GBP&quote=USD", 409, "no_rate", "base"),
        ("base=USD&quote=XXX", 400, "unknown_currency", "quote"),
        ("base=USD", 400, "required", "quote"),
    ):
        answer = api.get(f"/v1/rates?{asked}")
        assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (status, code, field)


def test_a_conversion_is_quoted_made_once_and_read(api: Caller, rich: Seller) -> None:
    quote = api.get(f"/v1/wallet/{rich.public_id}/conversions/quote?amount=100.00&currency=USD&to=EUR").json()
    assert (quote["bought"], quote["rate"]) == ({"amount": "95.12", "currency": "EUR"}, "0.951293759513")
    wanted = {"amount": USD_100, "to": "EUR", "expected": quote["bought"]}
    first, again = (api.post(f"/v1/wallet/{rich.public_id}/conversions", wanted, key="k") for _time in range(2))
    assert (first.status_code, again.status_code, first.content) == (201, 201, again.content)
    made = first.json()
    assert (made["sold"], made["bought"], made["seller"]) == (USD_100, quote["bought"], rich.public_id)
    assert api.get(f"/v1/conversions/{made['id']}").json() == made
    assert api.get(f"/v1/wallet/{rich.public_id}/conversions").json()["data"] == [made]
    entries = api.get(f"/v1/wallet/{rich.public_id}/entries?kind=conversion").json()["data"]
    assert sorted(entry["id"] for entry in entries) == sorted(made["wallet_entries"])
    stranger = caller_of(new_shop("Southwind"))
    assert stranger.get(f"/v1/conversions/{made['id']}").status_code == 404
    assert stranger.post(f"/v1/wallet/{rich.public_id}/conversions", wanted).status_code == 404


@pytest.mark.parametrize(
    ("changed", "status", "code", "field"),
    [
        ({"amount": {"amount": "1000.01", "currency": "USD"}}, 409, "not_convertible", "amount"),
        ({"amount": {"amount": "0.00", "currency": "USD"}}, 400, "amount_not_positive", "amount.amount"),
        ({"amount": {"amount": "0.001", "currency": "USD"}}, 400, "finer_than_minor_unit", "amount.amount"),
        ({"amount": {"amount": "0.01", "currency": "USD"}}, 409, "not_convertible", "amount"),
        ({"amount": {"amount": "1.00", "currency": "EUR"}, "to": "USD"}, 409, "unknown_wallet", "amount"),
        ({"to": "USD"}, 400, "same_currency", "to"),
        ({"to": "GBP"}, 409, "no_rate", "to"),
        ({"to": "XXX"}, 400, "unknown_currency", "to"),
        ({"expected": {"amount": "95.13", "currency": "EUR"}}, 409, "quote_changed", "expected"),
        ({"fee": "0"}, 400, "unknown_field", "fee"),
    ],
)
def test_what_cannot_be_converted_is_refused_by_its_name(
    api: Caller, rich: Seller, changed: dict[str, Any], status: int, code: str, field: str
) -> None:
    answer = api.post(f"/v1/wallet/{rich.public_id}/conversions", {"amount": USD_100, "to": "EUR"} | changed)
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (status, code, field)
    assert Conversion.objects.count() == 0


def test_what_always_stays_in_the_wallet_as_agreed_is_not_converted(api: Caller, rich: Seller) -> None:
    PayoutSchedule.objects.create(shop=rich.shop, seller=rich, minimum=exact("0", "USD"), keep_back=exact("950", "USD"))
    answer = api.post(f"/v1/wallet/{rich.public_id}/conversions", {"amount": USD_100, "to": "EUR"})
    assert (answer.json()["code"], answer.json()["detail"]) == ("not_convertible", "50.00 USD can be converted, and not 100.00 USD.")

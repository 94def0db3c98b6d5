"""A payout in a currency without a limit of approval is held to that of the house's currency, so that no conversion goes round one."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from ledger.money import exact, zero
from payouts import conversions, requests, scheduling
from payouts.calendars import Calendar
from payouts.choice import Which
from payouts.models import PayoutRun, PayoutSchedule
from payouts.states import RunStatus
from reconciliation import invariants
from tests.factories import eur, make_available, new_bank_account, new_sellers, new_shop
from tests.rates import quote_euro
from wallet.models import Seller, Shop

pytestmark = pytest.mark.django_db
NOW = datetime(2099, 12, 1, 0, 5, tzinfo=UTC)


@pytest.fixture
def shop() -> Shop:
    quote_euro(NOW, USD="1.25")
    return new_shop()


def agree(shop: Shop, limit: int | None, seller: Seller | None = None, *, currency: str = "EUR") -> None:
    said: dict[str, Any] = {"minimum": zero(currency), "keep_back": zero(currency), "in_force_since": NOW - timedelta(days=60)}
    PayoutSchedule.objects.create(shop=shop, seller=seller, approval_limit=limit, **said)


def payee(shop: Shop, name: str, amount: str, currency: str = "USD") -> Seller:
    [seller] = new_sellers(shop, name)
    make_available(seller, exact(amount, currency))
    new_bank_account(seller, currency=currency)
    return seller


def status(seller: Seller, amount: str, currency: str = "USD") -> str:
    return requests.request_payout(seller, amount=exact(amount, currency), now=NOW, requested_by="user:ada").status


def test_sec_29_a_currency_without_a_limit_has_that_of_the_houses_currency(shop: Shop) -> None:
    agree(shop, 100)
    agree(shop, 1000, currency="PLN")
    ada, bolt, cleo, dora = (payee(shop, name, "300.00", code) for name, code in (("A", "USD"), ("B", "USD"), ("C", "GBP"), ("D", "PLN")))
    assert (status(ada, "125.00"), status(ada, "0.01"), status(bolt, "125.01")) == ("EXECUTING", "WAITING", "WAITING")
    assert status(cleo, "0.01", "GBP") == "WAITING", "no rate says whether that is more"
    assert status(dora, "300.00", "PLN") == "EXECUTING", "a limit of its own holds alone"
    assert invariants.violations() == []


def test_sec_29_money_that_was_converted_waits_as_it_would_have_before(shop: Shop) -> None:
    agree(shop, 100)
    ada = payee(shop, "Ada", "1.00")
    make_available(ada, eur("101.00"))
    conversions.choose(ada, "USD", by="user:ada", now=NOW)
    made = requests.request_payout(ada, currency="USD", now=NOW, requested_by="user:ada")
    assert (made.amount, made.status) == (exact("127.25", "USD"), "WAITING")


def test_where_the_houses_currency_has_no_limit_none_has(shop: Shop) -> None:
    assert status(payee(shop, "Ada", "300.00", "GBP"), "300.00", "GBP") == "EXECUTING"


def run_in(shop: Shop, currency: str) -> PayoutRun:
    made, _is_new = scheduling.run(Which(shop.pk, currency, Calendar(), "2099-11"), now=NOW, made_by="staff:ana")
    return made


@pytest.mark.parametrize(("limit", "currency", "waits"), [(201, "USD", False), (199, "USD", True), (201, "GBP", True)])
def test_sec_29_a_run_is_held_to_it_too(shop: Shop, limit: int, currency: str, waits: bool) -> None:
    agree(shop, limit)
    for name in ("Ada", "Bolt"):
        payee(shop, name, "125.00", currency)
    made = run_in(shop, currency)
    assert (made.total.amount, made.status) == (Decimal(250), RunStatus.WAITING if waits else RunStatus.APPROVED)


def test_sec_29_in_a_run_a_sellers_own_limit_holds_in_other_currencies(shop: Shop) -> None:
    ada, bolt = payee(shop, "Ada", "125.01"), payee(shop, "Bolt", "125.00")
    for seller in (ada, bolt):
        agree(shop, 100, seller)
    made = run_in(shop, "USD")
    assert dict(made.payouts.values_list("seller__name", "status")) == {"Ada": "WAITING", "Bolt": "EXECUTING"}


def test_sec_29_in_a_run_a_seller_with_terms_of_their_own_is_held_to_the_shops_limit_in_the_houses_currency(shop: Shop) -> None:
    """As in a request: the seller's own terms name no limit, and the shop's larger one in that currency is not for them."""
    agree(shop, 100)
    agree(shop, 10_000, currency="USD")
    for name, amount in (("Ada", "125.01"), ("Bolt", "125.00")):
        agree(shop, None, payee(shop, name, amount), currency="USD")
    cleo = payee(shop, "Cleo", "125.01")
    agree(shop, None, cleo, currency="USD")
    agree(shop, None, cleo)
    made = run_in(shop, "USD")
    assert dict(made.payouts.values_list("seller__name", "status")) == {"Ada": "WAITING", "Bolt": "EXECUTING", "Cleo": "EXECUTING"}

"""Currencies without decimals, with two, three and four: from the basket to the PSP's minor units and back."""

from collections.abc import Callable

import pytest
from django.utils import timezone

from ledger import money, queries
from ledger.money import exact
from payments import intake, refunds
from payments.intake import WithdrawnCurrency
from payments.models import PaymentEvent
from tests.factories import FEES, RECEIVABLE
from tests.fixtures_money import Oracle, execute_refunds
from wallet.models import Seller, Wallet

Open = Callable[..., PaymentEvent]


@pytest.mark.parametrize(
    ("currency", "amounts", "in_minor_units", "fees"),
    [
        ("JPY", ("500", "1", "14"), [500, 1, 14], ["50", "0", "1"]),
        ("USD", ("19.99", "0.01", "0.05"), [1999, 1, 5], ["2.00", "0.00", "0.01"]),
        ("KWD", ("1.995", "0.001", "12.345"), [1995, 1, 12345], ["0.200", "0.000", "1.235"]),
        ("CLF", ("0.0001", "1.9999", "3.0000"), [1, 19999, 30000], ["0.0000", "0.2000", "0.3000"]),
        ("ISK", ("1500", "3", "7"), [1500, 3, 7], ["150", "0", "1"]),
    ],
)
def test_bug_52_a_basket_is_charged_in_its_currencys_own_units(
    open_payment: Open,
    pay: Open,
    oracle: Oracle,
    currency: str,
    amounts: tuple[str, ...],
    in_minor_units: list[int],
    fees: list[str],
) -> None:
    event = pay(open_payment(*amounts, currency=currency))
    assert event.status == "paid"
    charged = {row["reference"]: (row["amount"], row["currency"]) for row in oracle.rows("charge.succeeded")}
    orders = list(event.orders.order_by("id"))
    assert [charged[order.public_id] for order in orders] == [(units, currency) for units in in_minor_units]
    assert [money.text(order.fee) for order in orders] == fees
    assert queries.balance_of(RECEIVABLE, currency=currency) == event.amount
    assert sum(order.fee.amount for order in orders) == queries.balance_of(FEES, currency=currency).amount


def test_a_seller_has_one_wallet_per_currency_and_they_never_mix(open_payment: Open, pay: Open, sellers: list[Seller]) -> None:
    for currency, amount in (("EUR", "10.00"), ("JPY", "1000"), ("KWD", "10.000")):
        pay(open_payment(amount, currency=currency, sellers=sellers[:1]))
    wallets = {str(wallet.pending.currency): wallet.pending for wallet in Wallet.objects.all()}
    assert wallets == {"EUR": exact("9.00", "EUR"), "JPY": exact("900", "JPY"), "KWD": exact("9.000", "KWD")}


def test_nothing_new_is_paid_in_a_currency_that_is_no_longer_money_and_what_was_paid_goes_back(
    open_payment: Open, pay: Open, oracle: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as in_2025:
        in_2025.setattr(intake, "WITHDRAWN", {})
        event = pay(open_payment("10.00", currency="BGN"))
    with pytest.raises(WithdrawnCurrency) as refused:
        open_payment("10.00", currency="BGN")
    assert refused.value.field == "payment_orders[0].amount.currency"
    assert "EUR took its place" in refused.value.detail
    refunds.request_refund(event.orders.get().pk, amount=exact("0.01", "BGN"), reason="", now=timezone.now())
    execute_refunds(now=timezone.now())
    assert [(row["amount"], row["currency"]) for row in oracle.rows("refund.succeeded")] == [(1, "BGN")]

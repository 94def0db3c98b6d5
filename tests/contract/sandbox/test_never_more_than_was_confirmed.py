"""Charges stay within the session's total, refunds within the charge: alone and all at once."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.contract.sandbox.conftest import Buyer
from tests.fixtures_services import SandboxCompany


def test_one_confirmation_pays_several_orders_up_to_its_total(buyer: Buyer) -> None:
    token = buyer.token(amount=100_00)
    assert [buyer.charge(token, amount=amount).status_code for amount in (60_00, 40_00)] == [201, 201]
    over = buyer.charge(token, amount=1)
    assert (over.status_code, over.json()["error"]["code"]) == (400, "amount_exceeds_session")


def test_a_declined_charge_uses_nothing_up(buyer: Buyer) -> None:
    token = buyer.token("4000000000009995", amount=10_00)
    assert [buyer.charge(token, amount=10_00).status_code for _ in range(2)] == [402, 402]


@pytest.mark.race
def test_twenty_charges_at_once_stop_at_the_total(buyer: Buyer) -> None:
    token = buyer.token(amount=100_00)
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: buyer.charge(token, amount=10_00).status_code, range(20)))
    assert sorted(answers) == [201] * 10 + [400] * 10


def test_refunds_stop_at_what_was_charged(buyer: Buyer, sandbox: SandboxCompany) -> None:
    charge = buyer.charged(amount=10_00)
    assert [buyer.refund(charge, amount=amount).status_code for amount in (4_00, 6_00)] == [201, 201]
    over = buyer.refund(charge, amount=1)
    assert (over.status_code, over.json()["error"]["code"]) == (400, "refund_exceeds_charge")
    assert sandbox.client.get(f"/v1/charges/{charge['id']}").json()["refunded"] == 10_00


@pytest.mark.race
def test_twenty_refunds_at_once_stop_at_the_charge(buyer: Buyer) -> None:
    charge = buyer.charged(amount=10_00)
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: buyer.refund(charge, amount=1_00).status_code, range(20)))
    assert sorted(answers) == [201] * 10 + [400] * 10


def test_a_failed_charge_cannot_be_refunded(buyer: Buyer) -> None:
    charge = buyer.charged("4000000000000002")
    assert buyer.refund(charge, amount=1_00).json()["error"]["code"] == "charge_not_succeeded"


def test_a_charge_in_another_currency_is_refused(buyer: Buyer) -> None:
    assert buyer.charge(buyer.token(), currency="USD").json()["error"]["code"] == "currency_mismatch"


def test_an_unknown_token_is_404(buyer: Buyer) -> None:
    answer = buyer.charge("tok_nobody")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_token")


@pytest.mark.parametrize("amount", [0, -1, "10", 10.5, True, None, 10**18])
def test_an_amount_is_a_whole_number_of_minor_units_above_zero(buyer: Buyer, amount: object) -> None:
    answer = buyer.charge(buyer.token(), amount=amount)  # type: ignore[arg-type]
    assert answer.status_code == 400
    assert answer.json()["error"]["field"] == "amount"


def test_an_unknown_field_is_refused_by_name(buyer: Buyer) -> None:
    answer = buyer.charge(buyer.token(), amuont=5)
    assert (answer.status_code, answer.json()["error"]["field"]) == (400, "amuont")


def test_a_wrong_api_key_opens_nothing(sandbox: SandboxCompany) -> None:
    for path in ("/v1/journal", "/v1/charges?key=x", "/v1/faults", "/v1/sessions/cs_x", "/v1/deliveries"):
        assert sandbox.client.get(path, headers={"Authorization": "Bearer wrong"}).status_code == 401, path

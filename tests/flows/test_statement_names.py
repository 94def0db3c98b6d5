"""The name on the buyer's statement: the PSP is told what the page and the receipt show, and the same under one key, whatever the shop is called."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from payments import executor, receipts
from payments.models import PaymentEvent, PspAttempt
from payments.psp.protocol import Psp
from payments.states import PspOperation
from tests.fixtures_money import DECLINED, Oracle, confirm_card, execute_until_settled, sandbox_psp, statuses
from tests.fixtures_services import SandboxCompany
from wallet.models import Shop

Open = Callable[..., PaymentEvent]


def charges_of(sandbox: SandboxCompany, event: PaymentEvent) -> list[dict[str, Any]]:
    """Return what the PSP knows of the event's charges."""
    keys = (
        PspAttempt.objects.filter(order__event=event, operation=PspOperation.CHARGE).order_by("psp_key").values_list("psp_key", flat=True)
    )
    return [sandbox.client.get("/v1/charges", params={"key": key}).json()["data"][0] for key in keys.distinct()]


def rename(shop: Shop, name: str) -> None:
    shop.name = shop.statement_name = name
    shop.save(update_fields=["name", "statement_name"])


def test_the_psp_is_told_the_name_that_page_and_receipt_show_for_each_sellers_charge(
    client: Client, open_payment: Open, pay: Open, shop: Shop, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    rename(shop, "Café O'Neill* <Wien>")
    event = pay(open_payment("24.90", "89.00"))
    assert [charge["statement_descriptor"] for charge in charges_of(sandbox, event)] == ["CAFE O NEILL WIEN"] * 2
    page = client.get(reverse("checkout", args=[event.token]))
    assert page.context["statement"] == "CAFE O NEILL WIEN"
    assert {line.name for line in page.context["statement_lines"]} == {"CAFE O NEILL WIEN"}
    assert len(oracle.charged()) == 2


def test_f_20_a_charge_in_flight_asks_the_same_thing_again_after_its_shop_was_renamed(
    client: Client, open_payment: Open, shop: Shop, sandbox: SandboxCompany, use_psp: Callable[[Psp], Psp], oracle: Oracle
) -> None:
    use_psp(sandbox_psp(sandbox, read_timeout_s=5))
    event = open_payment("10.00")
    confirm_card(event)
    sandbox.fault(operation="charge", kind="execute_then_500", times=1)
    sandbox.fault(operation="find", kind="status_lags", times=1, delay_s=3 * 24 * 3600)
    executor.execute_due_orders(now=timezone.now())
    rename(shop, "Southwind")
    execute_until_settled()
    sent = PspAttempt.objects.filter(operation=PspOperation.CHARGE)
    assert (sent.count(), sent.exclude(error_code="").count()) == (2, 0), "it was sent again under its key, and was the same for the PSP"
    assert (statuses(event), len(oracle.charged())) == (["SUCCESS"], 1)
    assert [charge["statement_descriptor"] for charge in charges_of(sandbox, event)] == ["NORTHWIND"]
    assert client.get(reverse("checkout", args=[event.token])).context["statement"] == "NORTHWIND"


def test_who_pays_with_another_card_after_a_rename_sees_the_name_of_the_checkout_and_new_checkouts_have_the_new_one(
    open_payment: Open, pay: Open, shop: Shop, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    event = pay(open_payment("10.00"), DECLINED)
    rename(shop, "Southwind")
    pay(event)
    assert statuses(event) == ["SUCCESS"]
    assert {charge["statement_descriptor"] for charge in charges_of(sandbox, event)} == {"NORTHWIND"}
    assert {charge["statement_descriptor"] for charge in charges_of(sandbox, pay(open_payment("10.00")))} == {"SOUTHWIND"}


def test_what_was_opened_before_the_name_was_kept_asks_as_it_did_then(
    open_payment: Open, pay: Open, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    event = open_payment("10.00")
    PaymentEvent.objects.update(statement_name="")
    pay(event)
    assert [charge["statement_descriptor"] for charge in charges_of(sandbox, event)] == [None]
    assert receipts.statement_of(event) == "NORTHWIND"


@pytest.mark.parametrize(("name", "shown"), [("Bär", "BAR ONEBOOK"), ("書店", "ONEBOOK")])
def test_a_name_that_cannot_stand_alone_has_the_platforms_beside_it(
    name: str, shown: str, open_payment: Open, shop: Shop, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    Shop.objects.filter(pk=shop.pk).update(name=name)
    shop.refresh_from_db()
    event = open_payment("10.00")
    confirm_card(event)
    executor.execute_due_orders(now=timezone.now())
    assert [charge["statement_descriptor"] for charge in charges_of(sandbox, event)] == [shown]

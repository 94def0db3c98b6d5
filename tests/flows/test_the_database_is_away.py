"""A webhook that Postgres cannot take right now is not acknowledged, so that the PSP sends it again; nothing of it is lost."""

from collections.abc import Callable

import psycopg
import pytest
from django.db import connection
from django.test import Client

from payments.models import PaymentEvent, PspEvent
from tests.fixtures_money import Oracle, charge_and_keep_the_answer, statuses
from tests.fixtures_services import SandboxCompany, admin_url
from tests.webhooks import apply, deliveries, post

Open = Callable[..., PaymentEvent]
ADDRESS = "/webhooks/psp/sandbox"


@pytest.fixture
def impatience(books_hold: None) -> None:
    """Wait for a lock a tenth of a second only."""
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '100ms'")


def test_bug_43_a_webhook_that_cannot_be_stored_is_not_acknowledged_and_comes_again(
    open_payment: Open, impatience: None, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    event = open_payment("10.00")
    charge_and_keep_the_answer(event)
    [(headers, body)] = deliveries(sandbox, oracle, "charge.succeeded", count=1)
    with psycopg.connect(admin_url(str(connection.settings_dict["NAME"]))) as somebody_else:
        somebody_else.execute("LOCK TABLE payments_pspevent IN ACCESS EXCLUSIVE MODE")
        signature = {"Sandbox-Signature": headers["Sandbox-Signature"]}
        client = Client(raise_request_exception=False)
        answer = client.post(ADDRESS, body, content_type="application/json", headers=signature)
        assert answer.status_code in (500, 503)
    assert not PspEvent.objects.exists()
    assert post((headers, body)) == 200
    assert apply() == [("charge.succeeded", "applied", "")]
    assert statuses(event) == ["SUCCESS"]

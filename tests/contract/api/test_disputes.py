"""Disputes over REST, to be read by the shop whose order it is."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from ledger.money import exact
from payments import disputes
from payments.models import Dispute, PaymentOrder, PspAttempt
from payments.psp.protocol import DisputeNotice
from tests.contract.api.conftest import Caller

Paid = dict[str, Any]


def eur(amount: str) -> dict[str, str]:
    return {"amount": amount, "currency": "EUR"}


def notice_of(order_id: str, *, status: str = "open", lost: str = "0") -> DisputeNotice:
    """Say what the PSP would of a dispute over the whole order."""
    order, now = PaymentOrder.objects.get(public_id=order_id), timezone.now()
    return DisputeNotice(
        psp_reference="dp_1",
        key=order_id,
        reference=order_id,
        charge=PspAttempt.objects.get(order=order, operation="charge").psp_reference,
        status=status,
        amount=order.amount,
        fee=exact("15.00", "EUR"),
        lost=exact(lost, "EUR"),
        reason="fraudulent",
        opened_at=now,
        updated_at=now,
        evidence_due_at=now + timedelta(days=7),
    )


@pytest.fixture
def disputed(paid: Paid) -> Dispute:
    return disputes.open_dispute(notice_of(paid["id"]), psp="sandbox")


def test_a_dispute_shows_what_is_held_and_until_when_to_answer(api: Caller, paid: Paid, disputed: Dispute) -> None:
    read = api.get(f"/v1/disputes/{disputed.public_id}").json()
    assert (read["object"], read["order"], read["payment"]) == ("dispute", paid["id"], paid["payment"])
    assert (read["status"], read["reason"], read["closed_at"]) == ("open", "fraudulent", None)
    assert (read["amount"], read["held"], read["fee"], read["lost"]) == (eur("24.90"), eur("24.90"), eur("15.00"), eur("0.00"))
    assert read["evidence_due_at"] > read["opened_at"]
    order = api.get(f"/v1/orders/{paid['id']}").json()
    assert (order["disputed"], order["disputes"]) == (eur("24.90"), [read])
    assert (order["status"], order["refunded"]) == ("SUCCESS", eur("0.00"))


def test_a_lost_dispute_says_what_is_lost_and_what_comes_back_of_the_fee(api: Caller, paid: Paid, disputed: Dispute) -> None:
    disputes.close_dispute(notice_of(paid["id"], status="lost", lost="24.90"), psp="sandbox")
    read = api.get(f"/v1/disputes/{disputed.public_id}").json()
    assert (read["status"], read["lost"], read["fee_returned"]) == ("lost", eur("24.90"), eur("2.49"))
    assert read["closed_at"] is not None
    assert api.get(f"/v1/orders/{paid['id']}").json()["disputed"] == eur("24.90")


def test_a_won_dispute_leaves_nothing_disputed(api: Caller, paid: Paid, disputed: Dispute) -> None:
    disputes.close_dispute(notice_of(paid["id"], status="won"), psp="sandbox")
    assert api.get(f"/v1/disputes/{disputed.public_id}").json()["status"] == "won"
    assert api.get(f"/v1/orders/{paid['id']}").json()["disputed"] == eur("0.00")


def test_disputes_are_listed_and_filtered(api: Caller, paid: Paid, disputed: Dispute) -> None:
    def count(**query: str) -> int:
        return len(api.get("/v1/disputes", **query).json()["data"])

    assert count() == count(status="open") == count(order=paid["id"]) == count(payment=paid["payment"]) == 1
    assert count(status="lost") == 0
    assert count(created_until=api.get("/v1/disputes").json()["data"][0]["created_at"]) == 0


@pytest.mark.parametrize(
    ("query", "code"), [({"status": "OPEN"}, "invalid_choice"), ({"reason": "fraudulent"}, "unknown_field"), ({"order": ""}, "blank")]
)
def test_a_wrong_filter_is_refused_by_name(api: Caller, query: dict[str, str], code: str) -> None:
    answer = api.get("/v1/disputes", **query)
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, code, next(iter(query)))


def test_sec_another_shops_dispute_is_not_found(stranger: Caller, disputed: Dispute) -> None:
    assert stranger.get(f"/v1/disputes/{disputed.public_id}").status_code == 404
    assert stranger.get("/v1/disputes").json()["data"] == []


def test_nobody_opens_or_closes_a_dispute_here(api: Caller, disputed: Dispute) -> None:
    assert api.post(f"/v1/disputes/{disputed.public_id}", {"status": "won"}).status_code == 405
    assert api.post("/v1/disputes", {}).status_code == 405

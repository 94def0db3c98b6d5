"""Whoever dies right after the COMMIT has told everything: what a transaction made true and its message are one commit."""

from collections.abc import Callable

import pytest
from django.db import connections

from payments import settlement
from payments.models import PaymentEvent
from tests.fixtures_money import captures_of, charge_and_keep_the_answer, statuses
from wallet.models import OutboxMessage

Open = Callable[..., PaymentEvent]
pytestmark = pytest.mark.crash


class Died(BaseException):
    """The process ended here."""


def test_cp_11_inv_16_whoever_dies_right_after_the_commit_has_told_of_every_order(
    open_payment: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = open_payment("10.00", "20.00")
    captures = captures_of(charge_and_keep_the_answer(event))

    def die() -> None:
        raise Died

    with monkeypatch.context() as patch, pytest.raises(Died):
        patch.setattr(connections["default"], "run_and_clear_commit_hooks", die)
        settlement.settle(captures)
    connections["default"].close()
    assert statuses(event) == ["SUCCESS", "SUCCESS"]
    told = OutboxMessage.objects.order_by("id").values_list("topic", flat=True)
    assert list(told) == ["payment_order.succeeded", "payment_order.succeeded", "payment.paid"]

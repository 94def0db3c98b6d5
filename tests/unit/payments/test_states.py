"""The order's state machine: every pair of statuses is either in the table or refused."""

import itertools

import pytest

from payments.states import NEXT_ORDER_STATUS, PAYABLE, IllegalTransition, OrderStatus, require_transition

LEGAL = {
    ("NOT_STARTED", "EXECUTING"),
    ("NOT_STARTED", "FAILED"),
    ("NOT_STARTED", "CANCELLED"),
    ("EXECUTING", "SUCCESS"),
    ("EXECUTING", "FAILED"),
    ("EXECUTING", "CANCELLED"),
    ("FAILED", "EXECUTING"),
    ("FAILED", "CANCELLED"),
}


@pytest.mark.parametrize(("current", "to"), list(itertools.product(OrderStatus, OrderStatus)))
def test_an_order_moves_along_the_table_and_nowhere_else(current: OrderStatus, to: OrderStatus) -> None:
    if (current.value, to.value) in LEGAL:
        require_transition(current, to=to, what="ord_1")
    else:
        with pytest.raises(IllegalTransition, match=r"ord_1"):
            require_transition(current, to=to, what="ord_1")


def test_every_status_has_its_line_in_the_table() -> None:
    assert set(NEXT_ORDER_STATUS) == set(OrderStatus)


def test_bug_37_what_is_paid_or_cancelled_is_never_paid_again() -> None:
    assert {OrderStatus.NOT_STARTED, OrderStatus.FAILED} == PAYABLE

"""The course of a charge, refund or payout: what it is at first, what it becomes, and when. Card or account decides, or a fault."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from django.conf import settings

from payments.sandbox.fault_kinds import Kind
from payments.sandbox.faults import Fault

Name = Literal["succeeds", "pending_then_succeeds", "pending_then_fails", "succeeds_then_fails"]
PayoutName = Literal["paid", "pending_then_paid", "fails", "pending_then_fails", "paid_then_returned"]
THREE_DAYS = timedelta(hours=72)


@dataclass(frozen=True)
class Course:
    """`then` is empty when nothing more becomes of it; `after` None means SANDBOX_PENDING_S."""

    status: Literal["succeeded", "pending", "failed", "paid"]
    then: Literal["", "succeeded", "failed", "paid", "returned"] = ""
    after: timedelta | None = None

    def matures_at(self, now: datetime) -> datetime | None:
        if not self.then:
            return None
        return now + (self.after or timedelta(seconds=settings.SANDBOX_PENDING_S))


FAILS = Course("failed")
OF_CARD: Mapping[Name, Course] = {
    "succeeds": Course("succeeded"),
    "pending_then_succeeds": Course("pending", then="succeeded"),
    "pending_then_fails": Course("pending", then="failed"),
    "succeeds_then_fails": Course("succeeded", then="failed"),
}
OF_FAULT: Mapping[Kind, Course] = {
    "pending_forever": Course("pending"),
    "pending_72h": Course("pending", then="succeeded", after=THREE_DAYS),
}
OF_ACCOUNT: Mapping[PayoutName, Course] = {
    "paid": Course("paid"),
    "pending_then_paid": Course("pending", then="paid"),
    "fails": FAILS,
    "pending_then_fails": Course("pending", then="failed"),
    "paid_then_returned": Course("paid", then="returned", after=THREE_DAYS),
}
OF_FAULT_OF_PAYOUT: Mapping[Kind, Course] = {
    "pending_forever": Course("pending"),
    "pending_72h": Course("pending", then="paid", after=THREE_DAYS),
}


def course_of(name: Name, *, fault: Fault | None) -> Course:
    """Return the course that the card's behaviour has, unless a fault decides otherwise."""
    by_fault = OF_FAULT.get(fault.kind) if fault else None
    return by_fault or OF_CARD[name]


def payout_course_of(name: PayoutName, *, fault: Fault | None) -> Course:
    """Return the course that payouts to the account have, unless a fault decides otherwise."""
    by_fault = OF_FAULT_OF_PAYOUT.get(fault.kind) if fault else None
    return by_fault or OF_ACCOUNT[name]


def hidden_until(fault: Fault | None, *, now: datetime) -> datetime | None:
    """Return until when looking it up by its key finds nothing; None for most."""
    lags = fault is not None and fault.kind == "status_lags"
    return now + timedelta(seconds=fault.delay_s) if fault and lags else None

"""The states of pay-out.  Detail (pending at the bank, unknown, retry k of n) belongs to the attempt, as in pay-in.

A payout takes its money off the seller's available balance when it is made, whatever becomes of it; FAILED, RETURNED and CANCELLED have
put it back, in one entry.
"""

from django.db import models
from django.utils.translation import gettext_lazy as _


class PayoutStatus(models.TextChoices):
    WAITING = "WAITING", _("Waiting for approval")
    EXECUTING = "EXECUTING", _("On its way")
    SUCCESS = "SUCCESS", _("Paid")
    FAILED = "FAILED", _("Failed")
    RETURNED = "RETURNED", _("Sent back by the bank")
    CANCELLED = "CANCELLED", _("Cancelled")


class RunStatus(models.TextChoices):
    WAITING = "WAITING", _("Waiting for approval")
    APPROVED = "APPROVED", _("Approved")
    REJECTED = "REJECTED", _("Rejected")


class FileStatus(models.TextChoices):
    MADE = "MADE", _("Waiting for approval")
    APPROVED = "APPROVED", _("Approved")
    ACCEPTED = "ACCEPTED", _("Accepted by the bank")
    PARTLY = "PARTLY", _("Accepted in part")
    REJECTED = "REJECTED", _("Rejected")


class PayoutOperation(models.TextChoices):
    PAY_OUT = "pay_out", _("Payout")
    FIND = "find", _("Look-up")


class AttemptStatus(models.TextChoices):
    SENDING = "SENDING", _("Sending")
    SUCCEEDED = "SUCCEEDED", _("Paid")
    FAILED = "FAILED", _("Failed")
    PENDING = "PENDING", _("Pending at the bank")
    UNKNOWN = "UNKNOWN", _("Outcome unknown")
    NOT_EXECUTED = "NOT_EXECUTED", _("Not executed")


class Interval(models.TextChoices):
    DAILY = "daily", _("Every day")
    WEEKLY = "weekly", _("Every week")
    MONTHLY = "monthly", _("Every month")
    ON_REQUEST = "on_request", _("Only when asked for")


NEXT_FILE_STATUS: dict[FileStatus, frozenset[FileStatus]] = {
    FileStatus.MADE: frozenset({FileStatus.APPROVED, FileStatus.REJECTED}),
    FileStatus.APPROVED: frozenset({FileStatus.ACCEPTED, FileStatus.PARTLY, FileStatus.REJECTED}),
    FileStatus.ACCEPTED: frozenset({FileStatus.PARTLY, FileStatus.REJECTED}),
    FileStatus.PARTLY: frozenset({FileStatus.REJECTED}),  # what was left of it was refused as well
    FileStatus.REJECTED: frozenset(),
}

LIVE = (PayoutStatus.WAITING, PayoutStatus.EXECUTING)  # its money is in transit
CAME_TO_NOTHING = (PayoutStatus.FAILED, PayoutStatus.RETURNED)
PUT_BACK = (*CAME_TO_NOTHING, PayoutStatus.CANCELLED)
UNRESOLVED = (AttemptStatus.SENDING, AttemptStatus.UNKNOWN, AttemptStatus.PENDING)  # the bank may have paid: ask before sending

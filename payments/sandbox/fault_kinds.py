"""The kinds of faults: what each does, which operations it can strike, and the number that reliability tests know it by.

F-01, F-02, F-03 and F-25 are not here: they happen before any request exists, so they are addresses (broken_addresses.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

Operation = Literal["charge", "refund", "payout", "find", "session", "void", "dispute", "webhook", "settlement", "statement"]
Kind = Literal[
    "slow",
    "reset_before",
    "execute_then_reset",
    "execute_then_silence",
    "execute_then_500",
    "refuse_500",
    "throttle",
    "in_flight",
    "malformed_json",
    "cut_body",
    "html_200",
    "other_amount",
    "other_currency",
    "other_payment",
    "duplicate_response",
    "drip",
    "pending_forever",
    "pending_72h",
    "status_lags",
    "prune_keys",
    "stored_500",
    "refuse_stored_500",
    "webhook_ten_times",
    "webhook_doubled",
    "webhook_reordered",
    "webhook_late",
    "webhook_lost",
    "webhook_forged",
    "webhook_old_timestamp",
    "webhook_wrong_key",
    "webhook_wrong_account",
    "webhook_unknown_type",
    "webhook_unknown_version",
    "webhook_huge",
    "clock_skew",
    "line_missing",
    "line_extra",
    "line_doubled",
    "line_amount",
    "line_currency",
    "line_fee",
    "line_late",
    "line_batch",
]
OPERATIONS: Sequence[str] = get_args(Operation)
TOLD: Sequence[str] = ["webhook"]
WRITTEN: Sequence[str] = ["settlement", "statement"]  # into the files of the day, when it is closed
SETTLED: Sequence[str] = ["settlement"]
BOOKED: Sequence[str] = ["statement"]
ANSWERED: Sequence[str] = [operation for operation in OPERATIONS if operation not in (*TOLD, *WRITTEN)]
KEYED: Sequence[str] = ["charge", "refund", "payout", "void"]
MOVING: Sequence[str] = ["charge", "refund", "payout"]


@dataclass(frozen=True)
class About:
    """What there is to know of a kind. `delay_s` is what counts when a switch names none."""

    id: str | None
    what: str
    operations: Sequence[str]
    delay_s: float = 0.0


KINDS: Mapping[Kind, About] = {
    "slow": About(None, "executes; the answer comes delay_s late", ANSWERED, 3),
    "reset_before": About("F-04", "executes nothing; the connection is reset", ANSWERED),
    "execute_then_reset": About("F-05", "executes; the connection is reset", ANSWERED),
    "execute_then_silence": About("F-06", "executes; says nothing for delay_s, then hangs up", ANSWERED, 60),
    "execute_then_500": About("F-07", "executes; answers HTTP 500", ANSWERED),
    "refuse_500": About("F-08", "executes nothing; answers HTTP 500", ANSWERED),
    "throttle": About("F-09", "executes nothing; answers HTTP 429, with Retry-After if retry_after_s is given", ANSWERED),
    "in_flight": About("F-10", "executes nothing; answers HTTP 409 key_in_flight", KEYED),
    "malformed_json": About("F-11", "executes; the answer is not JSON", ANSWERED),
    "cut_body": About("F-12", "executes; the answer ends in the middle", ANSWERED),
    "html_200": About("F-13", "executes; the answer is a web page with HTTP 200", ANSWERED),
    "other_amount": About("F-14", "executes; the answer names another amount", ANSWERED),
    "other_currency": About("F-14", "executes; the answer names another currency", ANSWERED),
    "other_payment": About("F-15", "executes; the answer names somebody else's id, key and reference", ANSWERED),
    "duplicate_response": About("F-16", "executes; the answer comes twice, then the line stays dead for delay_s", ANSWERED, 1),
    "drip": About("F-17", "executes; the answer comes at one byte each delay_s", ANSWERED, 1),
    "pending_forever": About("F-18", "pending, and nothing ever becomes of it", MOVING),
    "pending_72h": About("F-19", "pending; succeeds after 72 hours", MOVING),
    "status_lags": About("F-20", "executes; looking it up by its key finds nothing for delay_s", ["find", *MOVING], 30),
    "prune_keys": About("F-21", "the key is forgotten, before the call and after it: the call executes again", MOVING),
    "stored_500": About("F-22", "executes; HTTP 500 is stored under the key and replayed: only looking it up heals", MOVING),
    "refuse_stored_500": About("F-22", "executes nothing; HTTP 500 is stored under the key and replayed", MOVING),
    "webhook_ten_times": About("F-23", "the event comes ten times", TOLD),
    "webhook_doubled": About("F-23", "the event comes twice", TOLD),
    "webhook_reordered": About("F-23", "the event waits for the next one about the same object, or 5 seconds", TOLD, 5),
    "webhook_late": About("F-23", "the event comes delay_s late", TOLD, 30),
    "webhook_lost": About("F-23", "the event never comes", TOLD),
    "webhook_forged": About("F-23", "the event comes once signed with a random secret, and once as it should", TOLD),
    "webhook_old_timestamp": About("F-23", "the event comes once signed ten minutes ago, and once as it should", TOLD),
    "webhook_wrong_key": About("F-23", "the event comes once signed with another account's secret, and once as it should", TOLD),
    "webhook_wrong_account": About("F-23", "an event about another account comes, and the true one", TOLD),
    "webhook_unknown_type": About("F-23", "an event of the type charge.teleported comes, and the true one", TOLD),
    "webhook_unknown_version": About("F-23", "an event of the API version 2099-01-01 comes, and the true one", TOLD),
    "webhook_huge": About("F-23", "an event of five megabytes comes, and the true one", TOLD),
    "clock_skew": About("F-24", "the event's first try is signed with a clock that is delay_s fast (or slow, below zero)", TOLD, 600),
    "line_missing": About("F-26", "the line is in no file, and is not paid", WRITTEN),
    "line_extra": About("F-26", "beside the line stands one about something that never happened", WRITTEN),
    "line_doubled": About("F-26", "the line stands twice, and is paid twice", WRITTEN),
    "line_amount": About("F-26", "the amount is larger by one minor unit", WRITTEN),
    "line_currency": About("F-26", "the same figure is settled, or booked, in another currency: USD, or EUR what is in USD", WRITTEN),
    "line_fee": About("F-26", "the fee is larger by one minor unit", SETTLED),
    "line_late": About("F-26", "the line is in the next batch or statement of its currency, or in one delay_s later", WRITTEN),
    "line_batch": About("F-26", "the payment of a batch names the batch that was paid before it", BOOKED),
}
BEFORE_ANY_REQUEST: Sequence[str] = ["F-01", "F-02", "F-03", "F-25"]
BY_ID: Mapping[str, Kind] = {about.id: kind for kind, about in reversed(list(KINDS.items())) if about.id}  # the first of each id


def as_wire(kind: Kind) -> dict[str, object]:
    about = KINDS[kind]
    return {
        "kind": kind,
        "id": about.id,
        "what": about.what,
        "operations": list(about.operations),
        "delay_s": about.delay_s,
    }

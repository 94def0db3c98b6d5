"""What a round of a race is made of: a case in which nobody dies, calls that are made at once, and what they leave behind.

A refusal that the house means (a DomainError, 409, 422) is an answer; a deadlock, an unforeseen error or a 5xx that reaches somebody is not.
"""

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from django.db import close_old_connections

from ledger import money
from ledger.errors import DomainError
from payments.models import PaymentEvent, PaymentOrder
from tests.fixtures_money import all_at_once
from tests.programmes import steps, verdicts
from tests.programmes.crash_level_1 import InThisProcess
from tests.programmes.flows import VISA, Case
from tests.programmes.house import House
from tests.programmes.points import POINTS
from tests.programmes.trap import Trap

Calls = Sequence[Callable[[], Any]]


def case_of(house: House, seed: str) -> Case:
    """Return a case in which nobody dies."""
    chance = random.Random(seed)
    return Case(house, InThisProcess(Trap()), chance.getrandbits(32), chance, POINTS[0], passage=1, is_armed=True)


def aftermath(case: Case) -> list[str]:
    """Let everything come to its end, and return what the PSP's journal says against it."""
    waiting = case.heal()
    found = verdicts.on_case(case)
    found.stuck += [f"{reference} still waits" for reference in waiting]
    return found.sentences()


def accidents(answers: Sequence[Any]) -> list[str]:
    """Return the errors that are no refusals, and the answers of 5xx."""
    errors = [error for error in answers if isinstance(error, Exception) and not isinstance(error, DomainError)]
    statuses = [answer for answer in answers if type(answer) is int and answer >= 500]
    return [f"{type(error).__name__}: {error}" for error in errors] + [f"somebody was answered {status}" for status in statuses]


def race(*calls: Callable[[], Any]) -> tuple[list[Any], list[str]]:
    """Make all calls at once; return the answers, and the accidents among them."""
    answers = all_at_once(*calls)
    close_old_connections()
    return answers, accidents(answers)


def expect(holds: bool, sentence: str) -> list[str]:
    return [] if holds else [sentence]


def paid(case: Case, **terms: Any) -> PaymentEvent:
    """Return a checkout that is paid."""
    event = case.open(**terms)
    case.pay_before(event, VISA)
    return event


def unheard(case: Case) -> tuple[PaymentEvent, list[PaymentOrder]]:
    """Return a checkout whose orders the PSP charged, and of which we heard nothing."""
    event = case.open()
    orders = list(event.orders.order_by("id"))
    for order in orders:
        case.mishap("charge", order.public_id, "execute_then_500")
    case.before("confirm", **case.card_terms(event, VISA))
    case.before("execute")
    return event, orders


def letter_steps(case: Case, references: Sequence[str], *, count: int = 1, copies: int = 1) -> Calls:
    """Return the PSP's deliveries of its letters about these references, each so many times."""
    letters = [letter for reference in references for letter in case.house.letters(reference, count=count)] * copies
    return [partial(steps.receive, letter.decode(), case.house.signed(letter)) for letter in letters]


def share(order: PaymentOrder, percent: int) -> Any:
    return money.from_minor(max(1, money.to_minor(order.amount) * percent // 100), "EUR")

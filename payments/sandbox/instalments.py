"""What the buyer of pay later pays to the provider, and when: today, in thirty days, in sixty. Pure; the parts are the whole."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import NamedTuple

NUMBER = 3
APART = timedelta(days=30)


class Instalment(NamedTuple):
    """`amount` in minor units."""

    due_date: date
    amount: int


def schedule(amount: int, *, begins_on: date) -> Sequence[Instalment]:
    """Return the instalments; what cannot be shared out evenly is paid with the first ones, a minor unit each."""
    each, over = divmod(amount, NUMBER)
    return [Instalment(begins_on + APART * place, each + (place < over)) for place in range(NUMBER)]

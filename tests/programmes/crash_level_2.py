"""Crash programme, level 2: the cases of level 1, but each step is a forked process of its own, and death is SIGKILL.

Nothing of the dead process runs on: no `finally`, no closing of connections, no farewell to Postgres, Redis or the PSP.
"""

from django.db import connection

from tests.programmes import crash_level_1
from tests.programmes.crash_level_1 import Plan, Say, Score
from tests.programmes.house import House, standing_house
from tests.programmes.nursery import a_nursery


def play(house: House, plan: Plan, *, say: Say = print) -> Score:
    """Play the cases of the plan with a process for each step; return the score."""
    connection.close()
    with a_nursery() as nursery:
        score = crash_level_1.play_with(house, plan, processes=nursery, level=2, say=say)
    score.passed = score.drawn if plan.only_case else {str(point) for point in nursery.passed}
    return score


def run(plan: Plan, *, say: Say) -> Score:
    """Play on a house of its own, for the command line."""
    with standing_house() as house:
        return play(house, plan, say=say)

"""A share of the crash and race programmes in each run of the tests: a seed that stays, and a fresh one that a failure prints.

The programmes themselves are `./run crash` and `./run races`; they play as much as one asks for.
"""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures_money import Oracle
from tests.fixtures_services import SandboxCompany
from tests.programmes import crash_level_1, crash_level_2, race_kinds, races, steps
from tests.programmes.crash_level_1 import Plan
from tests.programmes.house import House, house_in
from tests.programmes.points import POINTS, Point, named
from tests.programmes.trap import PlaceIsGone, found

pytestmark = pytest.mark.crash
SEEDS = ["onebook", secrets.token_hex(4)]
LEVEL_1, LEVEL_2, ROUNDS = 40, 3, 1
CRASH_POINTS = [f"CP-{number:02}" for number in (*range(1, 43), 44, *range(47, 59))]


@pytest.fixture
def house(real_db: None, sandbox: SandboxCompany, journal_reader: Oracle, tmp_path: Path) -> Iterator[House]:
    with house_in(sandbox, tmp_path) as built:
        yield built


@pytest.mark.parametrize("point_id", CRASH_POINTS)
def test_each_crash_point_of_the_list_has_a_place_in_the_code(point_id: str) -> None:
    assert [found(point.place) for point in named(point_id)]


def test_a_point_whose_place_is_gone_is_an_error_and_no_silence() -> None:
    with pytest.raises(PlaceIsGone, match=r"payments\.settlement\.what_never_was"):
        found("payments.settlement.what_never_was")


def first_case(seed: str) -> int:
    """Return where to begin: the fresh seed anywhere, so that in the end every point has its turn."""
    return 0 if seed == SEEDS[0] else secrets.randbelow(len(POINTS))


@pytest.mark.parametrize("seed", SEEDS, ids=["the usual seed", "a fresh seed"])
def test_level_1_processes_that_die_anywhere_lose_double_and_leave_nothing(house: House, seed: str) -> None:
    score = crash_level_1.play(house, Plan(LEVEL_1, seed, first=first_case(seed)))
    assert score.failures == []
    assert seed != SEEDS[0] or score.never_passed == []
    assert score.injected >= LEVEL_1


@pytest.mark.parametrize("seed", SEEDS, ids=["the usual seed", "a fresh seed"])
def test_level_2_processes_that_are_killed_with_kill_9_lose_double_and_leave_nothing(house: House, seed: str) -> None:
    score = crash_level_2.play(house, Plan(LEVEL_2, seed, first=first_case(seed)))
    assert score.failures == []
    assert score.injected >= LEVEL_2


@pytest.mark.race
@pytest.mark.parametrize("kind", race_kinds.KINDS)
def test_whatever_many_do_at_once_is_done_once(house: House, kind: str) -> None:
    assert races.play(house, rounds=ROUNDS, kinds=[kind], seed=SEEDS[1]) == []


def test_a_death_that_somebody_swallows_is_found(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tester's own test: a worker that catches everything must not look like one that died."""
    point = next(point for point in POINTS if point.flow == "pay" and point.place.endswith("hand_over"))

    def deaf() -> None:
        try:
            steps.execute()
        except BaseException:  # noqa: BLE001 - this is what is to be found
            return

    monkeypatch.setitem(steps.STEPS, "execute", deaf)
    score = crash_level_1.play(house, Plan(1, "swallowed", first=place_of(point), only_case=True), say=lambda line: None)
    assert "after its death" in " ".join(score.failures)


def place_of(point: Point) -> int:
    """Return the number of the first case that dies at this point the first time it is passed."""
    number = POINTS.index(point)
    while crash_level_1.draw(None, None, Plan(1, "swallowed"), number).passage != 1:  # type: ignore[arg-type]
        number += len(POINTS)
    return number

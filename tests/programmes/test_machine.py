"""The state machine of pay-in and pay-out, played: a fixed small share with every run of the tests, as long as one likes by `./run machine`."""

import os
from pathlib import Path

import pytest

from tests.fixtures_money import Oracle
from tests.fixtures_services import SandboxCompany
from tests.programmes import machine

EXAMPLES, STEPS = int(os.environ.get("MACHINE_EXAMPLES", "5")), int(os.environ.get("MACHINE_STEPS", "25"))


@pytest.mark.slow
def test_the_whole_house_as_a_state_machine(books_hold: None, sandbox: SandboxCompany, oracle: Oracle, tmp_path: Path) -> None:
    world = machine.world_of(sandbox, oracle, tmp_path)
    violations = 1
    try:
        machine.play(world, examples=EXAMPLES, steps=STEPS)
        violations = 0
    finally:
        if report := os.environ.get("MACHINE_REPORT"):
            Path(report).write_text(machine.summary(world, violations=violations))

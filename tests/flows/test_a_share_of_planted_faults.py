"""A share of `./run faults` in each run of the tests, with a PSP and a bank of its own, by a fresh seed that a failure prints."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures_money import hang_up
from tests.fixtures_services import running_sandbox
from tests.programmes import faults_story
from tests.programmes.faults_story import Plan
from tests.programmes.house import House, house_in

ROWS, FAULTS, DAYS = 60, 28, 2


@pytest.fixture
def sandbox_name(worker_name: str) -> str:
    return f"{worker_name}_faults"


@pytest.fixture
def house(real_db: None, sandbox_name: str, tmp_path: Path) -> Iterator[House]:
    with running_sandbox(sandbox_name, logs=tmp_path) as sandbox, house_in(sandbox, tmp_path) as built:
        hang_up()
        yield built
        hang_up()


def test_each_fault_that_is_planted_in_files_is_found_as_what_it_is_and_nothing_else_is(house: House, sandbox_name: str) -> None:
    plan = Plan(ROWS, FAULTS, secrets.token_hex(4), days=DAYS, sandbox=sandbox_name)
    findings = faults_story.go_through(house, plan, say=lambda line: None)
    assert findings.failures == [], plan.seed
    assert (findings.planted.total(), findings.found, findings.false_alarms) == (FAULTS, findings.planted, 0), plan.seed

"""The whole house as a state machine: hypothesis draws what happens, the sandbox PSP, which is the sellers' bank, too, is the oracle.

Buyers pay and want their money back (machine_pay_in.py), sellers are paid out (machine_pay_out.py); workers run, die with a claim in their
hands, or stand still; calls go wrong, and the clocks of both sides jump.  At the end of every example everything heals, the sweepers run
until they find nothing, and then every invariant holds, our books are the PSP's journal, and nothing hangs (machine_end.py).
"""

import json
from pathlib import Path

from django.conf import settings
from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from reconciliation import invariants
from tests.fixtures_money import Oracle
from tests.fixtures_services import SandboxCompany
from tests.programmes import machine_end
from tests.programmes.machine_pay_out import PayOut
from tests.programmes.machine_world import World

CALL_FAULTS = (
    "execute_then_500",
    "refuse_500",
    "execute_then_reset",
    "reset_before",
    "throttle",
    "in_flight",
    "malformed_json",
    "html_200",
    "other_amount",
    "other_payment",
    "stored_500",
    "status_lags",
)
OPERATIONS = ("charge", "charge", "refund", "payout", "payout", "find")
JUMPS_S = (3, 40, 700, 2 * 3600, 26 * 3600, 73 * 3600)


def machine_in(world: World) -> type[RuleBasedStateMachine]:
    """Return the state machine that plays in this world."""

    class House(PayOut):
        """Pay-in and pay-out of one shop, and what goes wrong with both."""

        @rule(kind=st.sampled_from(CALL_FAULTS), operation=st.sampled_from(OPERATIONS), times=st.integers(1, 3))
        def fault(self, kind: str, operation: str, times: int) -> None:
            if kind != "status_lags" or operation == "find":
                world.fault(operation, kind, times=times)

        @rule(seconds=st.sampled_from(JUMPS_S))
        def time_passes(self, seconds: int) -> None:
            world.advance(seconds)

        @invariant()
        def books_hold(self) -> None:
            world.steps += 1
            if world.steps % 10 == 0:
                assert invariants.violations() == []

        def teardown(self) -> None:
            machine_end.heal_and_sweep(world, self.shop)
            machine_end.assert_all_is_well(world)

    House.world = world
    return House


def play(world: World, *, examples: int, steps: int) -> None:
    """Run the machine; raise with hypothesis' own report, which names the steps, for the shortest example that fails."""
    kept, settings.TEST_CLOCK_FILE = settings.TEST_CLOCK_FILE, str(world.clock_file)
    try:
        run_state_machine_as_test(  # type: ignore[no-untyped-call]
            machine_in(world),
            settings=hypothesis_settings(
                max_examples=examples,
                stateful_step_count=steps,
                deadline=None,
                database=None,
                print_blob=True,
                phases=[Phase.explicit, Phase.generate],  # no shrinking: each step is real, and the story is short
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        settings.TEST_CLOCK_FILE = kept
        world.sandbox.client.delete("/v1/clock").raise_for_status()


def world_of(sandbox: SandboxCompany, oracle: Oracle, directory: Path) -> World:
    """Return a world at the machine's own time."""
    world = World(sandbox, oracle, directory / "clock")
    world.advance(0)
    return world


def summary(world: World, *, violations: int) -> str:
    return json.dumps({"examples": world.examples, "steps": world.steps, "violations": violations})

"""Many charges at once: those in the journal have the file that is written straight from the same list."""

import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from tests.contract.sandbox.days import Days, about, rows_of, total
from tests.fixtures_services import admin_url

ROOT = Path(__file__).parents[3]
AMOUNTS = (1, 2_50, 10_00, 1234_56, 99_999_999)
NAMES = ("line", "type", "charge", "key", "method", "currency", "gross", "fee", "net")


def sandbox_does(command: str, *arguments: str, given: str, database: str) -> bytes:
    keys = {f"SANDBOX_{name}": "for a command" for name in ("SECRET_KEY", "API_KEY", "WEBHOOK_SECRET")}
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"} | keys
    done = subprocess.run(
        [sys.executable, "-m", "payments.sandbox", command, "--list", "-", *arguments],
        input=given.encode(),
        env=environment | {"SANDBOX_DATABASE_URL": database},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
    )
    return done.stdout


@pytest.mark.usefixtures("sandbox_database")
def test_a_list_makes_the_same_file_through_the_journal_and_straight(days: Days, worker_name: str) -> None:
    orders = [uuid.uuid4().hex for _ in AMOUNTS]
    charges = [f"ch_{order},ord_{order},ord_{order},EUR,{amount}" for order, amount in zip(orders, AMOUNTS, strict=True)]
    given = "\n".join(["id,key,reference,currency,amount", *charges])
    made = sandbox_does("charge_many", given=given, database=admin_url(f"onebook_sandbox_{worker_name}"))
    assert made == b"5 charges\n"
    day = days.end()
    straight = rows_of(sandbox_does("write_settlement_file", "--day", day, given=given, database="postgres:///none"))
    through_the_journal = days.settled(day)
    assert [about(row, *NAMES) for row in straight] == [about(row, *NAMES) for row in through_the_journal]
    assert [row["fee"] for row in straight[:3]] == ["0.25", "0.29", "0.39"]
    assert total(straight) == 0

"""Faults are planted in files on request, the files add up all the same, and what was planted is told to whoever asks."""

from decimal import Decimal
from typing import Any

from tests.contract.sandbox.conftest import Buyer
from tests.contract.sandbox.days import Days, about, total
from tests.contract.sandbox.test_payouts import Platform
from tests.fixtures_services import SandboxCompany

STANDS = {  # gross and fee, as often as the line stands in the day's batch
    "line_missing": [],
    "line_extra": [("10.00", "0.39")],
    "line_doubled": [("10.00", "0.39")] * 2,
    "line_amount": [("10.01", "0.39")],
    "line_currency": [],
    "line_fee": [("10.00", "0.40")],
    "line_late": [],
}


def batch_of(day: str) -> str:
    return f"sb-{day.replace('-', '')}-eur"


def test_each_fault_strikes_its_line_and_the_files_add_up(buyer: Buyer, days: Days, sandbox: SandboxCompany) -> None:
    token = buyer.token()
    struck = {kind: buyer.charge(token, amount=10_00).json() for kind in STANDS}
    spared = buyer.charge(token, amount=10_00).json()
    for kind, charge in struck.items():
        sandbox.fault(operation="settlement", kind=kind, reference=charge["key"])
    day, next_day = days.end(), days.end()
    rows = days.settled(day)
    stands = {kind: [about(row, "gross", "fee") for row in rows if row["id"] == charge["id"]] for kind, charge in struck.items()}
    assert stands == STANDS
    planted = {one["kind"]: one for one in days.planted()}
    true = {"operation": "settlement", "file": batch_of(day), "currency": "EUR", "gross": 10_00, "fee": 39}
    for kind, charge in struck.items():
        said = {"object_id": charge["id"], "key": charge["key"], "reference": charge["reference"], **true}
        assert {name: planted[kind][name] for name in said} == said, kind
    known = {charge["id"] for charge in (*struck.values(), spared)}
    assert {row["id"] for row in rows[:-1]} - known == {planted["line_extra"]["invented"]}
    late, foreign = days.settled(next_day), days.settled(next_day, currency="USD")
    assert about(late[0], "id", "gross", "currency") == (struck["line_late"]["id"], "10.00", "EUR")
    assert about(foreign[0], "id", "gross", "currency") == (struck["line_currency"]["id"], "10.00", "USD")
    assert {(total(file), file[-1]["type"]) for file in (rows, late, foreign)} == {(Decimal(0), "payout")}


def test_a_rate_with_a_seed_strikes_the_same_lines_again(buyer: Buyer, days: Days, sandbox: SandboxCompany) -> None:
    token, struck = buyer.token(), []
    for _ in range(2):
        charges = [buyer.charge(token, amount=1_00).json()["id"] for _ in range(12)]
        sandbox.fault(operation="settlement", kind="line_missing", rate=0.5, seed=7)
        batch = batch_of(days.end())
        struck.append([charges.index(one["object_id"]) for one in days.planted() if one["file"] == batch])
    assert struck[0] == struck[1]
    assert 0 < len(struck[0]) < 12


def test_a_switch_may_name_the_batch(buyer: Buyer, days: Days, sandbox: SandboxCompany) -> None:
    buyer.charged()
    sandbox.fault(operation="settlement", kind="line_missing", reference="sb-19991231-eur")
    assert len(days.settled(days.end())) == 2
    assert days.planted() == []


def test_a_late_line_may_wait_for_days(buyer: Buyer, days: Days, sandbox: SandboxCompany) -> None:
    late = buyer.charged(amount=10_00)
    sandbox.fault(operation="settlement", kind="line_late", reference=late["key"], times=1, delay_s=2 * 24 * 3600)
    settled = []
    for _day in range(3):
        buyer.charged(amount=1_00)
        settled.append([row["id"] for row in days.settled(days.end())])
    assert [late["id"] in ids for ids in settled] == [False, False, True]


def test_a_bank_books_wrongly_and_its_statement_adds_up(days: Days, sandbox: SandboxCompany) -> None:
    made = {}
    kinds = ("line_missing", "line_doubled", "line_amount", "line_extra", "line_currency", "line_late")
    for kind in kinds:
        made[kind] = Platform(sandbox.client).paid_out(reference=f"po_{kind}")["id"]
        sandbox.fault(operation="statement", kind=kind, reference=f"po_{kind}", times=1)
    day, next_day = days.end(), days.end()
    listed = days.statements(day, format="mt940")["EUR"]
    assert sorted(booked_in(days, listed)) == ["10,00"] * 4 + ["10,01"]
    assert listed["closing"] - listed["opening"] == -50_01
    later = days.statements(next_day, format="mt940")
    assert {currency: booked_in(days, one) for currency, one in later.items()} == {"EUR": ["10,00"], "USD": ["10,00"]}
    planted = {one["kind"]: one for one in days.planted()}
    assert {kind: (one["operation"], one["object_id"], one["gross"]) for kind, one in planted.items()} == {
        kind: ("statement", payout_id, -10_00) for kind, payout_id in made.items()
    }
    assert planted["line_extra"]["invented"] in days.file_of(listed).decode()


def booked_in(days: Days, listed: dict[str, Any]) -> list[str]:
    content = days.file_of(listed, format="mt940").decode()
    return [line[15:20] for line in content.splitlines() if line.startswith(":61:")]


def test_the_payment_of_a_batch_may_name_the_one_before(buyer: Buyer, days: Days, sandbox: SandboxCompany) -> None:
    buyer.charged(amount=10_00)
    first = batch_of(days.end())
    buyer.charged(amount=20_00)
    sandbox.fault(operation="statement", kind="line_batch")  # strikes no payment of a batch that none was before
    second = batch_of(days.end())
    statement = days.statements(days.end())["EUR"]
    assert f"<EndToEndId>{first}</EndToEndId>" in days.file_of(statement).decode()
    assert [(one["kind"], one["object_id"]) for one in days.planted()][-1] == ("line_batch", second)


def test_what_has_no_such_thing_is_not_struck_by_it(sandbox: SandboxCompany) -> None:
    for operation, kind in (("statement", "line_fee"), ("settlement", "line_batch")):
        answer = sandbox.client.put("/v1/faults", json={"operation": operation, "kind": kind})
        assert answer.status_code == 400

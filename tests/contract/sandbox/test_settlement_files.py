"""A day that is over is settled once: each movement of money is in the file, the PSP's fee is kept, and the sum of all is paid to the bank."""

import hashlib
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.contract.sandbox.conftest import Buyer, Clock, eventually
from tests.contract.sandbox.days import Days, about, rows_of, total
from tests.fixtures_services import SandboxCompany

HEADER = "batch,closed_on,line,type,id,charge,key,method,currency,gross,fee,net,occurred_at"
FORMS = ("sandbox", "adyen", "stripe_payout", "stripe_balance")


def test_a_batch_has_every_movement_and_sums_to_nothing(buyer: Buyer, days: Days) -> None:
    kept, returned, disputed = buyer.charged(amount=100_00), buyer.charged("5555555555554444", amount=10_00), buyer.charged(amount=1)
    refund = buyer.refund(returned, amount=4_00).json()
    won = buyer.dispute(disputed).json()
    buyer.decide(won, "won").raise_for_status()
    day = days.end()
    content = days.file_of(days.batches(day)["EUR"])
    rows = rows_of(content)
    assert content.decode().splitlines()[0] == HEADER
    assert [about(row, "type", "id", "charge", "key", "method", "gross", "fee", "net") for row in rows] == [
        ("charge", kept["id"], kept["id"], kept["key"], "visa", "100.00", "1.65", "98.35"),
        ("charge", returned["id"], returned["id"], returned["key"], "mastercard", "10.00", "0.39", "9.61"),
        ("charge", disputed["id"], disputed["id"], disputed["key"], "visa", "0.01", "0.25", "-0.24"),
        ("refund", refund["id"], returned["id"], refund["key"], "mastercard", "-4.00", "0.00", "-4.00"),
        ("dispute", won["id"], disputed["id"], disputed["key"], "visa", "-0.01", "0.00", "-0.01"),
        ("dispute_fee", won["id"], disputed["id"], disputed["key"], "visa", "0.00", "15.00", "-15.00"),
        ("dispute_won", won["id"], disputed["id"], disputed["key"], "visa", "0.01", "0.00", "0.01"),
        ("payout", f"sb-{day.replace('-', '')}-eur", "", "", "", "-88.72", "0.00", "-88.72"),
    ]
    assert total(rows) == 0
    assert [row["line"] for row in rows] == [str(number) for number in range(1, 9)]


def test_the_same_file_has_the_same_bytes_whenever_it_is_asked_for(buyer: Buyer, days: Days) -> None:
    buyer.charged()
    day = days.end()
    for form in FORMS:
        listed = days.batches(day, format=form)["EUR"]
        first = days.file_of(listed, format=form)
        buyer.charged()
        assert days.file_of(listed, format=form) == first
        assert (listed["size"], listed["sha256"]) == (len(first), hashlib.sha256(first).hexdigest())


def test_what_a_batch_lacks_is_carried_over_to_the_next(buyer: Buyer, days: Days) -> None:
    charge = buyer.charged(amount=50_00)
    days.end()
    buyer.refund(charge, amount=50_00).raise_for_status()
    lacking = days.end()
    buyer.charged(amount=100_00)
    last = days.end()
    assert [about(row, "type", "net") for row in days.settled(lacking)] == [("refund", "-50.00"), ("carried_over", "50.00")]
    assert [about(row, "type", "net") for row in days.settled(last)] == [
        ("carried_over", "-50.00"), ("charge", "98.35"), ("payout", "-48.35"),
    ]  # fmt: skip
    of_stripe = [[about(row, "reporting_category", "net") for row in days.settled(day, form="stripe_payout")] for day in (lacking, last)]
    assert of_stripe == [
        [("refund", "-50.00"), ("payout_minimum_balance_release", "50.00")],
        [("payout_minimum_balance_hold", "-50.00"), ("charge", "98.35"), ("payout", "-48.35")],
    ]


def test_a_charge_voided_on_its_day_is_in_no_file_and_later_it_goes_back_with_its_fee(buyer: Buyer, days: Days, clock: Clock) -> None:
    clock.advance(hours=12)  # in the middle of the day: what is older than a day is not voided any more
    at_once, later = (uuid.uuid4().hex for _ in range(2))
    token = buyer.token()
    buyer.charge(token, key=at_once).raise_for_status()
    assert buyer.void(at_once).json()["status"] == "voided"
    made = buyer.charge(token, key=later, amount=10_00).json()
    first = days.end()
    assert buyer.void(later).json()["status"] == "voided"
    second = days.end()
    assert [about(row, "type", "key", "net") for row in days.settled(first)[:-1]] == [("charge", later, "9.61")]
    assert about(days.settled(second)[0], "type", "id", "key", "gross", "fee", "net") == (
        "refund",
        made["id"],
        later,
        "-10.00",
        "-0.39",
        "-9.61",
    )


def test_a_refund_that_bounces_comes_back_only_if_it_had_gone(buyer: Buyer, days: Days, clock: Clock, sandbox: SandboxCompany) -> None:
    bounced = buyer.refund(buyer.charged("4000000000005126"), amount=1_00).json()
    never_gone = buyer.refund(buyer.charged("4000000000009151"), amount=1_00).json()
    clock.advance(minutes=1)
    eventually(lambda: all(sandbox.journal(object_id=one["id"], type="refund.failed") for one in (bounced, never_gone)), "both failed")
    rows = [row for row in days.settled(days.end()) if row["type"].startswith("refund")]
    assert [about(row, "type", "id", "net") for row in rows] == [
        ("refund", bounced["id"], "-1.00"),
        ("refund_failed", bounced["id"], "1.00"),
    ]


def test_each_currency_has_a_batch_of_its_own_in_its_own_digits(buyer: Buyer, days: Days) -> None:
    charged = {}
    for currency, amount in (("EUR", 10_00), ("JPY", 1050), ("KWD", 10_000)):
        session = buyer.session(amount=amount, currency=currency)
        buyer.enter(session, "4242424242424242")
        charged[currency] = buyer.charge(buyer.show(session)["payment_token"], amount=amount, currency=currency).json()["id"]
    day = days.end()
    lines = [row for currency in charged for row in days.settled(day, currency=currency) if row["id"] == charged[currency]]
    assert [about(line, "currency", "gross", "fee", "net") for line in lines] == [
        ("EUR", "10.00", "0.39", "9.61"),
        ("JPY", "1050", "15", "1035"),
        ("KWD", "10.000", "0.390", "9.610"),
    ]


def test_the_day_is_closed_when_somebody_asks_after_its_end_and_not_before(buyer: Buyer, days: Days, clock: Clock) -> None:
    buyer.charged()
    assert days.batches(f"{clock.now():%Y-%m-%d}") == {}
    today = f"{clock.now():%Y-%m-%d}"
    clock.advance(days=1)
    first = days.batches(today)["EUR"]
    clock.reset()
    buyer.charged()
    assert days.batches(today)["EUR"] == first


@pytest.mark.race
def test_many_who_ask_at_once_close_the_day_once(buyer: Buyer, days: Days, clock: Clock, sandbox: SandboxCompany) -> None:
    charges = {buyer.charged()["id"] for _ in range(2)}
    today = f"{clock.now():%Y-%m-%d}"
    clock.advance(days=2)
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda path: sandbox.client.get(path), ["/v1/settlement_files", "/v1/bank_statements"] * 3))
    assert {answer.status_code for answer in answers} == {200}
    assert [row["id"] for row in days.settled(today) if row["type"] == "charge"] == sorted(charges)


def test_adyens_form_says_debit_and_credit_and_names_the_batch(buyer: Buyer, days: Days, sandbox: SandboxCompany) -> None:
    charge = buyer.charged(amount=10_00)
    refund = buyer.refund(charge, amount=4_00).json()
    buyer.dispute(charge, amount=1_00)
    rows = days.settled(days.end(), form="adyen")
    names = ("Type", "Psp Reference", "Merchant Reference", "Modification Reference", "Modification Merchant Reference")
    figures = ("Gross Debit (GC)", "Gross Credit (GC)", "Net Debit (NC)", "Net Credit (NC)", "Commission (NC)")
    batch = rows[0]["Batch Number"]
    of_charge = (charge["id"], charge["reference"])
    assert [(about(row, *names), about(row, *figures)) for row in rows] == [
        (("Settled", *of_charge, charge["id"], charge["reference"]), ("", "10.00", "", "9.61", "0.39")),
        (("Refunded", *of_charge, refund["id"], refund["reference"]), ("4.00", "", "4.00", "", "0.00")),
        (("Chargeback", *of_charge, rows[2]["Modification Reference"], charge["reference"]), ("1.00", "", "1.00", "", "0.00")),
        (("Fee", *of_charge, rows[2]["Modification Reference"], ""), ("", "", "15.00", "", "")),
        (("Balancetransfer", "", "", f"{batch} batch, {sandbox.account}", ""), ("", "", "", "10.39", "")),
    ]
    assert len(rows[0]) == 30


def test_stripes_forms_name_the_payout_and_its_category(buyer: Buyer, days: Days) -> None:
    charge = buyer.charged(amount=100_00)
    refund = buyer.refund(charge, amount=4_00).json()
    day = days.end()
    rows, balance = (days.settled(day, form=form) for form in ("stripe_payout", "stripe_balance"))
    names = ("reporting_category", "source_id", "charge_id", "gross", "fee", "net")
    batch = days.batches(day)["EUR"]["batch"]
    assert [about(row, *names) for row in rows] == [
        ("charge", charge["id"], charge["id"], "100.00", "1.65", "98.35"),
        ("refund", refund["id"], charge["id"], "-4.00", "0.00", "-4.00"),
        ("payout", batch, "", "-94.35", "0.00", "-94.35"),
    ]
    assert {row["automatic_payout_id"] for row in rows} == {batch}
    assert [about(row, *names) for row in balance] == [about(row, *names) for row in rows[:2]]
    assert about(rows[1], "payment_metadata[order]", "refund_metadata[refund]") == (charge["reference"], refund["reference"])


@pytest.mark.parametrize(
    ("path", "status", "field"),
    [
        ("/v1/settlement_files?format=pdf", 400, "format"),
        ("/v1/settlement_files?after=x", 400, "after"),
        ("/v1/settlement_files/99999999999", 404, None),
        ("/v1/bank_statements?version=03", 400, "version"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(sandbox: SandboxCompany, path: str, status: int, field: str | None) -> None:
    answer = sandbox.client.get(path)
    told: dict[str, Any] = answer.json()["error"]
    assert (answer.status_code, told["field"]) == (status, field)

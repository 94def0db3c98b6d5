"""The books over REST."""

import copy
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from ledger import api as ledger_api
from ledger import journal
from tests.contract.api.conftest import Caller, stored


@pytest.fixture
def accounts(db: None) -> None:
    with transaction.atomic():
        journal.open_accounts(["psp_fees", "operating_bank", "suspense", "seller_pending:1"], currency="EUR")


@pytest.fixture
def entry(accounts: None) -> dict[str, Any]:
    return {
        "reference": "correction-1",
        "memo": "PSP fee of October",
        "effective_at": "2026-11-01T10:00:00Z",
        "postings": [
            {"account": "psp_fees", "side": "debit", "amount": {"amount": "12.50", "currency": "EUR"}},
            {"account": "operating_bank", "side": "credit", "amount": {"amount": "12.50", "currency": "EUR"}},
        ],
    }


def test_an_entry_is_posted_once_per_reference(api: Caller, entry: dict[str, Any]) -> None:
    posted = api.post("/v1/ledger", entry)
    again = api.post("/v1/ledger", entry)
    assert (posted.status_code, again.status_code) == (201, 200)
    assert posted.json() == again.json()
    said = posted.json()
    assert said["id"].startswith("je_")
    assert (said["object"], said["kind"], said["reference"], said["memo"]) == (
        "journal_entry",
        "manual",
        "correction-1",
        "PSP fee of October",
    )
    assert said["effective_at"] == "2026-11-01T10:00:00Z"
    assert said["postings"] == entry["postings"]
    assert api.get(f"/v1/ledger/entries/{said['id']}").json() == said
    assert api.get("/v1/ledger/entries", reference="correction-1").json()["data"] == [said]


def test_another_entry_under_the_same_reference_is_refused(api: Caller, entry: dict[str, Any]) -> None:
    api.post("/v1/ledger", entry)
    for leg in entry["postings"]:
        leg["amount"]["amount"] = "13.00"
    answer = api.post("/v1/ledger", entry)
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (409, "reference_already_posted", "reference")


WRONG: list[tuple[Any, str, str]] = [
    (lambda e: e.pop("reference"), "required", "reference"),
    (lambda e: e.update(reference="ord_" + "0" * 32), "reference_reserved", "reference"),
    (lambda e: e.update(reference="re_" + "0" * 32 + ":2"), "reference_reserved", "reference"),
    (lambda e: e.update(kind="sale"), "unknown_field", "kind"),
    (lambda e: e.update(effective_at="2026-11-01"), "wrong_type", "effective_at"),
    (lambda e: e.update(effective_at="2026-11-01T10:00:00"), "wrong_type", "effective_at"),
    (lambda e: e.update(effective_at=1793527200), "wrong_type", "effective_at"),
    (lambda e: e.update(effective_at="9999-12-31T23:59:59Z"), "out_of_range", "effective_at"),
    (lambda e: e.update(memo="a\nb"), "forbidden_character", "memo"),
    (lambda e: e.update(postings=[]), "empty", "postings"),
    (lambda e: e.update(postings=e["postings"] * 501), "too_long", "postings"),
    (lambda e: e["postings"].pop(), "entry_does_not_balance", "postings"),
    (lambda e: e["postings"][0].update(side="credit"), "entry_does_not_balance", "postings"),
    (lambda e: e["postings"][0].update(side="left"), "invalid_choice", "postings[0].side"),
    (lambda e: e["postings"][0]["amount"].update(amount="12.51"), "entry_does_not_balance", "postings"),
    (lambda e: e["postings"][0]["amount"].update(amount="-12.50"), "amount_not_positive", "postings[0].amount.amount"),
    (lambda e: e["postings"][0]["amount"].update(amount=12.5), "must_be_a_string", "postings[0].amount.amount"),
    (lambda e: e["postings"][0]["amount"].update(amount="12.505"), "finer_than_minor_unit", "postings[0].amount.amount"),
    (lambda e: e["postings"][0]["amount"].update(currency="USD"), "entry_does_not_balance", "postings"),
    (lambda e: e["postings"][1].update(account="seller_pending:1"), "wallet_account_refused", "postings[1].account"),
    (lambda e: e["postings"][1].update(account="seller_available:1"), "wallet_account_refused", "postings[1].account"),
    (lambda e: e["postings"][1].update(account="seller_reserved:9"), "wallet_account_refused", "postings[1].account"),
    (lambda e: e["postings"][1].update(account="suspense"), "suspense_account_refused", "postings[1].account"),
    (lambda e: e["postings"][1].update(account="payouts_in_transit"), "unknown_account", "postings[1].account"),
    (lambda e: e["postings"][1].update(account="disputed:sandbox"), "unknown_account", "postings[1].account"),
    (lambda e: e["postings"][1].update(account="cash"), "unknown_account", "postings[1].account"),
    (lambda e: e["postings"][1].update(account="fee_revenue"), "unknown_account", "account"),
    (lambda e: e["postings"][1].update(account="suspense:x"), "unknown_account", "account"),
]


@pytest.mark.parametrize(("spoil", "code", "field"), WRONG)
def test_a_wrong_entry_is_refused(api: Caller, entry: dict[str, Any], spoil: Any, code: str, field: str) -> None:
    spoil(wrong := copy.deepcopy(entry))
    before = stored()
    answer = api.post("/v1/ledger", wrong)
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, code, field)
    assert stored() == before


def test_sec_29_an_entry_of_more_than_a_key_may_post_alone_is_refused(api: Caller, entry: dict[str, Any], settings: Any) -> None:
    settings.API_ENTRY_LIMITS = {"EUR": Decimal("12.50")}
    assert api.post("/v1/ledger", entry).status_code == 201
    settings.API_ENTRY_LIMITS = {"EUR": Decimal("12.49"), "USD": Decimal(0)}
    answer = api.post("/v1/ledger", entry | {"reference": "correction-2"})
    assert (answer.status_code, answer.json()["code"]) == (409, "approval_needed")
    assert "correction-2 moves 12.50 EUR" in answer.json()["detail"]


def test_an_entry_in_two_currencies_balances_in_each(api: Caller, entry: dict[str, Any]) -> None:
    with transaction.atomic():
        journal.open_accounts(["psp_fees", "operating_bank"], currency="JPY")
    entry["postings"] += [
        {"account": "psp_fees", "side": "debit", "amount": {"amount": "7", "currency": "JPY"}},
        {"account": "operating_bank", "side": "credit", "amount": {"amount": "7", "currency": "JPY"}},
    ]
    assert api.post("/v1/ledger", entry).status_code == 201


def test_an_entry_without_a_date_is_effective_now(api: Caller, entry: dict[str, Any]) -> None:
    del entry["effective_at"], entry["memo"]
    answer = api.post("/v1/ledger", entry).json()
    assert answer["effective_at"][:13] == answer["booked_at"][:13]


def test_balances_statements_and_the_trial_balance_agree(api: Caller, entry: dict[str, Any]) -> None:
    api.post("/v1/ledger", entry)
    balance = api.get("/v1/ledger/accounts/psp_fees/balance", currency="EUR").json()
    assert (balance["type"], balance["as_of"], balance["balance"]) == ("expense", None, {"amount": "12.50", "currency": "EUR"})
    before = api.get("/v1/ledger/accounts/psp_fees/balance", currency="EUR", as_of="2026-11-01T10:00:00Z").json()
    assert before["balance"]["amount"] == "0.00"
    trial = api.get("/v1/ledger").json()
    assert {(line["kind"], line["debits"]["amount"], line["credits"]["amount"]) for line in trial["lines"]} == {
        ("psp_fees", "12.50", "0.00"),
        ("operating_bank", "0.00", "12.50"),
    }
    assert api.get("/v1/ledger", as_of="2026-10-31T00:00:00Z").json()["lines"] == []
    november = {"currency": "EUR", "since": "2026-11-01T00:00:00Z", "until": "2026-12-01T00:00:00+00:00"}
    statement = api.get("/v1/ledger/accounts/operating_bank/statement", **november).json()
    assert (statement["opening"]["amount"], statement["closing"]["amount"]) == ("0.00", "-12.50")
    assert [(line["reference"], line["amount"]["amount"], line["balance"]["amount"]) for line in statement["lines"]] == [
        ("correction-1", "-12.50", "-12.50")
    ]


@pytest.mark.parametrize(
    ("query", "code", "field"),
    [
        ({}, "required", "currency"),
        ({"currency": "EUR", "since": "2026-11-01T00:00:00Z", "until": "2026-11-01T00:00:00Z"}, "not_later", "until"),
        ({"currency": "EUR", "since": "2026-11-01T00:00:00Z"}, "required", "until"),
        ({"currency": "EUR", "since": "2026-11-01T00:00:00Z", "until": "2026-12-01T00:00:00Z", "page": "2"}, "unknown_field", "page"),
    ],
)
def test_a_wrong_statement_is_refused(api: Caller, accounts: None, query: dict[str, str], code: str, field: str) -> None:
    answer = api.get("/v1/ledger/accounts/psp_fees/statement", **query)
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, code, field)


def test_a_statement_of_too_many_lines_is_refused(api: Caller, entry: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_api, "MOST_LINES", 1)
    november = {"currency": "EUR", "since": "2026-11-01T00:00:00Z", "until": "2026-12-01T00:00:00Z"}
    api.post("/v1/ledger", entry)
    assert api.get("/v1/ledger/accounts/psp_fees/statement", **november).status_code == 200
    api.post("/v1/ledger", entry | {"reference": "correction-2"})
    answer = api.get("/v1/ledger/accounts/psp_fees/statement", **november)
    assert (answer.status_code, answer.json()["code"]) == (400, "statement_too_long")


def test_accounts_and_entries_are_listed_and_filtered(api: Caller, entry: dict[str, Any]) -> None:
    api.post("/v1/ledger", entry)
    assert len(api.get("/v1/ledger/accounts").json()["data"]) == 4
    [account] = api.get("/v1/ledger/accounts", kind="seller_pending", currency="EUR").json()["data"]
    assert account == {
        "object": "ledger_account",
        "code": "seller_pending:1",
        "kind": "seller_pending",
        "type": "liability",
        "currency": "EUR",
    }
    assert len(api.get("/v1/ledger/entries", account="psp_fees", kind="manual").json()["data"]) == 1
    assert api.get("/v1/ledger/entries", account="suspense").json()["data"] == []


def test_a_page_of_entries_costs_the_same_number_of_queries_however_long_it_is(api: Caller, entry: dict[str, Any]) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert api.get("/v1/ledger/entries", limit=100).status_code == 200
        return len(captured)

    api.post("/v1/ledger", entry)
    for_one = queries()
    for number in range(5):
        api.post("/v1/ledger", entry | {"reference": f"more-{number}"})
    assert queries() == for_one

"""Payouts of the sandbox's bank: each account ends as the list of test accounts says, and a key pays once."""

import hashlib
import hmac
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
import psycopg
import pytest

from tests.contract.sandbox.conftest import Buyer, Clock, deliveries_of, eventually, told_about
from tests.fixtures_services import SandboxCompany

PAID_AT_ONCE = "AT611904300234573201"
PENDING_THEN_PAID = "AT321904300235473204"
RETURNED = "AT591904300235473203"
ANYBODYS = "DE89370400440532013000"  # on no list of test accounts
OF_COURSE = {
    "paid": ["paid"],
    "pending_then_paid": ["pending", "paid"],
    "fails": ["failed"],
    "pending_then_fails": ["pending", "failed"],
    "paid_then_returned": ["paid", "returned"],
}


@dataclass(frozen=True)
class Platform:
    """Somebody who pays sellers out through the sandbox's bank."""

    http: httpx.Client

    def pay_out(self, iban: str = PAID_AT_ONCE, *, key: str = "", **terms: Any) -> httpx.Response:
        """Pay out 10.00 EUR, unless said otherwise."""
        wanted = {
            "amount": 10_00,
            "currency": "EUR",
            "reference": "po_1",
            "holder": "Fern & Co",
            "account": {"iban": iban},
            "statement_text": "Sales of October",
            **terms,
        }
        return self.http.post("/v1/payouts", json=wanted, headers={"Idempotency-Key": key or uuid.uuid4().hex})

    def paid_out(self, iban: str = PAID_AT_ONCE, **terms: Any) -> dict[str, Any]:
        answer = self.pay_out(iban, **terms)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def find(self, key: str) -> list[dict[str, Any]]:
        return list(self.http.get("/v1/payouts", params={"key": key}).json()["data"])

    def now_is(self, payout: dict[str, Any]) -> dict[str, Any]:
        return dict(self.http.get(f"/v1/payouts/{payout['id']}").json())

    def becomes(self, payout: dict[str, Any], status: str) -> dict[str, Any]:
        """Wait until the payout is this."""

        def found() -> dict[str, Any] | None:
            shown = self.now_is(payout)
            return shown if shown["status"] == status else None

        return dict(eventually(found, f"{payout['id']} is {status}"))

    def changed_since(self, moment: str, *mine: dict[str, Any]) -> list[dict[str, Any]]:
        """List what changed, but for other tests' payouts, which the clock may have moved."""
        listed = self.http.get("/v1/payouts", params={"updated_since": moment, "limit": 1000}).json()["data"]
        return [payout for payout in listed if payout["id"] in {one["id"] for one in mine}]


@pytest.fixture
def platform(sandbox: SandboxCompany) -> Platform:
    return Platform(sandbox.client)


def test_the_same_key_twice_is_one_payout_and_the_same_answer(platform: Platform, sandbox: SandboxCompany) -> None:
    key = uuid.uuid4().hex
    first, second = platform.pay_out(key=key), platform.pay_out(f"{PAID_AT_ONCE[:4]} {PAID_AT_ONCE[4:].lower()}", key=key)
    assert (first.status_code, second.status_code, second.content) == (201, 201, first.content)
    assert second.headers["Idempotent-Replayed"] == "true"
    for other in (platform.pay_out(key=key, amount=10_01), platform.pay_out(ANYBODYS, key=key), platform.pay_out(key=key, holder="X")):
        assert (other.status_code, other.json()["error"]["code"]) == (422, "key_reused")
    [row] = sandbox.journal(key=key)
    told = [row[name] for name in ("type", "object_id", "reference", "amount", "currency")]
    assert told == ["payout.paid", first.json()["id"], "po_1", 10_00, "EUR"]
    assert platform.find(key) == [first.json()] == [platform.now_is(first.json())]


@pytest.mark.race
def test_twenty_calls_at_once_with_one_key_pay_once(platform: Platform, sandbox: SandboxCompany) -> None:
    key = uuid.uuid4().hex
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: platform.pay_out(key=key), range(20)))
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert sum(answer.status_code == 201 and "Idempotent-Replayed" not in answer.headers for answer in answers) == 1
    assert len(sandbox.journal(key=key)) == 1


def test_every_test_account_ends_as_the_list_says(platform: Platform, clock: Clock, sandbox: SandboxCompany) -> None:
    known = sandbox.client.get("/v1/test_accounts").json()["data"]
    assert {account["payout"] for account in known} == set(OF_COURSE)
    known.append({"account": {"iban": ANYBODYS}, "payout": "pending_then_paid", "failure": None})
    known.append({"account": {"country": "SG", "account_number": "000-123456", "bank_code": "7339"}, "payout": "pending_then_paid"})
    made = [platform.paid_out(account=account["account"]) for account in known]
    assert [payout["status"] for payout in made] == [OF_COURSE[account["payout"]][0] for account in known]
    clock.advance(days=3, seconds=1)
    for payout, account in zip(made, known, strict=True):
        course = OF_COURSE[account["payout"]]
        ended = platform.becomes(payout, course[-1])
        assert ended["failure"] == (account["failure"] if course[-1] in ("failed", "returned") else None)
        assert [row["type"] for row in sandbox.journal(object_id=payout["id"])] == [f"payout.{status}" for status in course]


def test_f_19_what_takes_three_days_takes_no_less(platform: Platform, clock: Clock, sandbox: SandboxCompany) -> None:
    sandbox.fault(operation="payout", kind="pending_72h", times=1)
    slow, bounced = platform.paid_out(), platform.paid_out(RETURNED)
    clock.advance(hours=71, minutes=58)
    last = platform.paid_out(PENDING_THEN_PAID)
    clock.advance(minutes=1)
    platform.becomes(last, "paid")  # what was to ripen has ripened
    assert (platform.now_is(slow)["status"], platform.now_is(bounced)["status"]) == ("pending", "paid")
    clock.advance(minutes=2)
    platform.becomes(slow, "paid")
    returned = platform.becomes(bounced, "returned")
    assert returned["failure"]["code"] == "account_closed"
    assert returned["updated_at"] > bounced["updated_at"] == bounced["created_at"] == returned["created_at"]


def test_f_05_what_was_paid_before_the_line_broke_is_found_by_its_key(platform: Platform, sandbox: SandboxCompany) -> None:
    key = uuid.uuid4().hex
    sandbox.fault(operation="payout", kind="execute_then_reset", card=PAID_AT_ONCE[-4:], times=1)
    with pytest.raises(httpx.TransportError):
        platform.pay_out(key=key)
    [found] = platform.find(key)
    assert (found["status"], found["reference"], found["account_last4"]) == ("paid", "po_1", "3201")
    assert platform.pay_out(key=key).json() == found


def test_f_08_f_20_f_21_a_payout_is_refused_hidden_and_paid_twice(platform: Platform, clock: Clock, sandbox: SandboxCompany) -> None:
    refused, hidden, pruned = (uuid.uuid4().hex for _ in range(3))
    for key, kind in ((refused, "refuse_500"), (hidden, "status_lags"), (pruned, "prune_keys")):
        sandbox.fault(operation="payout", kind=kind, reference=key)
    assert (platform.pay_out(key=refused).status_code, sandbox.journal(key=refused)) == (500, [])
    platform.paid_out(key=hidden)
    assert (platform.find(hidden), len(sandbox.journal(key=hidden))) == ([], 1)
    clock.advance(seconds=31)
    assert len(platform.find(hidden)) == 1
    assert platform.paid_out(key=pruned)["id"] != platform.paid_out(key=pruned)["id"]
    assert len(platform.find(pruned)) == 2


def test_what_changed_is_listed_by_its_last_change(platform: Platform, clock: Clock) -> None:
    begun = clock.now().isoformat()
    bounced, other = platform.paid_out(RETURNED), platform.paid_out()
    assert platform.changed_since(begun, bounced, other) == [bounced, other]
    assert platform.changed_since(other["updated_at"], bounced, other) == [other]
    first = platform.http.get("/v1/payouts", params={"updated_since": begun, "limit": 1}).json()
    assert (len(first["data"]), first["has_more"]) == (1, True)
    clock.advance(days=3)
    returned = platform.becomes(bounced, "returned")
    assert platform.changed_since(begun, bounced, other) == [other, returned]


def test_a_payout_is_told_with_a_signature_and_to_an_address_of_its_own(platform: Platform, buyer: Buyer, sandbox: SandboxCompany) -> None:
    sandbox.letterbox.payouts_to = f"{sandbox.url}/v1/nowhere"  # answers 404
    payout, charge = platform.paid_out(), buyer.charged()
    event = told_about(sandbox, payout["id"])[0]
    assert (event["type"], event["account"], event["data"]["object"]) == ("payout.paid", sandbox.account, payout)
    for head, body in list(sandbox.letterbox.deliveries):
        names = {name.lower(): value for name, value in head.items()}
        signed = dict(part.split("=", 1) for part in names["sandbox-signature"].split(","))
        expected = hmac.new(sandbox.webhook_secret.encode(), f"{signed['t']}.".encode() + body, hashlib.sha256).hexdigest()
        assert hmac.compare_digest(signed["v1"], expected)
    results = {subject: _last_result(sandbox, subject) for subject in (payout["id"], charge["id"])}
    assert [eventually(result, "an answer") for result in results.values()] == ["HTTP 404", "HTTP 200"]


def _last_result(sandbox: SandboxCompany, object_id: str) -> Callable[[], str]:
    return lambda: str(deliveries_of(sandbox, object_id)[0]["last_result"])


@pytest.mark.parametrize(
    ("wrong", "code", "field"),
    [
        ({"account": {"iban": "AT611904300234573202"}}, "invalid_account", "account.iban"),
        ({"account": {"iban": "611904300234573201"}}, "invalid_account", "account.iban"),
        (
            {"account": {"country": "US", "account_number": "000123456789", "bank_code": "110000001"}},
            "invalid_account",
            "account.bank_code",
        ),
        ({"account": {"country": "US", "account_number": "", "bank_code": "110000000"}}, "invalid_account", "account.account_number"),
        ({"account": {"iban": PAID_AT_ONCE, "country": "AT"}}, "invalid_field", "account"),
        ({"account": PAID_AT_ONCE}, "invalid_field", "account"),
        ({"holder": " "}, "invalid_field", "holder"),
        ({"holder": None}, "missing_field", "holder"),
        ({"amount": 0}, "invalid_field", "amount"),
        ({"note": "x"}, "unknown_field", "note"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_paid(
    platform: Platform, sandbox: SandboxCompany, wrong: dict[str, Any], code: str, field: str
) -> None:
    key = uuid.uuid4().hex
    answer = platform.pay_out(key=key, **wrong)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["field"]) == (400, code, field)
    assert PAID_AT_ONCE not in answer.text
    assert sandbox.journal(key=key) == []


def test_no_table_holds_an_account_number(platform: Platform, sandbox_database: psycopg.Connection[tuple[Any, ...]]) -> None:
    platform.paid_out(ANYBODYS, reference="scan")
    dumped = [
        str(sandbox_database.execute(f"SELECT string_agg(line::text, ' ') FROM {table} AS line WHERE line::text LIKE '%scan%'").fetchone())
        for table in ("sandbox_payout", "sandbox_journal", "sandbox_storedanswer", "sandbox_delivery")
    ]
    assert all("scan" in text for text in dumped)
    assert not any("370400440532013000" in text or "0532013000" in text for text in dumped)


def test_the_front_page_lists_the_test_accounts(sandbox: SandboxCompany) -> None:
    page = sandbox.client.get("/").text
    assert "AT61 1904 3002 3457 3201" in page
    assert "US 110000000 000111111113" in page
    assert "Any other account: pending, then paid" in page

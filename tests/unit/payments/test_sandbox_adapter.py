"""The adapter believes the PSP only as far as it must: signatures, amounts, references and shapes are checked."""

import hashlib
import hmac
import json
import random
from datetime import date, timedelta
from typing import Any

import httpx
import pytest

from ledger import line
from ledger.money import exact
from payments.psp import emvco
from payments.psp.protocol import (
    Charged,
    ChargeRequest,
    Declined,
    Instalment,
    Pending,
    PspOutcomeUnknown,
    PspRejectedRequest,
    PspUnavailable,
    SavedCardNotice,
    Voided,
    WebhookRefused,
)
from payments.psp.sandbox import SandboxPsp, outcome_of, result_of, session_of
from tests.factories import NOON

SECRET, OLDER_SECRET = "whsec_" + "n" * 30, "whsec_" + "o" * 30
CHARGE = {
    "id": "ch_1",
    "key": "ord_1",
    "reference": "ord_1",
    "status": "succeeded",
    "amount": 1999,
    "currency": "USD",
    "failure": None,
    "created_at": "2026-11-02T12:00:00.000000Z",
}
ASKED = ChargeRequest(key="ord_1", payment_token="tok_1", amount=exact("19.99", "USD"), reference="ord_1")
EVENT = {"id": "evt_1", "type": "charge.succeeded", "account": "acct_onebook", "data": {"object": CHARGE}}


def psp(*, secrets: list[str] | None = None) -> SandboxPsp:
    trusted = [SECRET, OLDER_SECRET] if secrets is None else secrets
    return SandboxPsp(url="http://127.0.0.1:1", api_key="sk", account="acct_onebook", webhook_secrets=trusted)


def signed(body: bytes, *, secret: str = SECRET, at: float = NOON.timestamp()) -> dict[str, str]:
    digest = hmac.new(secret.encode(), b"%d." % at + body, hashlib.sha256).hexdigest()
    return {"Sandbox-Signature": f"t={int(at)},v1={digest}"}


def body_of(**terms: Any) -> bytes:
    return json.dumps(EVENT | terms).encode()


def test_a_signed_event_says_what_became_of_our_key() -> None:
    notice = psp().verify_webhook(body_of(), signed(body_of()), now=NOON)
    assert (notice.event_id, notice.type, notice.key) == ("evt_1", "charge.succeeded", "ord_1")
    assert isinstance(notice.result, Charged)
    assert notice.result.amount == exact("19.99", "USD")


def test_of_a_card_only_what_can_be_is_believed() -> None:
    session = {"id": "cs_1", "nonce": "pay_1:1", "status": "complete", "amount": 1999, "currency": "USD", "payment_token": "tok_1"}
    session |= {"fields_url": "https://psp.example/f", "hosted_url": "https://psp.example/h", "method": "card"}
    for card, told in (
        ({"funding": "debit", "country": "AT"}, ("card", "debit", "AT")),
        ({"funding": "charge card", "country": "AUT"}, ("card", "", "")),
        ({"funding": None, "country": ["AT"]}, ("card", "", "")),
        (None, ("card", "", "")),
    ):
        read = session_of(session | {"card": card}, expected={"id": "cs_1"})
        assert (read.method, read.card_funding, read.card_country) == told, card


CODE = "00020101021226360016payments.sandbox0112ABCDEFGHJKLM520459995303978540512.345802AT5909NORTHWIND6004WIEN62160512ABCDEFGHJKLM6304"
SESSION: dict[str, Any] = {
    "id": "cs_1",
    "nonce": "pay_1:1",
    "status": "open",
    "method": "qr",
    "amount": 1234,
    "currency": "EUR",
    "payment_token": None,
    "fields_url": None,
    "hosted_url": "https://psp.example/h",
    "expires_at": "2026-11-02T12:05:00Z",
    "code_text": CODE + emvco.checksum(CODE),
    "failure": {"code": "canceled_by_buyer", "message": "The buyer cancelled."},
    "saved_card": {"token": "card_1", "brand": "visa", "funding": "debit", "last4": "4242", "exp_month": 12, "exp_year": 2034},
    "schedule": [{"due_date": "2026-11-02", "amount": 618}, {"due_date": "2026-12-02", "amount": 616}],
}
EXPECTED: dict[str, Any] = {"nonce": "pay_1:1", "amount": 1234, "currency": "EUR", "method": "qr"}


def test_of_a_session_everything_is_read() -> None:
    read = session_of(SESSION, expected=EXPECTED)
    assert (read.status, read.method, read.amount, read.fields_url) == ("open", "qr", exact("12.34", "EUR"), "")
    assert read.expires_at == NOON.replace(month=11, day=2, hour=12, minute=5)
    assert read.code_text == SESSION["code_text"]
    assert read.failure_code == "canceled_by_buyer"
    assert read.saved_card == SavedCardNotice("card_1", "visa", "4242", 12, 2034, "debit")
    assert list(read.schedule) == [
        Instalment(date(2026, 11, 2), exact("6.18", "EUR")),
        Instalment(date(2026, 12, 2), exact("6.16", "EUR")),
    ]


@pytest.mark.parametrize(
    "changed",
    [
        {"nonce": "pay_2:1"},
        {"amount": 1235},
        {"currency": "USD"},
        {"method": "card"},
        {"status": "paid"},
        {"status": ["open"]},
        {"code_text": CODE.replace("12.34", "12.35") + emvco.checksum(CODE.replace("12.34", "12.35"))},
        {"code_text": CODE + "0000"},
        {"code_text": 7},
        {"schedule": [{"due_date": "2026-11-02", "amount": 1233}]},
        {"schedule": [{"due_date": "2026-11-02", "amount": -1}, {"due_date": "2026-12-02", "amount": 1235}]},
        {"schedule": [{"due_date": "soon", "amount": 1234}]},
        {"schedule": [{"due_date": "2026-11-02", "amount": 1}] * 1234},
        {"schedule": 1234},
        {"saved_card": {"token": "card_1"}},
        {"saved_card": SESSION["saved_card"] | {"token": "../sessions"}},
        {"saved_card": SESSION["saved_card"] | {"exp_month": 13}},
        {"expires_at": "yesterday"},
    ],
)
def test_a_session_about_anything_else_than_was_asked_for_is_not_believed(changed: dict[str, Any]) -> None:
    with pytest.raises(PspOutcomeUnknown):
        session_of(SESSION | changed, expected=EXPECTED)


def test_a_card_is_only_forgotten_by_its_token() -> None:
    for token in ("", "../sessions/cs_1", "card_1?x", "a" * 101):
        with pytest.raises(PspRejectedRequest):
            psp().forget_card(token)


def test_sec_16_a_key_may_be_rotated_while_the_older_one_still_signs() -> None:
    for secret in (SECRET, OLDER_SECRET):
        assert psp().verify_webhook(body_of(), signed(body_of(), secret=secret), now=NOON).event_id == "evt_1"


@pytest.mark.parametrize("off_s", [-301, 301, -86400, 86400, 10**9])
def test_sec_15_an_old_or_future_signature_is_refused(off_s: int) -> None:
    with pytest.raises(WebhookRefused):
        psp().verify_webhook(body_of(), signed(body_of(), at=NOON.timestamp() + off_s), now=NOON)


@pytest.mark.parametrize("off_s", [-299, 0, 299])
def test_a_clock_may_differ_by_five_minutes(off_s: int) -> None:
    assert psp().verify_webhook(body_of(), signed(body_of()), now=NOON + timedelta(seconds=off_s)).event_id == "evt_1"


@pytest.mark.parametrize("secrets", [[], [""], ["short"], ["", "   "]])
def test_bug_49_without_a_real_secret_nothing_verifies(secrets: list[str]) -> None:
    for guess in ["", *secrets]:
        with pytest.raises(WebhookRefused):
            psp(secrets=secrets).verify_webhook(body_of(), signed(body_of(), secret=guess), now=NOON)


def test_bug_48_a_well_signed_event_of_another_account_is_refused() -> None:
    body = body_of(account="acct_other")
    with pytest.raises(WebhookRefused, match="another account"):
        psp().verify_webhook(body, signed(body), now=NOON)


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"<html>", b"[" * 100_000])
def test_a_well_signed_body_that_is_no_event_is_refused(body: bytes) -> None:
    with pytest.raises(WebhookRefused, match="the body is not an event"):
        psp().verify_webhook(body, signed(body), now=NOON)


def test_sec_14_no_changed_body_or_header_is_ever_believed() -> None:
    chance, body, header = random.Random(14), body_of(), signed(body_of())["Sandbox-Signature"]
    adapter = psp()
    for _round in range(3000):
        place, bit = chance.randrange(len(body)), 1 << chance.randrange(8)
        changed = body[:place] + bytes([body[place] ^ bit]) + body[place + 1 :]
        with pytest.raises(WebhookRefused):
            adapter.verify_webhook(changed, {"Sandbox-Signature": header}, now=NOON)
        place = chance.randrange(len(header))
        forged = header[:place] + chance.choice("0123456789abcdef,=tv.é ") + header[place + 1 :]
        if forged != header:
            with pytest.raises(WebhookRefused):
                adapter.verify_webhook(body, {"Sandbox-Signature": forged}, now=NOON)


@pytest.mark.parametrize("header", ["", "t=,v1=", "v1=abc", "t=１,v1=x", "t=-1,v1=x", "t=1e9,v1=x", "=", ",,,", "t=" + "9" * 400])
def test_a_header_that_is_none_is_refused(header: str) -> None:
    with pytest.raises(WebhookRefused):
        psp().verify_webhook(body_of(), {"Sandbox-Signature": header}, now=NOON)


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"{}", b'"x"', b"{", b"\xff\xfe", b'{"id": 1, "type": 2, "account": 3, "data": []}'])
def test_a_signed_body_of_another_shape_is_refused(body: bytes) -> None:
    with pytest.raises(WebhookRefused):
        psp().verify_webhook(body, signed(body), now=NOON)


@pytest.mark.parametrize(
    "changed",
    [
        {"amount": 1998},
        {"amount": "1999"},
        {"currency": "EUR"},
        {"reference": "ord_2"},
        {"key": "ord_1:2"},
        {"key": None},
        {"status": "reversed"},
        {"amount": None},
    ],
)
def test_sec_20_an_answer_about_something_else_is_an_unknown_outcome(changed: dict[str, Any]) -> None:
    with pytest.raises(PspOutcomeUnknown):
        result_of(CHARGE | changed, ASKED)


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        "ok",
        5,
        {},
        {"status": "succeeded"},
        CHARGE | {"created_at": "yesterday"},
        CHARGE | {"currency": "XXX"},
        CHARGE | {"amount": "19,99"},
        CHARGE | {"amount": True},
        CHARGE | {"amount": -1999},
        CHARGE | {"id": None},
        CHARGE | {"id": ""},
        CHARGE | {"id": "ch_\0"},
        CHARGE | {"id": "ch_\ud800"},
        CHARGE | {"id": "c" * 256},
        CHARGE | {"created_at": "2026-11-21T12:00:00"},
        CHARGE | {"created_at": "0001-01-01T00:00:00+23:00"},
        CHARGE | {"created_at": "9999-12-31T23:59:59-23:00"},
    ],
)
def test_sec_20_an_answer_that_is_no_charge_is_an_unknown_outcome(data: Any) -> None:
    with pytest.raises(PspOutcomeUnknown):
        result_of(data, ASKED)


@pytest.mark.parametrize(
    "changed",
    [
        {"id": 5},
        {"type": None},
        {"type": 5},
        {"data": {"object": CHARGE | {"key": 5}}},
        {"data": {"object": CHARGE | {"key": None}}},
    ],
)
def test_a_signed_event_whose_words_are_no_words_is_refused(changed: dict[str, Any]) -> None:
    body = body_of(**changed)
    with pytest.raises(WebhookRefused):
        psp().verify_webhook(body, signed(body), now=NOON)


def test_the_three_ends_of_a_charge() -> None:
    assert isinstance(outcome_of(CHARGE), Charged)
    assert outcome_of(CHARGE | {"status": "pending"}) == Pending("ch_1")
    failure = {"code": "expired_card", "message": "The card has expired."}
    assert outcome_of(CHARGE | {"status": "failed", "failure": failure}) == Declined("ch_1", "expired_card", "The card has expired.")
    assert outcome_of(CHARGE | {"status": "failed"}) == Declined("ch_1", "declined", "")


def test_a_voided_charge_took_nothing() -> None:
    assert outcome_of(CHARGE | {"status": "voided"}) == Declined("ch_1", "voided", "")


VOIDED = {"object": "void", "key": "ord_1", "status": "voided", "charge": None}


class Answering:
    """A line that gives one answer to everything."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def send(self, path: str, body: dict[str, Any], *, key: str = "") -> Any:
        return self.answer

    def ask(self, path: str, parameters: dict[str, str] | None = None) -> Any:
        return self.answer


def answering(answer: Any) -> SandboxPsp:
    adapter = psp()
    adapter._line = Answering(answer)  # type: ignore[assignment]
    return adapter


def test_a_void_says_that_nothing_is_taken_or_what_it_came_to() -> None:
    assert answering(VOIDED).void(ASKED) == Voided()
    assert isinstance(answering(VOIDED | {"status": "not_voidable", "charge": CHARGE}).void(ASKED), Charged)


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        {},
        VOIDED | {"key": "ord_2"},
        VOIDED | {"status": "teleported"},
        VOIDED | {"status": "not_voidable"},
        VOIDED | {"status": "not_voidable", "charge": CHARGE | {"amount": 5}},
        VOIDED | {"status": "not_voidable", "charge": CHARGE | {"status": "pending"}},
        VOIDED | {"status": None, "charge": CHARGE},
    ],
)
def test_sec_20_a_void_that_says_anything_else_is_an_unknown_outcome(answer: Any) -> None:
    with pytest.raises(PspOutcomeUnknown):
        answering(answer).void(ASKED)


def test_a_list_of_disputes_that_never_ends_is_given_up() -> None:
    with pytest.raises(PspOutcomeUnknown, match="more disputes"):
        answering({"data": [], "has_more": True}).disputes_since(NOON)


def test_a_balance_is_read_by_currency_and_may_be_below_zero() -> None:
    answer = {"data": [{"currency": "EUR", "amount": -250}, {"currency": "JPY", "amount": 7}]}
    assert answering(answer).taken(since=NOON, until=NOON) == [exact("-2.50", "EUR"), exact("7", "JPY")]


@pytest.mark.parametrize(
    "answer", [None, [], {}, {"data": [{"currency": "EUR", "amount": "5"}]}, {"data": [{"currency": "XXZ", "amount": 5}]}]
)
def test_sec_20_a_balance_that_is_none_is_not_believed(answer: Any) -> None:
    with pytest.raises(PspOutcomeUnknown):
        answering(answer).taken(since=NOON, until=NOON)


def test_sec_20_a_session_that_is_not_the_one_we_asked_for_is_an_unknown_outcome() -> None:
    session = {"id": "cs_1", "nonce": "pay_1", "status": "open", "amount": 5, "currency": "EUR", "fields_url": "", "hosted_url": ""}
    assert answering(session | {"payment_token": ""}).session("cs_1").id == "cs_1"
    with pytest.raises(PspOutcomeUnknown, match="another session"):
        answering(session | {"payment_token": ""}).session("cs_2")


@pytest.mark.parametrize(
    ("said", "waited_s"), [("", 0), ("7", 7), ("0", 0), ("999999999999", 3600), ("-5", 0), ("soon", 0), ("７", 0), ("1.5", 0)]
)
def test_f_09_a_wait_that_is_a_number_of_seconds_is_believed_up_to_an_hour(said: str, waited_s: int) -> None:
    response = httpx.Response(429, headers=[(b"Retry-After", said.encode())])
    with pytest.raises(PspUnavailable) as refusal:
        line.meaning_of(response, b"")
    assert refusal.value.retry_after_s == waited_s


@pytest.mark.parametrize("status", [100, 301, 408, 409, 410, 418, 422, 500, 502, 503, 504])
def test_a_status_that_may_hide_a_charge_is_an_unknown_outcome(status: int) -> None:
    with pytest.raises(PspOutcomeUnknown) as unknown:
        line.meaning_of(httpx.Response(status), b"{}")
    assert unknown.value.answered == (status == 409)


@pytest.mark.parametrize("status", [401, 403])
def test_a_psp_that_does_not_let_us_in_executed_nothing_and_is_tried_again(status: int, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(PspUnavailable, match="card_wrong: No") as unavailable:
        line.meaning_of(httpx.Response(status), b'{"error": {"code": "card_wrong", "message": "No\\u0000"}}')
    assert (unavailable.value.answered, [record.levelname for record in caplog.records]) == (False, ["ERROR"])


@pytest.mark.parametrize("status", [400, 404])
def test_a_request_that_was_read_and_refused_executed_nothing(status: int) -> None:
    with pytest.raises(PspRejectedRequest, match="card_wrong: No"):
        line.meaning_of(httpx.Response(status), b'{"error": {"code": "card_wrong", "message": "No\\u0000"}}')


def test_a_secret_is_not_told_by_how_the_adapter_looks() -> None:
    assert SECRET not in repr(psp())

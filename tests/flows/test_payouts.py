"""Payouts: taken off what is available when they are made, paid once whatever is lost on the way, and put back if they come to nothing."""

import hashlib
import hmac
import json
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.test import Client
from django.utils import timezone
from djmoney.money import Money

from ledger import queries as books
from ledger.approvals import AlreadyDecided, MakerMayNotApprove
from ledger.errors import DomainError
from payouts import bank_accounts, calls, executor, queries, requests, settlement, vault, wording
from payouts.bank_accounts import NewBankAccount
from payouts.models import BankAccount, Payout, PayoutSchedule, PayoutTransition
from payouts.providers import registry
from payouts.providers.protocol import Provider
from payouts.providers.sandbox import SandboxBank
from tests.factories import (
    FAILS_AT_ONCE,
    PAID_AT_ONCE,
    PENDING_THEN_PAID,
    PENDING_THEN_REFUSED,
    RETURNED_LATER,
    eur,
    make_available,
    new_bank_account,
    new_sellers,
    new_shop,
)
from tests.fixtures_money import Oracle
from tests.fixtures_services import SandboxCompany
from wallet import api_keys, holds
from wallet.models import ApiKey, OutboxMessage, Seller, SellerHold, Shop, Wallet

UseBank = Callable[..., None]


@pytest.fixture
def use_bank(monkeypatch: pytest.MonkeyPatch, sandbox: SandboxCompany) -> UseBank:
    """Put an adapter of the running sandbox, of other terms, in the place of the configured one."""

    def use(**terms: Any) -> None:
        said = {"url": sandbox.url, "api_key": sandbox.api_key, "account": sandbox.account, "webhook_secrets": [sandbox.webhook_secret]}
        bank: Provider = SandboxBank(**(said | terms))
        monkeypatch.setattr(registry, "provider_named", lambda _name: bank)

    return use


@pytest.fixture
def ada(shop: Shop, use_bank: UseBank) -> Seller:
    """Give a seller with 100.00 to pay out, and real commits, the bank and the oracle at the end."""
    return able_to_be_paid(shop)


@pytest.fixture
def bolt(db: None) -> Seller:
    """Give a seller with 100.00 to pay out, in a test that is rolled back."""
    return able_to_be_paid(new_shop())


def able_to_be_paid(shop: Shop, iban: str = PAID_AT_ONCE) -> Seller:
    [seller] = new_sellers(shop, "Ada")
    new_bank_account(seller, iban)
    make_available(seller, eur("100.00"))
    return seller


def ask(seller: Seller, amount: str | Money | None = "40.00", **terms: Any) -> Payout:
    wanted = eur(amount) if isinstance(amount, str) else amount
    said: dict[str, Any] = {"amount": wanted, "currency": "" if wanted else "EUR", "now": timezone.now(), "requested_by": "user:ada"}
    return requests.request_payout(seller, **(said | terms))


def execute(*, now: datetime | None = None) -> None:
    while executor.execute_due_payouts(now=now or timezone.now()):
        pass


def after(**time_passed: int) -> datetime:
    return timezone.now() + timedelta(**time_passed)


def pay_out(seller: Seller, iban: str, amount: str = "40.00") -> Payout:
    """Pay the seller out to an account that behaves so; return the payout as it stands after the first round."""
    if iban != PAID_AT_ONCE:
        BankAccount.objects.filter(seller=seller).update(replaced_at=timezone.now())
        new_bank_account(seller, iban)
        BankAccount.objects.filter(seller=seller, replaced_at=None).update(usable_from=timezone.now())
    payout = ask(seller, amount)
    execute()
    payout.refresh_from_db()
    return payout


def available(seller: Seller) -> Money:
    figure: Money = Wallet.objects.get(seller=seller, currency="EUR").available
    return figure


def balance(code: str) -> Money:
    return books.balance_of(code, currency="EUR")


def decide(sandbox: SandboxCompany, oracle: Oracle, what: str) -> None:
    """Let the bank come to an end with what is pending."""
    sandbox.client.put("/v1/clock", json={"advance_s": 5}).raise_for_status()
    oracle.wait_for(what, count=1)


def told(payout: Payout) -> list[tuple[str, int]]:
    return list(OutboxMessage.objects.filter(about=payout.public_id).order_by("id").values_list("topic", "sequence"))


def paid_at_bank(oracle: Oracle) -> list[str]:
    return [row["reference"] for row in oracle.rows("payout.paid")]


# --- Paid, failed, returned -------------------------------------------------------------------------------------------


def test_a_payout_goes_from_available_through_transit_to_the_bank(ada: Seller, oracle: Oracle) -> None:
    payout = ask(ada)
    assert (payout.status, available(ada), balance("payouts_in_transit")) == ("EXECUTING", eur("60.00"), eur("40.00"))
    execute()
    payout.refresh_from_db()
    assert (payout.status, payout.next_attempt_at, available(ada)) == ("SUCCESS", None, eur("60.00"))
    assert (balance("payouts_in_transit"), balance("operating_bank")) == (eur("0.00"), eur("60.00"))
    assert paid_at_bank(oracle) == [payout.public_id]
    assert told(payout) == [("payout.created", 1), ("payout.succeeded", 2)]
    assert [(each.operation, each.status) for each in payout.attempts.all()] == [("pay_out", "SUCCEEDED")]


def test_a_pending_payout_is_asked_for_until_it_is_known(ada: Seller, oracle: Oracle, sandbox: SandboxCompany) -> None:
    payout = pay_out(ada, PENDING_THEN_PAID)
    assert (payout.status, payout.asked) == ("EXECUTING", 0)
    decide(sandbox, oracle, "payout.paid")
    execute(now=after(seconds=3))
    payout.refresh_from_db()
    assert payout.status == "SUCCESS"


@pytest.mark.parametrize("iban", [FAILS_AT_ONCE, PENDING_THEN_REFUSED], ids=["at once", "later"])
def test_inv_15_a_payout_that_fails_is_available_again(ada: Seller, oracle: Oracle, sandbox: SandboxCompany, iban: str) -> None:
    payout = pay_out(ada, iban)
    decide(sandbox, oracle, "payout.failed")
    execute(now=after(seconds=3))
    payout.refresh_from_db()
    assert (payout.status, bool(payout.failure_code), available(ada)) == ("FAILED", True, eur("100.00"))
    assert (balance("payouts_in_transit"), balance("operating_bank")) == (eur("0.00"), eur("100.00"))
    assert told(payout) == [("payout.created", 1), ("payout.failed", 2)]


def test_inv_15_a_payout_that_comes_back_after_three_days_is_available_again_once(
    ada: Seller, oracle: Oracle, sandbox: SandboxCompany
) -> None:
    payout = pay_out(ada, RETURNED_LATER)
    assert (payout.status, available(ada)) == ("SUCCESS", eur("60.00"))
    sandbox.client.put("/v1/clock", json={"advance_s": 3 * 24 * 3600 + 60}).raise_for_status()
    oracle.wait_for("payout.returned", count=1)
    assert [executor.watch_returns(now=after(days=3)) for _look in range(2)] == [1, 0]
    payout.refresh_from_db()
    assert (payout.status, payout.failure_code, available(ada)) == ("RETURNED", "account_closed", eur("100.00"))
    assert balance("operating_bank") == eur("100.00")
    assert told(payout)[-1] == ("payout.returned", 3)


def test_bug_41_a_return_that_is_heard_of_before_the_payment_says_both(ada: Seller, oracle: Oracle) -> None:
    payout = ask(ada)
    came_back: Any = {"provider_reference": "po_bank", "code": "account_closed", "returned_at": timezone.now()}
    assert [settlement.return_payout(payout.pk, **came_back) for _time in range(2)] == [True, False]
    assert not settlement.settle_payout(payout.pk, provider_reference="po_bank", paid_at=timezone.now())
    payout.refresh_from_db()
    assert (payout.status, available(ada)) == ("RETURNED", eur("100.00"))
    assert told(payout) == [("payout.created", 1), ("payout.succeeded", 2), ("payout.returned", 3)]


# --- Silence ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["execute_then_reset", "refuse_500", "other_amount"])
def test_a_payout_whose_answer_was_lost_is_asked_for_and_paid_once(ada: Seller, sandbox: SandboxCompany, oracle: Oracle, kind: str) -> None:
    sandbox.fault(operation="payout", kind=kind, times=1)
    payout = pay_out(ada, PAID_AT_ONCE)
    assert (payout.status, available(ada)) == ("EXECUTING", eur("60.00"))
    execute(now=after(minutes=1))
    payout.refresh_from_db()
    assert (payout.status, paid_at_bank(oracle)) == ("SUCCESS", [payout.public_id])


def test_bug_32_a_lost_answer_is_never_a_failure_and_an_old_key_is_never_sent_again(
    ada: Seller, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    """The bank was silent, its look-ups lag behind, and a day later it would take the key for a new one."""
    sandbox.fault(operation="payout", kind="execute_then_500", times=1)
    payout = pay_out(ada, PAID_AT_ONCE)
    sandbox.fault(operation="find", kind="status_lags", times=1, delay_s=3 * 24 * 3600)
    sandbox.client.put("/v1/clock", json={"advance_s": 25 * 3600}).raise_for_status()
    execute(now=after(hours=25))
    payout.refresh_from_db()
    assert (payout.status, payout.next_attempt_at, payout.failure_message) == ("EXECUTING", None, executor.NEVER_SEEN)
    assert (available(ada), list(queries.waiting_for_a_person())) == (eur("60.00"), [payout])
    requests.ask_again(payout.pk, actor="staff:eve", reason="The bank found it", now=after(hours=25))
    execute(now=after(hours=25))
    payout.refresh_from_db()
    assert (payout.status, paid_at_bank(oracle)) == ("SUCCESS", [payout.public_id])


def test_what_was_given_up_and_arrives_after_all_is_taken_off_the_seller_again(
    ada: Seller, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    sandbox.fault(operation="payout", kind="execute_then_500", times=1)
    payout = pay_out(ada, PAID_AT_ONCE)
    sandbox.fault(operation="find", kind="status_lags", times=2, delay_s=3 * 24 * 3600)
    execute(now=after(hours=25))
    requests.give_up(payout.pk, actor="staff:eve", reason="The bank knows nothing of it", now=after(hours=25))
    payout.refresh_from_db()
    assert (payout.status, payout.failure_code, available(ada)) == ("FAILED", "given_up", eur("100.00"))
    again = ask(ada, None)
    execute(now=after(hours=26))
    payout.refresh_from_db()
    assert (payout.status, available(ada), balance("operating_bank")) == ("SUCCESS", eur("-40.00"), eur("-40.00"))
    assert sorted(paid_at_bank(oracle)) == sorted([payout.public_id, again.public_id])
    settlement.return_payout(payout.pk, provider_reference=payout.provider_reference, code="account_closed", returned_at=timezone.now())
    assert available(ada) == eur("0.00")
    [paid] = [row for row in oracle.rows("payout.paid") if row["reference"] == payout.public_id]
    oracle.explain(paid["object_id"])  # the bank did not really send it back


def test_what_the_bank_has_cannot_be_given_up(ada: Seller) -> None:
    payout = pay_out(ada, PENDING_THEN_REFUSED)
    executor.give_up(payout, executor.UNKNOWN_TOO_LONG)
    with pytest.raises(requests.NotToRescue, match="the bank has it"):
        requests.give_up(payout.pk, actor="staff:eve", reason="Tired of waiting", now=timezone.now())
    requests.ask_again(payout.pk, actor="staff:eve", reason="Waiting on", now=timezone.now())
    assert PayoutTransition.objects.filter(object_id=payout.pk, actor="staff:eve", reason="Waiting on").exists()


def test_a_bank_that_is_away_costs_time_alone(ada: Seller, oracle: Oracle, use_bank: UseBank) -> None:
    use_bank(url="http://127.0.0.1:1")
    payout = ask(ada)
    for hours in range(10):
        executor.execute_due_payouts(now=after(hours=hours))
    payout.refresh_from_db()
    assert (payout.status, payout.failures, payout.next_attempt_at is None) == ("EXECUTING", 10, False)
    use_bank()
    execute(now=after(hours=12))
    payout.refresh_from_db()
    assert (payout.status, paid_at_bank(oracle)) == ("SUCCESS", [payout.public_id])


def test_workers_that_die_over_a_payout_leave_it_to_a_person(bolt: Seller) -> None:
    payout = ask(bolt)
    for minutes in range(executor.MOST_DEATHS + 1):
        executor.claim_due(now=after(minutes=2 * minutes))
    payout.refresh_from_db()
    assert (payout.next_attempt_at, payout.failure_message) == (None, executor.WORKERS_DIED)


def test_no_money_leaves_while_the_seller_is_on_hold(ada: Seller, oracle: Oracle) -> None:
    payout = ask(ada)
    hold = holds.place(ada.pk, reason="Something is strange", until=None, actor="staff:eve", now=timezone.now())
    execute()
    payout.refresh_from_db()
    assert (payout.status, payout.attempts.count(), oracle.rows("payout.paid")) == ("EXECUTING", 0, [])
    holds.lift(hold.pk, reason="It was not", actor="staff:eve", now=timezone.now())
    execute(now=after(hours=2))
    assert paid_at_bank(oracle) == [payout.public_id]


# --- The doorbell -----------------------------------------------------------------------------------------------------


def test_what_has_not_left_yet_goes_to_no_account_that_was_replaced(ada: Seller, oracle: Oracle) -> None:
    payout = ask(ada)
    hold = holds.place(ada.pk, reason="Somebody else has the login", until=None, actor="staff:eve", now=timezone.now())
    execute()
    new_bank_account(ada, PENDING_THEN_PAID)
    holds.lift(hold.pk, reason="The account is hers", actor="staff:eve", now=timezone.now())
    execute(now=after(hours=2))
    payout.refresh_from_db()
    assert (payout.status, payout.failure_code, available(ada)) == ("FAILED", "bank_account_replaced", eur("100.00"))
    assert (oracle.rows("payout.paid"), wording.why_it_came_to_nothing(payout)[1]) == ([], False)


def test_what_has_left_for_an_account_arrives_there_though_it_was_replaced_meanwhile(
    ada: Seller, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    sandbox.fault(operation="payout", kind="execute_then_500", times=1)
    payout = pay_out(ada, PAID_AT_ONCE)
    new_bank_account(ada, FAILS_AT_ONCE)
    execute(now=after(hours=1))
    payout.refresh_from_db()
    assert (payout.status, paid_at_bank(oracle)) == ("SUCCESS", [payout.public_id])


def ring(sandbox: SandboxCompany, key: str, *, secret: str | None = None) -> int:
    body = json.dumps({"id": "evt_1", "type": "payout.paid", "account": sandbox.account, "data": {"object": {"key": key}}}).encode()
    moment = int(time.time())
    digest = hmac.new((secret or sandbox.webhook_secret).encode(), b"%d." % moment + body, hashlib.sha256).hexdigest()
    headers = {"Sandbox-Signature": f"t={moment},v1={digest}"}
    return Client().post("/webhooks/payouts/sandbox", body, content_type="application/json", headers=headers).status_code


def test_sec_18_a_webhook_rings_and_proves_nothing(ada: Seller, sandbox: SandboxCompany, oracle: Oracle) -> None:
    payout = pay_out(ada, PENDING_THEN_PAID)
    Payout.objects.filter(pk=payout.pk).update(next_attempt_at=after(hours=6))
    assert ring(sandbox, payout.public_id, secret="another-secret-of-32-characters!") == 400
    execute()
    decide(sandbox, oracle, "payout.paid")
    payout.refresh_from_db()
    assert (payout.status, payout.asked) == ("EXECUTING", 0)
    executor.give_up(payout, executor.UNKNOWN_TOO_LONG)  # a person has it, and is spared the question
    assert (ring(sandbox, "po_nobody"), ring(sandbox, payout.public_id)) == (200, 200)
    execute()
    payout.refresh_from_db()
    assert payout.status == "SUCCESS"


# --- What is refused --------------------------------------------------------------------------------------------------


def unverified(seller: Seller) -> None:
    without_account(seller)
    bank_accounts.add(seller, NewBankAccount("EUR", "Ada GmbH", iban=PENDING_THEN_PAID), by="user:ada", now=timezone.now())


def changed_lately(seller: Seller) -> None:
    BankAccount.objects.filter(seller=seller).update(usable_from=after(hours=72))


def without_account(seller: Seller) -> None:
    BankAccount.objects.filter(seller=seller).update(replaced_at=timezone.now())


def on_hold(seller: Seller) -> None:
    holds.place(seller.pk, reason="Something is strange", until=after(days=2), actor="staff:eve", now=timezone.now())


def kept_back(seller: Seller) -> None:
    PayoutSchedule.objects.create(shop=seller.shop, minimum=eur("50.00"), keep_back=eur("30.00"))


def nothing(_seller: Seller) -> None:
    """Leave everything as it is."""


@pytest.mark.parametrize(
    ("amount", "circumstance", "code"),
    [
        (eur("100.01"), nothing, "not_payable"),
        (eur("0.00"), nothing, "not_payable"),
        (eur("-1.00"), nothing, "not_payable"),
        (eur("70.01"), kept_back, "not_payable"),
        (eur("49.99"), kept_back, "not_payable"),
        (Money("1.00", "USD"), nothing, "unknown_wallet"),
        (eur("1.00"), unverified, "bank_account_not_verified"),
        (eur("1.00"), changed_lately, "bank_account_on_hold"),
        (eur("1.00"), without_account, "no_bank_account"),
        (eur("1.00"), on_hold, "seller_on_hold"),
    ],
)
def test_inv_04_what_cannot_be_paid_out_is_refused_and_takes_nothing(
    bolt: Seller, amount: Money, circumstance: Callable[[Seller], None], code: str
) -> None:
    circumstance(bolt)
    with pytest.raises(DomainError) as refusal:
        ask(bolt, amount)
    assert (refusal.value.code, available(bolt), Payout.objects.count()) == (code, eur("100.00"), 0)


def test_all_that_can_be_paid_out_is_what_is_left_beyond_what_is_kept_back(bolt: Seller) -> None:
    kept_back(bolt)
    able = queries.payable(bolt, "EUR", now=timezone.now())
    assert (able.amount, able.why_not) == (eur("70.00"), None)
    assert ask(bolt, None).amount == eur("70.00")
    able = queries.payable(bolt, "EUR", now=timezone.now())
    assert (able.amount, able.why_not and able.why_not.code) == (eur("0.00"), "not_payable")


def test_a_wish_is_one_payout_and_another_wish_under_its_name_a_conflict(bolt: Seller) -> None:
    first = ask(bolt, "10.00", reference="november", once="key-1")
    assert ask(bolt, "10.00", reference="november", once="key-2") == first
    assert ask(bolt, None, once="key-1") == first
    for other in ({"amount": "11.00", "reference": "november"}, {"amount": "10.00", "once": "key-1", "reference": "december"}):
        with pytest.raises(requests.PayoutConflict):
            ask(bolt, **other)
    assert available(bolt) == eur("90.00")


def test_a_payout_says_what_it_is_made_of(bolt: Seller) -> None:
    ask(bolt, "70.00")
    make_available(bolt, eur("25.00"))
    make_available(bolt, eur("5.00"))
    payout = ask(bolt, "50.00")
    made_of = queries.contents(payout)
    [part] = made_of.parts
    assert (made_of.brought_forward, made_of.carried_forward) == (eur("30.00"), eur("10.00"))
    assert (part.kind, part.count, part.amount) == ("release", 2, eur("30.00"))
    assert [entry.available for entry in queries.movements_in(payout)] == [eur("5.00"), eur("25.00")]


# --- Approval ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def waiting(bolt: Seller) -> Payout:
    """Give a payout of 40.00 above the limit of 30.00."""
    PayoutSchedule.objects.create(shop=bolt.shop, minimum=eur("0.00"), keep_back=eur("0.00"), approval_limit=30)
    return ask(bolt)


def test_above_the_limit_somebody_else_must_approve(bolt: Seller, waiting: Payout) -> None:
    execute()
    waiting.refresh_from_db()
    assert (waiting.status, waiting.tries, available(bolt)) == ("WAITING", 0, eur("60.00"))
    for maker in ("user:ada", "staff:ada"):
        with pytest.raises(MakerMayNotApprove):
            requests.approve(waiting.pk, actor=maker, now=timezone.now())
    requests.approve(waiting.pk, actor="staff:eve", reason="Known", now=timezone.now())
    waiting.refresh_from_db()
    assert (waiting.status, waiting.decided_by) == ("EXECUTING", "staff:eve")
    assert PayoutTransition.objects.get(object_id=waiting.pk).actor == "staff:eve"
    with pytest.raises(AlreadyDecided):
        requests.reject(waiting.pk, actor="staff:eve", reason="Changed my mind", now=timezone.now())


def test_postgres_knows_that_the_maker_does_not_approve(waiting: Payout) -> None:
    with pytest.raises(IntegrityError, match="maker_does_not_approve_the_payout"), transaction.atomic():
        Payout.objects.filter(pk=waiting.pk).update(decided_by="user:ada")


def test_what_is_rejected_or_cancelled_is_available_again(bolt: Seller, waiting: Payout) -> None:
    requests.reject(waiting.pk, actor="staff:eve", reason="Not now", now=timezone.now())
    waiting.refresh_from_db()
    assert (waiting.status, waiting.failure_code, available(bolt)) == ("CANCELLED", "rejected", eur("100.00"))
    mine = ask(bolt)
    for _time in range(2):
        assert requests.cancel(mine.pk, actor="user:ada", now=timezone.now()).status == "CANCELLED"
    assert available(bolt) == eur("100.00")
    assert told(mine) == [("payout.created", 1), ("payout.cancelled", 2)]
    with pytest.raises(settlement.NotBookable):
        settlement.settle_payout(mine.pk, provider_reference="po_bank", paid_at=timezone.now())


def test_sec_29_many_small_payouts_of_one_day_wait_like_a_large_one(bolt: Seller) -> None:
    PayoutSchedule.objects.create(shop=bolt.shop, minimum=eur("0.00"), keep_back=eur("0.00"), approval_limit=30)
    noon = timezone.now().replace(hour=12)
    first = ask(bolt, "20.00", now=noon)
    assert [first.status, ask(bolt, "10.01", now=noon).status, ask(bolt, "5.00", now=noon).status] == ["EXECUTING", "WAITING", "WAITING"]
    for payout in Payout.objects.filter(status="WAITING"):
        requests.reject(payout.pk, actor="staff:eve", reason="Too many", now=noon)
    settlement.settle_payout(first.pk, provider_reference="po_bank", paid_at=noon)
    assert [ask(bolt, "10.01", now=noon + timedelta(days=days)).status for days in (0, 1)] == ["WAITING", "EXECUTING"]


def test_nothing_is_approved_to_a_bank_account_that_was_replaced_since(bolt: Seller, waiting: Payout) -> None:
    account = bank_accounts.add_vouched(bolt, NewBankAccount("EUR", "Ada GmbH", iban=RETURNED_LATER), by="api:test", now=timezone.now())
    assert account != waiting.bank_account
    with pytest.raises(requests.BankAccountReplaced, match="Reject it"):
        requests.approve(waiting.pk, actor="staff:eve", now=timezone.now())
    requests.reject(waiting.pk, actor="staff:eve", reason="Another account", now=timezone.now())
    assert available(bolt) == eur("100.00")


def test_what_was_given_up_is_asked_for_a_month_from_then_on(bolt: Seller) -> None:
    payout, given_up_at = ask(bolt), after(days=31)
    settlement.fail_payout(payout.pk, provider_reference="", code=settlement.GIVEN_UP, now=given_up_at)
    payout.refresh_from_db()
    assert executor.asked_since(payout, sent_at=payout.created_at) == given_up_at


def test_the_words_of_a_bank_are_kept_without_the_number_in_them(bolt: Seller) -> None:
    payout = ask(bolt)
    said = f"{PAID_AT_ONCE} is closed, AC04 since 2026-11-21"
    settlement.fail_payout(payout.pk, provider_reference="po_bank", code="account_closed", message=said, now=timezone.now())
    payout.refresh_from_db()
    assert payout.failure_message == f"•••• {PAID_AT_ONCE[-4:]} is closed, AC04 since 2026-11-21"


def test_who_wished_for_a_payout_who_decided_it_and_what_moved_stays(waiting: Payout) -> None:
    requests.reject(waiting.pk, actor="staff:eve", reason="Not now", now=timezone.now())
    changes: list[dict[str, Any]] = [
        {"requested_by": "user:mallory"},
        {"cause": "run"},
        {"decided_by": "staff:mallory"},
        {"return_wallet_entry": waiting.wallet_entry_id},
    ]
    for change in changes:
        with pytest.raises(IntegrityError, match="stay as they are"), transaction.atomic():
            Payout.objects.filter(pk=waiting.pk).update(**change)
    hold = holds.place(waiting.seller_id, reason="Something is strange", until=None, actor="staff:eve", now=timezone.now())
    with pytest.raises(IntegrityError, match="can be lifted, once"), transaction.atomic():
        SellerHold.objects.filter(pk=hold.pk).update(until=after(seconds=1))


def test_an_account_that_is_not_the_one_of_its_fingerprint_is_not_paid_to(bolt: Seller) -> None:
    payout = ask(bolt)
    account = payout.bank_account
    account.sealed = vault.seal({"iban": RETURNED_LATER}, owner=account.public_id)
    with pytest.raises(vault.CannotOpen, match="not the account"):
        calls.request_of(payout)


# --- REST -------------------------------------------------------------------------------------------------------------


def test_a_shop_pays_its_sellers_and_nobody_elses(bolt: Seller) -> None:
    _key, token = api_keys.issue(bolt.shop, name="test", scopes=ApiKey.Scope.values, mode="test")
    [stranger] = new_sellers(new_shop("Elsewhere"), "Ada")
    client, headers = Client(), {"Authorization": f"Bearer {token}", "Idempotency-Key": "november"}

    def post(path: str, body: dict[str, Any], **more: str) -> tuple[int, dict[str, Any]]:
        answer = client.post(path, json.dumps(body), content_type="application/json", headers=headers | more)
        return answer.status_code, answer.json()

    wanted = {"seller": bolt.public_id, "amount": {"amount": "40.00", "currency": "EUR"}}
    status, made = post("/v1/payouts", wanted)
    assert (status, made["status"], made["contents"]["carried_forward"]) == (201, "EXECUTING", {"amount": "60.00", "currency": "EUR"})
    assert post("/v1/payouts", wanted)[1] == made
    status, refused = post("/v1/payouts", wanted | {"amount": {"amount": "60.01", "currency": "EUR"}}, **{"Idempotency-Key": "december"})
    assert (status, refused["code"], refused["field"]) == (409, "not_payable", "amount")
    status, refused = post("/v1/payouts", {"seller": stranger.public_id, "currency": "EUR"}, **{"Idempotency-Key": "theirs"})
    assert (status, refused["code"], refused["field"]) == (400, "unknown_seller", "seller")
    status, refused = post(f"/v1/payouts/{made['id']}/cancel", {}, **{"Idempotency-Key": "cancel"})
    assert (status, refused["code"]) == (409, "already_decided")
    listed = client.get(f"/v1/payouts?seller={bolt.public_id}&status=EXECUTING", headers=headers).json()["data"]
    assert [each["id"] for each in listed] == [made["id"]]
    _key, other = api_keys.issue(stranger.shop, name="test", scopes=ApiKey.Scope.values, mode="test")
    assert client.get(f"/v1/payouts/{made['id']}", headers={"Authorization": f"Bearer {other}"}).status_code == 404

"""Bank accounts: given by the shop or the seller, replaced with a hold and a notice, verified by somebody else, and never shown."""

import base64
import hashlib
import io
import json
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.utils import timezone

from payouts import bank_accounts, notices, vault
from payouts.account_numbers import BankDetailsRefused
from payouts.bank_accounts import MakerMayNotVerify, NewBankAccount, NotToVerify
from payouts.models import BankAccount, BankAccountNotice
from tests.contract.api.conftest import caller_of
from tests.factories import new_sellers, new_shop
from tests.flows.test_admin import page_of, words
from wallet.models import IdempotencyRecord, OutboxMessage, Seller

pytestmark = pytest.mark.django_db
NOW = timezone.now()
GERMAN, FRENCH = "DE89370400440532013000", "FR1420041010050500013M02606"
AMERICAN = {"country": "US", "account_number": "000123456789", "bank_code": "021000021"}


@pytest.fixture
def ada() -> Seller:
    [ada] = new_sellers(new_shop(), "Ada's Books")
    ada.users.add(
        User.objects.create(username="ada", email="ada@books.example"),
        User.objects.create(username="bea", email="bea@books.example"),
        User.objects.create(username="left", email="left@books.example", is_active=False),
    )
    return ada


def given(iban: str = GERMAN, *, currency: str = "EUR", holder: str = "Ada's Books GmbH", **local: str) -> NewBankAccount:
    return NewBankAccount(currency, holder, iban="" if local else iban, **local)


def add(seller: Seller, wanted: NewBankAccount, *, by: str = "user:ada", now: Any = NOW) -> BankAccount:
    return bank_accounts.add(seller, wanted, by=by, now=now)


def test_a_first_account_is_kept_sealed_and_usable_once_somebody_else_verified_it(ada: Seller) -> None:
    account = add(ada, given("de89 3704 0044 0532 0130 00", holder="  Ada's   Books GmbH "))
    assert (account.holder, account.masked, account.bank_name) == ("Ada's Books GmbH", "DE•• •••• 3000", "Commerzbank")
    assert (account.usable_from, account.verified_at) == (NOW, None)
    assert vault.open_sealed(account.sealed, owner=account.public_id) == {"iban": GERMAN}
    verified = bank_accounts.verify(account.pk, by="staff:finance", reason="Saw a statement", now=NOW)
    assert (verified.verified_at, verified.verified_by, verified.verified_reason) == (NOW, "staff:finance", "Saw a statement")
    with pytest.raises(NotToVerify):
        bank_accounts.verify(account.pk, by="staff:other", reason="Me too", now=NOW)
    with connection.cursor() as cursor:
        cursor.execute("SELECT row_to_json(account)::text FROM payouts_bankaccount AS account")
        [[row]] = cursor.fetchall()
    assert GERMAN[4:] not in row


def test_the_same_details_again_are_the_same_account_and_others_replace_it_with_a_hold(ada: Seller, settings: Any) -> None:
    first, later = add(ada, given()), NOW + timedelta(days=1)
    bank_accounts.verify(first.pk, by="staff:finance", reason="Saw a statement", now=NOW)
    assert add(ada, given(f" {GERMAN.lower()}"), now=later) == first
    assert bank_accounts.current(ada, "EUR") == first
    second = add(ada, given(FRENCH), now=later)
    assert bank_accounts.current(ada, "EUR") == second
    assert (second.usable_from, second.verified_at) == (later + timedelta(hours=72), None)
    first.refresh_from_db()
    assert first.replaced_at == later
    with pytest.raises(NotToVerify):
        bank_accounts.verify(first.pk, by="staff:finance", reason="Late", now=later)
    settings.BANK_CHANGE_HOLD_H = 24
    back = add(ada, given(), now=later)
    assert back.pk != first.pk
    assert back.fingerprint == first.fingerprint
    assert back.usable_from == later + timedelta(hours=24)
    assert bank_accounts.current(ada, "USD") is None
    assert add(ada, given(holder="Ada Lovelace"), now=later).pk != back.pk


def test_a_change_is_told_to_the_shop_masked_and_to_the_people_of_that_moment(ada: Seller) -> None:
    first = add(ada, given())
    while notices.send_due(now=NOW):
        pass
    mail.outbox.clear()
    later = NOW + timedelta(minutes=1)
    second = add(ada, given(FRENCH), now=later)
    User.objects.filter(username="ada").update(email="thief@evil.example")
    ada.users.clear()
    assert notices.send_due(now=later) == 2
    assert notices.send_due(now=later) == 0
    assert sorted(to for sent in mail.outbox for to in sent.to) == ["ada@books.example", "bea@books.example"]
    body = mail.outbox[0].body
    assert all(part in body for part in ("FR•• •••• 2606", "DE•• •••• 3000", "Ada's Books", "tell Northwind at once"))
    told = OutboxMessage.objects.filter(topic="bank_account.changed").order_by("pk").last()
    assert told is not None
    assert (told.about, told.payload["masked"], told.payload["replaces"]) == (second.public_id, "FR•• •••• 2606", first.public_id)
    assert FRENCH[4:] not in body + json.dumps(told.payload)


def test_a_notice_that_the_mail_server_refuses_is_tried_again_and_then_given_up(ada: Seller, monkeypatch: pytest.MonkeyPatch) -> None:
    add(ada, given())

    def refuse(*_: Any) -> int:
        raise OSError("no route to ada@books.example")

    with monkeypatch.context() as broken:
        broken.setattr(EmailBackend, "send_messages", refuse)
        assert notices.send_due(now=NOW) == 2
        assert notices.send_due(now=NOW + timedelta(seconds=59)) == 0
        assert notices.send_due(now=NOW + timedelta(seconds=61)) == 2
    assert notices.send_due(now=NOW + timedelta(seconds=61 + 301)) == 2
    assert len(mail.outbox) == 2
    assert set(BankAccountNotice.objects.values_list("next_attempt_at", "tries")) == {(None, 3)}
    BankAccountNotice.objects.update(next_attempt_at=NOW, sent_at=None)
    monkeypatch.setattr(EmailBackend, "send_messages", refuse)
    notices.send_due(now=NOW + timedelta(hours=73))
    assert set(BankAccountNotice.objects.values_list("next_attempt_at", "sent_at")) == {(None, None)}


def test_a_notice_whose_sender_died_is_sent_by_the_next_one_once_its_lease_is_over(ada: Seller) -> None:
    add(ada, given())
    dead = notices.claim(now=NOW)
    assert notices.send_due(now=NOW + timedelta(minutes=4)) == 0
    assert notices.send_due(now=NOW + timedelta(minutes=6)) == 2
    before = list(BankAccountNotice.objects.order_by("pk").values())
    notices.send(dead[0], now=NOW + timedelta(minutes=7))
    assert list(BankAccountNotice.objects.order_by("pk").values()) == before


def test_who_gave_the_details_cannot_verify_them_under_any_hat(ada: Seller) -> None:
    account = add(ada, given(), by="user:finance")
    for by in ("user:finance", "staff:finance"):
        with pytest.raises(MakerMayNotVerify):
            bank_accounts.verify(account.pk, by=by, reason="I know it is mine", now=NOW)
    with pytest.raises(IntegrityError, match="verified_by_somebody_else"), transaction.atomic():
        BankAccount.objects.update(verified_at=NOW, verified_by="user:finance")


@pytest.mark.parametrize(
    "changed",
    [{"holder": "Thief"}, {"last4": "1111"}, {"added_by": "user:x"}, {"verified_by": "x"}, {"usable_from": NOW - timedelta(days=9)}],
)
def test_postgres_refuses_to_change_what_was_said_of_an_account(ada: Seller, changed: dict[str, Any]) -> None:
    account = bank_accounts.add_vouched(ada, given(), by="api:ob_test_x", now=NOW)
    with pytest.raises(IntegrityError, match="cannot be changed"), transaction.atomic():
        BankAccount.objects.filter(pk=account.pk).update(**changed)


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        (given(GERMAN[:-1] + "1"), "iban"),
        (given(""), "iban"),
        (given("BR1800360305000010009795493C1"), "iban"),
        (given(**AMERICAN), "currency"),
        (NewBankAccount("USD", "Ada", iban=GERMAN, **AMERICAN), "iban"),
        (given(holder=" "), "holder"),
        (given(holder="A\u202ea"), "holder"),
        (given(holder="x" * 71), "holder"),
    ],
)
def test_details_that_cannot_be_are_refused_by_field_and_keep_what_stands(ada: Seller, wanted: NewBankAccount, field: str) -> None:
    with pytest.raises(BankDetailsRefused) as refused:
        add(ada, wanted)
    assert refused.value.field == field
    assert not BankAccount.objects.exists()


def test_an_american_account_takes_dollars(ada: Seller) -> None:
    account = add(ada, given(currency="USD", **AMERICAN))
    assert (account.kind, account.masked) == ("local", "US •••• 6789")
    assert vault.open_sealed(account.sealed, owner=account.public_id) == AMERICAN


def test_resealing_after_a_rotation_changes_the_seal_alone(ada: Seller, settings: Any) -> None:
    account = add(ada, given())
    before = BankAccount.objects.values().get()
    old = settings.BANK_DETAILS_KEYS
    settings.BANK_DETAILS_KEYS = [base64.b64encode(b"n" * 32).decode(), *old]
    said = io.StringIO()
    call_command("reseal_bank_accounts", stdout=said)
    assert "1 bank accounts are sealed" in said.getvalue()
    after = BankAccount.objects.values().get()
    assert dict(before) | {"sealed": after["sealed"]} == dict(after)
    assert before["sealed"] != after["sealed"]
    settings.BANK_DETAILS_KEYS = settings.BANK_DETAILS_KEYS[:1]
    assert vault.open_sealed(after["sealed"], owner=account.public_id) == {"iban": GERMAN}
    settings.BANK_DETAILS_KEYS = old
    with pytest.raises(CommandError, match=account.public_id):
        call_command("reseal_bank_accounts", stdout=said)


def where(seller: Seller, currency: str = "EUR") -> str:
    return f"/v1/sellers/{seller.public_id}/bank_accounts/{currency}"


def test_a_shop_sets_an_account_over_rest_and_no_number_is_kept_or_answered(ada: Seller, caplog: pytest.LogCaptureFixture) -> None:
    api = caller_of(ada.shop)
    body = {"holder": "Ada's Books GmbH", "iban": GERMAN, "verified": True}
    answers = [api.put(where(ada), body, key="first"), api.put(where(ada), body, key="first"), api.put(where(ada), body)]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert answers[1]["Idempotent-Replayed"] == "true"
    assert len({answer.json()["id"] for answer in answers}) == BankAccount.objects.count() == 1
    found = answers[0].json()
    assert (found["masked"], found["verified_by"], found["usable_from"]) == ("DE•• •••• 3000", "shop", found["added_at"])
    wrong = api.put(where(ada), body | {"iban": GERMAN[:-1] + "1"})
    assert (wrong.status_code, wrong.json()["code"], wrong.json()["field"]) == (400, "bank_details_refused", "iban")
    assert api.put(where(ada), body | {"holder": "Other"}, key="first").json()["code"] == "idempotency_key_reused"
    listed = api.get(f"/v1/sellers/{ada.public_id}/bank_accounts", currency="EUR")
    assert [row["id"] for row in listed.json()["data"]] == [found["id"]]
    kept = json.dumps(list(IdempotencyRecord.objects.values()), default=str)
    said = "".join(answer.content.decode() for answer in (*answers, wrong, listed))
    assert GERMAN[4:-1] not in kept + said + caplog.text
    guess = f"PUT {where(ada)}\n{json.dumps(body, sort_keys=True, separators=(',', ':'))}"
    assert hashlib.sha256(guess.encode()).hexdigest() not in kept


def test_another_shops_seller_is_not_found(ada: Seller) -> None:
    stranger = caller_of(new_shop("Southwind"))
    asked = stranger.put(where(ada), {"holder": "Thief", "iban": FRENCH})
    assert (asked.status_code, asked.json()["code"]) == (404, "not_found")
    assert stranger.get(f"/v1/sellers/{ada.public_id}/bank_accounts").status_code == 404
    assert not BankAccount.objects.exists()


@pytest.fixture
def finance() -> Client:
    user = User.objects.create_user("finance", password="-", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=["view_bankaccount", "change_bankaccount"]))
    browser = Client()
    browser.force_login(user)
    return browser


def test_finance_verifies_in_the_admin_with_a_reason_and_sees_no_number(ada: Seller, finance: Client) -> None:
    account, own = add(ada, given()), add(ada, given(currency="USD"), by="staff:finance")
    deed = page_of(account).replace("/change/", "/verify/")
    pages = [finance.get(page) for page in ("/admin/payouts/bankaccount/", page_of(account), deed)]
    assert all("DE•• •••• 3000" in words(page.content) for page in pages)
    secret = (GERMAN[4:], account.sealed, account.fingerprint, account.sealed[9:30])
    assert not any(part in page.content.decode() for page in pages for part in secret)
    assert "This field is required" in words(finance.post(deed, {"note": ""}).content)
    assert finance.post(deed, {"note": "Saw a bank statement"}).status_code == 302
    account.refresh_from_db()
    assert (account.verified_by, account.verified_reason) == ("staff:finance", "Saw a bank statement")
    assert LogEntry.objects.get().get_change_message() == "Verify: Saw a bank statement"
    refused = finance.post(page_of(own).replace("/change/", "/verify/"), {"note": "It is mine"})
    assert "Somebody else must verify them" in words(refused.content)
    assert finance.post(page_of(account), {"holder": "Thief"}).status_code == 403

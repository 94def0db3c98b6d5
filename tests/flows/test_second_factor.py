"""Logins with a second factor: setting it up, coming in with it, losing it, and confirming once more before money is moved."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.contrib.sessions.models import Session
from django.core import mail
from django.core.cache import cache
from django.db import IntegrityError, connection, transaction
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.utils import timezone

from tests import logins
from tests.flows.test_admin import page_of, words
from wallet import login_notices, second_factor, step_up
from wallet.models import SecondFactor, SecondFactorChange

pytestmark = pytest.mark.django_db
PASSWORD = "as-long-as-it-is-calm"
NOW = datetime(2026, 11, 21, 14, 5, 10, tzinfo=UTC)
STEP = timedelta(seconds=30)
SET_UP = "/seller/second-factor/set-up"


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    """Stop the true time at NOW; tests move it."""
    cache.clear()
    with time_machine.travel(NOW, tick=False) as clock:
        yield clock


@pytest.fixture
def ada() -> User:
    return User.objects.create_user("ada", "ada@books.example", PASSWORD)


def give_password(browser: Client, name: str = "ada", *, onward: str = "/seller/movements", door: str = "/seller/login") -> Any:
    return browser.post(door, {"username": name, "password": PASSWORD, "next": onward})


def give_code(browser: Client, code: str, *, onward: str = "/seller/movements", address: str = "127.0.0.1") -> Any:
    return browser.post("/seller/login/code", {"code": code, "next": onward}, REMOTE_ADDR=address)


def logged_in(browser: Client) -> bool:
    return "_auth_user_id" in browser.session


def secret_on(page: bytes) -> str:
    [shown] = re.findall(r'class="key">([A-Z2-7 ]+)<', page.decode())
    return str(shown).replace(" ", "")


# --- Setting it up --------------------------------------------------------------------------------------------------


def test_sec_26_a_second_factor_is_set_up_by_its_first_code_and_its_recovery_codes_are_shown_once(client: Client, ada: User) -> None:
    give_password(client)
    page = client.get(SET_UP, {"next": "/seller/"})
    secret = secret_on(page.content)
    assert 'src="data:image/svg+xml' in page.content.decode()
    assert "That code is not right" in words(client.post(SET_UP, {"code": "123456"}).content)
    assert secret_on(client.get(SET_UP).content) == secret
    before = client.session.session_key
    done = client.post(SET_UP, {"code": logins.code_for(secret, at=NOW), "next": "/seller/"})
    codes = re.findall(r'class="key">([a-z2-9-]{19})<', done.content.decode())
    assert len(set(codes)) == 10
    assert "no-store" in done.headers["Cache-Control"]
    assert client.session.session_key != before
    assert client.get(SET_UP, {"next": "/seller/"}).headers["Location"] == "/seller/"
    with connection.cursor() as cursor:
        cursor.execute("SELECT row_to_json(factor)::text FROM wallet_secondfactor AS factor")
        [[row]] = cursor.fetchall()
        cursor.execute("SELECT string_agg(row_to_json(code)::text, ' ') FROM wallet_recoverycode AS code")
        [[hashes]] = cursor.fetchall()
    assert secret not in row
    assert not [code for code in codes if code in hashes or code.replace("-", "") in hashes]


def test_a_secret_that_is_being_set_up_is_known_to_one_session_and_readable_in_none(client: Client, ada: User) -> None:
    thief = Client()
    give_password(client)
    give_password(thief)
    secret = secret_on(client.get(SET_UP).content)
    assert secret_on(thief.get(SET_UP).content) != secret
    assert not [session for session in Session.objects.all() if secret in str(session.get_decoded())]


# --- Coming in ------------------------------------------------------------------------------------------------------


def test_sec_32_the_password_opens_half_and_the_code_the_rest_in_a_new_session(client: Client, ada: User) -> None:
    factor = logins.new_factor(ada)
    answer = give_password(client)
    assert answer.headers["Location"] == "/seller/login/code?next=%2Fseller%2Fmovements"
    assert not logged_in(client)
    assert client.get("/seller/").headers["Location"].startswith("/seller/login?")
    assert client.get(SET_UP).headers["Location"].startswith("/seller/login?")
    half = client.session.session_key
    answer = give_code(client, logins.code_of(factor, at=NOW))
    assert answer.headers["Location"] == "/seller/movements"
    assert logged_in(client)
    assert client.session.session_key != half
    assert step_up.HALF_OPEN not in client.session


def test_a_code_is_taken_once_and_none_before_it_and_a_clock_may_be_one_step_off(ada: User) -> None:
    factor = logins.new_factor(ada)

    def take(at: datetime) -> bool:
        return second_factor.take(ada, logins.code_of(factor, at=at), now=NOW) is not None

    assert not take(NOW - 2 * STEP)
    assert not take(NOW + 2 * STEP)
    assert take(NOW - STEP)
    assert not take(NOW - STEP)
    assert take(NOW + STEP)
    assert not take(NOW + STEP)
    assert not take(NOW)


def test_wrong_codes_count_as_wrong_passwords_and_the_right_password_does_not_wash_them_off(client: Client, ada: User) -> None:
    factor = logins.new_factor(ada)
    give_password(client)
    for guess in range(9):
        assert give_code(client, "000000", address=f"10.0.0.{guess}").status_code == 200
    give_password(client)
    assert give_code(client, "000000", address="10.0.0.9").status_code == 200
    assert give_code(client, logins.code_of(factor, at=NOW)).status_code == 429
    assert give_password(Client()).status_code == 429
    assert not logged_in(client)


def test_a_half_open_login_ends_after_ten_minutes_and_with_the_password_it_began_with(
    client: Client, ada: User, clock: time_machine.Traveller
) -> None:
    factor = logins.new_factor(ada)
    give_password(client)
    clock.shift(timedelta(minutes=10))
    answer = give_code(client, logins.code_of(factor, at=timezone.now()))
    assert answer.headers["Location"].startswith("/seller/login?")
    give_password(client)
    ada.set_password("another-one-by-now")
    ada.save()
    assert give_code(client, logins.code_of(factor, at=timezone.now())).headers["Location"].startswith("/seller/login?")
    assert not logged_in(client)


@pytest.mark.parametrize("onward", ["https://evil.example/", "//evil.example/", "/\\evil.example/", "javascript:alert(1)"])
def test_sec_08_after_the_code_it_goes_on_to_pages_of_ours_only(onward: str, client: Client, ada: User) -> None:
    factor = logins.new_factor(ada)
    give_password(client)
    assert give_code(client, logins.code_of(factor, at=NOW), onward=onward).headers["Location"] == "/seller/"


# --- Losing it ------------------------------------------------------------------------------------------------------


def test_a_recovery_code_opens_the_login_once_and_its_person_is_told(client: Client, ada: User) -> None:
    codes = second_factor.renew_recovery_codes(logins.new_factor(ada), now=NOW)
    typed = {"recovery_code": f" {codes[3].upper().replace('-', ' ')} "}
    give_password(client)
    assert client.post("/seller/login/code", typed).status_code == 302
    assert logged_in(client)
    again = Client(headers={"accept-language": "en"})
    give_password(again)
    assert "none of your recovery codes" in words(again.post("/seller/login/code", typed).content)
    assert not logged_in(again)
    factor = second_factor.of(ada)
    assert factor is not None
    assert second_factor.recovery_codes_left(factor) == 9
    assert login_notices.send_due(now=NOW) == 3
    assert {letter.subject for letter in mail.outbox} >= {"Somebody logged in with one of your recovery codes"}
    assert {tuple(letter.to) for letter in mail.outbox} == {("ada@books.example",)}


def test_sec_29_staff_reset_a_lost_one_with_a_reason_that_is_kept_and_nobody_their_own(client: Client, ada: User) -> None:
    factor = logins.new_factor(ada)
    boss = User.objects.create_superuser("finance", password=PASSWORD)
    own = logins.new_factor(boss)
    client.force_login(boss)
    logins.step_up(client, boss)
    deed = page_of(factor).replace("change/", "reset/")
    assert client.post(deed, {"note": ""}).status_code == 200
    assert second_factor.of(ada) == factor
    assert client.post(deed, {"note": "She called back on her number"}).status_code == 302
    assert second_factor.of(ada) is None
    change = SecondFactorChange.objects.get(kind="reset")
    assert (change.user, change.by, change.reason, change.address) == (
        ada,
        "staff:finance",
        "She called back on her number",
        "ada@books.example",
    )
    assert LogEntry.objects.filter(user=boss, change_message__contains="She called back").exists()
    client.post(page_of(own).replace("change/", "reset/"), {"note": "Mine"})
    assert second_factor.of(boss) == own


def test_who_may_only_look_at_second_factors_resets_none(client: Client, ada: User) -> None:
    factor = logins.new_factor(ada)
    looker = User.objects.create_user("looker", is_staff=True)
    looker.user_permissions.add(Permission.objects.get(codename="view_secondfactor"))
    client.force_login(looker)
    assert client.get(page_of(factor)).status_code == 200
    assert client.post(page_of(factor).replace("change/", "reset/"), {"note": "Why not"}).status_code == 403
    assert second_factor.of(ada) == factor


def test_an_e_mail_that_the_mail_server_does_not_take_is_tried_again(ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    logins.new_factor(ada)

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise ConnectionRefusedError

    with monkeypatch.context() as patch:
        patch.setattr("django.core.mail.backends.locmem.EmailBackend.send_messages", refuse)
        assert login_notices.send_due(now=NOW) == 1
    assert login_notices.send_due(now=NOW) == 0
    assert login_notices.send_due(now=NOW + timedelta(minutes=1)) == 1
    assert [letter.subject for letter in mail.outbox] == ["Your login has a second factor now"]
    assert login_notices.send_due(now=NOW + timedelta(days=1)) == 0


# --- Confirming once more -------------------------------------------------------------------------------------------


@step_up.required
def money_page(request: HttpRequest) -> HttpResponse:
    return HttpResponse("money")


def ask(browser: Client, user: User, **headers: str) -> HttpResponse:
    """Ask for a page about money with the browser's session; `referer` makes it a form that was sent from there."""
    request = RequestFactory().post("/m", headers=headers) if headers else RequestFactory().get("/m?a=1")
    request.session, request.user = browser.session, User.objects.get(pk=user.pk)
    answer = money_page(request)
    assert isinstance(answer, HttpResponse)
    return answer


def test_sec_26_money_is_moved_within_ten_minutes_of_password_and_code_only(
    client: Client, ada: User, clock: time_machine.Traveller
) -> None:
    factor = logins.new_factor(ada)
    give_password(client)
    give_code(client, logins.code_of(factor, at=NOW))
    assert ask(client, ada).content == b"money"
    clock.shift(timedelta(minutes=10))
    assert ask(client, ada).headers["Location"] == "/seller/confirm?next=%2Fm%3Fa%3D1"
    assert ask(client, ada, referer="http://testserver/form?b=2").headers["Location"] == "/seller/confirm?next=%2Fform%3Fb%3D2"
    assert ask(client, ada, referer="http://evil.example/form").headers["Location"] == "/seller/confirm?next=%2Fm"
    right = {"password": PASSWORD, "code": logins.code_of(factor, at=timezone.now()), "next": "/m?a=1"}
    for wrong in ({"password": "no"}, {"code": "000000"}, {"code": ""}):
        assert client.post("/seller/confirm", right | wrong).status_code == 200
        assert ask(client, ada).status_code == 302
    before = client.session.session_key
    assert client.post("/seller/confirm", right).headers["Location"] == "/m?a=1"
    assert client.session.session_key != before
    assert ask(client, ada).content == b"money"


def test_sec_26_without_a_second_factor_a_seller_is_led_to_set_one_up_first(client: Client, ada: User, settings: Any) -> None:
    give_password(client)
    assert ask(client, ada).headers["Location"] == f"{SET_UP}?next=%2Fm%3Fa%3D1"
    settings.SELLER_SECOND_FACTOR = False
    assert ask(client, ada).content == b"money"


def test_a_session_from_before_the_second_factor_was_set_up_has_not_proved_it(client: Client, ada: User) -> None:
    give_password(client)
    logins.new_factor(ada)
    assert ask(client, ada).headers["Location"].startswith("/seller/confirm?")


def test_switching_off_takes_a_fresh_confirmation(client: Client, ada: User, clock: time_machine.Traveller) -> None:
    factor = logins.new_factor(ada)
    client.force_login(ada)
    for path in ("off", "recovery-codes"):
        asked = client.post(f"/seller/second-factor/{path}", headers={"referer": "http://testserver/seller/second-factor"})
        assert asked.headers["Location"] == "/seller/confirm?next=%2Fseller%2Fsecond-factor"
    assert second_factor.of(ada) == factor
    logins.step_up(client, ada)
    renewed = client.post("/seller/second-factor/recovery-codes")
    assert len(re.findall(r'class="key">[a-z2-9-]{19}<', renewed.content.decode())) == 10
    client.post("/seller/second-factor/off")
    assert second_factor.of(ada) is None
    assert [change.kind for change in SecondFactorChange.objects.order_by("pk")] == ["set_up", "recovery_codes_renewed", "switched_off"]


def test_what_happened_to_a_second_factor_stays_while_its_e_mail_goes_on(ada: User) -> None:
    logins.new_factor(ada)
    assert login_notices.send_due(now=NOW) == 1
    changes = SecondFactorChange.objects.exclude(sent_at=None)
    assert changes.exists()
    for values in ({"kind": "switched_off"}, {"by": "staff:eve"}, {"reason": "-"}, {"at": NOW - STEP}, {"address": ""}, {"sent_at": None}):
        with pytest.raises(IntegrityError, match="stays as it is"), transaction.atomic():
            changes.update(**values)
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        changes.delete()


# --- Staff ----------------------------------------------------------------------------------------------------------


def test_sec_28_where_a_second_factor_is_demanded_the_admin_opens_to_nobody_without(client: Client, settings: Any) -> None:
    boss = User.objects.create_superuser("finance", password=PASSWORD)
    give_password(client, "finance", onward="/admin/", door="/admin/login/")
    assert client.get("/admin/").status_code == 200
    settings.ADMIN_SECOND_FACTOR = True
    asked = client.get("/admin/", follow=True)
    assert asked.redirect_chain[-1] == (f"{SET_UP}?next=%2Fadmin%2F", 302)
    code = logins.code_for(secret_on(asked.content), at=NOW)
    assert client.post(SET_UP, {"code": code, "next": "/admin/"}).status_code == 200
    assert client.get("/admin/").status_code == 200
    assert second_factor.of(boss) is not None


def test_sec_28_staff_with_a_second_factor_come_in_with_its_code_and_no_session_from_before_stays(client: Client) -> None:
    boss = User.objects.create_superuser("finance", password=PASSWORD)
    before = Client()
    give_password(before, "finance", onward="/admin/", door="/admin/login/")
    factor = logins.new_factor(boss)
    assert before.get("/admin/", follow=True).redirect_chain[-1] == ("/seller/confirm?next=%2Fadmin%2F", 302)
    answer = give_password(client, "finance", onward="/admin/", door="/admin/login/")
    assert answer.headers["Location"] == "/seller/login/code?next=%2Fadmin%2F"
    assert client.get("/admin/").status_code == 302
    give_code(client, logins.code_of(factor, at=NOW), onward="/admin/")
    assert client.get("/admin/").status_code == 200


def test_a_secret_whose_key_was_rotated_is_sealed_anew_when_it_is_used(ada: User, settings: Any) -> None:
    factor = logins.new_factor(ada)
    settings.SECOND_FACTOR_KEYS = ["bmV3LW5ldy1uZXctbmV3LW5ldy1uZXctbmV3LW5ldy0=", *settings.SECOND_FACTOR_KEYS]
    assert second_factor.take(ada, logins.code_of(factor, at=NOW), now=NOW) == factor
    settings.SECOND_FACTOR_KEYS = settings.SECOND_FACTOR_KEYS[:1]
    factor = SecondFactor.objects.get()
    assert second_factor.take(ada, logins.code_of(factor, at=NOW + STEP), now=NOW + STEP) == factor

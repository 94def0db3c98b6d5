"""Production refuses to start unsafely.  Settings are read by a process of their own, as a server would; Postgres is the tests' own, whose
durability is switched off."""

import os
import subprocess
import sys

import pytest
from django.conf import settings
from django.db import connection

from config import startup
from tests.fixtures_services import ROOT

GOOD = {
    "ONEBOOK_ENV": "production",
    "SECRET_KEY": "k7" * 40,
    "PUBLIC_URL": "https://pay.example",
    "ALLOWED_HOSTS": "pay.example",
    "BANK_DETAILS_KEYS": f"{'a1' * 21}o=",
    "BANK_DETAILS_FINGERPRINT_KEY": f"{'b2' * 21}o=",
    "SECOND_FACTOR_KEYS": f"{'c3' * 21}o=",
    "GIFT_CARD_PEPPER": f"{'d4' * 21}o=",
    "EMAIL_URL": "smtp+tls://onebook:secret@mail.example:587",
}


def start(*then: str, **variables: str) -> subprocess.CompletedProcess[str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("PSP_", "SECRET_KEY", "DEBUG", "ONEBOOK_ENV"))}
    return subprocess.run(
        [sys.executable, "-c", "\n".join(("import django", "django.setup()", *then))],
        env=ours | GOOD | variables | {"DJANGO_SETTINGS_MODULE": "config.settings"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_production_starts_with_a_secret_of_its_own_and_without_the_page_of_the_demo() -> None:
    asked = ("resolve('/checkout/token')", "try: resolve('/demo/')", "except Resolver404: print('no demo')")
    answer = start("from django.urls import Resolver404, resolve", *asked, DEMO_SHOWN_FILE="/var/tmp/shown.json")
    assert (answer.returncode, answer.stdout) == (0, "no demo\n")


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"SECRET_KEY": ""}, "SECRET_KEY"),
        ({"SECRET_KEY": "short"}, "SECRET_KEY"),
        ({"SECRET_KEY": "insecure" + "x" * 60}, "SECRET_KEY"),
        ({"BANK_DETAILS_KEYS": ""}, "BANK_DETAILS_KEYS"),
        ({"BANK_DETAILS_FINGERPRINT_KEY": settings.INSECURE_KEY}, "BANK_DETAILS_FINGERPRINT_KEY"),
        ({"SECOND_FACTOR_KEYS": settings.INSECURE_KEY}, "SECOND_FACTOR_KEYS"),
        ({"GIFT_CARD_PEPPER": settings.INSECURE_KEY}, "GIFT_CARD_PEPPER"),
        ({"EMAIL_URL": "consolemail://"}, "EMAIL_URL"),
        ({"DEBUG": "true"}, "DEBUG"),
        ({"PSP_SANDBOX_URL": "http://127.0.0.1:9000"}, "sandbox"),
        ({"PSP_SANDBOX_API_KEY": "key"}, "sandbox"),
        ({"DEFAULT_PAYOUT_PROVIDER": "sandbox"}, "sandbox"),
        ({"PSP_SANDBOX_WEBHOOK_SECRETS": "secret"}, "sandbox"),
        ({"TEST_CLOCK_FILE": "/var/tmp/clock"}, "TEST_CLOCK_FILE"),
        ({"WEBHOOKS_ALLOW_PRIVATE": "true"}, "WEBHOOKS_ALLOW_PRIVATE"),
        ({"ONEBOOK_ENV": "prod"}, "ONEBOOK_ENV"),
        ({"STATEMENT_NAME": "Onebook*"}, "STATEMENT_NAME"),
    ],
)
def test_production_refuses_what_would_be_unsafe_and_says_which_setting(variables: dict[str, str], says: str) -> None:
    refused = start(**variables)
    assert refused.returncode != 0
    assert says in refused.stderr.splitlines()[-1]


def test_bug_51_the_sandbox_itself_refuses_to_run_in_production() -> None:
    refused = subprocess.run(
        [sys.executable, "-m", "payments.sandbox", "migrate"],
        env={name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"} | {"ONEBOOK_ENV": "production"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode != 0


def test_pg_20_production_refuses_a_postgres_that_may_forget(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "PRODUCTION", True)
    with connection.cursor() as cursor:
        cursor.execute("SHOW fsync")
        [fsync] = cursor.fetchone()
    if fsync == "on":
        pytest.skip("this Postgres is durable, so there is nothing to refuse")
    with pytest.raises(startup.UnsafePostgres, match="fsync"):
        startup.refuse_unsafe()


def test_pg_14_production_refuses_books_without_their_guards(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "PRODUCTION", True)
    monkeypatch.setattr(startup, "DURABLE", {})
    with connection.cursor() as cursor:
        cursor.execute("SELECT tgrelid::regclass::text, tgname FROM pg_trigger")
        assert startup.GUARDS - set(cursor.fetchall()) == set(), "guards that no migration makes"
        cursor.execute("ALTER TABLE ledger_posting DISABLE TRIGGER postings_must_balance")
    with pytest.raises(startup.UnsafePostgres, match="postings_must_balance"):
        startup.refuse_unsafe()

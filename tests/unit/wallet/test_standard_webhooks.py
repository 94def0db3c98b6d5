"""Signatures of outgoing webhooks: the vectors of the scheme and of our documentation, checked by what the documentation tells receivers."""

import base64
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest

from wallet import notifications
from wallet.models import OutboxMessage
from wallet.notifications import delivery, signatures
from wallet.serializers import EventSerializer

DOCUMENT = (Path(__file__).resolve().parents[3] / "docs" / "webhooks.md").read_text()
PROGRAMS = {language: code for language, code in re.findall(r"```(\w+)\n(.*?)```", DOCUMENT, re.DOTALL) if "SIGNATURE" in code}
COMMANDS = {"python": [sys.executable, "-c"], "js": ["node", "-e"], "sh": ["sh", "-c"]}
EXAMPLE = re.search(r"webhook-id: (\S+)\nwebhook-timestamp: (\d+)\nwebhook-signature: (\S+)\n\n(\{.*\})\n", DOCUMENT)
[SECRET] = set(re.findall(r"whsec_[A-Za-z0-9+/=]{20,}", DOCUMENT))
assert EXAMPLE
ID, TIMESTAMP, SIGNATURE, BODY = EXAMPLE.groups()


def verdict(language: str, *, secret: str = SECRET, signature: str = SIGNATURE, timestamp: str = TIMESTAMP, body: str = BODY) -> str:
    """Let the documentation's own program judge a message."""
    command = COMMANDS[language]
    if shutil.which(command[0]) is None:
        pytest.skip(f"no {command[0]} here")
    said = {"SECRET": secret, "ID": ID, "TIMESTAMP": timestamp, "SIGNATURE": signature, "PATH": "/usr/local/bin:/usr/bin:/bin"}
    run = subprocess.run([*command, PROGRAMS[language]], input=body.encode(), env=said, capture_output=True, check=True, timeout=60)
    return run.stdout.decode().strip()


def test_sec_19_the_vector_of_the_scheme_itself() -> None:
    # From the reference implementation's tests (standard-webhooks, libraries/python/tests/test_webhooks.py).
    signed = signatures.signature(
        "msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}', secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", at=1614265330
    )
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_sec_19_the_vector_of_the_documentation_is_ours() -> None:
    assert signatures.headers(ID, BODY.encode(), secrets=[SECRET], at=int(TIMESTAMP)) == {
        "webhook-id": ID,
        "webhook-timestamp": TIMESTAMP,
        "webhook-signature": SIGNATURE,
    }


@pytest.mark.parametrize("language", sorted(COMMANDS))
def test_sec_19_the_documented_verifiers_know_a_genuine_message_from_a_forged_one(language: str) -> None:
    assert set(PROGRAMS) == set(COMMANDS)
    assert verdict(language) == "genuine"
    assert verdict(language, signature=f"v1,{'A' * 43}= {SIGNATURE}") == "genuine"  # signed with two secrets
    assert verdict(language, body=BODY.replace("100.00", "900.00")) == "forged"
    assert verdict(language, timestamp=str(int(TIMESTAMP) + 1)) == "forged"
    assert verdict(language, secret=signatures.new_secret()) == "forged"
    assert verdict(language, signature="v1,") == "forged"


def test_a_secret_is_32_random_bytes_of_the_schemes_form() -> None:
    made = {signatures.new_secret() for _ in range(100)}
    assert len(made) == 100
    assert all(secret.startswith("whsec_") and len(base64.b64decode(secret[6:], validate=True)) == 32 for secret in made)


def test_the_body_has_the_fields_that_the_description_of_events_names() -> None:
    message = OutboxMessage(public_id=ID, topic="payment.paid", about="pay_1", payload={}, created_at=datetime(2026, 11, 21, tzinfo=UTC))
    event = notifications.event_of(message)
    assert list(event) == list(EventSerializer().fields) == list(orjson.loads(BODY)) == list(EventSerializer.example)
    assert event["created_at"] == "2026-11-21T00:00:00Z"


def test_the_waits_are_those_that_the_documentation_names_and_end_within_three_days() -> None:
    waits = [delivery.retry_after(step) for step in range(1, 30)]
    exact = [timedelta(seconds=seconds) for seconds in delivery.RETRY_AFTER_S]
    for wait, meant in zip(waits, [*exact, *[exact[-1]] * 20], strict=True):
        assert meant * 0.9 <= wait <= meant * 1.1
    assert "5 s, 30 s, 2 min, 10 min, 30 min, 1 h, 2 h, 4 h, and then every 8 h" in " ".join(DOCUMENT.split())
    assert exact == [
        *(timedelta(seconds=seconds) for seconds in (5, 30)),
        *(timedelta(minutes=minutes) for minutes in (2, 10, 30)),
        *(timedelta(hours=hours) for hours in (1, 2, 4, 8)),
    ]

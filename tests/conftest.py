"""What every test may use. Fixtures live in tests/fixtures_*.py, named below; the money's own come after the services'.

The servers are started by `./run test`, which hands their addresses over in environment variables.
"""

import os
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

import hypothesis
import pytest
from django.conf import settings
from django.utils import translation


def take_a_broker_of_our_own(worker: str) -> None:
    """Give an xdist worker (gw0, gw1, ...) a database of the broker to itself: no Celery worker may hear the messages of others.

    Done before anybody imports Celery's settings.
    """
    address = urlsplit(settings.REDIS_URL)
    number = int(address.path.strip("/") or 0) + int(worker.removeprefix("gw"))
    os.environ["REDIS_URL"] = settings.REDIS_URL = urlunsplit(address._replace(path=f"/{number}"))


if "PYTEST_XDIST_WORKER" in os.environ:
    take_a_broker_of_our_own(os.environ["PYTEST_XDIST_WORKER"])

pytest_plugins = ["tests.fixtures_services", "tests.fixtures_money", "tests.fixtures_house"]


@pytest.fixture(autouse=True)
def english() -> Iterator[None]:
    """Begin each test in English, whatever language the pages of the one before were read in."""
    with translation.override("en"):
        yield


def pytest_configure() -> None:
    if not os.environ.get("DATABASE_URL"):
        raise pytest.UsageError("The tests need servers of their own: run `./run test`, which takes pytest's arguments.")
    hypothesis.settings.register_profile("house", deadline=None)  # a machine may be busy with other things
    hypothesis.settings.load_profile("house")
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # the others are slow on purpose

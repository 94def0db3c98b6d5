"""What every test may use. Fixtures live in tests/fixtures_*.py, named below; the money's own come after the services'.

The servers are started by `./run test`, which hands their addresses over in environment variables.
"""

import os
from collections.abc import Iterator

import pytest
from django.utils import translation

pytest_plugins = ["tests.fixtures_services", "tests.fixtures_money", "tests.fixtures_house"]


@pytest.fixture(autouse=True)
def english() -> Iterator[None]:
    """Begin each test in English, whatever language the pages of the one before were read in."""
    with translation.override("en"):
        yield


def pytest_configure() -> None:
    if not os.environ.get("DATABASE_URL"):
        raise pytest.UsageError("The tests need servers of their own: run `./run test`, which takes pytest's arguments.")

"""Random baskets, played: a small share with every run of the tests, ten thousand by `./run baskets`."""

import os
from pathlib import Path

import pytest

from tests.fixtures_money import Oracle
from tests.programmes import baskets
from wallet.models import Seller, Shop

COUNT = int(os.environ.get("BASKETS_COUNT", "50"))


@pytest.mark.slow
def test_no_unit_is_lost_over_tenders_currencies_and_partial_refunds(shop: Shop, sellers: list[Seller], oracle: Oracle) -> None:
    score = baskets.play(shop, sellers, oracle, count=COUNT)
    if report := os.environ.get("BASKETS_REPORT"):
        Path(report).write_text(score.summary())
    assert (score.units_lost, score.violations) == (0, 0)
    assert score.baskets >= COUNT

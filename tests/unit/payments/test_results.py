"""The signed result that a buyer carries back: what a shop can read from it, and what it must not believe."""

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlsplit

import pytest

from payments import results
from payments.results import Result, ResultRefused

SECRET = "shsec_of_northwind"
NOW = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
PAID = Result("pay_1", "paid", int(NOW.timestamp()))


def carried(return_url: str = "https://shop.example/thanks", result: Result = PAID) -> dict[str, str]:
    address = results.signed_address(return_url, result, secret=SECRET)
    return dict(parse_qsl(urlsplit(address).query, keep_blank_values=True))


def test_a_shop_reads_back_what_was_signed() -> None:
    assert results.verify(carried(), secret=SECRET, now=NOW) == PAID


def test_the_signature_is_hmac_sha256_of_payment_status_and_time() -> None:
    signature = results.sign(Result("pay_1", "paid", 1_800_000_000), secret="s3cret")
    assert signature == "113e0fd67bddb45722a5b13a1e59fbca0a432d7e66381ece9538ff6ce349906d"


def test_what_stood_in_the_address_stays() -> None:
    address = results.signed_address("https://shop.example/thanks?order=7&empty=&q=%C3%BC#top", PAID, secret=SECRET)
    assert address.startswith("https://shop.example/thanks?order=7&empty=&q=%C3%BC&onebook_payment=pay_1&onebook_status=paid&onebook_at=")
    assert address.endswith("#top")


def test_a_result_already_in_the_address_is_replaced() -> None:
    address = results.signed_address("https://shop.example/?onebook_status=paid&x=1", Result("pay_1", "failed", 1), secret=SECRET)
    assert address.count("onebook_status=") == 1
    assert "onebook_status=failed" in address


@pytest.mark.parametrize("changed", ["payment", "status", "at", "signature"])
def test_a_changed_result_is_refused(changed: str) -> None:
    forged = {"payment": "pay_2", "status": "partly_paid", "at": str(PAID.at - 1), "signature": "0" * 64}[changed]
    with pytest.raises(ResultRefused):
        results.verify(carried() | {f"onebook_{changed}": forged}, secret=SECRET, now=NOW)


@pytest.mark.parametrize("missing", ["payment", "status", "at", "signature"])
def test_an_incomplete_result_is_refused(missing: str) -> None:
    parameters = carried()
    del parameters[f"onebook_{missing}"]
    with pytest.raises(ResultRefused):
        results.verify(parameters, secret=SECRET, now=NOW)


@pytest.mark.parametrize("moved", [timedelta(days=1, seconds=1), timedelta(days=-1, seconds=-1)])
def test_an_old_result_is_refused(moved: timedelta) -> None:
    with pytest.raises(ResultRefused):
        results.verify(carried(), secret=SECRET, now=NOW + moved)


@pytest.mark.parametrize("strange", ["", "x", "1e9", "-1", "٣", "9" * 40])
def test_a_strange_time_is_refused_and_nothing_else(strange: str) -> None:
    with pytest.raises(ResultRefused):
        results.verify(carried() | {"onebook_at": strange}, secret=SECRET, now=NOW)

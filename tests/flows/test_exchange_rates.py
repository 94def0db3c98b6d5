"""Exchange rates: all of a file or nothing of it, once; by hand by two people; and none that is too old."""

import http.server
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.cache import cache
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import IntegrityError, connection, transaction
from django.test import Client

from ledger import approvals, clock
from ledger.approvals import MakerMayNotApprove, Proposal
from ledger.errors import DomainError
from ledger.money import exact
from tests.factories import make_available, new_sellers, new_shop
from tests.rates import daily_csv, quote_euro, xml
from wallet import conversions, rates, tasks
from wallet.conversions import Wish
from wallet.models import ExchangeRate
from wallet.rates import NoRate, RateRefused, SameCurrency, StaleRate
from wallet.rates_admin import KIND, subject_of
from wallet.rates_ecb import UnreadableRates

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 20, 16, 30, tzinfo=UTC)
FRIDAY, A_DAY = NOW.date(), timedelta(days=1)


def proposal(quote: str, rate: str, on: date = FRIDAY) -> Proposal:
    terms = {"base": "EUR", "quote": quote, "rate": rate, "quoted_on": on.isoformat()}
    return Proposal(KIND, subject_of(quote), terms, "The bank does not quote it")


def held() -> list[tuple[str, str, str]]:
    return [(rate.quote, rates.figures(rate.rate), rate.source) for rate in rates.all_newest(now=NOW)]


def test_a_file_is_taken_once_in_whichever_form_it_comes() -> None:
    first = quote_euro(NOW, USD="1.0512", JPY="163.11", XXA="7")
    assert (first.new, first.known, first.newest, first.left_out) == (2, 0, FRIDAY, ["XXA"])
    again = rates.load(xml((FRIDAY.isoformat(), {"USD": "1.0512", "JPY": "163.11"})), by="test", now=NOW)
    assert (again.new, again.known) == (0, 2)
    assert held() == [("JPY", "163.11", "ecb"), ("USD", "1.0512", "ecb")]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (daily_csv(FRIDAY, GBP="0.83", USD="1.06"), "1.06 USD a euro for 2026-11-20, and a file before it said 1.0512"),
        (daily_csv(FRIDAY + A_DAY, GBP="0.83", USD="1.06"), "has rates of 2026-11-21"),
        (daily_csv(FRIDAY, GBP="0.83", JPY="16.311"), "16.311 JPY a euro on 2026-11-20 is more than 10 % away from 163 on 2026-11-19"),
    ],
)
def test_of_a_file_with_one_rate_that_cannot_be_nothing_is_taken(content: bytes, said: str) -> None:
    quote_euro(NOW - A_DAY, JPY="163")
    quote_euro(NOW, USD="1.0512")
    before = held()
    with pytest.raises(RateRefused, match=said):
        rates.load(content, by="test", now=NOW)
    with pytest.raises(UnreadableRates):
        rates.load(b"Date,GBP\n2026-11-20,0.83\n2026-11-19,x\n", by="test", now=NOW)
    assert held() == before


def test_a_jump_is_taken_once_two_people_say_that_it_is_so_and_long_ago_it_is_history() -> None:
    history = b"Date,USD\n2026-11-19,1.05\n2024-01-02,2.10\n2024-01-01,1.05\n"
    quote_euro(datetime(2024, 1, 3, tzinfo=UTC), USD="1.05")
    with pytest.raises(RateRefused):
        rates.load(history.replace(b"1.05\n2024-01-02", b"1.40\n2024-01-02"), by="test", now=NOW)
    assert rates.load(history.replace(b"2.10", b"1.10"), by="test", now=NOW).new == 3
    jumped = daily_csv(FRIDAY, USD="1.40")
    with pytest.raises(RateRefused):
        rates.load(jumped, by="test", now=NOW)
    approvals.approve(
        approvals.propose(proposal("USD", "1.4"), actor="staff:ada", now=NOW).pk, actor="staff:bea", reason="So it is", now=NOW
    )
    assert rates.load(jumped, by="test", now=NOW).new == 1


def test_a_wrong_rate_that_a_file_brings_as_history_lets_no_others_in_that_are_like_it() -> None:
    quote_euro(NOW - 9 * A_DAY, USD="1.05")
    with pytest.raises(RateRefused, match=r"1\.45 USD a euro on 2026-11-19 is more than 10 % away from 1\.05 on 2026-11-11"):
        rates.load(b"Date,USD\n2026-11-20,1.44\n2026-11-19,1.45\n2026-11-12,1.45\n", by="test", now=NOW)
    assert held() == [("USD", "1.05", "ecb")]


def test_sec_29_a_rate_by_hand_takes_two_people_and_holds_until_a_newer_one() -> None:
    quote_euro(NOW - A_DAY, USD="1.05")
    asked = approvals.propose(proposal("KWD", "0.3231"), actor="staff:ada", now=NOW)
    assert ExchangeRate.objects.filter(quote="KWD").count() == 0
    with pytest.raises(MakerMayNotApprove):
        approvals.approve(asked.pk, actor="staff:ada", reason="Mine", now=NOW)
    approvals.approve(asked.pk, actor="staff:bea", reason="Looked it up", now=NOW)
    assert held() == [("KWD", "0.3231", "manual"), ("USD", "1.05", "ecb")]
    assert ExchangeRate.objects.get(quote="KWD").approval == asked.public_id
    pair = rates.pair("KWD", "USD", now=NOW)
    assert (pair.source, pair.quoted_on, pair.rate) == ("ecb+manual", FRIDAY - A_DAY, Decimal("3.249767873723"))


@pytest.mark.parametrize(
    ("quote", "rate", "on", "error"),
    [
        ("XXX", "1", FRIDAY, "unknown_currency"),
        ("EUR", "1", FRIDAY, "same_currency"),
        ("USD", "0", FRIDAY, "rate_refused"),
        ("USD", "1,05", FRIDAY, "rate_refused"),
        ("USD", "1.05", FRIDAY + A_DAY, "rate_refused"),
        ("USD", "1.05", FRIDAY - 5 * A_DAY, "rate_refused"),
        ("USD", "1.05", FRIDAY - A_DAY, "rate_refused"),
    ],
)
def test_a_rate_that_cannot_be_is_not_even_proposed(quote: str, rate: str, on: date, error: str) -> None:
    quote_euro(NOW, USD="1.0512")
    with pytest.raises(DomainError) as refused:
        approvals.propose(proposal(quote, rate, on), actor="staff:ada", now=NOW)
    assert refused.value.code == error


def test_a_rate_holds_over_a_long_weekend_and_no_longer() -> None:
    quote_euro(NOW, USD="1.0512")
    assert rates.pair("USD", "EUR", now=NOW + 4 * A_DAY).quoted_on == FRIDAY
    with pytest.raises(StaleRate, match="of 2026-11-20, 5 days ago"):
        rates.pair("USD", "EUR", now=NOW + 5 * A_DAY)
    with pytest.raises(NoRate):
        rates.pair("USD", "GBP", now=NOW)
    with pytest.raises(NoRate):
        rates.pair("USD", "EUR", now=NOW - A_DAY)  # it was not known then
    with pytest.raises(SameCurrency):
        rates.pair("USD", "USD", now=NOW)


def test_a_rate_is_never_changed() -> None:
    quote_euro(NOW, USD="1.0512")
    for statement in ("UPDATE wallet_exchangerate SET rate = 2", "DELETE FROM wallet_exchangerate", "TRUNCATE wallet_exchangerate CASCADE"):
        with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)


def test_the_command_loads_a_file_and_says_what_it_did_not_take(tmp_path: Any, capsys: Any) -> None:
    file = tmp_path / "eurofxref.csv"
    file.write_bytes(daily_csv(clock.now().date(), USD="1.0512"))
    call_command("load_rates", str(file), by="ada")
    assert "New rates: 1; known already: 0" in capsys.readouterr().out
    file.write_bytes(b"Date,USD\nnever,1\n")
    with pytest.raises(CommandError, match="Line 2"):
        call_command("load_rates", str(file), by="ada")
    with pytest.raises(CommandError, match="cannot be read"):
        call_command("load_rates", str(tmp_path / "none"), by="ada")


class Bank(http.server.BaseHTTPRequestHandler):
    """A bank that has a file under /daily, and nothing else."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/daily" else 404)
        self.end_headers()
        self.wfile.write(xml((clock.now().date().isoformat(), {"USD": "1.0512"})) if self.path == "/daily" else b"nothing")

    def log_message(self, *args: Any) -> None: ...


@pytest.fixture
def bank() -> Iterator[str]:
    with http.server.HTTPServer(("127.0.0.1", 0), Bank) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_the_file_is_fetched_where_an_address_is_set(bank: str, settings: Any, caplog: Any) -> None:
    tasks.fetch_rates()
    assert ExchangeRate.objects.count() == 0
    settings.RATES_URL = f"{bank}/elsewhere"
    tasks.fetch_rates()
    assert "answered with status 404" in caplog.text
    settings.RATES_URL = f"{bank}/daily"
    tasks.fetch_rates()
    tasks.fetch_rates()
    assert [(rate.quote, rate.received_by) for rate in ExchangeRate.objects.all()] == [("USD", "fetched")]


# --- In the admin ---------------------------------------------------------------------------------------------------

PAGES = "/admin/wallet/exchangerate/"


def staff(name: str, *rights: str) -> Client:
    user = User.objects.create_user(name, is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=["view_exchangerate", "view_conversion", "view_approval", *rights]))
    browser = Client(headers={"accept-language": "en"})
    browser.force_login(user)
    return browser


def test_a_file_is_loaded_by_whoever_may_and_says_what_is_wrong_with_it() -> None:
    cache.clear()
    today = clock.now().date()
    maker, viewer = staff("ada", "upload_exchangerate"), staff("vera")
    assert viewer.get(f"{PAGES}load/").status_code == 403
    refused = maker.post(f"{PAGES}load/", {"file": SimpleUploadedFile("rates.csv", b"Date,USD\nnever,1\n")})
    assert "Line 2: &#x27;never&#x27; is not a day" in refused.content.decode()
    loaded = maker.post(f"{PAGES}load/", {"file": SimpleUploadedFile("rates.csv", daily_csv(today, USD="1.0512", XXA="2"))}, follow=True)
    assert "1 new rate, the last of" in loaded.content.decode()
    [rate] = ExchangeRate.objects.all()
    assert rate.received_by == "staff:ada"
    assert "EUR/USD" in viewer.get(PAGES, {"q": "usd"}).content.decode()
    assert "EUR/USD" not in viewer.get(PAGES, {"q": "gbp"}).content.decode()
    assert viewer.get(f"{PAGES}{rate.pk}/change/").status_code == 200
    assert maker.post(f"{PAGES}{rate.pk}/change/", {"rate": "2"}).status_code == 403
    assert maker.post(f"{PAGES}{rate.pk}/delete/", {"post": "yes"}).status_code == 403


def test_sec_29_a_rate_is_proposed_and_approved_on_the_pages_of_two_people() -> None:
    cache.clear()
    quote_euro(clock.now(), USD="1.0512")
    maker, checker = staff("ada", "add_exchangerate"), staff("bea", "approve_exchangerate")
    said = {"quote": "USD", "rate": "1,06", "quoted_on": clock.now().date().isoformat(), "note": "Our bank's"}
    assert checker.get(f"{PAGES}propose/").status_code == 403
    assert "is not a rate" in maker.post(f"{PAGES}propose/", said).content.decode()
    hidden = said | {"rate": "1.06", "note": "Ours \u202eis not"}
    assert "a character that cannot be seen" in maker.post(f"{PAGES}propose/", hidden).content.decode()
    proposed = maker.post(f"{PAGES}propose/", said | {"rate": "1.06"})
    assert "1.0512" in checker.get(f"{proposed['Location']}").content.decode()
    address = proposed["Location"].replace("/change/", "/approve/")
    assert maker.post(address, {"note": "Mine"}).status_code == 403
    checker.post(address, {"note": "So it is"})
    assert rates.newest(["USD"], now=clock.now())["USD"].rate == Decimal("1.06")


def test_finance_sees_what_it_holds_and_what_that_gained() -> None:
    cache.clear()
    now = clock.now()
    quote_euro(now, USD="1.0000")
    [ada] = new_sellers(new_shop(), "Ada")
    make_available(ada, exact("100.00", "USD"))
    made = conversions.convert(ada, Wish(exact("100.00", "USD"), "EUR"), kept=exact("0", "USD"), now=now)
    viewer = staff("vera")
    approvals.approve(
        approvals.propose(proposal("USD", "0.8", now.date()), actor="staff:ada", now=now).pk, actor="staff:bea", reason="-", now=now
    )
    text = viewer.get(f"{PAGES}position/").content.decode().replace("\N{NO-BREAK SPACE}", " ")
    for words in ("\N{MINUS SIGN}100.00 EUR", "100.00 USD", "125.00 EUR", "25.00 EUR"):
        assert words in text
    listed = viewer.get("/admin/wallet/conversion/", {"q": ada.public_id}).content.decode()
    assert made.public_id[-8:] in listed
    assert "EUR/USD 1" in viewer.get(f"/admin/wallet/conversion/{made.pk}/change/").content.decode()
    nobody = Client()
    nobody.force_login(User.objects.create_user("nobody", is_staff=True))
    assert [nobody.get(path).status_code for path in (f"{PAGES}position/", "/admin/wallet/conversion/", PAGES)] == [403] * 3

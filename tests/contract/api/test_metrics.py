"""/metrics: who may ask, in which form it answers, what it counts, and what it never says."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.conf import settings
from django.db import OperationalError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from config.api import metrics
from ledger import journal, seals
from payments.models import PaymentEvent, PspEvent
from reconciliation import invariants, queues, watch
from reconciliation.models import InvariantRun
from tests.factories import FEES, RECEIVABLE, draft, new_shop
from tests.fixtures_money import confirm_card, execute_until_settled
from wallet.models import Shop

LINE = re.compile(r'[a-z_]+(\{[a-z_]+="[^"\n]*"(,[a-z_]+="[^"\n]*")*\})? -?[0-9.e+-]+')


@pytest.fixture
def shop(books_hold: None) -> Shop:
    """Open a shop with real commits: the metrics are read in a transaction of their own."""
    return new_shop()


def scrape(**headers: str) -> dict[str, float]:
    """Read the metrics as a scraper does: by name and labels."""
    answer = Client().get("/metrics", headers=headers)
    assert answer.status_code == 200
    assert answer["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    samples = [line for line in answer.text.splitlines() if not line.startswith("#")]
    assert [line for line in samples if not LINE.fullmatch(line)] == []
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in samples}


def test_a_token_is_asked_for_where_one_is_set(real_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "METRICS_TOKEN", "s3cret-of-the-scraper")
    for wrong in ("", "Bearer", "Bearer s3cret", "Basic s3cret-of-the-scraper", "s3cret-of-the-scraper", "Bearer é"):
        refused = Client().get("/metrics", headers={"authorization": wrong} if wrong else {})
        assert (refused.status_code, refused["WWW-Authenticate"]) == (401, "Bearer")
        assert "onebook_" not in refused.text
    assert scrape(authorization="Bearer s3cret-of-the-scraper")
    elsewhere = Client(REMOTE_ADDR="203.0.113.7").get("/metrics", headers={"authorization": "Bearer s3cret-of-the-scraper"})
    assert elsewhere.status_code == 200


@pytest.mark.parametrize("address", ["203.0.113.7", "10.0.0.1", "::ffff:203.0.113.7", "", "unix:"])
def test_without_a_token_only_this_machine_may_ask(real_db: None, address: str) -> None:
    assert Client(REMOTE_ADDR=address).get("/metrics").status_code == 403


@pytest.mark.parametrize("header", ["x-forwarded-for", "forwarded", "x-real-ip"])
def test_without_a_token_nobody_may_ask_through_a_proxy_on_this_machine(real_db: None, header: str) -> None:
    assert Client().get("/metrics").status_code == Client(REMOTE_ADDR="::1").get("/metrics").status_code == 200
    assert Client().get("/metrics", headers={header: "203.0.113.7"}).status_code == 403


def test_nothing_can_be_posted(real_db: None) -> None:
    assert Client().post("/metrics").status_code == 405


def test_every_metric_is_described_once_and_says_what_it_is(real_db: None) -> None:
    text = Client().get("/metrics").text
    described = re.findall(r"^# HELP ([a-z_]+) .+$", text, flags=re.MULTILINE)
    typed = re.findall(r"^# TYPE ([a-z_]+) gauge$", text, flags=re.MULTILINE)
    assert described == typed
    assert len(described) == len(set(described))
    assert {re.split(r"[{ ]", line)[0] for line in text.splitlines() if not line.startswith("#")} <= set(described)


def test_it_counts_what_executes_and_forgets_what_is_done(open_payment: Callable[..., PaymentEvent]) -> None:
    event = open_payment("10.00", "20.00")
    assert scrape()["onebook_checkouts_open"] == 1
    confirm_card(event)
    waiting = scrape()
    assert (waiting["onebook_orders_executing"], waiting["onebook_orders_due"]) == (2, 2)
    assert 0 <= waiting["onebook_orders_overdue_age_seconds"] < 60
    execute_until_settled()
    done = scrape()
    assert (done["onebook_orders_executing"], done["onebook_orders_overdue_age_seconds"], done["onebook_checkouts_open"]) == (0, 0, 0)


def test_it_tells_the_class_of_a_parked_event_and_never_its_words(real_db: None) -> None:
    reasons = {
        "unknown_key": "no attempt has this key",
        "other_payment": "its reference is another order's",
        "other_amount": "9.00 EUR is not the order's 10.00 EUR",
        "unknown_status": "the charge has a status that we do not know",
        "unknown_type": "nothing is done with charge.teleported",
        "contradiction": "the refund is FAILED, and the PSP says otherwise",
        "other": "Rosa Martín wrote a letter",
    }
    for name, reason in reasons.items():
        PspEvent.objects.create(psp="sandbox", event_id=f"evt_{name}", type="charge.x", body={}, status="parked", reason=reason)
    PspEvent.objects.create(psp="sandbox", event_id="evt_new", type="charge.x", body={})
    seen = scrape()
    assert {name: seen[f'onebook_psp_events_parked_last_hour{{reason="{name}"}}'] for name in reasons} == dict.fromkeys(reasons, 1)
    assert seen["onebook_psp_events_received"] == 1
    assert "Rosa" not in Client().get("/metrics").text


def test_it_tells_what_the_watch_found_and_how_long_ago(real_db: None) -> None:
    assert not [name for name in scrape() if name.startswith("onebook_invariant")]
    watch.run_full(now=timezone.now() - timedelta(hours=2))
    watch.run_quick(now=timezone.now() - timedelta(minutes=7))
    seen = scrape()
    assert {name: seen[f'onebook_invariant_violations{{invariant="{name}"}}'] for name in metrics.known()} == dict.fromkeys(
        metrics.known(), 0
    )
    assert seen['onebook_invariant_last_run_age_seconds{scope="quick"}'] == pytest.approx(7 * 60, abs=30)
    assert seen['onebook_invariant_last_run_age_seconds{scope="full"}'] == pytest.approx(2 * 3600, abs=30)
    found = [{"invariant": next(iter(invariants.CHECKS)), "rows": [[1], [2], [3]]}]
    InvariantRun.objects.create(scope="quick", started_at=timezone.now(), took_ms=1, checked=1, violations=found)
    assert scrape()['onebook_invariant_violations{invariant="INV-01"}'] == 3


def test_it_tells_how_far_the_seals_are_behind(real_db: None) -> None:
    assert (scrape()["onebook_seals"], scrape()["onebook_seal_lag_seconds"]) == (0, 0)
    with transaction.atomic():
        journal.open_accounts([RECEIVABLE, FEES], currency="EUR")
        journal.post([draft("one"), draft("two")])
    assert scrape()["onebook_seal_lag_seconds"] > 0
    seals.seal()
    assert (scrape()["onebook_seals"], scrape()["onebook_seal_lag_seconds"]) == (1, 0)


def test_it_tells_the_age_of_each_heartbeat(real_db: None) -> None:
    queues.beat("money")
    seen = scrape()
    assert 0 <= seen['onebook_queue_heartbeat_age_seconds{queue="money"}'] < 60
    assert 'onebook_queue_heartbeat_age_seconds{queue="bulk"}' not in seen


def test_one_scrape_is_a_dozen_small_queries(real_db: None) -> None:
    with CaptureQueriesContext(connection) as asked:
        scrape()
    assert len(asked) <= 12


def test_without_the_database_it_says_so(real_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise OperationalError("no route to host")

    monkeypatch.setattr(metrics, "of_the_database", fail)
    answer = Client().get("/metrics")
    assert (answer.status_code, answer.text) == (503, "The database does not answer.\n")


def test_labels_are_escaped_as_prometheus_reads_them() -> None:
    assert metrics.written({"a": 'x"y\\z\n'}) == '{a="x\\"y\\\\z\\n"}'
    assert metrics.written({}) == ""

"""/metrics: what an operator watches, in Prometheus' text format, read from Postgres when it is asked for.  Never personal data.

Written by hand: the counts are those of the database, shared by all processes, so that a client library's counters per process would have
to be switched off.  Whoever asks shows METRICS_TOKEN as a bearer token; while none is set, only this machine itself may ask.
"""

import hmac
import logging
import os
import platform
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address

from django.conf import settings
from django.db import Error, connection
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from ledger import clock, seek
from payments.models import PspEvent
from payments.states import UNRESOLVED
from payouts import stops
from reconciliation import invariants, queues, watch
from reconciliation.models import InvariantRun

logger = logging.getLogger(__name__)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
TIMEOUT_S = 5
LATELY = timedelta(hours=1)
STARTED_AT = time.time()
# Not one of them names a payment: why an event is parked says it in amounts and ids, of which only the class is told.
PARKED_BECAUSE = (
    ("unknown_key", "no % has this key%"),
    ("other_payment", "its reference is another%"),
    ("other_amount", "% is not the %"),
    ("unknown_status", "%a status that we do not know"),
    ("unknown_type", "nothing is done with %"),
    ("contradiction", "%the PSP says otherwise"),
)

# Each line is answered by an index, or by a table that holds only what is under way.  %(now)s is the time of business.
NOW = """
SELECT (SELECT count(*) FROM payments_dueorder) AS orders_executing,
       (SELECT count(*) FROM payments_dueorder WHERE next_attempt_at <= %(now)s) AS orders_due,
       (SELECT extract(epoch FROM %(now)s - min(next_attempt_at))::float8 FROM payments_dueorder WHERE next_attempt_at <= %(now)s)
           AS orders_overdue_age_seconds,
       (SELECT count(*) FROM payments_dueorder AS due JOIN payments_pspattempt AS attempt ON attempt.psp_key = due.psp_key
        WHERE attempt.status = ANY(%(unresolved)s)) AS attempts_unresolved,
       (SELECT count(*) FROM payments_opencheckout) AS checkouts_open,
       (SELECT count(*) FROM payments_refund WHERE status = 'EXECUTING') AS refunds_executing,
       (SELECT extract(epoch FROM %(now)s - min(next_attempt_at))::float8 FROM payments_refund
        WHERE status = 'EXECUTING' AND next_attempt_at <= %(now)s) AS refunds_overdue_age_seconds,
       (SELECT count(*) FROM payments_deadletter WHERE decided_at IS NULL) AS dead_letters_open,
       (SELECT count(*) FROM payments_circuitbreaker WHERE opened_at IS NOT NULL) AS circuit_breakers_open,
       (SELECT count(*) FROM payments_pspevent WHERE status = 'received') AS psp_events_received,
       (SELECT count(*) FROM wallet_webhookdelivery WHERE next_attempt_at IS NOT NULL) AS webhook_deliveries_pending,
       (SELECT extract(epoch FROM %(now)s - min(next_attempt_at))::float8 FROM wallet_webhookdelivery
        WHERE next_attempt_at <= %(now)s) AS webhook_deliveries_overdue_age_seconds,
       (SELECT coalesce(max(number), 0) FROM ledger_ledgerseal) AS seals,
       (SELECT extract(epoch FROM now() - entry.booked_at)::float8 FROM ledger_journalentry AS entry
        WHERE entry.id > (SELECT coalesce(max(last_entry_id), 0) FROM ledger_ledgerseal) ORDER BY entry.id LIMIT 1) AS seal_lag_seconds
"""
HELP = {
    "orders_executing": "Orders whose outcome is open",
    "orders_due": "Orders that the executor should be working on",
    "orders_overdue_age_seconds": "How long the oldest due order has been due",
    "attempts_unresolved": "Calls to a PSP that may have taken money, of orders that execute",
    "checkouts_open": "Checkouts that may still be paid or expire",
    "refunds_executing": "Refunds whose outcome is open",
    "refunds_overdue_age_seconds": "How long the oldest due refund has been due",
    "dead_letters_open": "Orders and refunds that wait for a person",
    "circuit_breakers_open": "Operations of PSPs that are not called for now",
    "psp_events_received": "Webhooks of PSPs that are stored and not applied yet",
    "webhook_deliveries_pending": "Messages on their way to shops",
    "webhook_deliveries_overdue_age_seconds": "How long the oldest due delivery has been due",
    "seals": "Links of the chain of hashes over the books",
    "seal_lag_seconds": "Age of the oldest entry that is not sealed yet",
}
PARKED = """
SELECT reason_class, count(*) FROM (
    SELECT coalesce((SELECT class.name FROM unnest(%(names)s::text[], %(patterns)s::text[]) WITH ORDINALITY AS class (name, pattern, place)
                     WHERE reason LIKE class.pattern ORDER BY class.place LIMIT 1), 'other') AS reason_class
    FROM payments_pspevent WHERE id >= %(first)s AND status = 'parked' AND received_at >= %(since)s
) AS parked GROUP BY 1
"""


@dataclass(frozen=True, slots=True)
class Gauge:
    """One metric: a value for each set of labels."""

    name: str
    help: str
    samples: Iterable[tuple[Mapping[str, str], float]]


@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Answer with every metric.  401 without the token, 403 from elsewhere while there is none, 503 while the database does not answer."""
    if settings.METRICS_TOKEN:
        if not shows_token(request):
            return HttpResponse("Show METRICS_TOKEN as a bearer token.\n", status=401, headers={"WWW-Authenticate": "Bearer"})
    elif not is_from_here(request):
        return HttpResponse("Set METRICS_TOKEN to read the metrics from another machine.\n", status=403)
    try:
        gauges = [*of_the_process(), *of_the_database(now=clock.now(), true_time=timezone.now())]
    except Error as error:
        logger.warning("the metrics cannot be read: %s", error)
        return HttpResponse("The database does not answer.\n", status=503)
    return HttpResponse(exposition(gauges), content_type=CONTENT_TYPE)


def shows_token(request: HttpRequest) -> bool:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(token.strip().encode(), settings.METRICS_TOKEN.encode())


def is_from_here(request: HttpRequest) -> bool:
    """Say whether this machine itself asks, and not somebody behind a proxy on it."""
    forwarded = {"X-Forwarded-For", "Forwarded", "X-Real-Ip"} & set(request.headers)
    try:
        return not forwarded and ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False


def of_the_process() -> Iterator[Gauge]:
    labels = {"environment": settings.ENVIRONMENT, "python": platform.python_version()}
    yield Gauge("onebook_info", "Which Onebook answers", [(labels, 1)])
    yield Gauge("process_start_time_seconds", "When this process began", [({}, round(STARTED_AT, 3))])
    usage = resource.getrusage(resource.RUSAGE_SELF)
    kibibyte = 1 if sys.platform == "darwin" else 1024
    yield Gauge("process_max_resident_memory_bytes", "The most memory that this process held", [({}, usage.ru_maxrss * kibibyte)])
    yield Gauge("process_cpu_seconds", "Time on a processor", [({"pid": str(os.getpid())}, usage.ru_utime + usage.ru_stime)])


def of_the_database(*, now: datetime, true_time: datetime) -> list[Gauge]:
    """Read all that the database knows, in one consistent state.  Ages of what is due are by the time of business; the watch's by the true."""
    with watch.one_state(timeout_s=TIMEOUT_S):
        return [*under_way(now), parked(true_time), *of_the_watch(true_time), heartbeats()]


def under_way(now: datetime) -> list[Gauge]:
    with connection.cursor() as cursor:
        cursor.execute(NOW, {"now": now, "unresolved": [str(status) for status in UNRESOLVED]})
        names = [column.name for column in cursor.description]
        counted = dict(zip(names, cursor.fetchone(), strict=True))
    return [Gauge(f"onebook_{name}", HELP[name], [({}, value or 0)]) for name, value in counted.items()]


def parked(true_time: datetime) -> Gauge:
    since = true_time - LATELY
    classes = [name for name, _pattern in PARKED_BECAUSE]
    with connection.cursor() as cursor:
        cursor.execute(
            PARKED,
            {
                "names": classes,
                "patterns": [pattern for _name, pattern in PARKED_BECAUSE],
                "first": seek.first_id_since(PspEvent, "received_at", since),
                "since": since,
            },
        )
        counted = dict(cursor.fetchall())
    samples = [({"reason": name}, counted.get(name, 0)) for name in (*classes, "other")]
    return Gauge("onebook_psp_events_parked_last_hour", "Webhooks of PSPs of the past hour that could not be applied", samples)


def of_the_watch(true_time: datetime) -> Iterator[Gauge]:
    """Yield what the latest runs over the invariants found, by invariant, and how long ago they were."""
    runs = [run for run in watch.latest_runs() if run]
    found: Counter[str] = Counter()
    for run in runs:
        for name, rows in worst(run).items():
            found[name] = max(found[name], rows)
    yield Gauge(
        "onebook_invariant_violations",
        "Rows (the first ten) that break an invariant, in the latest quick and full runs",
        [({"invariant": name}, found[name]) for name in known()] if runs else [],
    )
    ages = [({"scope": str(run.scope)}, (true_time - run.started_at).total_seconds()) for run in runs]
    yield Gauge("onebook_invariant_last_run_age_seconds", "How long ago the invariants were looked at", ages)
    yield Gauge(
        "onebook_payouts_stopped",
        "1 while all payouts are stopped, since figures about money do not agree",
        [({}, int(stops.active() is not None))],
    )


def known() -> list[str]:
    return sorted({name.split()[0] for name in invariants.CHECKS})


def worst(run: InvariantRun) -> dict[str, int]:
    rows: dict[str, int] = {}
    for violation in run.violations:
        name = str(violation["invariant"]).split()[0]
        rows[name] = max(rows.get(name, 0), len(violation["rows"]), 1)
    return rows


def heartbeats() -> Gauge:
    ages = [({"queue": queue}, age) for queue, age in queues.ages().items() if age is not None]
    return Gauge("onebook_queue_heartbeat_age_seconds", "How long ago a worker last worked on the queue", ages)


def exposition(gauges: Iterable[Gauge]) -> str:
    lines = []
    for gauge in gauges:
        lines += [f"# HELP {gauge.name} {gauge.help}", f"# TYPE {gauge.name} gauge"]
        lines += [f"{gauge.name}{written(labels)} {value}" for labels, value in gauge.samples]
    return "\n".join(lines) + "\n"


def written(labels: Mapping[str, str]) -> str:
    """Write the labels as Prometheus reads them, with backslash, quote and line break escaped."""
    escaped = {name: text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") for name, text in labels.items()}
    return "{" + ",".join(f'{name}="{text}"' for name, text in escaped.items()) + "}" if escaped else ""

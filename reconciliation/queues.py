"""The queues of the workers, and the canaries that beat sends through them: a worker may live and be deaf, a heartbeat cannot lie.

`money` charges, refunds and expires; `webhooks` is what PSPs told us and what we tell shops; `bulk` is all that may wait.  A task without a
route goes to `bulk`, so that nothing can hold up the money by being forgotten.
"""

from django.db import connection

QUEUES = ("money", "webhooks", "bulk")
SILENT_AFTER_S = 120

BEAT = """
INSERT INTO reconciliation_queueheartbeat (queue, at) VALUES (%s, now())
ON CONFLICT (queue) DO UPDATE SET at = greatest(excluded.at, reconciliation_queueheartbeat.at)
"""
AGES = "SELECT queue, extract(epoch FROM now() - at)::float8 FROM reconciliation_queueheartbeat"


class UnknownQueue(ValueError):
    """A canary came through a queue that is none of ours."""


def beat(queue: str) -> None:
    """Note that a worker works on the queue now."""
    if queue not in QUEUES:
        raise UnknownQueue(f"{queue} is not one of {', '.join(QUEUES)}")
    with connection.cursor() as cursor:
        cursor.execute(BEAT, [queue])


def ages() -> dict[str, float | None]:
    """Return for each queue the seconds since its last heartbeat; None where there never was one."""
    with connection.cursor() as cursor:
        cursor.execute(AGES)
        known = dict(cursor.fetchall())
    return {queue: known.get(queue) for queue in QUEUES}


def silent() -> dict[str, float | None]:
    """Return the queues without a heartbeat for two minutes, and how long they have been silent."""
    return {queue: age for queue, age in ages().items() if age is None or age > SILENT_AFTER_S}

"""For whoever watches the processes: /healthz says that this one answers, /readyz whether it can do its work.

Redis is a doorbell: without it payments are slower to start and none is lost, so that its absence is a degradation and no failure.
"""

from collections.abc import Callable

import redis
from django.conf import settings
from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

PATIENCE_S = 0.5


@never_cache
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """This process answers."""
    return JsonResponse({"status": "ok"})


@never_cache
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """503 unless the database answers and has all of its migrations; 200 and "degraded" while only Redis is away."""
    checks = {"database": database(), "migrations": "unknown", "redis": doorbell()}
    if checks["database"] == "ok":
        checks["migrations"] = migrations()
    is_ready = checks["database"] == checks["migrations"] == "ok"
    status = "not ready" if not is_ready else "ok" if checks["redis"] == "ok" else "degraded"
    return JsonResponse({"status": status, "checks": checks}, status=200 if is_ready else 503)


def database() -> str:
    return outcome(lambda: connection.cursor().execute("SELECT 1"), failure=Error)


def migrations() -> str:
    try:
        executor = MigrationExecutor(connection)
        return "pending" if executor.migration_plan(executor.loader.graph.leaf_nodes()) else "ok"
    except Error:
        return "failed"


def doorbell() -> str:
    def ring() -> None:
        with redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=PATIENCE_S, socket_timeout=PATIENCE_S) as client:
            client.ping()

    return outcome(ring, failure=redis.RedisError)


def outcome(check: Callable[[], object], *, failure: type[Exception]) -> str:
    try:
        check()
    except failure:
        return "failed"
    return "ok"

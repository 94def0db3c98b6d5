"""Webhooks of those who pay out: verify, let the payout be asked for, wake the worker, answer.

A webhook is a doorbell and no witness: what it says is not believed, the bank is asked.  So a lost, doubled or late one changes nothing.
"""

import logging

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from ledger import clock
from payouts import executor, tasks
from payouts.providers import registry
from payouts.providers.protocol import WebhookRefused

logger = logging.getLogger(__name__)

LARGEST_BODY = 256 * 1024


@csrf_exempt
@require_POST
def receive(request: HttpRequest, provider: str) -> HttpResponse:
    """Hear one signed event.  200 heard (also about a payout that is not ours), 400 not theirs, 404 no such provider, 413 too large."""
    try:
        adapter = registry.provider_named(provider)
    except registry.UnknownProvider:
        return HttpResponse(status=404)
    try:
        is_too_large = int(request.headers.get("Content-Length") or 0) > min(LARGEST_BODY, settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
    except ValueError:
        return HttpResponse(status=400)
    if is_too_large:
        return HttpResponse(status=413)
    try:
        rung = adapter.verify_webhook(request.body, request.headers, now=clock.now())
    except WebhookRefused as error:
        logger.warning("a webhook for %s was refused: %s", provider, error)
        return HttpResponse(status=400)
    if executor.ring(provider, key=rung.key, now=clock.now()):
        tasks.nudge_payouts()
    elif rung.came_back:
        tasks.nudge_watch()
    return HttpResponse(status=200)

"""Webhooks of PSPs: verify, store, commit, wake the worker, answer.  Nothing else happens before the answer."""

import logging

from django.conf import settings
from django.db import DataError
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from ledger import clock
from payments import inbox, tasks
from payments.psp import registry
from payments.psp.protocol import PspOutcomeUnknown, WebhookRefused

logger = logging.getLogger(__name__)

LARGEST_BODY = 256 * 1024


@csrf_exempt
@require_POST
def receive(request: HttpRequest, psp: str) -> HttpResponse:
    """Store one signed event of the PSP.  200 stored (also the second time), 400 not theirs, 404 no such PSP, 413 too large."""
    try:
        adapter = registry.psp_named(psp)
    except registry.UnknownPsp:
        return HttpResponse(status=404)
    try:
        is_too_large = int(request.headers.get("Content-Length") or 0) > min(LARGEST_BODY, settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
    except ValueError:
        return HttpResponse(status=400)
    if is_too_large:
        return HttpResponse(status=413)
    try:
        notice = adapter.verify_webhook(request.body, request.headers, now=clock.now())
        text = request.body.decode()
        if "\\u0000" in text:
            raise WebhookRefused("the body holds a NUL, which cannot be stored")
    except (WebhookRefused, PspOutcomeUnknown, UnicodeDecodeError) as error:
        logger.warning("a webhook for %s was refused: %s", psp, error)
        return HttpResponse(status=400)
    try:
        inbox.store(psp, notice, body=text)
    except DataError:
        logger.warning("a webhook for %s cannot be stored as JSON", psp)
        return HttpResponse(status=400)
    tasks.nudge_inbox()
    return HttpResponse(status=200)

"""The sandbox as a WSGI application: Django, and the answers that do not travel as they should."""

import os
import time
from collections.abc import Callable, Iterable
from typing import Any

from django.core.wsgi import get_wsgi_application

from payments.sandbox import transport

os.environ["DJANGO_SETTINGS_MODULE"] = "payments.sandbox.settings"
django_application = get_wsgi_application()


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    response = django_application(environ, start_response)
    manner = transport.marked(response)
    if manner:
        connection = environ.get("gunicorn.socket")
        if connection:
            transport.keeper.take_over(connection, manner)
        else:  # any other server: its thread waits
            time.sleep(manner.delay_s)
    return response

"""The sandbox as a WSGI application: Django, and the answers that are to be late or never."""

import os
import time
from collections.abc import Callable, Iterable
from typing import Any

from django.core.wsgi import get_wsgi_application

from payments.sandbox import late

os.environ["DJANGO_SETTINGS_MODULE"] = "payments.sandbox.settings"
django_application = get_wsgi_application()


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    response = django_application(environ, start_response)
    lateness = late.marked(response)
    if lateness:
        connection = environ.get("gunicorn.socket")
        if connection:
            late.clock.hold_back(connection, lateness)
        else:  # any other server: its thread waits
            time.sleep(lateness.delay_s)
    return response

"""The web process: `gunicorn config.wsgi`."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

application = get_wsgi_application()

from config import celery, startup  # noqa: E402

startup.refuse_unsafe()
doorbell = celery.app  # views ring it

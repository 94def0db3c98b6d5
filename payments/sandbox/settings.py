"""Settings of the sandbox's own Django project, read from SANDBOX_* variables.

Nothing here has a default that opens a door: database, keys and secrets must be given. The module refuses to load when
ONEBOOK_ENV is production, so that no mistake in a deployment can put a fake PSP beside real money. DEBUG is always off:
a debug page would show what a buyer typed into the card form.
"""

import os
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

if os.environ.get("ONEBOOK_ENV") == "production":
    raise ImproperlyConfigured("The PSP sandbox does not start in production (ONEBOOK_ENV=production).")

env = environ.Env()
PACKAGE = Path(__file__).resolve().parent

SECRET_KEY = env.str("SANDBOX_SECRET_KEY")
DEBUG = False

SANDBOX_API_KEY = env.str("SANDBOX_API_KEY")
SANDBOX_ACCOUNT = env.str("SANDBOX_ACCOUNT", default="acct_onebook")
SANDBOX_PUBLIC_URL = env.str("SANDBOX_PUBLIC_URL", default="http://127.0.0.1:9100").rstrip("/")
SANDBOX_WEBHOOK_URL = env.str("SANDBOX_WEBHOOK_URL", default="")
SANDBOX_PAYOUT_WEBHOOK_URL = env.str("SANDBOX_PAYOUT_WEBHOOK_URL", default="")  # empty: nobody is told of payouts
SANDBOX_WEBHOOK_SECRET = env.str("SANDBOX_WEBHOOK_SECRET")
SANDBOX_SESSION_LIFETIME_S = env.int("SANDBOX_SESSION_LIFETIME_S", default=24 * 3600)
SANDBOX_QR_LIFETIME_S = env.int("SANDBOX_QR_LIFETIME_S", default=5 * 60)
SANDBOX_REVIEW_S = env.int("SANDBOX_REVIEW_S", default=60)  # how long a person at the provider of pay later takes
SANDBOX_PENDING_S = env.int("SANDBOX_PENDING_S", default=5)
SANDBOX_FEE_RATE = env("SANDBOX_FEE_RATE", cast=Decimal, default=Decimal("0.014"))  # what is kept of each charge when it is settled ...
SANDBOX_FEE_FIXED = env("SANDBOX_FEE_FIXED", cast=Decimal, default=Decimal("0.25"))  # ... and this on top, in major units of its currency

ALLOWED_HOSTS = ["127.0.0.1", "localhost", "[::1]", urlsplit(SANDBOX_PUBLIC_URL).hostname or "localhost"]
ROOT_URLCONF = "payments.sandbox.urls"
WSGI_APPLICATION = "payments.sandbox.wsgi.application"
INSTALLED_APPS = ["payments.sandbox", "django.contrib.staticfiles"]
MIDDLEWARE = ["whitenoise.middleware.WhiteNoiseMiddleware"]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": []},
    }
]
DATABASES = {
    "default": {
        **env.db_url("SANDBOX_DATABASE_URL"),
        "CONN_MAX_AGE": None,
        "OPTIONS": {"server_side_binding": True, "prepare_threshold": 3, "application_name": "psp-sandbox"},
    }
}
STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False
WHITENOISE_MAX_AGE = 0  # the names are not hashed: browsers ask again and are told 304

USE_TZ = True
TIME_ZONE = "UTC"
USE_I18N = False
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {"payments.sandbox": {"level": "INFO"}, "django.request": {"level": "ERROR"}},
}

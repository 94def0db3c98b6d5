"""All settings of all environments; they differ by environment variables only (.env.example lists them).

ONEBOOK_ENV is development, test, demo or production.  Production refuses to start with a default secret, with DEBUG, or with the
sandbox configured (here), and on a Postgres whose durability is switched off (config/startup.py).
"""

import base64
from decimal import Decimal, InvalidOperation
from pathlib import Path
from urllib.parse import urlsplit

import environ
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from ledger.currencies import MINOR_UNITS
from wallet import statement_names

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()

# Which environment
ENVIRONMENT = env.str("ONEBOOK_ENV", default="development")
if ENVIRONMENT not in {"development", "test", "demo", "production"}:
    raise ImproperlyConfigured(f"ONEBOOK_ENV is {ENVIRONMENT!r}; it must be development, test, demo or production.")
PRODUCTION = ENVIRONMENT == "production"
INSECURE_SECRET = "insecure-secret-of-development-and-tests"  # noqa: S105

SECRET_KEY = env.str("SECRET_KEY", default="" if PRODUCTION else INSECURE_SECRET)
DEBUG = env.bool("DEBUG", default=False)
PUBLIC_URL = env.str("PUBLIC_URL", default="http://127.0.0.1:8000").rstrip("/")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=[] if PRODUCTION else ["127.0.0.1", "localhost", "testserver", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[PUBLIC_URL])

# Applications
INSTALLED_APPS = [
    "wallet.apps.DeskConfig",  # the admin, behind the second factor
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "djmoney",
    "csp",
    "rest_framework",
    "drf_spectacular",
    "ledger",
    "wallet",
    "payments",
    "payouts",
    "reconciliation",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "config.languages.LanguageMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# Postgres: one database, persistent connections, and an end to every wait.  ATOMIC_REQUESTS stays off: a PSP is never called in a transaction.
DATABASES = {"default": env.db_url("DATABASE_URL", default="postgres://onebook@127.0.0.1:5432/onebook")}
DATABASES["default"] |= {
    "ENGINE": "django.db.backends.postgresql",
    "ATOMIC_REQUESTS": False,
    "CONN_MAX_AGE": None,
    "CONN_HEALTH_CHECKS": True,
    "OPTIONS": {
        "server_side_binding": True,
        "prepare_threshold": 3,
        "connect_timeout": 5,
        "options": "-c lock_timeout=5s -c statement_timeout=30s -c idle_in_transaction_session_timeout=30s",
    },
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Redis is a doorbell: Celery's broker, and nothing that matters
REDIS_URL = env.str("REDIS_URL", default="redis://127.0.0.1:6379/0")

# Money
CURRENCIES = tuple(sorted(MINOR_UNITS))
AUTO_CONVERT_MONEY = False  # said aloud: django-money looks for it at every addition, and a missing setting costs time there

# Payment service providers
PSP_SANDBOX_URL = env.str("PSP_SANDBOX_URL", default="").rstrip("/")
PSP_SANDBOX_API_KEY = env.str("PSP_SANDBOX_API_KEY", default="")
PSP_SANDBOX_ACCOUNT = env.str("PSP_SANDBOX_ACCOUNT", default="acct_onebook")
PSP_SANDBOX_WEBHOOK_SECRETS = env.list("PSP_SANDBOX_WEBHOOK_SECRETS", default=[])
DEFAULT_PSP = env.str("DEFAULT_PSP", default="" if PRODUCTION else "sandbox")
DEFAULT_PAYOUT_PROVIDER = env.str("DEFAULT_PAYOUT_PROVIDER", default="" if PRODUCTION else "sandbox")
TEST_CLOCK_FILE = env.str("TEST_CLOCK_FILE", default="")  # see ledger/clock.py
STORIES = ENVIRONMENT in {"test", "demo"}  # is there a page /demo/ (config/stories.py)? And what the demo has shown
DEMO_SHOWN_FILE = env.str("DEMO_SHOWN_FILE", default="")
WEBHOOKS_ALLOW_PRIVATE = env.bool("WEBHOOKS_ALLOW_PRIVATE", default=ENVIRONMENT in {"test", "demo"})  # http://, and our own machines
CHECKOUT_LIFETIME_S = env.int("CHECKOUT_LIFETIME_S", default=24 * 3600)
STATEMENT_NAME = env.str("STATEMENT_NAME", default="ONEBOOK")  # how card statements name us, behind a shop's name that cannot stand alone
if not statement_names.is_fit(STATEMENT_NAME):
    raise ImproperlyConfigured(f"STATEMENT_NAME is {STATEMENT_NAME!r}; it must be {statement_names.RULE}.")

# What takes two people (ledger/approvals.py): for how many days it waits for the second one, and above which amount in each currency, such as
# EUR=500,USD=500, one person is not enough for a refund or a manual entry. A currency that is not named has no limit
APPROVAL_DAYS = env.int("APPROVAL_DAYS", default=14)


def limits_of(name: str) -> dict[str, Decimal]:
    """Return the limit of each currency that the variable names."""
    try:
        limits = {currency.strip(): Decimal(most) for currency, most in (each.split("=") for each in env.list(name, default=[]))}
    except (ValueError, InvalidOperation):
        limits = {"": Decimal(0)}
    if not MINOR_UNITS.keys() >= limits.keys() or not all(most.is_finite() and most >= 0 for most in limits.values()):
        raise ImproperlyConfigured(f"{name} must name an amount for each currency, such as EUR=500,USD=500.")
    return limits


REFUND_APPROVAL_LIMITS = limits_of("REFUND_APPROVAL_LIMITS")  # by staff
API_REFUND_LIMITS = limits_of("API_REFUND_LIMITS")  # by a shop's back end, over REST
API_ENTRY_LIMITS = limits_of("API_ENTRY_LIMITS")
GIFT_CARD_APPROVAL_LIMITS = limits_of("GIFT_CARD_APPROVAL_LIMITS")  # of what is granted by staff
API_GIFT_CARD_LIMITS = limits_of("API_GIFT_CARD_LIMITS")

# Currencies (wallet/rates.py): from where the file of rates is fetched (empty: it is not), how old a rate may be to convert by - four days, so that
# a long weekend passes - and by how many percent it may differ from the one before it without two people looking at it. And the house's own currency
RATES_URL = env.str("RATES_URL", default="")
RATES_MAX_AGE_DAYS = env.int("RATES_MAX_AGE_DAYS", default=4)
RATES_MAX_CHANGE_PERCENT = env.int("RATES_MAX_CHANGE_PERCENT", default=10)
HOUSE_CURRENCY = env.str("HOUSE_CURRENCY", default="EUR")
if HOUSE_CURRENCY not in MINOR_UNITS:
    raise ImproperlyConfigured(f"HOUSE_CURRENCY is {HOUSE_CURRENCY!r}; it must be a currency of ISO 4217 in use, such as EUR.")

# Bank details: keys of 32 bytes in base64 (payouts/vault.py); of BANK_DETAILS_KEYS the first seals, and all open
INSECURE_KEY = base64.b64encode(b"insecure-secret-of-dev-and-tests").decode()
BANK_DETAILS_KEYS = env.list("BANK_DETAILS_KEYS", default=[] if PRODUCTION else [INSECURE_KEY])
BANK_DETAILS_FINGERPRINT_KEY = env.str("BANK_DETAILS_FINGERPRINT_KEY", default="" if PRODUCTION else INSECURE_KEY)
BANK_CHANGE_HOLD_H = env.int("BANK_CHANGE_HOLD_H", default=72)

# Gift cards: the key under which codes are kept (wallet/gift_card_codes.py), and for how many days a card is valid; 0: for ever
GIFT_CARD_PEPPER = env.str("GIFT_CARD_PEPPER", default="" if PRODUCTION else INSECURE_KEY)
GIFT_CARD_DAYS = env.int("GIFT_CARD_DAYS", default=3 * 365)
GIFT_CARD_REFUND_DAYS = env.int("GIFT_CARD_REFUND_DAYS", default=90)  # and at least so long after money came back to it

# Second factors (wallet/second_factor.py): keys of their secrets, and who must have one: sellers for whatever moves their money, and staff
SECOND_FACTOR_KEYS = env.list("SECOND_FACTOR_KEYS", default=[] if PRODUCTION else [INSECURE_KEY])
SELLER_SECOND_FACTOR = env.bool("SELLER_SECOND_FACTOR", default=ENVIRONMENT != "demo")
ADMIN_SECOND_FACTOR = env.bool("ADMIN_SECOND_FACTOR", default=PRODUCTION)

# The seller's home (wallet/home.py): the parts that the apps above the wallet bring
SELLER_HOME = ("payouts.seller_home.part", "payments.seller_home.part")

# Bank files: from which account of ours each currency is paid out, as JSON (payouts/files.py)
DEMO_ACCOUNT = {"holder": "Onebook Demo", "iban": "DE89370400440532013000", "bic": "COBADEFFXXX"}
BANK_FILE_ACCOUNTS = env.json("BANK_FILE_ACCOUNTS", default={} if PRODUCTION else {"EUR": DEMO_ACCOUNT})

# Files of PSPs and banks (reconciliation/ingestion.py): from whom they are taken, by short names (a PSP's is its name in the books), and which:
# a PSP's settlement files or a bank's statements.  And a folder with a folder for each of them, whose files are taken as they come
NAMED_SOURCES = env.list("FILE_SOURCES", default=[] if PRODUCTION else ["sandbox=settlement", "sandbox_bank=statement"])
FILE_SOURCES = {name.strip(): kind.strip() for name, _, kind in (named.partition("=") for named in NAMED_SOURCES)}
if not {"settlement", "statement"}.issuperset(FILE_SOURCES.values()):
    raise ImproperlyConfigured("FILE_SOURCES must say of each name what comes from it, such as northpay=settlement,northbank=statement.")
FILES_FOLDER = env.str("FILES_FOLDER", default="")

# Formats whose files are read and not compared, since another report of the same PSP has their lines: Stripe gives two of the same payments
FILE_FORMATS_ONLY_READ = env.list("FILE_FORMATS_ONLY_READ", default=["stripe_balance_change"])

# Within how many bank days what a PSP pays us, and what we pay sellers, stands on our bank's statements; a tolerance may say otherwise of a PSP
BANK_DAYS_TO_ARRIVE = env.int("BANK_DAYS_TO_ARRIVE", default=3)

# Within how many bank days a mismatch must be explained (reconciliation/causes.py): what resolves itself, what is put right by hand, and the rest
DUE_BANK_DAYS = env.list("MISMATCH_DUE_BANK_DAYS", cast=int, default=[1, 3, 5])
if len(DUE_BANK_DAYS) != 3 or not all(0 <= days <= 60 for days in DUE_BANK_DAYS):
    raise ImproperlyConfigured("MISMATCH_DUE_BANK_DAYS must be three numbers from 0 to 60, such as 1,3,5.")
MISMATCH_DUE_BANK_DAYS = dict(zip(("automatic", "by_hand", "unknown"), DUE_BANK_DAYS, strict=True))

# What may still be open when a month is closed (reconciliation/close_checks.py): mismatches that are younger than so many days, and older ones
# up to an amount in each currency together, such as EUR=100,USD=100. A currency that is not named: nothing
CLOSE_MISMATCH_DAYS = env.int("CLOSE_MISMATCH_DAYS", default=5)
CLOSE_MISMATCH_LIMITS = limits_of("CLOSE_MISMATCH_LIMITS")

# SFTP servers that keep files for us (reconciliation/sftp_server.py), by the same short names, as JSON
FILES_SFTP = env.json("FILES_SFTP", default={})
if not isinstance(FILES_SFTP, dict) or any(source not in FILE_SOURCES for source in FILES_SFTP):
    raise ImproperlyConfigured("FILES_SFTP must be a JSON object that has a server for each source, and each must stand in FILE_SOURCES.")

# E-mail: consolemail:// prints it, smtp+tls://user:password@mail.example:587 sends it
EMAIL = env.email_url("EMAIL_URL", default="consolemail://")
EMAIL_BACKEND = EMAIL["EMAIL_BACKEND"]
EMAIL_HOST, EMAIL_PORT = EMAIL["EMAIL_HOST"], EMAIL["EMAIL_PORT"]
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = EMAIL["EMAIL_HOST_USER"], EMAIL["EMAIL_HOST_PASSWORD"]
EMAIL_USE_TLS, EMAIL_USE_SSL = EMAIL.get("EMAIL_USE_TLS", False), EMAIL.get("EMAIL_USE_SSL", False)
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env.str("EMAIL_FROM", default="Onebook <onebook@localhost>")

# People
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator", "NumericPasswordValidator")
]
LOGIN_URL = "seller-login"
LOGIN_REDIRECT_URL = "seller-home"
LOGOUT_REDIRECT_URL = "seller-login"

# Languages and time
LANGUAGE_CODE = "en"
LANGUAGES = [
    ("en", "English"),
    ("de", "Deutsch"),
    ("fr", "Français"),
    ("es", "Español"),
    ("ar", "العربية"),
    ("ja", "日本語"),
]  # buyers' pages
UI_LANGUAGES = ("en", "de")  # of them, those of the pages of sellers and staff
LOCALE_PATHS = [BASE_DIR / "locale"]
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"

# Static files
STATIC_URL = "/static/"
STATIC_ROOT = Path(env.str("STATIC_ROOT", default=str(BASE_DIR / "var" / "static")))
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if ENVIRONMENT in {"test", "development"}
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}
WHITENOISE_USE_FINDERS = ENVIRONMENT in {"test", "development"}

# Browsers
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "frame-ancestors": [NONE],
        "form-action": [SELF],
        "base-uri": [NONE],
    }
}
X_FRAME_OPTIONS = "DENY"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
HTTPS = PUBLIC_URL.startswith("https://")
SECURE_SSL_REDIRECT = HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 8 * 3600
DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024 * 1024

# REST
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["config.api.authentication.ApiKeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["config.api.authentication.HasScope"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["config.api.parsers.StrictJSONParser"],
    "DEFAULT_PAGINATION_CLASS": "config.api.pagination.CursorPages",
    "DEFAULT_THROTTLE_CLASSES": ["config.api.throttling.KeyThrottle"],
    "DEFAULT_THROTTLE_RATES": {"key": env.str("API_RATE", default="6000/min")},
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "config.api.errors.problem",
    "UNAUTHENTICATED_USER": None,
    "COERCE_DECIMAL_TO_STRING": True,
    "URL_FORMAT_OVERRIDE": None,
}

# Whoever watches: what a scraper of /metrics shows as its bearer token; unset, only this machine may ask
METRICS_TOKEN = env.str("METRICS_TOKEN", default="")

# Logs: no personal data, no secrets
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "filters": {"hide_tokens": {"()": "config.logs.HideTokens"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain", "filters": ["hide_tokens"]}},
    "root": {"handlers": ["console"], "level": env.str("LOG_LEVEL", default="INFO")},
    "loggers": {name: {"level": "WARNING"} for name in ("httpx", "httpcore", "asyncssh", "fontTools")},
}


def is_key(text: str) -> bool:
    """Is it 32 bytes in base64?"""
    try:
        return len(base64.b64decode(text, validate=True)) == 32
    except ValueError:
        return False


for name, texts in (
    ("BANK_DETAILS_KEYS", BANK_DETAILS_KEYS),
    ("BANK_DETAILS_FINGERPRINT_KEY", [BANK_DETAILS_FINGERPRINT_KEY]),
    ("SECOND_FACTOR_KEYS", SECOND_FACTOR_KEYS),
    ("GIFT_CARD_PEPPER", [GIFT_CARD_PEPPER]),
):
    if not texts or not all(is_key(text) for text in texts) or (PRODUCTION and INSECURE_KEY in texts):
        raise ImproperlyConfigured(f"{name} is missing, not 32 bytes in base64, or a default. Make one with `openssl rand -base64 32`.")

if PRODUCTION:
    if len(SECRET_KEY) < 50 or SECRET_KEY.startswith("insecure"):
        raise ImproperlyConfigured("SECRET_KEY is missing, short or a default. Set a random one of 50 characters or more.")
    if not EMAIL_BACKEND.endswith("smtp.EmailBackend"):
        raise ImproperlyConfigured("EMAIL_URL is not set. Set it to a mail server: sellers are told of changes of their bank details.")
    if DEBUG:
        raise ImproperlyConfigured("DEBUG is on in production. Unset it.")
    if not HTTPS and urlsplit(PUBLIC_URL).hostname not in {"127.0.0.1", "localhost", "::1"}:
        raise ImproperlyConfigured(f"PUBLIC_URL is {PUBLIC_URL}. It must begin with https://: people give their cards there.")
    if PSP_SANDBOX_URL or PSP_SANDBOX_API_KEY or PSP_SANDBOX_WEBHOOK_SECRETS or "sandbox" in (DEFAULT_PSP, DEFAULT_PAYOUT_PROVIDER):
        raise ImproperlyConfigured("The PSP sandbox is configured in production. Unset PSP_SANDBOX_*: it takes no real money.")
    if TEST_CLOCK_FILE:
        raise ImproperlyConfigured("TEST_CLOCK_FILE is set in production. Unset it: deadlines and leases go by the true time.")
    if RATES_URL and not RATES_URL.startswith("https://"):
        raise ImproperlyConfigured("RATES_URL must begin with https://: whoever changes rates on their way takes the difference.")
    if WEBHOOKS_ALLOW_PRIVATE:
        raise ImproperlyConfigured("WEBHOOKS_ALLOW_PRIVATE is on in production. Unset it: webhooks would reach our own machines.")

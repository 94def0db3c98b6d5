"""All addresses of the house: each app brings its own."""

from django.conf import settings
from django.contrib import admin
from django.urls import include, path

from config.api import documents, health, metrics

urlpatterns = [
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", metrics.metrics, name="metrics"),
    path("v1/", include("config.api.routes")),
    path("docs", documents.docs, name="docs"),
    path("", include("payments.urls")),
    path("", include("payouts.urls")),
    path("", include("wallet.urls")),
    path("admin/", include("reconciliation.urls")),
    path("admin/", admin.site.urls),
]

if settings.STORIES:
    urlpatterns += [path("demo/", include("config.stories"))]

handler400 = "config.api.errors.bad_request"
handler404 = "config.api.errors.not_found"
handler500 = "config.api.errors.server_error"

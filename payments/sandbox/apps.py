"""The only Django app of the sandbox's project."""

from django.apps import AppConfig


class SandboxConfig(AppConfig):
    name = "payments.sandbox"
    label = "sandbox"
    verbose_name = "Sandbox Payments"
    default_auto_field = "django.db.models.BigAutoField"

"""`manage.py migrate`: Django's own; and after it, when all apps are migrated, the roles are what the code says (reconciliation/roles.py)."""

from typing import Any

from django.core.management.commands import migrate
from django.db import DEFAULT_DB_ALIAS

from reconciliation import roles


class Command(migrate.Command):
    """Migrates as Django does, and keeps the roles."""

    def handle(self, *args: Any, **options: Any) -> None:
        super().handle(*args, **options)
        is_of_all = options["app_label"] is None and options["database"] == DEFAULT_DB_ALIAS
        if is_of_all and not (options["plan"] or options["check_unapplied"]):
            roles.keep()

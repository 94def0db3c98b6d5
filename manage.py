#!/usr/bin/env python
"""Django's command line."""

import os
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    if os.environ.get("MIGRATION_DATABASE_URL") and sys.argv[1:2] and sys.argv[1] in {"migrate", "grant_app_role", "makemigrations"}:
        os.environ["DATABASE_URL"] = os.environ["MIGRATION_DATABASE_URL"]
    execute_from_command_line(sys.argv)

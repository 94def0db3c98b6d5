"""`python -m payments.sandbox serve --port N`, or any command of Django: `migrate`, `makemigrations`, `check`."""

import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line

from payments.sandbox.serving import serve

if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = "payments.sandbox.settings"
    try:
        if sys.argv[1:2] == ["serve"]:
            serve(sys.argv[2:])
        else:
            execute_from_command_line(["python -m payments.sandbox", *sys.argv[1:]])
    except ImproperlyConfigured as reason:
        sys.exit(str(reason))

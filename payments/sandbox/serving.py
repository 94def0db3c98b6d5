"""`serve`: gunicorn with one process of many threads, and the sender beside them.

One process, because fault switches, an outage and the known offset of the clock live in its memory. It ends when its parent ends, however the parent ended, so that
no sandbox is left behind by a demo or a test that was killed.
"""

import argparse
import ctypes
import os
import signal
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string
from gunicorn.app.base import BaseApplication

PR_SET_PDEATHSIG = 1
THREADS = 8  # answers that are to be late hold no thread (transport.py), and more than eight only fight over the interpreter


def serve(arguments: Sequence[str]) -> None:
    """Serve until told to stop. The public address is that of the port, unless SANDBOX_PUBLIC_URL says otherwise."""
    parser = argparse.ArgumentParser(prog="python -m payments.sandbox serve")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9100)
    options = parser.parse_args(arguments)
    os.environ.setdefault("SANDBOX_PUBLIC_URL", f"http://{options.host}:{options.port}")
    require_settings()
    die_with_parent()
    Server(bind=f"{options.host}:{options.port}").run()


def require_settings() -> None:
    """Read the settings now, so that what is missing is said here and not by a worker that dies of it."""
    dir(settings)


def die_with_parent() -> None:
    """Ask the kernel for SIGTERM when the parent ends (Linux; elsewhere nothing happens)."""
    parent = os.getppid()
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it ended before the kernel was asked
            raise SystemExit("the parent process has ended")


class Server(BaseApplication):  # type: ignore[misc]
    """gunicorn, configured here and by nothing else."""

    def __init__(self, *, bind: str) -> None:
        self._bind = bind
        super().__init__()

    def load_config(self) -> None:
        options: dict[str, Any] = {
            "bind": self._bind,
            "workers": 1,
            "worker_class": "gthread",
            "threads": int(os.environ.get("SANDBOX_THREADS", THREADS)),
            "keepalive": 75,
            "timeout": 60,
            "graceful_timeout": 3,
            "accesslog": None,
            "loglevel": "warning",
            "proc_name": "psp-sandbox",
            "control_socket_disable": True,
            "post_worker_init": _start_sender,
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        return import_string("payments.sandbox.wsgi.application")  # loads Django, in the worker and not in its parent


def _start_sender(worker: Any) -> None:
    import_string("payments.sandbox.sender.start")()  # by name, because it needs the Django that load() has set up

"""`manage.py check_queues`: exit code 1 if a queue had no heartbeat for two minutes, so that nobody works on it, or deafly."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from reconciliation import queues


class Command(BaseCommand):
    help = "Check that every queue has a worker that hears."

    def handle(self, *args: Any, **options: Any) -> None:
        silent = queues.silent()
        if silent:
            raise CommandError("\n".join(sentence(queue, age) for queue, age in silent.items()))
        heard = ", ".join(f"{queue} {age:.0f} s ago" for queue, age in queues.ages().items())
        self.stdout.write(f"Every queue is worked on: {heard}.")


def sentence(queue: str, age: float | None) -> str:
    since = f"for {age:.0f} s" if age is not None else "ever"
    return f"The queue {queue} had no heartbeat {since}. Is a worker running with -Q {queue}, and beat?"

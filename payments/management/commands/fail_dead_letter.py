"""`manage.py fail_dead_letter LETTER --actor NAME --note WHY`: fail what the machine gave up on."""

from payments import rescue
from payments.management.commands import redrive


class Command(redrive.Command):
    help = "Fail the order or refund of a dead letter. A charge that succeeds after all is booked or given back when the PSP tells."
    decide: redrive.Decide = staticmethod(rescue.fail)

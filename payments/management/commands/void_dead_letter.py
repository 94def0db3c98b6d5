"""`manage.py void_dead_letter LETTER --actor NAME --note WHY`: cancel the order that the machine gave up on."""

from payments import rescue
from payments.management.commands import redrive


class Command(redrive.Command):
    help = "Cancel the order of a dead letter: the PSP voids the charge, or what it took is given back in full."
    decide: redrive.Decide = staticmethod(rescue.void)

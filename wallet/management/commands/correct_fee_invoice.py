"""`manage.py correct_fee_invoice --shop SHOP --number INV-2026-000001 --actor NAME --reason WHY`: take it back and invoice the month again."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import Q
from django.utils import timezone

from ledger.errors import DomainError
from wallet import invoices
from wallet.models import Shop


class Command(BaseCommand):
    help = "Take a fee invoice back by a credit note, and issue it again with the seller's data and tax rate as they are now."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--shop", required=True, help="the shop's name or id (shop_...)")
        parser.add_argument("--number", required=True, help="the invoice's number or id (inv_...)")
        parser.add_argument("--actor", required=True, help="who corrects it: your name; it is kept as shell:NAME")
        parser.add_argument("--reason", required=True, help="why: the credit note says it")

    def handle(self, *args: Any, shop: str, number: str, actor: str, reason: str, **options: Any) -> None:
        shops = Shop.objects.filter(Q(public_id=shop) | Q(name=shop))[:2]
        invoice = invoices.found(shops[0], number) if len(shops) == 1 else None
        if invoice is None:
            raise CommandError(f"There is no invoice {number!r} in one shop {shop!r}.")
        if not actor.strip():
            raise CommandError("Say who corrects it: --actor NAME is kept with it.")
        try:
            done = invoices.correct(invoice.pk, reason=reason, by=f"shell:{actor}", now=timezone.now())
        except DomainError as error:
            raise CommandError(str(error)) from error
        again = f", issued again as {done.replaced_by.number}" if done.replaced_by else ""
        self.stdout.write(f"{invoice.number} is taken back by {done.taken_back_by.number}{again}.")

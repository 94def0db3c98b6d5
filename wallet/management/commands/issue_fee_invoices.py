"""`manage.py issue_fee_invoices --shop SHOP --period 2026-10`: invoice the fees up to that month to every seller of the shop."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import Q
from django.utils import timezone

from ledger.errors import DomainError
from wallet import invoices, months
from wallet.models import Shop


class Command(BaseCommand):
    help = "Invoice a month's fees to every seller of the shop, and those of earlier months that are due. Twice is once: whoever is invoiced already is left out."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--shop", required=True, help="the shop's name or id (shop_...)")
        parser.add_argument("--period", required=True, help="the month, such as 2026-10")
        parser.add_argument("--actor", default="", help="who issues them: your name; it is kept as shell:NAME")

    def handle(self, *args: Any, shop: str, period: str, actor: str, **options: Any) -> None:
        found = Shop.objects.filter(Q(public_id=shop) | Q(name=shop))[:2]
        if len(found) != 1:
            raise CommandError(f"There is no one shop {shop!r}: {len(found)} found. Name it by its id.")
        try:
            count = invoices.issue_until(found[0], months.parse(period), now=timezone.now(), by=f"shell:{actor}" if actor else "shell")
        except DomainError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{count} issued up to {period}.")

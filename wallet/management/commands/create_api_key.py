"""`manage.py create_api_key SHOP`: make an API key of a shop and print it, once."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db.models import Q

from wallet import api_keys
from wallet.models import ApiKey, Shop


class Command(BaseCommand):
    help = "Make an API key of a shop and print it. It is shown this once; only its SHA-256 is kept."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("shop", help="the shop's id (shop_…) or its name")
        parser.add_argument("--name", default="Back end", help="what the key is for (default: %(default)s)")
        parser.add_argument(
            "--scope",
            action="append",
            choices=ApiKey.Scope.values,
            help="what it may do; may be given several times (default: all but the ledger's and the files')",
        )
        parser.add_argument("--open-shop", action="store_true", help="open the shop if there is none of this name")

    def handle(self, *args: Any, **options: Any) -> None:
        shop = self.shop(options["shop"], may_open=options["open_shop"])
        mode = "live" if settings.PRODUCTION else "test"
        key, token = api_keys.issue(shop, name=options["name"], scopes=options["scope"] or api_keys.EVERYDAY_SCOPES, mode=mode)
        self.stderr.write(f"{key.name} of {shop.name} ({shop.public_id}) may: {', '.join(key.scopes)}. It is shown this once:")
        self.stdout.write(token)

    def shop(self, name: str, *, may_open: bool) -> Shop:
        shops = list(Shop.objects.filter(Q(public_id=name) | Q(name=name))[:2])
        if len(shops) == 1:
            return shops[0]
        if may_open and not shops:
            return Shop.objects.create(name=name)
        known = ", ".join(f"{shop.name} ({shop.public_id})" for shop in Shop.objects.order_by("id")[:20]) or "none yet"
        raise CommandError(f"There is {'more than one' if shops else 'no'} shop {name!r}. Known: {known}. --open-shop opens a new one.")

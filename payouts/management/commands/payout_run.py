"""`manage.py payout_run SHOP CURRENCY [PERIOD] --by NAME`: pay out everybody of a shop whose period is over, or rehearse that.

The period is one of the shop's calendar, or with `--of SELLER` of that seller's; without one it is the last that is over.
"""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ledger import clock
from ledger.errors import DomainError
from payouts import calendars, choice, scheduling, tasks, terms
from payouts.choice import Which
from payouts.models import PayoutRun
from wallet.models import Seller, Shop


class Command(BaseCommand):
    help = "Make a payout run, or rehearse one: the same code, rolled back."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("shop", help="the id of the shop, shop_...")
        parser.add_argument("currency", help="such as EUR")
        parser.add_argument("period", nargs="?", default="", help="2026-10, 2026-W47 or 2026-11-21")
        parser.add_argument("--of", default="", metavar="SELLER", help="by the calendar of this seller, sel_...")
        parser.add_argument("--by", required=True, help="who does it: your name; it is kept as shell:NAME, who may not approve the run")
        parser.add_argument("--rehearse", action="store_true", help="say what the run would do, and do nothing")
        parser.add_argument("--list", type=Path, metavar="FILE", help="write everybody whom it would look at there, as CSV")

    def handle(self, *args: Any, shop: str, currency: str, period: str, of: str, by: str, **options: Any) -> None:
        now, actor = clock.now(), f"shell:{by}"
        try:
            which = wanted(shop, currency, period, of=of)
            if options["list"]:
                with options["list"].open("w", newline="") as file:
                    file.writelines(choice.as_csv(which, now=now))
            if options["rehearse"]:
                self.tell(scheduling.rehearse(which, now=now, made_by=actor))
                return
            run, is_new = scheduling.convert_and_run(which, now=now, made_by=actor)
        except (DomainError, Shop.DoesNotExist, Seller.DoesNotExist) as error:
            raise CommandError(str(error)) from error
        tasks.nudge_payouts()
        self.stdout.write(("" if is_new else "This period was run already. ") + sentence(run))

    def tell(self, rehearsed: scheduling.Rehearsal) -> None:
        self.stdout.write(f"Rehearsed, and not kept: {sentence(rehearsed.run)}")
        self.stdout.write(f"The run before: {sentence(rehearsed.before)}" if rehearsed.before else "There was no run before.")
        for each in rehearsed.passed_over:
            self.stdout.write(f"Passed over: {each.count} sellers with {each.available}. {each.reason}.")
        for difference in rehearsed.differences:
            self.stdout.write(f"{difference.public_id} {difference.name}: {difference.now}, before {difference.before}")
        for line in rehearsed.trial_balance:
            self.stdout.write(f"{line.kind}: debits {line.debits}, credits {line.credits}, balance {line.balance}")


def wanted(shop_id: str, currency: str, period: str, *, of: str) -> Which:
    """Return which run was asked for."""
    shop = Shop.objects.get(public_id=shop_id)
    agreed = terms.of(Seller.objects.get(public_id=of, shop=shop), currency) if of else choice.agreed_for_all(shop.pk, currency)
    calendar = calendars.of(agreed)
    return Which(shop.pk, currency, calendar, period or calendars.last_over(calendar, clock.now()).name)


def sentence(run: PayoutRun) -> str:
    return f"{run.public_id}, {run.period} until {run.ends_at:%Y-%m-%d %H:%M} UTC: {run.count} payouts, {run.total}, {run.get_status_display()}."

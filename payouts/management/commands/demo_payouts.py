"""`manage.py demo_payouts`: how the sellers of the demo are paid, once `demo_data` has sold and delivered for them.  Safe to run again.

One payout has arrived, one is on its way for three days, one was refused by the seller's bank, one waits for approval, one seller is on
hold, and one is paid in euros what she sells in yen.  All of it goes the usual way: sellers give their accounts, finance verifies them,
requests and a run make payouts, and the executor sends them to the sandbox's bank over HTTP.  What a visitor has changed since is left as
it is.
"""

from collections.abc import Callable
from datetime import time, timedelta
from typing import Any

import httpx
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from ledger import clock
from ledger.errors import DomainError
from ledger.money import exact, zero
from payouts import bank_accounts, calendars, conversions, executor, requests, scheduling
from payouts.bank_accounts import NewBankAccount
from payouts.choice import Which
from payouts.models import BankAccount, PayoutCurrency, PayoutRun, PayoutSchedule
from payouts.states import Interval
from wallet import holds
from wallet.management import demo
from wallet.models import Seller

FINANCE = "staff:admin"
PAID_AT_ONCE, PAID_LATER, REFUSED = "AT611904300234573201", "AT321904300235473204", "AT861904300235473202"
ACCOUNTS = {
    "ada": NewBankAccount("EUR", holder="Ada's Books Ltd", iban=PAID_AT_ONCE),
    "bolt": NewBankAccount("EUR", holder="Bolt Bikes GmbH", iban=PAID_LATER),
    "cleo": NewBankAccount("EUR", holder="Cleo Ceramics OG", iban=REFUSED),
    "dune": NewBankAccount("USD", holder="Dune Audio Inc", country="US", account_number="000123456789", bank_code="110000000"),
    "emi": NewBankAccount("JPY", holder="Emi Tea House KK", iban=PAID_AT_ONCE),
}
TO_VERIFY = "emi"  # finance has still to look at this one
HOLD_DAYS = 7
TIMEOUT_S = 10
Sellers = dict[str, Seller]


class Command(BaseCommand):
    help = "Live through the pay-out half of the demo's story (once)."

    def handle(self, *args: Any, **options: Any) -> None:
        demo.require_demo()
        sellers = {seller.reference: seller for seller in Seller.objects.filter(shop__name=demo.SHOP_NAME)}
        if not sellers:
            raise CommandError("The demo has no sellers yet: run demo_data first.")
        for happens in STORY:
            try:
                happens(sellers)
            except DomainError as error:  # a visitor was there first: a hold, an account, an empty wallet
                self.stderr.write(f"{happens.__name__}: {error}")
        while executor.execute_due_payouts(now=clock.now()):
            pass


def days_are_agreed(sellers: Sellers) -> None:
    """Pay everybody's euros each Monday, Ada's each month, and no more than 1,000 dollars unseen."""
    shop = sellers["ada"].shop
    weekly = {"interval": Interval.WEEKLY, "cut_off": time(6), "zone": "Europe/Berlin", "holidays": "DE"}
    agree(PayoutSchedule(shop=shop, minimum=exact("10.00", "EUR"), keep_back=zero("EUR"), **weekly))
    agree(PayoutSchedule(shop=shop, seller=sellers["ada"], minimum=exact("20.00", "EUR"), keep_back=zero("EUR")))
    agree(PayoutSchedule(shop=shop, minimum=zero("USD"), keep_back=zero("USD"), approval_limit=1000))


def accounts_are_given(sellers: Sellers) -> None:
    """Let each seller give a bank account, and finance verify all but one.  A seller who has or had one is left alone."""
    for login, wanted in ACCOUNTS.items():
        if BankAccount.objects.filter(seller=sellers[login], currency=wanted.currency).exists():
            continue
        account = bank_accounts.add(sellers[login], wanted, by=f"user:{login}", now=clock.now())
        if login != TO_VERIFY:
            bank_accounts.verify(account.pk, by=FINANCE, reason="Compared with a letter of the bank", now=clock.now())


def emi_is_put_on_hold(sellers: Sellers) -> None:
    if not sellers["emi"].holds.exists():
        until = clock.now() + timedelta(days=HOLD_DAYS)
        holds.place(sellers["emi"].pk, reason="Trade licence not seen yet", until=until, actor=FINANCE, now=clock.now())


def ada_asks_for_a_part(sellers: Sellers) -> None:
    amount = exact("90.00", "EUR")
    requests.request_payout(sellers["ada"], amount=amount, once="demo:ada", requested_by="user:ada", now=clock.now())


def dune_asks_for_all(sellers: Sellers) -> None:
    requests.request_payout(sellers["dune"], currency="USD", once="demo:dune", requested_by="user:dune", now=clock.now())


def last_week_is_run(sellers: Sellers) -> None:
    """Run the last week that is over: Bolt's bank takes three days, Cleo's refuses."""
    shop = sellers["bolt"].shop
    if PayoutRun.objects.filter(shop=shop, currency="EUR").exists():
        return
    calendar = calendars.of(PayoutSchedule.objects.get(shop=shop, seller=None, currency="EUR"))
    period = calendars.last_over(calendar, clock.now())
    slow_down(PAID_LATER)
    scheduling.run(Which(shop.pk, "EUR", calendar, period.name), now=clock.now(), made_by=FINANCE)


def cleo_is_paid_in_euros(sellers: Sellers) -> None:
    """Let Cleo, who sells in yen, too, be paid out in euros; whoever has chosen before is left alone."""
    if not PayoutCurrency.objects.filter(seller=sellers["cleo"]).exists():
        conversions.choose(sellers["cleo"], "EUR", by="user:cleo", now=clock.now())


STORY: tuple[Callable[[Sellers], None], ...] = (
    days_are_agreed,
    accounts_are_given,
    emi_is_put_on_hold,
    ada_asks_for_a_part,
    dune_asks_for_all,
    last_week_is_run,
    cleo_is_paid_in_euros,
)


def agree(schedule: PayoutSchedule) -> None:
    """Keep the schedule, unless there is one for the same sellers and currency."""
    same = PayoutSchedule.objects.filter(shop=schedule.shop, seller=schedule.seller, currency=schedule.minimum.currency.code)
    if not same.exists():
        schedule.save()


def slow_down(iban: str) -> None:
    """Let the sandbox's bank take 72 hours for the next payout to this account.  Raises CommandError if it does not answer."""
    fault = {"operation": "payout", "kind": "pending_72h", "card": iban[-4:], "times": 1}
    headers = {"Authorization": f"Bearer {settings.PSP_SANDBOX_API_KEY}"}
    try:
        with httpx.Client(base_url=settings.PSP_SANDBOX_URL, headers=headers, timeout=TIMEOUT_S, trust_env=False) as sandbox:
            sandbox.put("/v1/faults", json=fault).raise_for_status()
    except httpx.HTTPError as error:
        raise CommandError(f"The sandbox's bank does not answer at {settings.PSP_SANDBOX_URL}: {error}") from error

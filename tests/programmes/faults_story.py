"""The story of `./run faults`: days of trade at the sandbox PSP, its files and its bank's with faults in them, and what we make of these.

Every sale goes through the real intake, confirmation, queue and settlement; only the calls of the PSP are made by the hundred, from the list
that the queue gives (`charge_many`), and the quiet days are sold over HTTP.  Refunds and payouts are called one by one.  Each midnight the
day is closed, its files are written in the forms of all PSPs and banks that we read, put into the folder, and worked on as beat does.
"""

import io
import os
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from itertools import cycle
from pathlib import Path

from djmoney.money import Money

from ledger import clock, money
from payments import claims, confirmation, executor, intake, refund_executor, refunds
from payments.claims import Work
from payments.confirmation import Confirmed
from payments.models import PaymentOrder
from payments.psp.protocol import Charged
from payouts import calendars, requests
from payouts import tasks as payout_tasks
from reconciliation import folder, tasks
from reconciliation.models import ExpectedFee, SourceFile
from tests.factories import PAID_AT_ONCE, RETURNED_LATER, basket, make_available, new_bank_account, new_sellers, new_shop
from tests.fixtures_money import confirm_card
from tests.fixtures_services import ROOT, admin_url
from tests.programmes import faults_judge
from tests.programmes.faults_judge import Findings, Truth
from tests.programmes.house import LISTS, House
from wallet.models import Seller, Shop

CURRENCIES = ("EUR", "GBP", "USD")
OF_LINES = ("line_missing", "line_extra", "line_doubled", "line_amount", "line_currency", "line_fee", "line_late")
OF_BOOKINGS = ("line_missing", "line_extra", "line_doubled", "line_amount", "line_currency", "line_late")
OF_PAYMENTS = (*OF_BOOKINGS[:3], "line_batch", *OF_BOOKINGS[3:])  # of batches, by the PSP; on the first day none has another before it
SETTLEMENT_FORMS = ({"format": "sandbox"}, {"format": "adyen"}, {"format": "stripe_payout"})
STATEMENT_FORMS = ({"format": "camt053"}, {"format": "camt053", "version": "02"}, {"format": "mt940"})
REFUNDED = 0.02  # of the rows
BOOKED = 0.25  # of the faults: in the bank's statements
RETURNED = 5  # payouts that come back
GIVEN = money.exact("1000000.00", "EUR")  # to each seller who is paid out
DAYS_BEFORE = 2  # what was paid before the first statement of an account is not looked for
QUIET_DAYS = 9  # until what is missing is missed, and what is late has come
ALL_DAYS, FRIDAY = 24, 5
DAY_S, A_WEEK_S = 24 * 3600, 7 * 24 * 3600
AT_NOON_S, AT_FOUR_S = 12 * 3600, 4 * 3600
MOST_ORDERS = 1000  # of a basket
BASIS_POINTS, FIXED = 140, Decimal("0.25")  # what the sandbox keeps of a charge
FORMS = {"sandbox": SETTLEMENT_FORMS, "sandbox_bank": STATEMENT_FORMS}

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be played: so many charges and refunds on so many days, with so many faults; `sandbox` names the PSP's database."""

    rows: int
    faults: int
    seed: str
    days: int
    sandbox: str

    @property
    def refunds(self) -> int:
        return int(self.rows * REFUNDED)

    @property
    def bookings(self) -> int:
        """How many payouts there are for faults to strike."""
        return int(self.faults * BOOKED) * 2

    def share(self, of: int, day: int) -> int:
        """Return how much of a whole falls on this day, from 0 on."""
        return of * (day + 1) // self.days - of * day // self.days


@dataclass
class Desk:
    """What the story works with, and what it has made."""

    house: House
    plan: Plan
    chance: random.Random
    folder: Path
    shop: Shop
    sellers: Sequence[Seller]
    paid_out: Seller
    returned: Seller
    last_ids: dict[str, int] = field(default_factory=dict)
    charges: list[str] = field(default_factory=list)  # of today, by our own names
    refunds: list[str] = field(default_factory=list)
    payouts: list[str] = field(default_factory=list)
    late: dict[str, int] = field(default_factory=dict)  # what was held back, and for how many seconds
    planted: int = 0
    made: int = 0


def go_through(house: House, plan: Plan, *, say: Say) -> Findings:
    """Trade for the days of the plan and a quiet week, work on the files of each day, and compare what was planted with what was found."""
    desk = open_desk(house, plan)
    for _day in range(DAYS_BEFORE):
        trade_quietly(desk)
        end_day(desk)
    for day in range(plan.days):
        trade(desk, day)
        plant(desk, day)
        end_day(desk)
        say(f"day {day + 1} of {plan.days} is over: {desk.made:,} charges and refunds, {desk.planted} faults")
    for _day in range(QUIET_DAYS):
        trade_quietly(desk)
        end_day(desk)
    say(f"{SourceFile.objects.count()} files are received, read and compared")
    truth = Truth(desk.late, given=GIVEN + GIVEN, rows=desk.made, faults=plan.faults)
    return faults_judge.judge(house, truth, say=say)


def open_desk(house: House, plan: Plan) -> Desk:
    shop = new_shop()
    sellers = new_sellers(shop, *(f"Seller {number}" for number in range(20)))
    paid_out, returned = new_sellers(shop, "Paid out", "Paid out, and it comes back")
    for seller, account in ((paid_out, PAID_AT_ONCE), (returned, RETURNED_LATER)):
        new_bank_account(seller, account)
        make_available(seller, GIVEN)
    for currency in CURRENCIES:
        ExpectedFee.objects.create(psp="sandbox", currency=currency, basis_points=BASIS_POINTS, fixed=FIXED)
    desk = Desk(house, plan, random.Random(plan.seed), house.files / "folder", shop, sellers, paid_out, returned)
    await_no_holidays(house)
    house.end_day()
    house.advance(AT_NOON_S)
    return desk


def await_no_holidays(house: House) -> None:
    """Move the clocks on to days on which the banks work as in any week: around Christmas nothing is missed so soon."""
    while any(is_holiday(clock.now().date() + timedelta(days=ahead)) for ahead in range(ALL_DAYS)):
        house.advance(DAY_S)


def is_holiday(day: date) -> bool:
    return day.isoweekday() <= FRIDAY and calendars.bank_day(day, country="") != day


# --- A day of trade -------------------------------------------------------------------------------------------------


def trade(desk: Desk, day: int) -> None:
    """Sell in all currencies, give some back, and pay out."""
    for todays in (desk.charges, desk.refunds, desk.payouts):
        todays.clear()
    charges = desk.plan.rows - desk.plan.refunds
    today = desk.plan.share(charges, day)
    for number, currency in enumerate(CURRENCIES):
        sell(desk, today * (number + 1) // len(CURRENCIES) - today * number // len(CURRENCIES), currency)
    settle(desk)
    give_back(desk, desk.plan.share(desk.plan.refunds, day))
    desk.payouts += pay_out(desk, desk.paid_out, desk.plan.share(desk.plan.bookings, day))
    if day == 0:
        pay_out(desk, desk.returned, RETURNED)


def sell(desk: Desk, count: int, currency: str) -> None:
    """Let baskets of up to a thousand orders be opened and confirmed."""
    while count:
        amounts = [str(price(desk, currency).amount) for _order in range(min(count, MOST_ORDERS))]
        event, _is_new = intake.open_event(desk.shop, basket(desk.sellers, *amounts, currency=currency), now=clock.now())
        paid = Confirmed(f"cs_{event.public_id}", f"tok_{event.public_id}", event.amount)
        confirmation.confirm(event.pk, paid, now=clock.now())
        count -= len(amounts)


def price(desk: Desk, currency: str) -> Money:
    return money.from_minor(desk.chance.randint(100, 30_000), currency)


def settle(desk: Desk) -> None:
    """Claim what is due as the worker does, have the PSP charge all of it, and hand its answers over."""
    works = list(claimed())
    if works:
        charge_many(desk, works)
        for start in range(0, len(works), MOST_ORDERS):
            answered = [(work, Charged(charge_of(work), work.request.amount, clock.now())) for work in works[start : start + MOST_ORDERS]]
            executor.hand_over(answered, now=clock.now())
        desk.charges += [work.request.reference for work in works]
    desk.made += len(works)


def claimed() -> list[Work]:
    """Claim all that is due; however long that takes, no claim runs out meanwhile."""
    now, works = clock.now(), list[Work]()
    while some := claims.claim_due(now=now, limit=MOST_ORDERS):
        works += some
    return works


def charge_of(work: Work) -> str:
    """Return the id that the PSP is to give the charge."""
    return f"ch_{work.request.reference.partition('_')[2]}"


def charge_many(desk: Desk, works: Sequence[Work]) -> None:
    """Let the charges have succeeded at the PSP, by its own command."""
    listed = io.StringIO("id,key,reference,currency,amount\n")
    listed.seek(0, io.SEEK_END)
    for work in works:
        asked = work.request
        listed.write(f"{charge_of(work)},{asked.key},{asked.reference},{asked.amount.currency.code},{money.to_minor(asked.amount)}\n")
    keys = {f"SANDBOX_{name}": "for a command" for name in ("SECRET_KEY", "API_KEY", "WEBHOOK_SECRET")}
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"} | keys
    environment |= {
        "SANDBOX_DATABASE_URL": admin_url(f"onebook_sandbox_{desk.plan.sandbox}"),
        "SANDBOX_ACCOUNT": desk.house.sandbox.account,
    }
    command = [sys.executable, "-m", "payments.sandbox", "charge_many", "--list", "-"]
    subprocess.run(command, input=listed.getvalue().encode(), env=environment, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)


def give_back(desk: Desk, count: int) -> None:
    """Refund a part, or all, of so many of today's orders."""
    for order in PaymentOrder.objects.filter(public_id__in=desk.chance.sample(desk.charges, count)).order_by("pk"):
        units = money.from_minor(desk.chance.randint(1, money.to_minor(order.amount)), order.amount.currency.code)
        desk.refunds.append(refunds.request_refund(order.pk, amount=units, reason="", now=clock.now()).public_id)
    while refund_executor.execute_due_refunds(now=clock.now()):
        pass
    desk.made += count


def pay_out(desk: Desk, seller: Seller, count: int) -> list[str]:
    asked = [requests.request_payout(seller, amount=price(desk, "EUR"), now=clock.now()) for _payout in range(count)]
    payout_tasks.execute_due_payouts()
    return [payout.public_id for payout in asked]


def trade_quietly(desk: Desk) -> None:
    """Sell one article in each currency, over HTTP from the first call to the last."""
    for currency in CURRENCIES:
        event, _is_new = intake.open_event(desk.shop, basket(desk.sellers, "12.34", currency=currency), now=clock.now())
        confirm_card(event, now=clock.now())
        executor.execute_due_orders(now=clock.now())
        desk.made += 1


# --- Faults ---------------------------------------------------------------------------------------------------------


def plant(desk: Desk, day: int) -> None:
    """Switch the faults of the day on: at lines of today's batches, at today's payouts, and at what the PSP pays in today."""
    count = desk.plan.share(desk.plan.faults, day)
    payments = payments_of_yesterday(desk)
    of_payments = min(len(payments), count // 8)
    of_bookings = int(count * BOOKED) - of_payments
    at_lines = desk.chance.sample([*desk.charges, *desk.refunds], count - of_payments - of_bookings)
    at_bookings = desk.chance.sample(desk.payouts, of_bookings)
    for number, reference in enumerate(at_lines):
        kind = OF_LINES[(day + number) % len(OF_LINES)]
        strike(desk, "settlement", "line_amount" if kind == "line_fee" and reference in desk.refunds else kind, reference)
    for number, reference in enumerate(at_bookings):
        strike(desk, "statement", OF_BOOKINGS[(day + number) % len(OF_BOOKINGS)], reference)
    for number, reference in enumerate(desk.chance.sample(payments, of_payments)):
        strike(desk, "statement", OF_PAYMENTS[(3 * day + number) % len(OF_PAYMENTS)], reference)


def strike(desk: Desk, operation: str, kind: str, reference: str) -> None:
    """Plant one fault; what is late is so by a day, or by a week."""
    terms = {}
    if kind == "line_late":
        terms["delay_s"] = desk.late[reference] = desk.chance.choice((0, A_WEEK_S))
    desk.house.fault(operation, kind, reference, **terms)
    desk.planted += 1


def payments_of_yesterday(desk: Desk) -> list[str]:
    """Return the batches whose payment the bank books today."""
    listed = desk.house.sandbox.client.get("/v1/settlement_files", params={"after": 0, "limit": 1000}).json()["data"]
    newest = max(batch["closed_on"] for batch in listed)
    return sorted(batch["batch"] for batch in listed if batch["closed_on"] == newest and batch["paid_out"])


# --- Files ----------------------------------------------------------------------------------------------------------


def end_day(desk: Desk) -> None:
    """Close the day, put its files into the folder as a PSP's and a bank's own programmes would, and work on them the next morning."""
    desk.house.end_day()
    desk.house.advance(AT_FOUR_S)
    for source, address in LISTS.items():
        deliver(desk, source, address)
    payout_tasks.watch_returns()
    folder.pick_up(now=clock.now())
    while SourceFile.objects.filter(status=SourceFile.Status.RECEIVED).exists():
        tasks.stage_files()
    tasks.look_for_what_is_missing()
    desk.house.advance(AT_NOON_S - AT_FOUR_S)


def deliver(desk: Desk, source: str, address: str) -> None:
    """Put the new files of the list into the folder of the source, each in a form that is drawn, whole and at rest."""
    client = desk.house.sandbox.client
    listed = client.get(address, params={"after": desk.last_ids.get(address, 0), "limit": 1000}).raise_for_status().json()["data"]
    turns = cycle(desk.chance.sample(FORMS[source], len(FORMS[source])))
    for said in listed:
        content = client.get(f"{address}/{said['id']}", params=next(turns), timeout=120).raise_for_status().content
        path = desk.folder / source / str(said.get("batch") or said.get("statement"))
        path.write_bytes(content)
        os.utime(path, (0, 0))
        desk.last_ids[address] = said["id"]

"""Pay-out as rules of the state machine: what was delivered is paid out on request and by daily runs, approved or rejected by a second person,
held back and let go; accounts are replaced and verified; workers die over payouts, answers are lost, and people rescue what the machine
gave up.
"""

from datetime import timedelta
from functools import partial

from hypothesis import strategies as st
from hypothesis.stateful import rule

from ledger import clock, money
from payouts import bank_accounts, calendars, executor, queries, requests, scheduling
from payouts.bank_accounts import NewBankAccount
from payouts.calendars import Calendar
from payouts.choice import Which
from payouts.models import Payout, PayoutRun
from payouts.states import Interval, PayoutStatus, RunStatus
from tests.fixtures_money import VISA
from tests.programmes.machine_pay_in import PayIn
from tests.programmes.machine_world import ACCOUNTS
from wallet import holds
from wallet.models import SellerHold, Wallet

DAILY = Calendar(Interval.DAILY)
A_PERSON = "staff:ben"  # neither asks for a payout nor gives an account
A_DAY_S = 24 * 3600
THREE_DAYS_S = 3 * A_DAY_S
SELLERS = st.integers(0, 2)


class PayOut(PayIn):
    """What sellers, their banks, finance and the workers of pay-out do, and time: the story goes on where pay-in ends."""

    @rule(seller=SELLERS, units=st.integers(500, 50_000))
    def earn(self, seller: int, units: int) -> None:
        """Sell, deliver and release: what a payout needs before it."""
        self.open([self.sellers[seller]], [units])
        self.confirm(len(self.events) - 1, VISA, 1)
        self.work(1)
        self.deliver(len(self.events) - 1, 0)
        self.work(1)

    @rule(seller=SELLERS, units=st.integers(500, 50_000))
    def pay_out(self, seller: int, units: int) -> None:
        """Earn, ask for all of it and work: what happens most."""
        self.earn(seller, units)
        self.request_payout(seller, 100, 1)
        self.work(1)

    @rule(seller=SELLERS, share=st.integers(1, 100), clicks=st.integers(1, 3))
    def request_payout(self, seller: int, share: int, clicks: int) -> None:
        """Ask for a part of what is available, or with a share of more than ninety for all; who clicks again has the same payout."""
        payee, wish = self.sellers[seller], f"wish-{self.world.steps}"
        wallet = Wallet.objects.filter(seller=payee, currency="EUR").first()
        units = max(1, money.to_minor(wallet.available) * share // 100) if wallet else 1
        amount = None if share > 90 else money.from_minor(units, "EUR")
        click = partial(requests.request_payout, payee, amount=amount, currency="EUR", once=wish, requested_by=f"user:{payee.name}")
        answers = [self.ask(partial(click, now=clock.now())) for _click in range(clicks)]
        assert len({payout.pk if payout else None for payout in answers}) == 1, f"{wish} was answered with {answers}"

    @rule(times=st.integers(1, 2))
    def run_payouts(self, times: int) -> None:
        """Run the latest day that is over, as every beat does."""
        now = clock.now()
        which = Which(self.shop.pk, "EUR", DAILY, calendars.last_over(DAILY, now).name)
        for _beat in range(times):
            self.ask(partial(scheduling.run, which, now=now, made_by=scheduling.BY_CALENDAR))

    @rule(approve=st.sampled_from((True, True, False)))
    def decide(self, approve: bool) -> None:
        """Let a second person decide the first run that waits, or else the first payout."""
        run = PayoutRun.objects.filter(shop=self.shop, status=RunStatus.WAITING).order_by("pk").first()
        payout = Payout.objects.filter(shop=self.shop, status=PayoutStatus.WAITING).order_by("pk").first()
        if run is not None:
            self.ask(partial(requests.decide_run, run.pk, approve=approve, actor=A_PERSON, reason="Looked at", now=clock.now()))
        elif payout is not None:
            decision = requests.approve if approve else requests.reject
            self.ask(partial(decision, payout.pk, actor=A_PERSON, reason="Looked at", now=clock.now()))

    @rule(seller=SELLERS, hours=st.sampled_from((1, 30, None)))
    def place_hold(self, seller: int, hours: int | None) -> None:
        now = clock.now()
        until = now + timedelta(hours=hours) if hours else None
        self.ask(lambda: holds.place(self.sellers[seller].pk, reason="Looked into", until=until, actor=A_PERSON, now=now))

    @rule(seller=SELLERS)
    def lift_holds(self, seller: int) -> None:
        for hold in SellerHold.objects.filter(seller=self.sellers[seller], lifted_at=None):
            self.ask(partial(holds.lift, hold.pk, reason="Nothing found", actor=A_PERSON, now=clock.now()))

    @rule(seller=SELLERS, account=st.sampled_from(ACCOUNTS))
    def replace_account(self, seller: int, account: str) -> None:
        payee = self.sellers[seller]
        wanted = NewBankAccount("EUR", holder=f"{payee.name} GmbH", iban=account)
        self.ask(lambda: bank_accounts.add(payee, wanted, by=f"user:{payee.name}", now=clock.now()))

    @rule(seller=SELLERS)
    def verify_account(self, seller: int) -> None:
        account = bank_accounts.current(self.sellers[seller], "EUR")
        if account is not None:
            self.ask(lambda: bank_accounts.verify(account.pk, by=A_PERSON, reason="A statement", now=clock.now()))

    @rule()
    def die_with_a_payout(self) -> None:
        executor.claim_due(now=clock.now())

    @rule(seller=SELLERS, units=st.integers(500, 50_000), gives_up=st.booleans())
    def lose_from_sight(self, seller: int, units: int, gives_up: bool) -> None:
        """The answer to a payout is lost, and for three days the bank's look-ups do not know it; after one day a person decides."""
        self.earn(seller, units)
        self.request_payout(seller, 100, 1)
        for payout in Payout.objects.filter(seller=self.sellers[seller], status=PayoutStatus.EXECUTING, tries=0):
            self.world.fault("payout", "execute_then_500", times=1, reference=payout.public_id)
            self.world.fault("find", "status_lags", times=5, reference=payout.public_id, delay_s=THREE_DAYS_S)
        self.work(1)
        self.world.advance(A_DAY_S)
        self.work(1)
        self.rescue(gives_up)

    @rule(gives_up=st.booleans())
    def rescue(self, gives_up: bool) -> None:
        """Let a person have what the machine gave up tried again, or give it up."""
        decision = requests.give_up if gives_up else requests.ask_again
        for payout in queries.waiting_for_a_person():
            self.ask(partial(decision, payout.pk, actor=A_PERSON, reason="Looked at", now=clock.now()))

    @rule()
    def look_for_returns(self) -> None:
        executor.watch_returns(now=clock.now())

"""What was agreed about paying a seller out in one currency: the seller's own schedule, else the shop's for all, else the house's.

Read when a payout is made, and fixed on it from then on: whoever changes a schedule changes no payout that stands.
"""

from dataclasses import dataclass, replace
from datetime import datetime, time

from django.conf import settings
from django.db.models import F
from djmoney.money import Money

from ledger.money import zero
from payouts.models import PayoutSchedule
from payouts.states import Interval
from wallet import conversions, rates
from wallet.models import Seller
from wallet.rates import NoRate, Pair, SameCurrency, StaleRate


@dataclass(frozen=True, slots=True)
class Terms:
    """When and how much: what is available above `keep_back`, if it is `minimum` at least; above `approval_limit` a person must approve it.

    Amounts are in the terms' one currency; `approval_limit` None: nobody needs to approve anything.
    """

    minimum: Money
    keep_back: Money
    approval_limit: Money | None
    provider: str
    interval: str = Interval.MONTHLY
    weekday: int = 1
    month_day: int = 1
    cut_off: time = time(0, 0)
    zone: str = "UTC"
    holidays: str = ""

    def needs_approval(self, amount: Money) -> bool:
        """Must a person approve a payout, or a run, of so much?"""
        return self.approval_limit is not None and amount > self.approval_limit


def of(seller: Seller, currency: str) -> Terms:
    """Return the seller's terms in the currency.  One query."""
    schedules = PayoutSchedule.objects.filter(shop=seller.shop_id, currency=currency)
    agreed = schedules.filter(seller=seller) | schedules.filter(seller=None)
    schedule = agreed.order_by(F("seller").asc(nulls_last=True)).first()
    return of_schedule(schedule) if schedule else of_the_house(currency)


def holding(seller: Seller, currency: str, *, now: datetime) -> Terms:
    """Return the seller's terms in the currency, with the limit of approval that holds now."""
    return limited(of(seller, currency), of(seller, settings.HOUSE_CURRENCY), now=now)


def limited(agreed: Terms, of_house: Terms, *, now: datetime) -> Terms:
    """Return the terms with the limit of approval that holds: where none is agreed, that of the house's currency at the newest rate.

    So no conversion into a currency without a limit goes round it.  Where no rate compares them, whatever is paid out needs a second person.
    """
    if agreed.approval_limit is not None or of_house.approval_limit is None:
        return agreed
    currency = agreed.minimum.currency.code
    pair = into(currency, now=now)
    return replace(agreed, approval_limit=conversions.bought_for(of_house.approval_limit, pair) if pair else zero(currency))


def into(currency: str, *, now: datetime) -> Pair | None:
    """Return the rates from the house's currency into another one; None if there are none, or they are stale."""
    try:
        return rates.pair(settings.HOUSE_CURRENCY, currency, now=now)
    except (NoRate, SameCurrency, StaleRate):
        return None


def of_schedule(schedule: PayoutSchedule) -> Terms:
    """Return what the schedule says."""
    limit = schedule.approval_limit
    return Terms(
        minimum=schedule.minimum,
        keep_back=schedule.keep_back,
        approval_limit=None if limit is None else Money(limit, schedule.minimum.currency),
        provider=schedule.provider or settings.DEFAULT_PAYOUT_PROVIDER,
        interval=schedule.interval,
        weekday=schedule.weekday,
        month_day=schedule.month_day,
        cut_off=schedule.cut_off,
        zone=schedule.zone,
        holidays=schedule.holidays,
    )


def of_the_house(currency: str) -> Terms:
    """Return what holds where nothing was agreed: every month on its first day, all that is available."""
    return Terms(minimum=zero(currency), keep_back=zero(currency), approval_limit=None, provider=settings.DEFAULT_PAYOUT_PROVIDER)

"""Which fee schedule an order is opened under: of those that are for it on that day, the most specific.

A seller's own goes before one for all sellers; among those, one of the order's category before one for all; among those, one of its method
before one for all.  Where there is none, the shop's plain share applies.  Postgres keeps two from being for the same orders on the same day.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from itertools import groupby, product

from django.db.models import Q
from django.utils import timezone
from djmoney.money import Money

from ledger import money
from ledger.statements import require_transaction
from payments.fees import FeeTerms, Tier
from payments.models import FeeSchedule
from wallet.models import Shop

Scope = tuple[int | None, str, str]  # seller, category and method; None and "" mean all
Step = tuple[Decimal, int, Decimal]  # of a tier: above, basis points and fixed part
COLUMNS = ("pk", "seller_id", "category", "method", "used_at", "basis_points", "fixed", "floor", "cap")
TIER_COLUMNS = ("tiers__above", "tiers__basis_points", "tiers__fixed")


@dataclass(frozen=True, slots=True)
class Standing:
    """A schedule that is in force: its terms, and whether an order was opened under it before."""

    id: int
    is_used: bool
    terms: FeeTerms


def terms_of(shop: Shop, orders: Sequence[tuple[int, str]], *, currency: str, method: str, now: datetime) -> list[FeeTerms]:
    """Return the fee terms of each order, given as its seller and category ("" for none), all in one currency and by one method.

    One query for any number of orders.  A schedule that nobody used before is marked, which locks it, and read again, so that nobody can
    have changed it in between: from then on only its end changes.  Inside the caller's transaction.
    """
    require_transaction("terms_of")
    standing = in_force(shop, orders, currency=currency, method=method, day=day_of(now))
    chosen = [most_specific(standing, seller_id=seller_id, category=category, method=method) for seller_id, category in orders]
    new = {schedule.id for schedule in chosen if schedule and not schedule.is_used}
    if new:
        FeeSchedule.objects.filter(pk__in=new, used_at=None).update(used_at=now)
        return terms_of(shop, orders, currency=currency, method=method, now=now)
    plain = FeeTerms(shop.fee_basis_points, money.zero(currency))
    return [schedule.terms if schedule else plain for schedule in chosen]


def day_of(now: datetime) -> date:
    """Return the day by which schedules begin and end: the one in the house's time zone."""
    return timezone.localdate(now, timezone.get_default_timezone())


def most_specific(standing: Mapping[Scope, Standing], *, seller_id: int, category: str, method: str) -> Standing | None:
    """Return the schedule for an order: seller goes before category, and category before method."""
    scopes = product((seller_id, None), (category, ""), (method, ""))
    return next((standing[scope] for scope in scopes if scope in standing), None)


def in_force(shop: Shop, orders: Collection[tuple[int, str]], *, currency: str, method: str, day: date) -> dict[Scope, Standing]:
    """Return the shop's schedules that may be for one of the orders on that day, with their tiers, in one query."""
    sellers, categories = {seller_id for seller_id, _category in orders}, {"", *(category for _seller_id, category in orders)}
    rows = (
        FeeSchedule.objects.filter(shop=shop, currency=currency, category__in=categories, method__in={"", method})
        .filter(Q(seller=None) | Q(seller__in=sellers))
        .filter(Q(valid_from=None) | Q(valid_from__lte=day), Q(valid_until=None) | Q(valid_until__gt=day))
        .order_by("pk", "tiers__above")
        .values_list(*COLUMNS, *TIER_COLUMNS)
    )
    standing: dict[Scope, Standing] = {}
    for (pk, seller_id, category, of_method, used_at, *terms), steps in groupby(rows, key=lambda row: row[: len(COLUMNS)]):
        tiers = [step[len(COLUMNS) :] for step in steps if step[-1] is not None]  # the join gives one without tiers an empty step
        standing[seller_id, category, of_method] = Standing(pk, used_at is not None, terms_from(*terms, tiers=tiers, currency=currency))
    return standing


def terms_in(schedule: FeeSchedule) -> FeeTerms:
    """Return the terms of one schedule, in a query of its tiers."""
    tiers = [Tier(tier.above, tier.basis_points, tier.fixed) for tier in schedule.tiers.order_by("above")]
    return FeeTerms(schedule.basis_points, schedule.fixed, tiers, schedule.floor, schedule.cap)


def terms_from(
    basis_points: int, fixed: Decimal, floor: Decimal | None, cap: Decimal | None, *, tiers: Iterable[Step], currency: str
) -> FeeTerms:
    """Return a schedule's terms, from its columns and those of its tiers, which ascend."""
    steps = [Tier(Money(above, currency), points, Money(part, currency)) for above, points, part in tiers]
    least, most = (None if limit is None else Money(limit, currency) for limit in (floor, cap))
    return FeeTerms(basis_points, Money(fixed, currency), steps, least, most)

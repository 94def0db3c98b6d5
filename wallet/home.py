"""The seller's home, in parts: what needs doing, what was noticed, and where money is on its way to the bank.

The page is the wallet's, and what stands on it is everybody's.  Apps above bring their parts by name (`settings.SELLER_HOME`): functions of
the seller and the moment that return a `Part`.  Notices are dismissed by each person for themselves.  Nothing here moves money.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from django.conf import settings
from django.urls import reverse
from django.utils.html import format_html
from django.utils.module_loading import import_string
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from djmoney.money import Money

from ledger.templatetags.written import amount, day, moment
from wallet import holds, second_factor
from wallet.models import NoticeDismissal, Seller, SellerHold, Wallet

NOTICED_FOR = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Task:
    """Something that waits for the seller, or that the seller waits for: what it is, why, and where to do it (`url` empty: nowhere)."""

    title: str
    words: str | SafeString
    url: str = ""
    button: str = ""
    tone: str = "warn"  # or bad, or info where there is nothing to do


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that happened.  `key` names it for good, so that whoever has dismissed it is not shown it again."""

    key: str
    at: datetime
    title: str
    words: str | SafeString
    url: str = ""
    link: str = ""
    tone: str = "info"


@dataclass(frozen=True, slots=True)
class Ahead:
    """What goes to the bank in one currency: what is on its way, and when and how much is next (`next_date` None: only when asked for).

    `is_stopped`: nothing leaves at present, for a reason that is among the tasks.  `becomes`: it is converted into that currency first.
    """

    on_its_way: Money
    next_date: date | None
    next_amount: Money
    is_stopped: bool
    becomes: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """What one app brings; `ahead` by currency."""

    tasks: Sequence[Task] = ()
    notices: Sequence[Notice] = ()
    ahead: Mapping[str, Ahead] = field(default_factory=dict)


def parts(seller: Seller, user: Any, wallets: Sequence[Wallet], *, now: datetime) -> Part:
    """Return what stands on the seller's home for this person: the parts of all apps as one, newest notices first, none that was dismissed."""
    all_parts = [own_part(seller, user, wallets, now=now), *others(seller, now=now)]
    notices = sorted((notice for part in all_parts for notice in part.notices), key=lambda notice: notice.at, reverse=True)
    gone = set(NoticeDismissal.objects.filter(user=user, key__in=[notice.key for notice in notices]).values_list("key", flat=True))
    return Part(
        tasks=[task for part in all_parts for task in part.tasks],
        notices=[notice for notice in notices if notice.key not in gone],
        ahead={currency: ahead for part in all_parts for currency, ahead in part.ahead.items()},
    )


def others(seller: Seller, *, now: datetime) -> Iterator[Part]:
    for name in settings.SELLER_HOME:
        bring: Callable[..., Part] = import_string(name)
        yield bring(seller, now=now)


def own_part(seller: Seller, user: Any, wallets: Iterable[Wallet], *, now: datetime) -> Part:
    """Return what the wallet itself knows: a second factor that is missing, a balance below zero, and holds."""
    tasks = []
    if second_factor.is_required_of_seller(user):
        why = _("Your bank details can be changed, and payouts asked for, once your phone confirms that it is you.")
        tasks.append(Task(_("Protect your login with a second step"), why, reverse("seller-second-factor-set-up"), _("Set it up")))
    for wallet in wallets:
        if wallet.available.amount < 0:
            title = _("Your %s balance is below zero") % wallet.available.currency
            said = _("More was given back to buyers than stood in your wallet: %s. Your next sales make it up; you need not do anything.")
            tasks.append(Task(title, said % amount(wallet.available)))
    hold = holds.active([seller.pk], now).get(seller.pk)
    if hold is not None:
        tasks.append(on_hold(hold))
    return Part(tasks, [over(each) for each in recent_holds(seller, now=now) if not holds.is_active(each, now=now)])


def on_hold(hold: SellerHold) -> Task:
    if hold.until is None:
        return Task(_("Your payouts are on hold"), _("No payout leaves until the shop lifts that. Ask the shop if you do not know why."))
    said = _("No payout leaves before {moment}. Your sales go on as always, and nothing is lost.")
    return Task(_("Your payouts are on hold until %s") % day(hold.until), format_html(said, moment=moment(hold.until)))


def recent_holds(seller: Seller, *, now: datetime) -> list[SellerHold]:
    return list(SellerHold.objects.filter(seller=seller, placed_at__gt=now - NOTICED_FOR).order_by("-pk")[:5])


def over(hold: SellerHold) -> Notice:
    """Say that a hold was placed, and that it is over."""
    said = _("It was placed on %(since)s and is over since %(until)s. Payouts go on.")
    days = {"since": day(hold.placed_at), "until": day(hold.lifted_at or hold.until or hold.placed_at)}
    return Notice(f"hold:{hold.public_id}", hold.placed_at, _("Your payouts were on hold"), said % days)


def dismiss(key: str, *, seller: Seller, user: Any, wallets: Sequence[Wallet], now: datetime) -> None:
    """Show the notice to this person no more.  One that is not shown to them changes nothing: it was dismissed already, or is not theirs."""
    if key in {notice.key for notice in parts(seller, user, wallets, now=now).notices}:
        NoticeDismissal.objects.get_or_create(user=user, key=key)

"""Questions to the wallets, for the people and programs that may ask them.  Nothing here writes or locks.

Movements come newest first in keyset pages: a page is found by the id it begins after, in the index on (wallet, id), so that the last
page of a hundred thousand costs what the first does.  Nothing is counted, nothing is skipped over.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db.models import Q, QuerySet
from django.utils import timezone

from ledger import seek
from wallet.models import Seller, Wallet, WalletEntry

MOVEMENTS_ON_A_PAGE = 50
MOVEMENTS_IN_A_CHUNK = 2000  # of an export: each chunk is a short query of its own, so that no snapshot is held while a browser reads


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which movements are asked for.  Empty means all; both days are counted in, in the current time zone."""

    currency: str = ""
    kind: str = ""
    since: date | None = None
    until: date | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Some movements, newest first, and the ids from which the pages beside it go on (None: there is no such page)."""

    movements: list[WalletEntry]
    newer_than: int | None
    older_than: int | None


def sellers_of(user: AbstractBaseUser | AnonymousUser) -> QuerySet[Seller]:
    """Return the sellers the user acts for, by name."""
    return Seller.objects.filter(users=user.pk).select_related("shop").order_by("name", "id") if user.pk else Seller.objects.none()


def wallets_of(seller: Seller) -> list[Wallet]:
    """Return the seller's wallets, one per currency, by currency."""
    return list(Wallet.objects.filter(seller=seller).order_by("currency"))


def latest(wallets: Sequence[Wallet], *, count: int) -> list[WalletEntry]:
    """Return the last movements of the wallets, newest first."""
    return older(wallets, Wanted(), than=None, count=count)


def page(wallets: Sequence[Wallet], wanted: Wanted, *, older_than: int | None = None, newer_than: int | None = None) -> Page:
    """Return the page that begins after one id, or ends before the other; without either, the first one."""
    size = MOVEMENTS_ON_A_PAGE
    if newer_than is not None:
        found = newer(wallets, wanted, than=newer_than, count=size + 1)
        if len(found) <= size:  # that is as new as it gets: a full first page is better than the rest of one
            return page(wallets, wanted)
        return Page(found[1:], newer_than=found[1].pk, older_than=found[-1].pk)
    found = older(wallets, wanted, than=older_than, count=size + 1)
    shown = found[:size]
    return Page(
        shown,
        newer_than=shown[0].pk if shown and older_than is not None else None,
        older_than=shown[-1].pk if len(found) > size else None,
    )


def chunks(wallets: Sequence[Wallet], wanted: Wanted) -> Iterator[list[WalletEntry]]:
    """Yield all movements asked for, newest first, some thousand at a time."""
    than = None
    while chunk := older(wallets, wanted, than=than, count=MOVEMENTS_IN_A_CHUNK):
        yield chunk
        than = chunk[-1].pk


def older(wallets: Sequence[Wallet], wanted: Wanted, *, than: int | None, count: int) -> list[WalletEntry]:
    """Return the newest `count` movements asked for with a lower id than that, newest first."""
    before = Q() if than is None else Q(pk__lt=than)
    return merged(
        [entries.filter(before).order_by("-id")[:count] for entries in matching(wallets, wanted)],
        order="-id",
        count=count,
    )


def newer(wallets: Sequence[Wallet], wanted: Wanted, *, than: int, count: int) -> list[WalletEntry]:
    """Return the oldest `count` movements asked for with a higher id than that, newest first."""
    found = merged(
        [entries.filter(pk__gt=than).order_by("id")[:count] for entries in matching(wallets, wanted)],
        order="id",
        count=count,
    )
    return found[::-1]


def matching(wallets: Sequence[Wallet], wanted: Wanted) -> list[QuerySet[WalletEntry]]:
    """Return the movements asked for, one query for each wallet: each of them walks the index from where it begins."""
    asked = Q()
    if wanted.kind:
        asked &= Q(kind=wanted.kind)
    if wanted.since:
        start = start_of(wanted.since)
        asked &= Q(pk__gte=seek.first_id_since(WalletEntry, "created_at", start), created_at__gte=start)
    if wanted.until:
        end = start_of(wanted.until + timedelta(days=1))
        asked &= Q(pk__lt=seek.first_id_after(WalletEntry, "created_at", end), created_at__lt=end)
    chosen = [wallet for wallet in wallets if wanted.currency in ("", wallet.currency)]  # type: ignore[attr-defined]
    return [WalletEntry.objects.filter(asked, wallet=wallet) for wallet in chosen]


def merged(parts: Sequence[QuerySet[WalletEntry]], *, order: str, count: int) -> list[WalletEntry]:
    """Return the first rows of several ordered queries together, by one statement."""
    if not parts:
        return []
    first, *others = parts
    return list(first.union(*others, all=True).order_by(order)[:count] if others else first)


def start_of(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time.min))

"""When a seller may have what was sold: terms of the shop for all of its sellers, or a seller's own; the house's where there are none.

When an order becomes available is fixed as it is paid, and once more as it is delivered; what is held back of it, as it becomes available.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Q

from wallet.models import ReleaseTerms, Seller


@dataclass(frozen=True, slots=True)
class Terms:
    """One seller's terms; `days_after_payment` None: only what was delivered becomes available.  `seller_since` is when the seller joined."""

    seller_since: datetime
    days_after_payment: int | None = 14
    days_after_delivery: int = 0
    new_seller_days: int = 0
    reserve_basis_points: int = 0
    reserve_days: int = 0
    payable_means_reconciled: bool = False

    def due_at(self, delivered_at: datetime) -> datetime:
        """Return when an order becomes available that was delivered then: some days later, and not before the seller is known for long enough."""
        due_at = delivered_at + timedelta(days=self.days_after_delivery)
        return max(due_at, self.seller_since + timedelta(days=self.new_seller_days)) if self.new_seller_days else due_at

    @property
    def holds_back(self) -> bool:
        """Is a part of each order held back for a while?"""
        return self.reserve_basis_points > 0 and self.reserve_days > 0


FIGURES = tuple(name for name in Terms.__dataclass_fields__ if name != "seller_since")


def of(seller_ids: Iterable[int]) -> dict[int, Terms]:
    """Return each seller's terms: the seller's own, else the shop's for all, else the house's.  Two queries for any number of sellers."""
    sellers = list(Seller.objects.filter(pk__in=set(seller_ids)).values_list("pk", "shop_id", "created_at"))
    rows = ReleaseTerms.objects.filter(
        Q(seller__in=[pk for pk, _shop, _since in sellers]) | Q(seller=None, shop__in={shop for _pk, shop, _since in sellers})
    )
    kept = {(row.shop_id, row.seller_id): {name: getattr(row, name) for name in FIGURES} for row in rows}
    return {pk: Terms(since, **kept.get((shop, pk), kept.get((shop, None), {}))) for pk, shop, since in sellers}

"""Buyers' wallets: what buyers have topped up and spend later, one for each currency.  `stored_value` alone changes what is in them."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import QuerySet

from wallet import stored_value
from wallet.models import Buyer, Shop, StoredValue, StoredValueEntry


@dataclass(frozen=True, slots=True)
class TopUp:
    """A wallet that a checkout tops up: what its payment order fills (payments/intake.py)."""

    currency: str

    def prepare(self, buyer: Buyer) -> StoredValue:
        """Return the buyer's wallet, empty if there was none; who opens the checkout calls it, in that transaction."""
        return stored_value.open_wallet(buyer, currency=self.currency)

    def is_same(self, standing: StoredValue) -> bool:
        """Is this what the checkout with this id fills already?  (Its buyer and its amount are the checkout's.)"""
        return (standing.kind, standing.balance.currency.code) == (StoredValue.Kind.WALLET, self.currency)


def buyer_of(shop: Shop, reference: str) -> Buyer | None:
    """Return the shop's buyer whom it knows by that reference."""
    return Buyer.objects.filter(shop=shop, reference=reference).first()


def of(buyer: Buyer) -> Sequence[StoredValue]:
    """Return the buyer's wallets, by currency."""
    return list(buyer.wallets.filter(kind=StoredValue.Kind.WALLET).order_by("currency"))


def in_currency(buyer: Buyer, currency: str) -> StoredValue | None:
    """Return the buyer's wallet in the currency, if there is one."""
    return buyer.wallets.filter(kind=StoredValue.Kind.WALLET, currency=currency).first()


def entries_of(buyer: Buyer) -> QuerySet[StoredValueEntry]:
    """Return the movements of the buyer's wallets, in all currencies."""
    return StoredValueEntry.objects.filter(value__in=[wallet.pk for wallet in of(buyer)])

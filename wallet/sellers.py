"""Sellers join a shop, and get a wallet for each currency they sell in.  Joining or opening twice changes nothing."""

from django.db import transaction

from ledger.errors import DomainError
from wallet import balances
from wallet.models import Seller, Shop, Wallet


class SellerReferenceUsed(DomainError):
    code = "seller_reference_used"


def join(shop: Shop, *, name: str, reference: str) -> tuple[Seller, bool]:
    """Add a seller to the shop; return the seller, and whether it is new.

    The same name under the same reference is the same seller.  Raises SellerReferenceUsed if the reference is another's; a seller without
    a reference is always new.
    """
    if not reference:
        return Seller.objects.create(shop=shop, name=name), True
    seller, is_new = Seller.objects.get_or_create(shop=shop, reference=reference, defaults={"name": name})
    if seller.name != name:
        raise SellerReferenceUsed(f"{reference} is {seller.name} ({seller.public_id}) already. Use another reference.", field="reference")
    return seller, is_new


@transaction.atomic(durable=True)
def open_wallet(seller: Seller, *, currency: str) -> tuple[Wallet, bool]:
    """Give the seller a wallet in the currency, with its accounts in the books; return it, and whether it is new."""
    wallets = Wallet.objects.select_related("seller").filter(seller=seller, currency=currency)
    is_new = not wallets.exists()
    balances.open_wallets([seller.pk], currency=currency)
    return wallets.get(), is_new

"""Credit and debit cards: typed into the PSP's fields, or one that the PSP keeps for the buyer; 3-D Secure where the bank asks."""

from django.utils.translation import gettext_lazy as _

from payments.methods.method import Asks, Method

CARD = Method(name="card", label=_("Card"), asks=Asks.PSP_FIELDS, is_synchronous=True)

"""The buyer's balance with us: no PSP has part in it, and refunds go back into it."""

from django.utils.translation import gettext_lazy as _

from payments.methods.method import Asks, Method

WALLET = Method(name="wallet", label=_("Wallet"), asks=Asks.NOTHING, is_synchronous=True, needs_psp=False)

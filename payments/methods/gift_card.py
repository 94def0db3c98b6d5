"""A gift card of ours, redeemed by its code, whole or in part: no PSP has part in it, and refunds go back onto it."""

from django.utils.translation import gettext_lazy as _

from payments.methods.method import Asks, Method

GIFT_CARD = Method(name="gift_card", label=_("Gift card"), asks=Asks.CODE, is_synchronous=True, needs_psp=False)

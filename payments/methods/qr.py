"""A QR code for one amount (EMVCo, merchant-presented), which our page shows and the buyer approves on the phone.

The code is good for minutes; another session has another code.
"""

from django.utils.translation import gettext_lazy as _

from payments.methods.method import Asks, Method, Refunds

QR = Method(
    name="qr",
    label=_("QR code"),
    asks=Asks.SHOW_CODE,
    is_synchronous=False,
    confirms_itself=True,
    refunds=Refunds(within_days=180),
)

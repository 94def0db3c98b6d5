"""A wallet on the buyer's phone or in the browser, of Apple Pay's and Google Pay's kind: approved on the PSP's page, which leads back.

Behind it stands a card; that is where refunds go.
"""

from django.utils.translation import gettext_lazy as _

from payments.methods.method import Asks, Method

DIGITAL_WALLET = Method(
    name="digital_wallet",
    label=_("Digital wallet"),
    asks=Asks.REDIRECT,
    is_synchronous=True,
    confirms_itself=True,
)

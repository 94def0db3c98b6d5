"""Buy now, pay later: a provider approves the buyer and pays us at once; the buyer pays the provider by a schedule.

The provider may leave it to a person (in_review): then the buyer waits, and the answer comes later.
"""

from django.utils.translation import gettext_lazy as _

from payments.methods.method import Asks, Method, Refunds

PAY_LATER = Method(
    name="pay_later",
    label=_("Pay later"),
    asks=Asks.REDIRECT,
    is_synchronous=False,
    confirms_itself=True,
    is_credit=True,
    refunds=Refunds(within_days=180),
)

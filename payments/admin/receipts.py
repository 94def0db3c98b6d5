"""Receipts by e-mail in the admin: whether a buyer was written to, how often that was tried, and what kept it from going.

An address is masked, as on the payment's own page: whoever must know it asks the buyer's page.
"""

from django.contrib import admin
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from ledger.admin import LookOnly, by_state, time_column
from payments import receipts
from payments.admin.columns import of_payments_called, path_of_payment, payment_link
from payments.models import ReceiptMail

STATES = {
    "waits": (_("To be sent"), Q(next_attempt_at__isnull=False)),
    "sent": (_("Sent"), Q(sent_at__isnull=False)),
    "given_up": (_("Given up"), Q(next_attempt_at=None, sent_at=None)),
}


@admin.display(description=_("state"))
def state_of(mail: ReceiptMail) -> str:
    if mail.sent_at is not None:
        return str(STATES["sent"][0])
    return str(STATES["given_up" if mail.next_attempt_at is None else "waits"][0])


@admin.display(description=_("to whom"))
def masked_address(mail: ReceiptMail) -> str:
    return receipts.masked(mail.address)


@admin.register(ReceiptMail)
class ReceiptMailAdmin(LookOnly):
    list_display = (
        masked_address,
        payment_link,
        state_of,
        "tries",
        "error",
        time_column("sent_at", _("sent")),
    )
    list_select_related = ("event",)
    list_filter = (by_state(STATES),)
    search_help_text = _("A payment's id, a checkout id, or the id or reference of an order")
    fields = (
        payment_link,
        path_of_payment,
        masked_address,
        state_of,
        "tries",
        "error",
        time_column("noted_at", _("asked for")),
        time_column("next_attempt_at", _("next try")),
        time_column("sent_at", _("sent")),
    )
    readonly_fields = fields

    def sought(self, term: str) -> Q:
        return of_payments_called(term)

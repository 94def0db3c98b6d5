"""What pay-in brings to the seller's home (wallet/home.py): disputes that wait for evidence.

Named by `settings.SELLER_HOME`: the wallet does not know pay-in.  Nothing here writes or locks.
"""

from datetime import datetime

from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _

from ledger.templatetags.written import amount, moment
from payments.models import Dispute
from payments.states import DisputeStatus
from wallet.home import Part, Task
from wallet.models import Seller

SHOWN = 10  # those that are due first


def part(seller: Seller, *, now: datetime) -> Part:
    """Return pay-in's part of the seller's home."""
    waiting = Dispute.objects.filter(order__seller=seller, status=DisputeStatus.OPEN, evidence_due_at__gt=now)
    latest = waiting.select_related("order").order_by("evidence_due_at", "pk")[:SHOWN]
    return Part(tasks=[give_evidence(dispute, before=dispute.evidence_due_at) for dispute in latest if dispute.evidence_due_at])


def give_evidence(dispute: Dispute, *, before: datetime) -> Task:
    said = _("The buyer's bank took {amount} back and asks why. Send the shop what shows that you delivered, before {due}.")
    return Task(
        title=_("A buyer disputes order %s") % dispute.order.reference,
        words=format_html(said, amount=amount(dispute.amount), due=moment(before)),
        url=reverse("seller-order", args=[dispute.order.public_id]),
        button=_("Look at the order"),
        tone="bad",
    )

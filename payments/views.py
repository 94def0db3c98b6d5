"""The seller's page of one order: what was sold, how it stands, and the sum from what the buyer paid to what the seller has of it.

It stands in the shell of the seller's pages (wallet/views.py), whose movements link here by the order's id, a refund's or a dispute's.
The seller sees their own part of a checkout alone, and nothing of the buyer.
"""

from django.db.models import Prefetch, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_safe

from ledger.money import zero
from payments.models import PaymentOrder, Refund
from payments.states import OrderStatus, RefundStatus
from wallet.views import Desk, seller_page

TONES = {OrderStatus.SUCCESS: "good", OrderStatus.FAILED: "bad", OrderStatus.EXECUTING: "info"}


@require_safe
@seller_page
def order(request: HttpRequest, desk: Desk, public_id: str) -> HttpResponse:
    """One order of the user's sellers; the id of a refund or a dispute leads to its order.  Anybody else's is not found."""
    orders = orders_of(desk)
    if public_id.startswith("re_"):
        refunded = get_object_or_404(orders, refunds__public_id=public_id)
        return redirect("seller-order", public_id=refunded.public_id)
    if public_id.startswith("dsp_"):
        disputed = get_object_or_404(orders, disputes__public_id=public_id)
        return redirect("seller-order", public_id=disputed.public_id)
    shown = orders.filter(public_id=public_id).first()
    if shown is None:
        raise Http404
    refunds = list(shown.refunds.all())
    settled = [refund for refund in refunds if refund.status == RefundStatus.SUCCESS]
    nothing = zero(shown.amount.currency.code)
    context = {
        "desk": Desk(desk.sellers, seller=shown.seller),
        "here": "movements",
        "order": shown,
        "tone": TONES.get(OrderStatus(shown.status), ""),
        "due": getattr(shown, "due_release", None),  # there is none before it is paid, and after it is released
        "reserve": getattr(shown, "reserve", None),
        "refunds": refunds,
        "refunded": sum((refund.amount for refund in settled), start=nothing),
        "fee_returned": sum((refund.fee for refund in settled), start=nothing),
        "kept": shown.net - sum((refund.net for refund in settled), start=nothing),
    }
    return render(request, "dashboard/order.html", context)


def orders_of(desk: Desk) -> QuerySet[PaymentOrder]:
    """Return the orders of all sellers the user acts for, with what their page shows."""
    refunds = Refund.objects.select_related("wallet_entry").order_by("id")
    orders = PaymentOrder.objects.filter(seller__in=desk.sellers).select_related(
        "seller__shop", "wallet_entry", "journal_entry", "due_release", "reserve"
    )
    return orders.prefetch_related(Prefetch("refunds", refunds))

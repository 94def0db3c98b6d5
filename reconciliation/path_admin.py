"""The page of one payment in the admin: its whole path from the checkout to the bank statement; and the box that finds it by any id.

Whoever may look at payments sees it, and of it what they may look at elsewhere: steps that are rows of another table are left out else.
"""

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from ledger import clock
from ledger.admin import leg
from ledger.deeds import page_of
from payments.models import PaymentEvent, PaymentOrder
from reconciliation import path_awaited, path_places, path_search, path_steps, payment_path
from reconciliation.path_awaited import Awaited
from reconciliation.path_places import Place
from reconciliation.path_steps import Step
from reconciliation.payment_path import Path

MOST_OPEN = 5  # orders that are shown one by one from the beginning


@require_safe
def find(request: HttpRequest) -> HttpResponse:
    """Go to the payment that an id means; where it means several, or none, say so.  `q` is the id."""
    may_look(request)
    term = request.GET.get("q", "").strip()
    found = list(path_search.payments_called(term))
    if len(found) == 1:
        return HttpResponseRedirect(address_of(found[0], order=term if term.startswith("ord_") else ""))
    context = {"title": _("Find a payment"), "term": term, "found": found, "most": path_search.MOST}
    return TemplateResponse(request, "admin/payment_find.html", admin.site.each_context(request) | context)


@require_safe
def show(request: HttpRequest, public_id: str) -> HttpResponse:
    """Show a payment's path, or (`order`) what of it concerns one of its orders."""
    may_look(request)
    event = PaymentEvent.objects.filter(public_id=public_id).select_related("shop", "buyer").first()
    if event is None:
        raise Http404
    path = payment_path.path_of(event)
    chosen = next((order for order in path.orders if order.public_id == request.GET.get("order", "")), None)
    where = path_places.whereabouts(path)
    steps = [step for step in path_steps.steps_of(path) if concerns(step, chosen)]
    seen = [step for step in steps if may_see(request.user, step.row)]
    context = {
        "title": _("Payment %s") % event.checkout_id,
        "path": path,
        "event": event,
        "chosen": chosen,
        "orders": [order_shown(each, event, request.user) for each in where if chosen in (None, each.order)],
        "paid": [(place, "") for place in path_places.together(place for each in where for place in each.paid)],
        "owed": [(place, "") for place in path_places.together(place for each in where for place in each.owed)],
        "is_one": len(path.orders) == 1,
        "is_open": len(path.orders) <= MOST_OPEN,
        "state": state_of(path),
        "groups": [group_shown(group, request.user) for group in path_steps.together(seen)],
        "awaited": [each for each in path_awaited.awaited(path, now=clock.now()) if concerns(each, chosen)],
        "left_out": len(steps) - len(seen),
        "event_page": page_of(event) if may_see(request.user, event) else "",
    }
    return TemplateResponse(request, "admin/payment_path.html", admin.site.each_context(request) | context)


def may_look(request: HttpRequest) -> None:
    """Raise PermissionDenied unless the reader may look at payments and their orders."""
    if not request.user.has_perms(("payments.view_paymentevent", "payments.view_paymentorder")):
        raise PermissionDenied


def may_see(user: Any, row: models.Model | None) -> bool:
    """May the reader look at the row's own page?"""
    return row is None or user.has_perm(f"{row._meta.app_label}.view_{row._meta.model_name}")


def address_of(event: PaymentEvent, *, order: str = "") -> str:
    address = reverse("payment_path", args=[event.public_id])
    return f"{address}?{urlencode({'order': order})}" if order else address


def concerns(each: Step | Awaited, order: PaymentOrder | None) -> bool:
    return order is None or not each.orders or order in each.orders


def state_of(path: Path) -> str:
    """Say how the payment stands."""
    paid = sum(1 for order in path.orders if order.journal_entry_id)
    status = path.event.get_status_display()
    return status if len(path.orders) == 1 else _("%(status)s: %(paid)s of %(orders)s orders are paid") % {
        "status": status,
        "paid": paid,
        "orders": len(path.orders),
    }  # fmt: skip


def order_shown(where: path_places.Whereabouts, event: PaymentEvent, user: Any) -> dict[str, Any]:
    return {
        "order": where.order,
        "state": where.state,
        "tone": where.tone,
        "paid": places_shown(where.paid, user),
        "owed": places_shown(where.owed, user),
        "page": page_of(where.order),
        "address": address_of(event, order=where.order.public_id),
    }


def places_shown(places: Iterable[Place], user: Any) -> list[tuple[Place, str]]:
    return [(place, page_if_seen(place.row, user)) for place in places]


def page_if_seen(row: models.Model | None, user: Any) -> str:
    """Return the row's own page; nothing where there is none, or the reader may not see it."""
    return page_of(row) if row is not None and may_see(user, row) else ""


def group_shown(group: path_steps.Steps, user: Any) -> dict[str, Any]:
    return {
        "steps": [step_shown(step, user) for step in group.each],
        "what": group.what,
        "tone": group.tone,
        "at": group.at,
        "orders": group.orders,
    }


def step_shown(step: Step, user: Any) -> dict[str, Any]:
    sellers = [order.seller.name for order in step.orders]
    return {"step": step, "page": page_if_seen(step.row, user), "sellers": sellers, "legs": [leg(posting) for posting in step.legs]}

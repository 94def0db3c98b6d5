"""What the pages of pay-in share: links to the rows that hang together, the changes of a status, and how an order is searched for."""

from collections.abc import Callable, Iterable
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from ledger.admin import link, number_in, path_of, short
from ledger.models import JournalEntry
from payments.methods.registry import METHODS
from payments.models import CheckoutSession, PaymentEvent, PaymentOrder, Refund, Transition
from payments.timeline import label
from wallet.admin import sellers_called
from wallet.models import Seller, WalletEntry

MOST_SOUGHT = 1000


def events_called(term: str) -> list[int]:
    """Return the payments whose id or checkout id was searched for."""
    return list(PaymentEvent.objects.filter(Q(public_id=term) | Q(checkout_id=term)).values_list("pk", flat=True)[:MOST_SOUGHT])


def orders_called(term: str) -> Q:
    """Return the condition for orders by their id or reference, their payment's, their journal entry's, or their seller's."""
    if term.startswith("je_"):
        references = JournalEntry.objects.filter(pk=number_in(term)).values_list("reference", flat=True)
        return Q(public_id__in=list(references))
    own = Q(public_id=term) | (Q(reference=term) & ~Q(reference=""))
    return own | Q(event_id__in=events_called(term)) | Q(seller_id__in=sellers_called(term))


def of_orders_called(term: str) -> Q:
    """Return the condition for rows that hang on the orders which the search means."""
    orders = PaymentOrder.objects.filter(orders_called(term)).order_by("-pk").values_list("pk", flat=True)[:MOST_SOUGHT]
    return Q(order_id__in=list(orders))


def of_payments_called(term: str) -> Q:
    """Return the condition for rows that hang on the payments which the search means, or on those of the orders that it means."""
    orders = PaymentOrder.objects.filter(orders_called(term)).order_by("-pk").values_list("event_id", flat=True)[:MOST_SOUGHT]
    return Q(event_id__in=[*events_called(term), *orders])


@admin.display(description=_("order"))
def order_link(row: Any) -> SafeString | str:
    return link(PaymentOrder, row.order_id, short(row.order.public_id))


@admin.display(description=_("payment"))
def event_link(order: PaymentOrder) -> SafeString | str:
    return link(PaymentEvent, order.event_id, order.event.checkout_id)


@admin.display(description=_("payment"))
def payment_link(row: Any) -> SafeString | str:
    """The payment of a row that hangs on it as a whole."""
    return link(PaymentEvent, row.event_id, row.event.checkout_id)


@admin.display(description=_("whole path"))
def path_of_payment(row: Any) -> SafeString:
    return path_of(row.event.public_id)


@admin.display(description=_("session"))
def session_shown(session: CheckoutSession) -> str:
    return f"#{session.pk}"


@admin.display(description=_("session"))
def session_link(session: CheckoutSession) -> SafeString | str:
    return link(CheckoutSession, session.pk, session_shown(session))


@admin.display(description=_("method"))
def method_shown(session: CheckoutSession) -> Any:
    """The way to pay, as buyers read it."""
    known = METHODS.get(session.method)
    return known.label if known else session.method


@admin.display(description=_("id"))
def own_link(row: Any) -> SafeString | str:
    """The row's own page, in a table of rows that belong to another."""
    return link(type(row), row.pk, short(row.public_id) if hasattr(row, "public_id") else f"#{row.number}")


@admin.display(description=_("seller"))
def seller_link(order: PaymentOrder) -> SafeString | str:
    seller = order.seller
    return seller.name if seller.is_house else link(Seller, seller.pk, seller.name)  # who stands for the shop has no page


@admin.display(description=_("refund"))
def refund_link(row: Any) -> SafeString | str:
    return link(Refund, row.refund_id, short(row.refund.public_id) if row.refund_id else "")


@admin.display(description=_("journal entry"))
def journal_entry_link(row: Any) -> SafeString | str:
    return link(JournalEntry, row.journal_entry_id, f"je_{row.journal_entry_id}")


@admin.display(description=_("wallet entry"))
def wallet_entry_link(row: Any) -> SafeString | str:
    return link(WalletEntry, row.wallet_entry_id, f"wen_{row.wallet_entry_id}")


def still_open(column: str, title: Any, *, open_words: Any, done_words: Any) -> type[admin.SimpleListFilter]:
    """Return a filter for what still waits: rows whose moment of that name has not come."""

    class StillOpen(admin.SimpleListFilter):
        parameter_name = f"{column}_is"

        def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
            return [("open", open_words), ("done", done_words)]

        def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
            return queryset.filter(**{f"{column}__isnull": self.value() == "open"}) if self.value() in ("open", "done") else queryset

    StillOpen.title = title
    return StillOpen


def entry_link(column: str, title: Any) -> Callable[[Any], SafeString | str]:
    """Return a column that leads to the journal entry which a row keeps under another name."""

    @admin.display(description=title)
    def shown(row: Any) -> SafeString | str:
        pk = getattr(row, f"{column}_id")
        return link(JournalEntry, pk, f"je_{pk}")

    shown.__name__ = f"{column}_link"
    return shown


def transitions_column(kind: Transition.Kind) -> Callable[[Any], str]:
    """Return a field that shows each change of the row's status: when, from what to what, by whom and why."""

    @admin.display(description=_("changes"))
    def shown(row: Any) -> str:
        changes = Transition.objects.filter(kind=kind, object_id=row.pk).order_by("id")
        lines = [(change, label(kind, change.before), label(kind, change.after)) for change in changes]
        return render_to_string("admin/_transitions.html", {"lines": lines})

    shown.__name__ = f"{kind.value}_transitions"
    return shown

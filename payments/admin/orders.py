"""Orders in the admin, with what staff may do about one: refund it, cancel it, mark it as delivered, end its retries.  And what was asked of the PSP for it."""

import secrets
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from djmoney.money import Money

from ledger import approvals, clock
from ledger.admin import NOTHING, CurrencyFilter, LookOnly, id_column, money_column, recent, time_column, whole_path
from ledger.approval_admin import approvals_about
from ledger.approvals import ApprovalNeeded, Facts, Kind, Outcome, Proposal, Terms
from ledger.deeds import Deed, DeedForm, WithDeeds, leave_to_the_domain
from ledger.errors import DomainError
from ledger.models import Approval
from ledger.money import exact, text
from ledger.templatetags.written import amount, moment
from payments import cancellations, queries, refunds, releases, rescue, tasks
from payments.admin.columns import (
    event_link,
    journal_entry_link,
    of_orders_called,
    order_link,
    orders_called,
    refund_link,
    seller_link,
    transitions_column,
    wallet_entry_link,
)
from payments.admin.rows import (
    AttemptRows,
    CancellationRows,
    DeadLetterRows,
    DisputeRows,
    LateChargeRows,
    RefundRows,
    TenderRows,
    that_are_there,
)
from payments.models import Cancellation, DueOrder, DueRelease, PaymentOrder, PspAttempt, Refund, Transition
from payments.refunds import RefundConflict, To, Wish
from payments.states import CancellationStatus, OrderStatus
from wallet.admin import pretty
from wallet.models import Shop

REFUND = "refund"
FIGURES_LOOK_UP = ("event__method", "event__card_funding", "event__card_brand", "event__card_country", "seller__country")


WHERE_TO = {To.CHARGE: _("the card"), To.STORED_VALUE: _("gift cards and the buyer's wallet")}


class RefundForm(DeedForm):
    """How much to give back, and what of our fee; and where to, if gift cards or a wallet paid a part.  `once` makes two presses one refund."""

    part = forms.DecimalField(label=_("Amount"), required=False)
    fee_policy = forms.ChoiceField(label=_("Of our fee, the seller gets back"), required=False)
    to = forms.ChoiceField(label=_("It goes first to"), required=False, choices=WHERE_TO.items())
    once = forms.CharField(widget=forms.HiddenInput, max_length=80)
    field_order = ("part", "fee_policy", "to", "note")

    def __init__(self, row: PaymentOrder, data: Any = None) -> None:
        super().__init__(row, data)
        by_rule = _("What the shop's rule says (%(rule)s)") % {"rule": row.shop.get_refund_fee_policy_display()}
        self.fields["fee_policy"].choices = [("", by_rule), *Shop.FeePolicy.choices]  # type: ignore[attr-defined]
        self.fields["part"].help_text = _("In %(currency)s. Leave it empty to give back all that is left: %(left)s.") % {
            "currency": row.amount.currency.code,
            "left": amount(row.left),
        }
        if row.tendered == row.tendered_back and not (data and data.get("to")):  # a second press says what the first one said
            del self.fields["to"]
        self.fields["once"].initial = f"admin:{secrets.token_urlsafe(16)}"

    def clean_part(self) -> Any:
        part: Decimal | None = self.cleaned_data["part"]
        if part is None:
            return None
        try:
            asked = exact(part, self.row.amount.currency.code)
        except DomainError as error:
            raise forms.ValidationError(error.detail) from error
        if asked.amount <= 0:
            raise forms.ValidationError(_("An amount must be more than zero."))
        return asked


def refund(order: PaymentOrder, said: dict[str, Any], actor: str) -> Refund | Approval:
    """Refund the order, or, where that is more than one person may give back alone, propose it."""
    try:
        made = refunds.request_refund(
            order.pk,
            amount=said["part"],
            reason=said["note"],
            now=clock.now(),
            fee_policy=said["fee_policy"],
            once=said["once"],
            requested_by=actor,
            limits=settings.REFUND_APPROVAL_LIMITS,
            to=To(said.get("to") or To.CHARGE),
        )
    except ApprovalNeeded:
        return approvals.propose(proposal_of(order, said), actor=actor, now=clock.now())
    tasks.nudge_refunds()
    return made


def proposal_of(order: PaymentOrder, said: dict[str, Any]) -> Proposal:
    """Return the proposal of a refund, of a certain amount and by a certain policy, whatever becomes of the order and the shop's rule."""
    asked = order.left if said["part"] is None else said["part"]
    policy = said["fee_policy"] or order.shop.refund_fee_policy
    terms = {"order": order.public_id, "amount": text(asked), "currency": asked.currency.code, "fee_policy": policy, "once": said["once"]}
    if said.get("to"):
        terms["to"] = said["to"]
    return Proposal(REFUND, order.public_id, terms, said["note"])


def give_back(approval: Approval, now: datetime) -> Outcome:
    """Reserve the refund, which the worker executes.  Locks the order.

    Raises what `refunds.reserve` raises, and RefundConflict if the wish was fulfilled meanwhile, be it in the same terms.
    """
    terms = approval.terms
    order = PaymentOrder.objects.select_for_update(no_key=True).get(public_id=terms["order"])
    if standing := order.refunds.filter(once=terms["once"]).first():
        raise RefundConflict(f"{standing.public_id} was made of this wish already. Nothing is left to do.")
    wish = Wish(
        amount=asked_in(terms),
        reason=approval.memo,
        fee_policy=terms["fee_policy"],
        once=terms["once"],
        requested_by=approval.made_by,
        to=To(terms.get("to", To.CHARGE)),
    )
    return Outcome(refunds.reserve(order, wish, now=now).public_id)


def asked_in(terms: Terms) -> Money:
    return exact(terms["amount"], terms["currency"])


def facts_in(terms: Terms) -> Facts:
    policy = Shop.FeePolicy(terms["fee_policy"])
    where_to = [(_("it goes first to"), WHERE_TO[To(terms["to"])])] if "to" in terms else []
    return [(_("to be refunded"), amount(asked_in(terms))), (_("of our fee, the seller gets back"), policy.label), *where_to]


def standing(terms: Terms) -> Facts:
    """Return how the order stands, and what the refund makes of it."""
    order, asked = PaymentOrder.objects.select_related("seller", "shop").get(public_id=terms["order"]), asked_in(terms)
    fee = refunds.fee_of(order, asked, policy=terms["fee_policy"]) if asked <= order.left else None
    return [
        (_("amount of the order"), amount(order.amount)),
        (_("refunded before"), amount(order.refunded)),
        (_("left after it"), amount(order.left - asked)),
        (_("seller"), order.seller.name),
        (_("the seller bears"), NOTHING if fee is None else amount(asked - fee)),
        (_("we bear of our fee"), NOTHING if fee is None else amount(fee)),
    ]


approvals.register(
    Kind(
        name=REFUND,
        title=_("Refund"),
        may_see="payments.view_paymentorder",
        may_propose="payments.add_refund",
        may_approve="payments.approve_refund",
        apply=give_back,
        summary=lambda terms: amount(asked_in(terms)),
        facts=facts_in,
        standing=standing,
        nudge=tasks.nudge_refunds,
    )
)


def cancel(order: PaymentOrder, said: dict[str, Any], actor: str) -> Cancellation:
    rescue.require_no_letter(order)
    limits = settings.REFUND_APPROVAL_LIMITS
    made = cancellations.cancel_order(order.pk, reason=said["note"], once="", requested_by=actor, now=clock.now(), limits=limits)
    tasks.nudge_executor()
    tasks.nudge_refunds()
    return made


def deliver(order: PaymentOrder, said: dict[str, Any], actor: str) -> PaymentOrder:
    now = clock.now()
    delivered = releases.deliver(order.pk, at=now, actor=actor, now=now, note=said["note"])
    tasks.nudge_releases()
    return delivered


def stop_retries(order: PaymentOrder, said: dict[str, Any], actor: str) -> PaymentOrder:
    rescue.require_no_letter(order)
    rescue.stop_retries(order.pk, actor=actor, note=said["note"], now=clock.now())
    tasks.nudge_executor()
    return order


def can_be_refunded(order: PaymentOrder) -> bool:
    return order.status == OrderStatus.SUCCESS and order.left.amount > 0 and not queries.is_disputed(order)


def can_be_cancelled(order: PaymentOrder) -> bool:
    is_elsewhere = cancellations.standing(order, once="") is not None or is_given_up(order)
    return not is_elsewhere and (can_be_refunded(order) or order.status in (OrderStatus.NOT_STARTED, OrderStatus.FAILED))


def can_be_delivered(order: PaymentOrder) -> bool:
    return order.status == OrderStatus.SUCCESS and order.delivered_at is None and order.refunded < order.amount


def is_executing(order: PaymentOrder) -> bool:
    is_cancelled = order.cancellations.filter(status=CancellationStatus.EXECUTING).exists()
    return order.status == OrderStatus.EXECUTING and not is_cancelled and not is_given_up(order)


def is_given_up(order: PaymentOrder) -> bool:
    """Does a dead letter wait, which two people decide?"""
    return order.dead_letters.filter(refund=None, decided_at=None).exists()


@admin.display(description=_("available from"))
def due_release(order: PaymentOrder) -> SafeString | str:
    """When it becomes available, as things stand."""
    due = DueRelease.objects.filter(order=order).first()
    if due is None:
        return NOTHING
    return moment(due.due_at) if due.due_at else gettext("once it is delivered")


@admin.register(PaymentOrder)
class PaymentOrderAdmin(WithDeeds):
    list_display = (
        id_column,
        seller_link,
        money_column("amount", _("amount")),
        "status",
        "reference",
        event_link,
        journal_entry_link,
        time_column("created_at", _("opened")),
    )
    list_select_related = ("seller", "event")
    list_filter = ("status", "shop", CurrencyFilter, recent("created_at"))
    search_help_text = _("The id or reference of an order, a checkout id, a journal entry's number (je_12), or a seller's name")
    fields = (
        "public_id",
        whole_path,
        event_link,
        "shop",
        seller_link,
        "reference",
        "description",
        money_column("amount", _("amount")),
        money_column("fee", _("fee")),
        money_column("net", _("net")),
        money_column("tendered", _("paid with gift cards and the wallet")),
        money_column("refunded", _("refunded")),
        money_column("disputed", _("disputed")),
        money_column("unreleased", _("pending")),
        time_column("delivered_at", _("delivered")),
        "delivered_by",
        "delivery_note",
        due_release,
        time_column("released_at", _("available since")),
        time_column("settled_at", _("paid to us")),
        "status",
        "failure_code",
        journal_entry_link,
        wallet_entry_link,
        "psp",
        "lines",
        time_column("created_at", _("opened")),
        "approvals",
        transitions_column(Transition.Kind.ORDER),
    )
    readonly_fields = fields
    deeds = (
        Deed(
            name="refund",
            title=_("Refund"),
            meaning=_(
                "The buyer gets the money back on the card it was paid with, and what gift cards or a wallet paid there. The seller bears it, less what we give back of our fee. "
                "What is more than one person may give back waits for a second one."
            ),
            done=_("The refund is on its way."),
            permissions=("payments.add_refund",),
            act=refund,
            is_possible=can_be_refunded,
            refuse=leave_to_the_domain,
            form=RefundForm,
        ),
        Deed(
            name="deliver",
            title=_("Mark as delivered"),
            meaning=_("What is pending of it becomes available to the seller, at once or after the days that the seller's terms say."),
            done=_("The order is delivered."),
            permissions=("payments.change_paymentorder",),
            act=deliver,
            is_possible=can_be_delivered,
            refuse=leave_to_the_domain,
        ),
        Deed(
            name="cancel",
            title=_("Cancel the order"),
            meaning=_("What was not charged yet never will be. What was paid goes back in full, and our fee with it."),
            done=_("The order is being cancelled."),
            permissions=("payments.add_cancellation",),
            act=cancel,
            is_possible=can_be_cancelled,
            refuse=leave_to_the_domain,
            is_grave=True,
        ),
        Deed(
            name="stop_retries",
            title=_("Stop the retries"),
            meaning=_("The order is charged no more. What the PSP may have taken already is voided, or refunded as soon as it is known."),
            done=_("The retries are stopped. What was taken, if anything, goes back to the buyer."),
            permissions=("payments.add_cancellation",),
            act=stop_retries,
            is_possible=is_executing,
            refuse=leave_to_the_domain,
            is_grave=True,
        ),
    )

    def get_inlines(self, request: HttpRequest, obj: PaymentOrder | None) -> Any:
        others = that_are_there((TenderRows, CancellationRows, DisputeRows, LateChargeRows, DeadLetterRows), obj)
        return [AttemptRows, RefundRows, *others]

    def facts(self, row: PaymentOrder) -> list[tuple[Any, Any]]:
        return [
            (_("order"), row.public_id),
            (_("seller"), row.seller.name),
            (_("amount"), amount(row.amount)),
            (_("refunded"), amount(row.refunded)),
            (_("disputed"), amount(row.disputed)),
            (_("pending"), amount(row.unreleased)),
            (_("status"), row.get_status_display()),
        ]

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        """Let figures lead to the orders behind them: by the way to pay, the card, and the seller's country."""
        return lookup in FIGURES_LOOK_UP or super().lookup_allowed(lookup, value, request)

    def sought(self, term: str) -> Q:
        return orders_called(term)

    @admin.display(description=_("approvals"))
    def approvals(self, order: PaymentOrder) -> SafeString | str:
        return approvals_about(order.public_id)

    @admin.display(description=_("items"))
    def lines(self, order: PaymentOrder) -> SafeString | str:
        return pretty(order.items)


class UnknownFilter(admin.SimpleListFilter):
    """The calls of which the first page says that their outcome is unknown."""

    title = _("outcome")
    parameter_name = "outcome_is"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return [("unknown", _("Unknown for more than five minutes"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(pk__in=queries.unknown(now=clock.now()).values("pk")) if self.value() == "unknown" else queryset


class OverdueFilter(admin.SimpleListFilter):
    """What waits in the queue and should have been worked on by now."""

    title = _("what it waits for")
    parameter_name = "waits"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return [("overdue", _("Overdue by more than five minutes")), ("person", _("For a person's decision"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case "overdue":
                return queryset.filter(pk__in=queries.overdue(now=clock.now()).values("pk"))
            case "person":
                return queryset.filter(next_attempt_at=None)
            case _:
                return queryset


@admin.register(PspAttempt)
class PspAttemptAdmin(LookOnly):
    list_display = (
        "psp_key",
        "operation",
        "number",
        order_link,
        "status",
        "psp_reference",
        "error_code",
        time_column("created_at", _("sent")),
        time_column("finished_at", _("finished")),
    )
    list_select_related = ("order",)
    list_filter = ("status", "operation", UnknownFilter, recent("created_at"))
    search_help_text = _("A PSP key, or the id or reference of an order")
    fields = (order_link, refund_link, *list_display[:3], "psp", *list_display[4:7], "error_message", *list_display[7:])
    readonly_fields = fields

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        """Let figures lead to the calls behind them: in one currency, of one PSP, on cards of one country."""
        return lookup in ("order__currency", "order__psp", "order__event__card_country") or super().lookup_allowed(lookup, value, request)

    def sought(self, term: str) -> Q:
        return Q(psp_key=term) | of_orders_called(term)


@admin.register(DueOrder)
class DueOrderAdmin(LookOnly):
    ordering = ("next_attempt_at",)
    list_display = (
        "psp_key",
        order_link,
        "tries",
        "failures",
        time_column("next_attempt_at", _("due")),
        time_column("claimed_until", _("claimed until")),
    )
    list_select_related = ("order",)
    list_filter = (OverdueFilter,)
    search_help_text = _("A PSP key, or the id or reference of an order")
    fields = (order_link, "psp_key", "tries", "failures", "deaths", "maybe_sent", "to_be_voided", *list_display[4:])
    readonly_fields = fields

    def sought(self, term: str) -> Q:
        return Q(psp_key=term) | of_orders_called(term)

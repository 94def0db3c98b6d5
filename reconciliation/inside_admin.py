"""Looks inside and stops of payouts in the admin: what was compared with what, what did not agree, and the buttons that stop payouts by hand
and let them go on.

A look takes minutes on a large house, so the button only asks for it: a worker makes it, and its page shows what came of it.
"""

from decimal import Decimal
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from djmoney.money import Money

from ledger.admin import NOTHING, LookOnly, link, time_column
from ledger.deeds import Deed, DeedForm, WithDeeds, actor_in, leave_to_the_domain, page_of
from ledger.templatetags.written import digits
from payouts import stops
from payouts.models import PayoutStop
from reconciliation import inside, tasks
from reconciliation.inside import Check, State
from reconciliation.models import InsideLook, InvariantRun

CHECKS: dict[str, tuple[Any, Any, Any]] = {  # what is compared, and what each side is called
    Check.BOOKS: (_("The books"), _("debits"), _("credits")),
    Check.WALLETS: (_("Sellers' wallets and books"), _("in the wallets"), _("in the books")),
    Check.ORDERS: (_("Orders and entries"), _("by the orders and refunds"), _("by their entries")),
    Check.PAYOUTS: (_("Payouts under way"), _("by the payouts"), _("in the books")),
    Check.PSP: (_("What PSPs took for us, an hour ago"), _("in the books"), _("by the PSP")),
    Check.SETTLED: (_("What buyers paid"), _("settled by PSPs"), _("paid")),
    Check.OUTBOX: (_("Messages for shops, past day"), _("passed on"), _("written")),
    Check.INBOX: (_("Messages of PSPs, past day"), _("worked on"), _("received")),
}
ABOUT = {
    "seller_pending": _("pending"),
    "seller_available": _("available"),
    "seller_reserved": _("reserved"),
    "gift_cards": _("gift cards"),
    "buyer_wallet": _("buyers' wallets"),
    "sale": _("sales"),
    "stored_value": _("gift cards and top-ups bought"),
    "late_charge": _("late charges"),
    "refund": _("refunds"),
    "refund_reversal": _("refunds that came back"),
}
STATES = {
    State.AGREES: _("agrees"),
    State.DIFFERS: _("does not agree"),
    State.OPEN: _("still to come"),
    State.STUCK: _("left alone for an hour"),
    State.UNKNOWN: _("not known"),
}

TO_LOOK_AT = (State.DIFFERS, State.STUCK, State.UNKNOWN)


def side(figure: dict[str, Any], name: str) -> str:
    """Return one side of a figure as people read it: an amount in its currency, or how many."""
    held = figure[name]
    if held is None:
        return NOTHING
    currency = figure["currency"]
    return f"{digits(Money(Decimal(held), currency))} {currency}" if currency else number_format(int(held))


def shown(figure: dict[str, Any]) -> dict[str, Any]:
    """Return a figure as a row of its page's table."""
    title, our_name, their_name = CHECKS[figure["check"]]
    return {
        "title": title,
        "about": ABOUT.get(figure["about"], figure["about"]),
        "ours": side(figure, "ours"),
        "our_name": our_name,
        "theirs": side(figure, "theirs"),
        "their_name": their_name,
        "state": STATES[State(figure["state"])],
        "is_bad": figure["state"] in TO_LOOK_AT,
    }


@admin.register(InsideLook)
class InsideLookAdmin(LookOnly):
    change_list_template = "admin/inside_looks.html"
    list_display = (time_column("asked_at", _("asked for")), "asked_by_shown", "result", time_column("ended_at", _("made")))
    search_help_text = _("Its number")
    fields: ClassVar[Any] = (
        "result",
        "asked_by_shown",
        "reason",
        time_column("asked_at", _("asked for")),
        time_column("ended_at", _("made")),
        "figures_shown",
        "violations_shown",
        "run_link",
    )
    readonly_fields: ClassVar[Any] = fields

    def get_urls(self) -> list[URLPattern]:
        own = path("ask/", self.admin_site.admin_view(self.ask_view), name="reconciliation_insidelook_ask")
        return [own, *super().get_urls()]

    def ask_view(self, request: HttpRequest) -> HttpResponse:
        """Ask for a look (POST with a reason); a worker makes it."""
        if not request.user.has_perm("reconciliation.add_insidelook"):
            raise PermissionDenied
        form = DeedForm(None, request.POST if request.method == "POST" else None)
        if form.is_valid():
            asked = inside.ask(asked_by=actor_in(request), reason=form.cleaned_data["note"], now=timezone.now())
            tasks.nudge_look()
            self.log_addition(request, asked, f"{gettext('Look inside')}: {asked.reason}")
            self.message_user(request, _("It is looked into now. Load this page again in a minute."), messages.SUCCESS)
            return HttpResponseRedirect(page_of(asked))
        context = self.admin_site.each_context(request) | {"title": _("Look inside"), "opts": self.opts, "form": form}
        return TemplateResponse(request, "admin/payment_file_form.html", context)

    @admin.display(description=_("asked by"))
    def asked_by_shown(self, look: InsideLook) -> Any:
        return look.asked_by or _("each night")

    @admin.display(description=_("result"))
    def result(self, look: InsideLook) -> Any:
        if look.ended_at is None:
            return _("Not made yet")
        if look.drift:
            return _("Figures about money do not agree: payouts are stopped")
        if any(figure["state"] in TO_LOOK_AT for figure in look.figures):
            return _("Money agrees; something else is to be looked at")
        return _("All agrees")

    @admin.display(description=_("figures"))
    def figures_shown(self, look: InsideLook) -> str:
        return render_to_string("admin/_inside_figures.html", {"figures": [shown(figure) for figure in look.figures]})

    @admin.display(description=_("what does not agree"))
    def violations_shown(self, look: InsideLook) -> Any:
        if look.ended_at is None:
            return NOTHING
        if look.run is None:
            return "; ".join(look.drift) or _("Nothing.")
        return render_to_string("admin/_violations.html", {"violations": look.run.violations})

    @admin.display(description=_("run over the invariants"))
    def run_link(self, look: InsideLook) -> SafeString | str:
        return link(InvariantRun, look.run_id, look.run)


def lift(stop: PayoutStop, said: dict[str, Any], actor: str) -> PayoutStop:
    return inside.lift(stop.pk, actor=actor, reason=said["note"], now=timezone.now())


def stands(stop: PayoutStop) -> bool:
    return stop.lifted_at is None


@admin.register(PayoutStop)
class PayoutStopAdmin(WithDeeds):
    change_list_template = "admin/payout_stops.html"
    list_display = (time_column("placed_at", _("since")), "placed_by", "reason", time_column("lifted_at", _("lifted")), "lifted_by")
    search_help_text = _("Its number")
    fields: ClassVar[Any] = (
        time_column("placed_at", _("since")),
        "placed_by",
        "reason",
        "looks_link",
        time_column("lifted_at", _("lifted")),
        "lifted_by",
        "lift_reason",
    )
    readonly_fields: ClassVar[Any] = fields
    deeds = (
        Deed(
            name="lift",
            title=_("Let payouts go on"),
            meaning=_(
                "Payouts are made, approved and sent again, and those that were held back go within the hour. This needs a look inside that was "
                "made since they were stopped, and found that all figures about money agree; and not whoever stopped them."
            ),
            done=_("Payouts go on."),
            permissions=("payouts.lift_payoutstop",),
            act=lift,
            is_possible=stands,
            refuse=leave_to_the_domain,
            is_grave=True,
        ),
    )

    def get_urls(self) -> list[URLPattern]:
        own = path("place/", self.admin_site.admin_view(self.place_view), name="payouts_payoutstop_place")
        return [own, *super().get_urls()]

    def place_view(self, request: HttpRequest) -> HttpResponse:
        """Stop all payouts by hand (POST with a reason); where they are stopped already, show that stop."""
        if not request.user.has_perm("payouts.add_payoutstop"):
            raise PermissionDenied
        form = DeedForm(None, request.POST if request.method == "POST" else None)
        if form.is_valid():
            stop, is_new = stops.place(reason=form.cleaned_data["note"], placed_by=actor_in(request), now=timezone.now())
            if is_new:
                self.log_addition(request, stop, f"{gettext('Stop all payouts')}: {stop.reason}")
                self.message_user(request, _("All payouts are stopped. Somebody else lets them go on."), messages.SUCCESS)
            else:
                self.message_user(request, _("Payouts were stopped already, for the reason below: yours is not kept."), messages.WARNING)
            return HttpResponseRedirect(page_of(stop))
        context = self.admin_site.each_context(request) | {"title": _("Stop all payouts"), "opts": self.opts, "form": form}
        return TemplateResponse(request, "admin/payment_file_form.html", context)

    def facts(self, row: PayoutStop) -> list[tuple[Any, Any]]:
        return [(_("stopped by"), row.placed_by), (_("because"), row.reason), (_("looks inside"), self.looks_link(row))]

    @admin.display(description=_("looks inside"))
    def looks_link(self, stop: PayoutStop) -> SafeString:
        address = reverse("admin:reconciliation_insidelook_changelist")
        return format_html('<a href="{}">{}</a>', address, gettext("Look at them, or ask for one"))

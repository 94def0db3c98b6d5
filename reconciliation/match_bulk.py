"""Many mismatches at once: chosen in the list, shown with what would be posted together, and then done one by one.

Each is a call of its own into the domain, in a transaction of its own: what is refused leaves the others as they are, and is said with its
reason.  A proposal that is approved is the very one that was shown.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext, ngettext
from djmoney.money import Money

from ledger.deeds import DeedForm, WithDeeds, actor_in
from ledger.errors import DomainError
from ledger.journal import Draft
from reconciliation.models import Mismatch, Proposal

MOST_AT_ONCE = 200
KEY = re.compile(r"(\d{1,18}):(\d{1,18})")


@dataclass(frozen=True, slots=True)
class Chosen:
    """A mismatch that was chosen, the proposal for it that waits, and the entry that would be posted."""

    mismatch: Mismatch
    waiting: Proposal | None
    draft: Draft | None

    @property
    def key(self) -> str:
        """The mismatch, and the proposal that is shown, as the form sends them back."""
        return f"{self.mismatch.pk}:{self.waiting.pk if self.waiting else 0}"


@dataclass(frozen=True, slots=True)
class Bulk:
    """One thing that may be done to many mismatches, by whoever has the permission.

    `chosen` says what it would come to for one of them, and `hindrance` why one is left out before anything is done; `act` gets the mismatch,
    the key of the proposal that was shown, why, and who says so.
    """

    name: str
    title: Any
    meaning: Any
    permission: str
    chosen: Callable[[Mismatch], Chosen]
    hindrance: Callable[[Chosen, str], str]
    act: Callable[[Mismatch, int, str, str], object]

    def is_allowed(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm(self.permission))


@dataclass(frozen=True, slots=True)
class Sum:
    """What all entries together debit and credit an account with, in a currency."""

    account: str
    debit: Money | None
    credit: Money | None


def sums_of(drafts: Iterable[Draft]) -> list[Sum]:
    """Return what the entries come to, by currency and account."""
    debits: dict[tuple[str, str], Money] = {}
    credits: dict[tuple[str, str], Money] = {}
    for draft in drafts:
        for legs, side in ((draft.debits, debits), (draft.credits, credits)):
            for code, money in legs:
                key = money.currency.code, code
                side[key] = side[key] + money if key in side else money
    return [Sum(key[1], debits.get(key), credits.get(key)) for key in sorted(debits.keys() | credits.keys())]


class InBulk(WithDeeds):
    """A list of mismatches, many of which may be chosen."""

    bulks: ClassVar[tuple[Bulk, ...]] = ()

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        own = [
            path(f"chosen/{bulk.name}/", view(partial(self.done_view, bulk=bulk)), name=f"reconciliation_mismatch_{bulk.name}_chosen")
            for bulk in self.bulks
        ]
        return own + super().get_urls()

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        return {bulk.name: (partial(asked, bulk=bulk), bulk.name, bulk.title) for bulk in self.bulks if bulk.is_allowed(request)}

    def ask(self, request: HttpRequest, mismatches: Iterable[Mismatch], *, bulk: Bulk, form: DeedForm) -> HttpResponse:
        """Show what would be done to which of them, and what would be posted together, and ask why."""
        actor = actor_in(request)
        chosen = [bulk.chosen(mismatch) for mismatch in mismatches]
        hindered = [(one, bulk.hindrance(one, actor)) for one in chosen]
        able = [one for one, why_not in hindered if not why_not]
        context = self.admin_site.each_context(request) | {
            "title": bulk.title,
            "opts": self.opts,
            "bulk": bulk,
            "form": form,
            "able": able,
            "left_out": [(one, why_not) for one, why_not in hindered if why_not],
            "sums": sums_of(one.draft for one in able if one.draft),
            "address": reverse(f"admin:reconciliation_mismatch_{bulk.name}_chosen"),
            "filters": request.POST.get("filters", request.GET.urlencode()),
            "back": self.list_address(request),
        }
        return TemplateResponse(request, "admin/mismatches_chosen.html", context)

    def done_view(self, request: HttpRequest, *, bulk: Bulk) -> HttpResponse:
        """Do to each what was asked for, and go back to the list, which says to how many it was done, and to which not and why."""
        if not (self.has_view_permission(request) and bulk.is_allowed(request)):
            raise PermissionDenied
        chosen = [(int(key[1]), int(key[2])) for key in map(KEY.fullmatch, request.POST.getlist("chosen")[:MOST_AT_ONCE]) if key]
        mismatches = self.get_queryset(request).in_bulk([mismatch_id for mismatch_id, _proposal_id in chosen])
        form = DeedForm(None, request.POST)
        if mismatches and not form.is_valid():
            return self.ask(request, mismatches.values(), bulk=bulk, form=form)
        done, refused = 0, []
        known = [(mismatches[mismatch_id], proposal_id) for mismatch_id, proposal_id in chosen if mismatch_id in mismatches]
        for mismatch, proposal_id in known:
            try:
                bulk.act(mismatch, proposal_id, form.cleaned_data["note"], actor_in(request))
            except DomainError as error:
                refused.append((mismatch, error.detail))
            else:
                self.log_change(request, mismatch, f"{bulk.title}: {form.cleaned_data['note']}")
                done += 1
        self.say(request, done, refused)
        return HttpResponseRedirect(self.list_address(request))

    def say(self, request: HttpRequest, done: int, refused: list[tuple[Mismatch, str]]) -> None:
        if done:
            said = ngettext("Done, to %(count)s mismatch.", "Done, to %(count)s mismatches.", done) % {"count": done}
            self.message_user(request, said, messages.SUCCESS)
        if refused:
            said = ngettext("Not done, to %(count)s:", "Not done, to %(count)s:", len(refused)) % {"count": len(refused)}
            each = format_html_join("", "<br>{}: {}", ((one.public_id, why_not) for one, why_not in refused))
            self.message_user(request, format_html("{}{}", said, each), messages.WARNING)

    def list_address(self, request: HttpRequest) -> str:
        """Return where the list is, as it was filtered."""
        return f"{reverse('admin:reconciliation_mismatch_changelist')}?{request.POST.get('filters', request.GET.urlencode())}"


def asked(model_admin: InBulk, request: HttpRequest, chosen: QuerySet[Mismatch], *, bulk: Bulk) -> HttpResponse | None:
    """Answer the list's form: show what was chosen, before anything is done to it."""
    mismatches = list(chosen.select_related("line", "batch__copy_of")[: MOST_AT_ONCE + 1])
    if len(mismatches) > MOST_AT_ONCE:
        said = gettext("Nothing was done. Choose %(count)s mismatches at most at once.") % {"count": MOST_AT_ONCE}
        model_admin.message_user(request, said, messages.ERROR)
        return None
    return model_admin.ask(request, mismatches, bulk=bulk, form=DeedForm(None))

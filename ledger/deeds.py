"""What staff may do about money: each deed has a page of its own, which says what will happen, asks why, and does it once.

The rows themselves are changed by no form.  A deed is one call into the domain, which locks, checks again and records the actor; what it
refuses is said under the field that it names.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, ClassVar, Protocol

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext_lazy as _

from ledger import clock
from ledger.admin import LookOnly
from ledger.errors import DomainError
from ledger.models import Approval
from ledger.wire import forbidden_in

LONGEST_NOTE = 200
NOT_ANY_MORE = _("This is not possible any more.")
PROPOSED = _("Proposed. Somebody else must approve it before it is done.")


class NotPossible(DomainError):
    """It was possible when the page was shown, and is not any more."""

    code = "not_possible"


def not_any_more(row: Any) -> None:
    """Refuse.  A deed may have a function of its own that says why, in the domain's words."""
    raise NotPossible(str(NOT_ANY_MORE))


def leave_to_the_domain(row: Any) -> None:
    """Let the domain decide: its call refuses by itself what is not possible, or answers a second press with what came of the first."""


def actor_in(request: HttpRequest) -> str:
    """Return who of the staff asks, as it is kept with what they do."""
    return f"staff:{request.user.get_username()}"


class Decision(Protocol):
    """A call into the domain by which somebody decides about a row, given by its id, and says why."""

    def __call__(self, row_id: int, /, *, actor: str, reason: str, now: datetime) -> models.Model: ...


def nobody() -> None:
    """Wake nobody."""


def calling(decision: Decision, *, nudge: Callable[[], None] = nobody) -> Callable[[Any, dict[str, Any], str], models.Model]:
    """Return the `act` of a deed that is this call, for the reason in its note; `nudge` then wakes whoever works on what was decided."""

    def act(row: Any, said: dict[str, Any], actor: str) -> models.Model:
        following = decision(row.pk, actor=actor, reason=said["note"], now=clock.now())
        nudge()
        return following

    return act


class NoteField(forms.CharField):
    """Why, as one line.  Refuses what reorders or hides what a reader sees."""

    def __init__(self, **options: Any) -> None:
        said: dict[str, Any] = {
            "label": _("Why"),
            "max_length": LONGEST_NOTE,
            "widget": forms.Textarea(attrs={"rows": 3}),
            "help_text": _("One sentence that whoever looks at this in a year will understand. It is kept with your name."),
        }
        super().__init__(**(said | options))

    def clean(self, value: Any) -> str:
        note = self.tidied(super().clean(value))
        if character := forbidden_in(" ".join(note.split())):
            raise forms.ValidationError(_("This holds %s, a character that cannot be seen. Take it out.") % character)
        return note

    def tidied(self, note: str) -> str:
        return " ".join(note.split())


class DeedForm(forms.Form):
    """Why.  What else a deed needs to know is added by its own form, which may look at the row."""

    note = NoteField()

    def __init__(self, row: Any, data: Any = None) -> None:
        self.row = row
        super().__init__(data)


@dataclass(frozen=True, slots=True)
class Deed:
    """One thing that may be done to a row, by whoever has all these permissions.

    `act` gets the row, what the form says, and who says so; it returns the row to show next.  It is not called if the deed is not possible
    any more and `refuse`, which is asked then, raises the DomainError that says so.
    """

    name: str
    title: Any
    meaning: Any
    done: Any
    permissions: tuple[str, ...]
    act: Callable[[Any, dict[str, Any], str], models.Model]
    is_possible: Callable[[Any], bool] = bool
    refuse: Callable[[Any], None] = not_any_more
    form: type[DeedForm] = DeedForm
    is_grave: bool = False

    def is_allowed(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perms(self.permissions))


class WithDeeds(LookOnly):
    """Rows to look at, with the deeds that are possible now as buttons on their pages."""

    deeds: ClassVar[tuple[Deed, ...]] = ()
    fields: ClassVar[Any] = None
    readonly_fields: ClassVar[Any] = ()
    change_form_template = "admin/with_deeds.html"

    def get_urls(self) -> list[URLPattern]:
        own = [
            path(
                f"<int:pk>/{deed.name}/",
                self.admin_site.admin_view(partial(self.deed_view, deed=deed)),
                name=f"{self.opts.app_label}_{self.opts.model_name}_{deed.name}",
            )
            for deed in self.deeds
        ]
        return own + super().get_urls()

    def facts(self, row: Any) -> list[tuple[Any, Any]]:
        """Return what one must know of the row before doing anything to it: each a title and a value."""
        return []

    def may_do(self, request: HttpRequest, deed: Deed, row: Any) -> bool:
        """May whoever asks do this to the row?  Pages whose rows have rights of their own say more."""
        return deed.is_allowed(request)

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> HttpResponse:
        row: Any = context.get("original")
        possible = [deed for deed in self.deeds if row and self.may_do(request, deed, row) and deed.is_possible(row)]
        buttons = [(deed, self.address_of(deed, row)) for deed in possible]
        return super().render_change_form(request, context | {"deeds": buttons}, *args, **kwargs)

    def deed_view(self, request: HttpRequest, pk: int, *, deed: Deed) -> HttpResponseBase:
        if not (self.has_view_permission(request) and deed.is_allowed(request)):
            raise PermissionDenied
        row = self.get_queryset(request).filter(pk=pk).first()
        if row is None:
            raise Http404
        if not self.may_do(request, deed, row):
            raise PermissionDenied
        form = deed.form(row, request.POST if request.method == "POST" else None)
        form.files = request.FILES
        if form.is_valid() and (following := self.do(deed, row, form=form, request=request)):
            return HttpResponseRedirect(page_of(following))
        if request.method != "POST" and not deed.is_possible(row):
            self.message_user(request, NOT_ANY_MORE, messages.WARNING)
            return HttpResponseRedirect(page_of(row))
        context = self.admin_site.each_context(request) | {
            "title": deed.title,
            "opts": self.opts,
            "original": row,
            "deed": deed,
            "form": form,
            "facts": self.facts(row),
            "back": page_of(row),
        }
        return TemplateResponse(request, "admin/deed.html", context)

    def do(self, deed: Deed, row: Any, *, form: DeedForm, request: HttpRequest) -> models.Model | None:
        """Do it and return the row to show next; None if it is not possible or the domain refused, which the form then says."""
        try:
            if not deed.is_possible(row):
                deed.refuse(row)
            following = deed.act(row, form.cleaned_data, actor_in(request))
        except DomainError as error:
            form.add_error(error.field if error.field in form.fields else None, error.detail)
            return None
        self.log_change(request, row, f"{deed.title}: {form.cleaned_data['note']}")
        is_proposed = isinstance(following, Approval) and not isinstance(row, Approval)
        self.message_user(request, PROPOSED if is_proposed else deed.done, messages.SUCCESS)
        return following

    def address_of(self, deed: Deed, row: models.Model) -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_{deed.name}", args=[row.pk])


def page_of(row: models.Model) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])

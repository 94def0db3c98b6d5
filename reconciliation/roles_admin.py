"""Who works here, in the admin: logins with their roles, the roles themselves, and the trail of who did what.

Rights are given by others, as roles and not one by one: nobody changes their own login here, only a superuser touches a superuser, and whoever
changes a login says why.  A login keeps its name, by which everything that was done is remembered, and is never deleted: it is made inactive.
What a role may do is the code's (roles.py).
"""

from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.forms import AdminUserCreationForm, UserChangeForm
from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import transaction
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.html import format_html_join
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ledger import clock, transitions
from ledger.admin import NOTHING, LookOnly, time_column
from ledger.deeds import NoteField, actor_in
from ledger.titles import Entitled
from reconciliation import audit, reports
from reconciliation.audit import Asked, Done
from reconciliation.models import AuditTrail, RightsTransition
from reconciliation.reports import TookTooLong
from wallet import sheets

MOST_SHOWN = 500
MOST_IN_A_FILE = 50_000
DAYS_AT_FIRST = 7
LATEST_CHANGES = 50
WITHIN_REASON = (MinValueValidator(date(2000, 1, 1)), MaxValueValidator(date(2999, 12, 31)))

admin.site.unregister([User, Group])


class WithReason(forms.ModelForm):  # type: ignore[type-arg]
    why = NoteField(help_text=_("It is kept with your name."), widget=forms.TextInput(attrs={"class": "vTextField"}))


class NewLoginForm(WithReason, AdminUserCreationForm):  # type: ignore[type-arg]
    pass


class LoginForm(WithReason, UserChangeForm):  # type: ignore[type-arg]
    pass


@admin.register(User)
class LoginAdmin(Entitled, UserAdmin):  # type: ignore[type-arg]
    form = LoginForm
    add_form = NewLoginForm
    list_display = ("username", "roles", "is_staff", "is_active", "is_superuser", time_column("last_login", _("last login")))
    list_filter = ("groups", "is_staff", "is_active", "is_superuser")
    filter_horizontal = ()
    actions = None
    add_fieldsets = ((None, {"fields": ("username", "usable_password", "password1", "password2", "why")}),)

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return super().get_queryset(request).prefetch_related("groups")

    def get_fieldsets(self, request: HttpRequest, obj: User | None = None) -> Any:
        if obj is None:
            return self.add_fieldsets
        why = ("why",) if self.has_change_permission(request, obj) else ()
        return (
            (None, {"fields": ("username", "password")}),
            (_("Person"), {"fields": ("first_name", "last_name", "email")}),
            (_("Rights"), {"fields": ("is_active", "is_staff", "groups", "is_superuser", "user_permissions", *why)}),
            (_("What became of it"), {"fields": ("last_login", "date_joined", "changes")}),
        )

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        if obj is None:
            return ()
        of_superusers = () if request.user.is_superuser else ("is_superuser",)
        return ("username", *of_superusers, "user_permissions", "last_login", "date_joined", "changes")

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        groups: Any = form.base_fields.get("groups")
        if groups is not None:
            groups.widget = forms.CheckboxSelectMultiple(choices=groups.choices)
            groups.label, groups.help_text = _("Roles"), _("What each of them may do stands on the pages of the roles.")
        return form

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """May the reader change this login?  Nobody changes their own, and only a superuser one of a superuser."""
        is_others = obj is None or (obj.pk != request.user.pk and (request.user.is_superuser or not obj.is_superuser))
        return is_others and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        transitions.by(actor_in(request), reason=form.cleaned_data["why"])
        super().save_model(request, obj, form, change)

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:
        with transaction.atomic():
            transitions.by(actor_in(request), reason=gettext("A new password"))
            return super().user_change_password(request, id, form_url)

    @admin.display(description=_("roles"))
    def roles(self, user: User) -> str:
        return ", ".join(group.name for group in user.groups.all()) or NOTHING

    @admin.display(description=_("changes"))
    def changes(self, user: User) -> str:
        latest = RightsTransition.objects.filter(login=user.username).order_by("-pk")[:LATEST_CHANGES]
        lines = [(change, f"{change.get_what_display()}: {change.before or NOTHING}", change.after or NOTHING) for change in latest]
        return render_to_string("admin/_transitions.html", {"lines": lines})


@admin.register(Group)
class RoleAdmin(LookOnly):
    """The roles: who is in them is changed on the logins' pages, and what they may do in the code."""

    ordering = ("pk",)
    list_display = ("name", "people")
    fields = readonly_fields = ("name", "logins", "rights")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Group]:
        groups: QuerySet[Group] = super().get_queryset(request)
        return groups.annotate(members=Count("user"))

    @admin.display(description=_("people"))
    def people(self, group: Any) -> int:
        return int(group.members)

    @admin.display(description=_("people"))
    def logins(self, group: Group) -> str:
        return ", ".join(group.user_set.order_by("username").values_list("username", flat=True)) or NOTHING

    @admin.display(description=_("rights"))
    def rights(self, group: Group) -> str:
        named = group.permissions.select_related("content_type").order_by("content_type__app_label", "codename")
        return format_html_join("", "{}<br>", ((right.name,) for right in named))


# --- Who did what ---------------------------------------------------------------------------------------------------


class TrailForm(forms.Form):
    """Which days, whose deeds, and about what."""

    since = forms.DateField(label=_("From"), widget=forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"}), validators=WITHIN_REASON)
    until = forms.DateField(label=_("To"), widget=forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"}), validators=WITHIN_REASON)
    actor = forms.CharField(label=_("By whom"), required=False, max_length=200, help_text=_("Such as staff:ada"))
    about = forms.CharField(label=_("About"), required=False, max_length=200, help_text=_("An id, or a login's name"))

    def clean(self) -> dict[str, Any]:
        said = self.cleaned_data
        if "since" in said and "until" in said and said["until"] < said["since"]:
            self.add_error("until", _("The last day is before the first one."))
        return said

    @property
    def asked(self) -> Asked:
        said = self.cleaned_data
        since, until = (datetime.combine(said[name], time_of_day.min, UTC) for name in ("since", "until"))
        return Asked(since, until + timedelta(days=1), actor=said["actor"].strip(), about=said["about"].strip())


@admin.register(AuditTrail)
class AuditTrailAdmin(LookOnly):
    def get_urls(self) -> list[URLPattern]:
        return [path("", self.admin_site.admin_view(self.changelist_view), name="reconciliation_audittrail_changelist")]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show who did what on these days, or (`csv`) give it as a file."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        today = clock.now().date()
        at_first = {"since": (today - timedelta(days=DAYS_AT_FIRST - 1)).isoformat(), "until": today.isoformat()}
        form = TrailForm(at_first | request.GET.dict())
        is_file, found = "csv" in request.GET, list[Done]()
        if form.is_valid():
            try:
                with reports.within_the_time():
                    found = audit.rows(form.asked, limit=MOST_IN_A_FILE if is_file else MOST_SHOWN)
                if is_file:
                    return file_of(found)
            except TookTooLong:
                form.add_error("until", _("There is too much to look through at once. Ask for fewer days."))
        query = request.GET.copy()
        query["csv"] = "trail"
        context = self.admin_site.each_context(request) | {
            "title": _("Audit trail"),
            "opts": self.opts,
            "form": form,
            "rows": found,
            "most": MOST_SHOWN,
            "file": f"?{query.urlencode()}",
        }
        return TemplateResponse(request, "admin/audit_trail.html", context | (extra_context or {}), status=400 if is_file else 200)


def file_of(rows: list[Done]) -> HttpResponse:
    """Return the rows as a CSV file, no cell of which a spreadsheet would run."""
    head = ("when", "by whom", "what", "about", "before", "after", "reason")
    told = (
        (row.at.isoformat(), *map(sheets.harmless, (row.actor, row.what, row.about, row.before, row.after, row.reason))) for row in rows
    )
    headers = {"Content-Disposition": 'attachment; filename="audit-trail.csv"', "Cache-Control": "no-store"}
    return HttpResponse(sheets.written([head, *told]), content_type="text/csv; charset=utf-8", headers=headers)

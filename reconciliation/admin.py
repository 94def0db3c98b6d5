"""What the watch found, to look at: each run over the invariants, each chain of seals that was accepted, and when each queue was last heard of."""

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.translation import gettext_lazy as _

from ledger.admin import LookOnly, time_column
from reconciliation import bank_admin, close_admin, figures_admin, file_admin, inside_admin, match_admin, roles_admin, sftp_admin
from reconciliation.models import AcceptedHead, InvariantRun, QueueHeartbeat

__all__ = [
    "bank_admin",
    "close_admin",
    "figures_admin",
    "file_admin",
    "inside_admin",
    "match_admin",
    "roles_admin",
    "sftp_admin",
]  # Django looks for an app's pages here


@admin.display(description=_("number"))
def number(row: Any) -> str:
    return str(row.pk)


class FoundFilter(admin.SimpleListFilter):
    """Runs that found something, or runs that found nothing."""

    title = _("result")
    parameter_name = "found"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return [("something", _("A violation")), ("nothing", _("Nothing"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case "something":
                return queryset.exclude(violations=[])
            case "nothing":
                return queryset.filter(violations=[])
            case _:
                return queryset


@admin.register(InvariantRun)
class InvariantRunAdmin(LookOnly):
    list_display = (number, "scope", "found", "checked", time_column("started_at", _("started")), "took")
    list_filter = ("scope", FoundFilter)
    search_help_text = _("A run's number")
    fields = ("scope", time_column("started_at", _("started")), "took", "checked", "what", "seal_head")
    readonly_fields = fields

    @admin.display(description=_("violations"))
    def found(self, run: InvariantRun) -> int:
        return len(run.violations)

    @admin.display(description=_("took"))
    def took(self, run: InvariantRun) -> str:
        return f"{run.took_ms / 1000:.1f}\N{NO-BREAK SPACE}s"

    @admin.display(description=_("what does not hold"))
    def what(self, run: InvariantRun) -> str:
        return render_to_string("admin/_violations.html", {"violations": run.violations})


@admin.register(AcceptedHead)
class AcceptedHeadAdmin(LookOnly):
    list_display = (number, "accepted_by", "note", time_column("at", _("accepted")))
    search_help_text = _("Its number")
    fields = ("head", "instead_of", "accepted_by", "note", time_column("at", _("accepted")))
    readonly_fields = fields


@admin.register(QueueHeartbeat)
class QueueHeartbeatAdmin(LookOnly):
    list_display = ("queue", time_column("at", _("last heartbeat")))
    fields = list_display
    readonly_fields = fields
    ordering = ("queue",)

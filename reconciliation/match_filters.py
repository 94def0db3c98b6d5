"""What finance's queue of mismatches can be asked: by state, cause, age, owner, what is due when, and what stands in suspense."""

from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from ledger import clock
from ledger.deeds import actor_in
from reconciliation.causes import Cause, kinds_of
from reconciliation.models import Proposal

CAUSES = {
    Cause.AUTOMATIC: _("Known, and put right by itself"),
    Cause.BY_HAND: _("Known, and put right by hand"),
    Cause.UNKNOWN: _("Not known yet"),
}
STATES = {
    "open": Q(resolved_at=None),
    "proposed": Q(resolved_at=None, pk__in=Proposal.objects.filter(status=Proposal.Status.WAITING).values("mismatch")),
    "resolved": Q(resolved_at__isnull=False),
}


def state_asked_for(request: HttpRequest) -> str:
    """Return which mismatches the list is to show: the open ones, unless others are asked for; a search finds them all."""
    return request.GET.get("state") or ("all" if request.GET.get("q") else "open")


class StateFilter(admin.SimpleListFilter):
    """Mismatches that wait to be explained, those that somebody would approve, and those that are explained."""

    title = _("state")
    parameter_name = "state"

    def __init__(self, request: HttpRequest, params: dict[str, Any], model: Any, model_admin: Any) -> None:
        self.asked = state_asked_for(request)
        super().__init__(request, params, model, model_admin)

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return [("open", _("Open")), ("proposed", _("Waiting for approval")), ("resolved", _("Resolved")), ("all", _("All"))]

    def value(self) -> str:
        return self.asked

    def choices(self, changelist: Any) -> Iterator[Any]:
        """Leave out Django's own All, which is what is not asked for."""
        return iter(list(super().choices(changelist))[1:])

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(STATES.get(self.value(), Q()))


class CauseFilter(admin.SimpleListFilter):
    """Mismatches by how well they are understood."""

    title = _("cause")
    parameter_name = "cause"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return [(str(cause), title) for cause, title in CAUSES.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() not in dict(self.lookup_choices):
            return queryset
        return queryset.filter(kind__in=kinds_of(Cause(self.value() or "")))


class DueFilter(admin.SimpleListFilter):
    """Open mismatches by when they must be explained."""

    title = _("due")
    parameter_name = "due"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return [("over", _("Overdue")), ("today", _("Today, or on the next bank day")), ("later", _("Later"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The list's rows know their `days_left`."""
        match self.value():
            case "over":
                return queryset.filter(resolved_at=None, days_left__lt=0)
            case "today":
                return queryset.filter(resolved_at=None, days_left=0)
            case "later":
                return queryset.filter(resolved_at=None, days_left__gt=0)
            case _:
                return queryset


class AgeFilter(admin.SimpleListFilter):
    """Mismatches that were found so many days ago."""

    title = _("age")
    parameter_name = "older_than_days"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return [("1", _("More than a day")), ("7", _("More than 7 days")), ("30", _("More than 30 days"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() not in dict(self.lookup_choices):
            return queryset
        return queryset.filter(found_at__lt=clock.now() - timedelta(days=int(self.value() or 0)))


class OwnerFilter(admin.SimpleListFilter):
    """Mismatches that the reader looks into, and those that nobody does."""

    title = _("owner")
    parameter_name = "owned_by"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return [("me", _("Me")), ("nobody", _("Nobody yet"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case "me":
                return queryset.filter(owner=actor_in(request))
            case "nobody":
                return queryset.filter(owner="")
            case _:
                return queryset


class SuspenseFilter(admin.SimpleListFilter):
    """Mismatches that have money in suspense, and those that have not."""

    title = _("money in suspense")
    parameter_name = "in_suspense"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return [("yes", _("Something")), ("no", _("Nothing"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case "yes":
                return queryset.filter(resolved_at=None).exclude(suspended=0)
            case "no":
                return queryset.filter(~Q(resolved_at=None) | Q(suspended=0))
            case _:
                return queryset

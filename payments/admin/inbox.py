"""What PSPs told us, in the admin.  What was parked may be looked at again: it is applied if it can be by now."""

from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from ledger.admin import LookOnly, recent, time_column
from payments import inbox, tasks
from payments.models import PspEvent
from wallet.admin import pretty


@admin.register(PspEvent)
class PspEventAdmin(LookOnly):
    actions = ("look_again",)  # type: ignore[assignment]
    list_display = (
        "event_id",
        "type",
        "status",
        "reason",
        "about",
        time_column("received_at", _("received")),
        time_column("finished_at", _("finished")),
    )
    list_filter = ("status", "psp", recent("received_at"))
    search_help_text = _("The PSP's id of a webhook")
    fields = (
        "psp",
        "event_id",
        "type",
        "about",
        "status",
        "reason",
        "tries",
        time_column("next_attempt_at", _("looked at again")),
        *list_display[5:],
        "content",
    )
    readonly_fields = fields

    def sought(self, term: str) -> Q:
        return Q(event_id=term)

    def has_look_again_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("payments.change_pspevent")

    @admin.action(description=_("Look at the chosen webhooks again"), permissions=["look_again"])
    def look_again(self, request: HttpRequest, chosen: QuerySet[PspEvent]) -> None:
        parked = list(chosen.filter(status=PspEvent.Status.PARKED).order_by("id"))
        inbox.look_again([event.pk for event in parked])
        tasks.nudge_inbox()
        for event in parked:
            self.log_change(request, event, str(_("Looked at again")))
        done = ngettext("%(count)s webhook is looked at again.", "%(count)s webhooks are looked at again.", len(parked))
        self.message_user(request, done % {"count": len(parked)}, messages.SUCCESS)

    @admin.display(description=_("our key"))
    def about(self, event: PspEvent) -> str:
        told = event.body.get("data", {}).get("object", {}) if isinstance(event.body, dict) else {}
        return str(told.get("key", "")) if isinstance(told, dict) else ""

    @admin.display(description=_("content"))
    def content(self, event: PspEvent) -> SafeString | str:
        return pretty(event.body)

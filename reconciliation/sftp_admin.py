"""SFTP servers in the admin, to look at: when each was last asked and what failed, and each file there with what became of it."""

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Q
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ledger.admin import LookOnly, link, number_in, time_column
from reconciliation.models import SftpEntry, SftpSource, SourceFile


@admin.register(SftpSource)
class SftpSourceAdmin(LookOnly):
    ordering = ("source",)
    list_display = (
        "source",
        "failures",
        "error",
        time_column("failed_since", _("failing since")),
        time_column("looked_at", _("last asked")),
    )
    fields = readonly_fields = list_display
    search_help_text = _("A source")

    def sought(self, term: str) -> Q:
        return Q(source=term)


@admin.register(SftpEntry)
class SftpEntryAdmin(LookOnly):
    list_display = ("name", "source", "size", "outcome", time_column("seen_at", _("seen")))
    list_filter = ("source", "is_done")
    list_select_related = ("file",)
    fields: ClassVar[Any] = ("source", "name", "size", time_column("seen_at", _("seen")), "is_done", "outcome")
    readonly_fields: ClassVar[Any] = fields
    search_help_text = _("A file's name")

    def sought(self, term: str) -> Q:
        return Q(name=term) | Q(pk=number_in(term))

    @admin.display(description=_("outcome"))
    def outcome(self, entry: SftpEntry) -> SafeString | str:
        if entry.file is not None:
            return link(SourceFile, entry.file.pk, entry.file.public_id)
        return entry.error or gettext("Waits to be fetched")

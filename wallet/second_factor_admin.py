"""Second factors in the admin: whose login has one, and the deed for somebody who has lost it; and everything that happened to them.

No secret and no code is on any page.
"""

from typing import Any

from django.contrib import admin
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ledger.admin import LookOnly, recent, time_column
from ledger.deeds import Deed, WithDeeds
from wallet import second_factor
from wallet.models import SecondFactor, SecondFactorChange


def reset(factor: SecondFactor, said: dict[str, Any], actor: str) -> SecondFactorChange:
    return second_factor.reset(factor, reason=said["note"], actor=actor, now=timezone.now())


@admin.register(SecondFactor)
class SecondFactorAdmin(WithDeeds):
    list_display = ("user", time_column("set_up_at", _("set up")), "codes_left")
    list_select_related = ("user",)
    search_help_text = _("A user name, or a whole e-mail address")
    fields = readonly_fields = ("user", time_column("set_up_at", _("set up")), "codes_left")
    deeds = (
        Deed(
            name="reset",
            title=_("Reset"),
            meaning=_(
                "The login's password alone opens it from now on, until a new second factor is set up. Make sure first, in another way "
                "than by e-mail, that it is the person themselves who has lost it. They are told by e-mail."
            ),
            done=_("The second factor is reset."),
            permissions=("wallet.change_secondfactor",),
            act=reset,
            is_grave=True,
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[SecondFactor]:
        factors: QuerySet[SecondFactor] = super().get_queryset(request)
        return factors.select_related("user").annotate(unused_codes=Count("recovery_codes", filter=Q(recovery_codes__used_at=None)))

    def facts(self, row: SecondFactor) -> list[tuple[Any, Any]]:
        return [(_("login"), row.user), (_("e-mail address"), row.user.email or "–"), (_("acts for"), sellers_of(row))]

    def sought(self, term: str) -> Q:
        return Q(user__username__startswith=term) | Q(user__email=term)

    @admin.display(description=_("recovery codes left"))
    def codes_left(self, factor: Any) -> int:
        return int(factor.unused_codes)


@admin.register(SecondFactorChange)
class SecondFactorChangeAdmin(LookOnly):
    list_display = ("user", "kind", "by", "reason", time_column("at", _("time")), time_column("sent_at", _("e-mail sent")))
    list_select_related = ("user",)
    list_filter = ("kind", recent("at"))
    search_help_text = _("A user name")
    fields = readonly_fields = (*list_display, "tries")

    def sought(self, term: str) -> Q:
        return Q(user__username__startswith=term)


def sellers_of(factor: SecondFactor) -> str:
    return ", ".join(str(seller) for seller in factor.user.sellers.order_by("pk")[:10]) or "–"

"""How the columns of all tables are called where people see them: the same word for the same thing, in the reader's language.

A model's own names are for programmers, and a change of them would be a migration; these are put beside them when a page of the admin is made.
"""

from typing import Any

from django.db import models
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

TITLES = {
    "accepted_by": _("accepted by"),
    "card_brand": _("kind of card"),
    "card_last4": _("card ends with"),
    "cause": _("cause"),
    "charge": _("charge at the PSP"),
    "checked": _("invariants checked"),
    "checkout_id": _("checkout id"),
    "code": _("code"),
    "confirmations": _("confirmations"),
    "confirmed_session": _("confirmed session"),
    "currency": _("currency"),
    "deaths": _("workers that died over it"),
    "decided_by": _("decided by"),
    "decision": _("decision"),
    "description": _("description"),
    "detail": _("in detail"),
    "duration_ms": _("took (ms)"),
    "email": _("e-mail address"),
    "endpoint": _("endpoint"),
    "error": _("what went wrong"),
    "error_code": _("PSP's code"),
    "error_message": _("PSP's words"),
    "event_id": _("PSP's id"),
    "failure_code": _("why it failed"),
    "failures": _("failures in a row"),
    "fee_basis_points": _("fee in basis points"),
    "fee_policy": _("of our fee, given back"),
    "fingerprint": _("fingerprint"),
    "first_s": _("first wait (seconds)"),
    "head": _("accepted head"),
    "instead_of": _("instead of"),
    "is_enabled": _("enabled"),
    "is_payment_done": _("all decided"),
    "key": _("key"),
    "kind": _("kind"),
    "locale": _("language"),
    "longest_s": _("longest wait (seconds)"),
    "maybe_sent": _("may have been sent"),
    "memo": _("memo"),
    "most_tries": _("most tries"),
    "name": _("name"),
    "note": _("note"),
    "number": _("number"),
    "operation": _("operation"),
    "outcome": _("outcome"),
    "psp": _("PSP"),
    "psp_key": _("our key at the PSP"),
    "psp_reference": _("PSP's reference"),
    "psp_session": _("PSP's session"),
    "public_id": _("id"),
    "queue": _("queue"),
    "reason": _("reason"),
    "reference": _("reference"),
    "refund_fee_policy": _("of our fee, a refund gives back"),
    "requested_by": _("asked for by"),
    "return_url": _("way back to the shop"),
    "route": _("call"),
    "scope": _("scope"),
    "seal_head": _("head of the seals"),
    "seen_by": _("noted by"),
    "seller": _("seller"),
    "shop": _("shop"),
    "status": _("status"),
    "strategy": _("strategy"),
    "to_be_voided": _("to be voided"),
    "topic": _("topic"),
    "tries": _("tries"),
    "type": _("type"),
    "url": _("address"),
    "users": _("people"),
    "wallet": _("wallet"),
}


def entitle(model: type[models.Model]) -> None:
    """Give the columns of this table the names by which people know them."""
    for field in model._meta.fields + model._meta.many_to_many:
        field.verbose_name = TITLES.get(field.name, field.verbose_name)


class Entitled:
    """What every page of the house's own tables has: columns in people's words, and a list that is named after its rows."""

    def __init__(self, model: type[models.Model], admin_site: Any) -> None:
        entitle(getattr(self, "model", None) or model)
        super().__init__(model, admin_site)  # type: ignore[call-arg]

    def changelist_view(self, request: Any, extra_context: dict[str, Any] | None = None) -> Any:
        title = {"title": capfirst(self.opts.verbose_name_plural)}  # type: ignore[attr-defined]
        return super().changelist_view(request, extra_context=title | (extra_context or {}))  # type: ignore[misc]

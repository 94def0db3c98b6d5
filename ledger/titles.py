"""How the columns of all tables are called where people see them: the same word for the same thing, in the reader's language.

A model's own names are for programmers, and a change of them would be a migration; these are put beside them when a page of the admin is made.
"""

from typing import Any

from django.db import models
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

TITLES = {
    "accepted_by": _("accepted by"),
    "added_by": _("given by"),
    "approval_limit": _("approval above"),
    "arrives_on": _("arrives on"),
    "asked": _("how often the bank was asked"),
    "bank_name": _("bank"),
    "basis_points": _("basis points"),
    "bic": _("BIC"),
    "calendar": _("calendar"),
    "card_brand": _("kind of card"),
    "card_last4": _("card ends with"),
    "category": _("category"),
    "cause": _("cause"),
    "charge": _("charge at the PSP"),
    "checked": _("invariants checked"),
    "checkout_id": _("checkout id"),
    "code": _("code"),
    "confirmations": _("confirmations"),
    "confirmed_session": _("confirmed session"),
    "count": _("number of payouts"),
    "country": _("country"),
    "currency": _("currency"),
    "cut_off": _("cut-off"),
    "days_after_delivery": _("days after the delivery"),
    "days_after_payment": _("days after the payment"),
    "deaths": _("workers that died over it"),
    "decided_by": _("decided by"),
    "decision": _("decision"),
    "delivered_by": _("delivered, says"),
    "delivery_note": _("about the delivery"),
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
    "failure_message": _("why it failed, in words"),
    "failures": _("failures in a row"),
    "fee_basis_points": _("fee in basis points"),
    "fee_policy": _("of our fee, given back"),
    "fingerprint": _("fingerprint"),
    "first_s": _("first wait (seconds)"),
    "head": _("accepted head"),
    "holder": _("holder"),
    "holidays": _("bank holidays"),
    "instead_of": _("instead of"),
    "interval": _("how often"),
    "is_enabled": _("enabled"),
    "is_payment_done": _("all decided"),
    "issued_by": _("issued by"),
    "key": _("key"),
    "kind": _("kind"),
    "lift_reason": _("why it was lifted"),
    "lifted_at": _("lifted"),
    "lifted_by": _("lifted by"),
    "locale": _("language"),
    "longest_s": _("longest wait (seconds)"),
    "made_by": _("made by"),
    "maybe_sent": _("may have been sent"),
    "memo": _("memo"),
    "method": _("method"),
    "month_day": _("day of the month"),
    "most_tries": _("most tries"),
    "name": _("name"),
    "new_seller_days": _("days of a new seller"),
    "note": _("note"),
    "number": _("number"),
    "operation": _("operation"),
    "outcome": _("outcome"),
    "payable_means_reconciled": _("only what is paid to us"),
    "period": _("period"),
    "placed_at": _("since"),
    "placed_by": _("placed by"),
    "provider": _("who pays out"),
    "provider_reference": _("bank's reference"),
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
    "reserve_basis_points": _("reserve in basis points"),
    "reserve_days": _("days of the reserve"),
    "return_url": _("way back to the shop"),
    "reverse_charge": _("reverse charge"),
    "route": _("call"),
    "scope": _("scope"),
    "seal_head": _("head of the seals"),
    "seen_by": _("noted by"),
    "seller": _("seller"),
    "seller_country": _("country on it"),
    "seller_name": _("seller on it"),
    "seller_tax_id": _("tax number on it"),
    "series": _("kind of document"),
    "shop": _("shop"),
    "since": _("from"),
    "status": _("status"),
    "strategy": _("strategy"),
    "tax_id": _("tax number"),
    "to_be_voided": _("to be voided"),
    "topic": _("topic"),
    "tries": _("tries"),
    "type": _("type"),
    "until": _("until"),
    "url": _("address"),
    "used_at": _("first used"),
    "users": _("people"),
    "valid_from": _("valid from"),
    "valid_until": _("valid until"),
    "verified_by": _("verified by"),
    "verified_reason": _("how it was verified"),
    "wallet": _("wallet"),
    "weekday": _("day of the week"),
    "zone": _("time zone"),
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

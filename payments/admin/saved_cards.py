"""Cards that PSPs keep for buyers, in the admin: what may be shown of each, whose it is, and whether it is forgotten.

The PSP's token, with which a card is charged, is read by no page here.  Only its buyer has a card forgotten, on the payment page.
"""

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from ledger.admin import LookOnly, by_state, id_column, link, recent, time_column
from payments.admin.columns import MOST_SOUGHT
from payments.models import SavedCard
from wallet.models import Buyer

STATES = {
    "kept": (_("Kept"), Q(forget_at=None)),
    "to_be_forgotten": (_("The PSP has yet to forget it"), Q(forget_at__isnull=False, forgotten_at=None)),
    "forgotten": (_("Forgotten"), Q(forgotten_at__isnull=False)),
}


@admin.register(SavedCard)
class SavedCardAdmin(LookOnly):
    list_display = (
        id_column,
        "card",
        "expiry",
        "buyer_link",
        "psp",
        "state",
        time_column("created_at", _("kept since")),
    )
    list_select_related = ("buyer",)
    list_filter = (by_state(STATES), recent("created_at"))
    search_help_text = _("A saved card's id, a buyer's id, or the shop's reference of the buyer")
    fields = (
        "public_id",
        "card",
        "funding",
        "expiry",
        "buyer_link",
        "psp",
        "state",
        time_column("created_at", _("kept since")),
        time_column("forget_at", _("the PSP is asked to forget it")),
        time_column("forgotten_at", _("forgotten")),
    )
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[SavedCard]:
        return super().get_queryset(request).defer("token")

    def sought(self, term: str) -> Q:
        buyers = Buyer.objects.filter(Q(public_id=term) | Q(reference=term)).values_list("pk", flat=True)[:MOST_SOUGHT]
        return Q(public_id=term) | Q(buyer_id__in=list(buyers))

    @admin.display(description=_("card"))
    def card(self, card: SavedCard) -> str:
        return f"{capfirst(card.brand)} •••• {card.last4}"

    @admin.display(description=_("valid until"))
    def expiry(self, card: SavedCard) -> str:
        return f"{card.exp_month:02}/{card.exp_year}"

    @admin.display(description=_("buyer"))
    def buyer_link(self, card: SavedCard) -> SafeString | str:
        return link(Buyer, card.buyer_id, card.buyer.reference)

    @admin.display(description=_("state"))
    def state(self, card: SavedCard) -> str:
        if card.forgotten_at is not None:
            return str(STATES["forgotten"][0])
        return str(STATES["kept" if card.forget_at is None else "to_be_forgotten"][0])

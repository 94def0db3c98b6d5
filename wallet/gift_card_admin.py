"""Gift cards and buyers' wallets in the admin: what is left on each and why, a card given away by one person or two, and cards frozen.

A card above a limit (GIFT_CARD_APPROVAL_LIMITS) waits for a second person.  Its code is made by the shop, over REST: no page here shows one.
"""

from collections.abc import Iterable
from typing import Any, ClassVar

from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.functional import Promise
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from ledger import clock
from ledger.admin import NOTHING, CurrencyFilter, id_column, link, money_column, reference_of, time_column
from ledger.approval_admin import approvals_about, propose
from ledger.approvals import ApprovalNeeded, Facts
from ledger.deeds import Deed, WithDeeds, actor_in, page_of
from ledger.errors import DomainError
from ledger.ids import new_id
from ledger.models import Approval, JournalEntry
from ledger.templatetags.written import amount
from wallet import gift_cards, stored_value
from wallet.gift_card_grants import GrantForm, proposal_of
from wallet.gift_cards import NewGiftCard
from wallet.models import Buyer, GiftCard, StoredValue, StoredValueEntry

LATEST = 100
STATES: dict[str, Promise] = {
    "awaiting_payment": _("Not paid yet"),
    "active": pgettext_lazy("gift card", "Can be used"),
    "empty": pgettext_lazy("gift card", "Empty"),
    "frozen": pgettext_lazy("gift card", "Frozen"),
    "expired": pgettext_lazy("gift card", "Expired"),
}


class StateFilter(admin.SimpleListFilter):
    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return [("left", _("Something is left")), ("frozen", STATES["frozen"]), ("expired", STATES["expired"])]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        found = {
            "left": Q(value__balance__gt=0),
            "frozen": Q(value__frozen_at__isnull=False),
            "expired": Q(value__expires_at__lte=clock.now()),
        }
        return queryset.filter(found.get(self.value() or "", Q()))


@transaction.atomic
def freeze(card: GiftCard, said: dict[str, Any], actor: str) -> GiftCard:
    stored_value.freeze(card.value_id, because=f"{actor}: {said['note']}", now=clock.now())
    return card


@transaction.atomic
def thaw(card: GiftCard, said: dict[str, Any], actor: str) -> GiftCard:
    for reason in reasons_of_staff(card):
        stored_value.thaw(card.value_id, because=reason)
    return card


def reasons_of_staff(card: GiftCard) -> list[str]:
    """Return for what people froze it.  What a dispute froze, its end lets go."""
    return [reason for reason in stored_value.reasons_of(card.value) if reason.startswith("staff:")]


def subject_of(value: StoredValue) -> str:
    """Return what approvals call it that are about it."""
    return f"stored_value_{value.pk}" if value.kind == StoredValue.Kind.WALLET else value.gift_card.public_id


def reasons_shown(value: StoredValue) -> Any:
    return format_html_join(", ", "{}", ((reference_of(reason),) for reason in stored_value.reasons_of(value))) or NOTHING


FREEZE = Deed(
    name="freeze",
    title=_("Freeze"),
    meaning=_(
        "Nothing on this card can be spent, and nothing of it expires, until somebody lets it go. What is held for a payment is not."
    ),
    done=_("The card is frozen."),
    permissions=("wallet.change_giftcard",),
    act=freeze,
    is_possible=lambda card: not reasons_of_staff(card),
    is_grave=True,
)
THAW = Deed(
    name="thaw",
    title=_("Let go"),
    meaning=_("The card can be used again."),
    done=_("The card can be used again."),
    permissions=("wallet.change_giftcard",),
    act=thaw,
    is_possible=lambda card: bool(reasons_of_staff(card)),
)


@admin.register(GiftCard)
class GiftCardAdmin(WithDeeds):
    change_list_template = "admin/gift_cards.html"
    deeds: ClassVar[tuple[Deed, ...]] = (FREEZE, THAW)
    list_display = (
        id_column,
        "shop",
        "origin",
        money_column("amount", _("issued over")),
        "left",
        "state",
        "ends",
        time_column("created_at", _("issued")),
    )
    list_filter = ("origin", StateFilter, CurrencyFilter)
    search_help_text = _("A card's id, the shop's reference of it, or the last four characters of its code")
    fields: ClassVar[Any] = (
        "public_id",
        "shop",
        "origin",
        "state",
        money_column("amount", _("issued over")),
        "left",
        "held",
        "ends",
        "frozen",
        "reference",
        "reason",
        "issued_by",
        "code",
        "order",
        "approvals",
        "movements",
        time_column("created_at", _("issued")),
    )
    readonly_fields: ClassVar[Any] = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[GiftCard]:
        return gift_cards.with_standing(super().get_queryset(request))

    def get_urls(self) -> list[URLPattern]:
        return [path("grant/", self.admin_site.admin_view(self.grant_view), name="wallet_giftcard_grant"), *super().get_urls()]

    def sought(self, term: str) -> Q:
        return Q(public_id=term) | Q(reference=term) | Q(code_last4=term.upper())

    def facts(self, row: GiftCard) -> Facts:
        return [(_("left on it"), amount(row.value.balance)), (_("state"), self.state(row)), (_("frozen"), self.frozen(row))]

    def grant_view(self, request: HttpRequest) -> HttpResponseBase:
        """Give a card away, or propose it where it takes a second person."""
        if not request.user.has_perm("wallet.add_giftcard"):
            raise PermissionDenied
        form = GrantForm(request.POST) if request.method == "POST" else GrantForm(initial={"once": new_id("form")})
        if form.is_valid():
            try:
                return HttpResponseRedirect(page_of(self.grant(request, form.cleaned_data)))
            except DomainError as error:
                form.add_error(error.field if error.field in form.fields else None, error.detail)
        context = self.admin_site.each_context(request) | {"title": _("Give a gift card away"), "opts": self.opts, "form": form}
        return TemplateResponse(request, "admin/payment_file_form.html", context)

    def grant(self, request: HttpRequest, said: dict[str, Any]) -> GiftCard | Approval:
        asked = NewGiftCard(said["amount"], valid_days=said["valid_days"], once=said["once"])
        limits = settings.GIFT_CARD_APPROVAL_LIMITS
        try:
            card, is_new = gift_cards.grant(said["shop"], asked, reason=said["note"], by=actor_in(request), now=clock.now(), limits=limits)
        except ApprovalNeeded as error:
            proposed = propose(self, request, proposal_of(said))
            self.message_user(request, error.detail, messages.WARNING)
            return proposed
        if is_new:
            self.log_addition(request, card, f"{_('Give a gift card away')}: {said['note']}")
            self.message_user(request, _("The gift card has its value. The shop can make its code."), messages.SUCCESS)
        return card

    @admin.display(description=_("left on it"))
    def left(self, card: GiftCard) -> str:
        return money_column("balance", "")(card.value)

    @admin.display(description=_("of that, held"))
    def held(self, card: GiftCard) -> str:
        return money_column("held", "")(card.value)

    @admin.display(description=_("state"))
    def state(self, card: GiftCard) -> Any:
        return STATES[gift_cards.status_of(card, now=clock.now())]

    @admin.display(description=_("expires"))
    def ends(self, card: GiftCard) -> str:
        return time_column("expires_at", "")(card.value)

    @admin.display(description=_("frozen"))
    def frozen(self, card: GiftCard) -> Any:
        return reasons_shown(card.value)

    @admin.display(description=_("code"))
    def code(self, card: GiftCard) -> str | SafeString:
        if card.code_made_at is None:
            return gettext("none yet")
        return format_html("…{} ({})", card.code_last4, time_column("code_made_at", "")(card))

    @admin.display(description=_("bought by"))
    def order(self, card: GiftCard) -> Any:
        bought = StoredValueEntry.objects.filter(value=card.value_id, kind=StoredValueEntry.Kind.BOUGHT).first()
        return reference_of(bought.source) if bought else NOTHING

    @admin.display(description=_("approvals"))
    def approvals(self, card: GiftCard) -> SafeString | str:
        return approvals_about(card.public_id)

    @admin.display(description=_("movements"))
    def movements(self, card: GiftCard) -> str:
        return movements_of(card.value_id)


@admin.register(StoredValue)
class BuyerWalletAdmin(WithDeeds):
    """Buyers' wallets: the stored values that are no gift card's."""

    list_display = (
        "number",
        "buyer_link",
        "shop",
        money_column("balance", _("balance")),
        money_column("held", _("of that, held")),
        time_column("frozen_at", _("frozen")),
    )
    list_select_related = ("buyer", "shop")
    list_filter = (CurrencyFilter,)
    search_help_text = _("A buyer's id, or the shop's reference of the buyer")
    fields: ClassVar[Any] = (
        "buyer_link",
        "shop",
        money_column("balance", _("balance")),
        money_column("held", _("of that, held")),
        "frozen",
        "approvals",
        "movements",
        time_column("created_at", _("since")),
    )
    readonly_fields: ClassVar[Any] = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[StoredValue]:
        return super().get_queryset(request).filter(kind=StoredValue.Kind.WALLET)

    def sought(self, term: str) -> Q:
        return Q(buyer__public_id=term) | Q(buyer__reference=term)

    def facts(self, row: StoredValue) -> Facts:
        return [(_("buyer"), f"{row.buyer}"), (_("balance"), amount(row.balance)), (_("frozen"), self.frozen(row))]

    @admin.display(description=_("wallet"))
    def number(self, wallet: StoredValue) -> str:
        return f"{wallet.pk}"

    @admin.display(description=_("buyer"))
    def buyer_link(self, wallet: StoredValue) -> SafeString | str:
        return link(Buyer, wallet.buyer_id, f"{wallet.buyer}")

    @admin.display(description=_("frozen"))
    def frozen(self, wallet: StoredValue) -> Any:
        return reasons_shown(wallet)

    @admin.display(description=_("approvals"))
    def approvals(self, wallet: StoredValue) -> SafeString | str:
        return approvals_about(subject_of(wallet))

    @admin.display(description=_("movements"))
    def movements(self, wallet: StoredValue) -> str:
        return movements_of(wallet.pk)


def movements_of(value_id: int) -> str:
    """Return the latest movements as a table, each with what is behind it."""
    latest = StoredValueEntry.objects.filter(value=value_id).order_by("-pk")[:LATEST]
    rows = [(each, reference_of(each.source), link(JournalEntry, each.journal_entry_id, f"je_{each.journal_entry_id}")) for each in latest]
    return render_to_string("admin/_movements.html", {"movements": rows})

"""Whom we owe, in the admin: shops, sellers and API keys are kept here; wallets, their entries and messages are to look at.

A key's token is on the page that answers its making, once, and nowhere else: not in a message, a log or a cookie.
"""

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, ClassVar

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from ledger import approval_admin, seek
from ledger.admin import (
    NOTHING,
    CurrencyFilter,
    LookOnly,
    Rows,
    id_column,
    link,
    money_column,
    number_in,
    recent,
    reference_of,
    time_column,
    whole_id,
)
from ledger.deeds import WithDeeds
from ledger.models import JournalEntry
from ledger.templatetags.written import moment
from ledger.titles import Entitled
from wallet import (
    api_keys,
    branding_forms,
    conversion_admin,
    gift_card_admin,
    invoice_admin,
    rates_admin,
    second_factor_admin,
    terms_admin,
    webhook_admin,
    write_off_admin,
)
from wallet.models import ApiKey, Buyer, IdempotencyRecord, OutboxMessage, Seller, Shop, Wallet, WalletEntry

MOST_SELLERS_SOUGHT = 200
ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?")
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)

__all__ = [
    "approval_admin",
    "conversion_admin",
    "gift_card_admin",
    "invoice_admin",
    "rates_admin",
    "second_factor_admin",
    "terms_admin",
    "webhook_admin",
]  # Django looks for an app's pages here


def sellers_called(term: str) -> list[int]:
    """Return the sellers whose id, reference or name the search means, so that larger tables are asked by number."""
    named = (Q(name__icontains=term) | Q(public_id=term) | Q(reference=term)) & Q(is_house=False)
    return list(Seller.objects.filter(named).values_list("pk", flat=True)[:MOST_SELLERS_SOUGHT])


def born(public_id: str) -> datetime:
    """Return when an id was made (it begins with its milliseconds, RFC 9562); the beginning of time for what is no id of ours."""
    try:
        return datetime.fromtimestamp(int(public_id.partition("_")[2][:12], 16) / 1000, tz=UTC)
    except (ValueError, OverflowError, OSError):
        return LONG_AGO


def pretty(document: Any) -> SafeString | str:
    """Return a JSON document to be read by people; a dash for one in which nothing stands."""
    if document in (None, "", [], {}):
        return NOTHING
    return format_html("<pre>{}</pre>", json.dumps(document, indent=2, ensure_ascii=False, sort_keys=True))


class Kept(Entitled, admin.ModelAdmin):  # type: ignore[type-arg]
    """Rows that staff may add and change, and that nobody deletes: money hangs on them."""

    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    fields: ClassVar[Any] = None
    readonly_fields: ClassVar[Any] = ()

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description=_("since"))
    def since(self, row: Any) -> SafeString:
        return moment(row.created_at)


class ShopForm(branding_forms.BrandForm):
    """A shop; its origins are written one a line, and kept as the scheme, host and port that a return address must begin with."""

    return_origins = forms.CharField(
        label=_("Return origins"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=_("Where a buyer may be sent back to, one a line, such as https://shop.example"),
    )

    class Meta:
        model = Shop
        fields = (
            "name",
            "return_origins",
            "fee_basis_points",
            "refund_fee_policy",
            "gift_card_days",
            *branding_forms.BrandForm.Meta.fields,
        )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["return_origins"] = "\n".join(self.instance.return_origins)

    def clean_return_origins(self) -> list[str]:
        origins: list[str] = self.cleaned_data["return_origins"].split()
        for origin in origins:
            if not ORIGIN.fullmatch(origin):
                raise ValidationError(
                    _("%(origin)s is not an origin: write https://, a host, and a port if it has one."),
                    params={"origin": origin},
                )
        return origins


@admin.register(Shop)
class ShopAdmin(Kept):
    form = ShopForm
    list_display = ("name", "public_id", "fee_basis_points", "since")
    search_fields = ("name", "public_id__exact")
    fields = (
        "public_id",
        "name",
        "return_origins",
        "fee_basis_points",
        "refund_fee_policy",
        "gift_card_days",
        *branding_forms.FIELDS,
        "since",
    )
    readonly_fields = ("public_id", "since")

    def get_fields(self, request: HttpRequest, obj: Shop | None = None) -> Any:
        return self.fields if obj else self.fields[1:-1]

    def get_readonly_fields(self, request: HttpRequest, obj: Shop | None = None) -> Any:
        """What a shop began with is its fee; another one is agreed by a fee schedule, which takes two people."""
        return (*self.readonly_fields, "fee_basis_points") if obj else self.readonly_fields


class WalletRows(Rows):
    model = Wallet
    fields = readonly_fields = (
        "currency",
        money_column("pending", _("pending")),
        money_column("available", _("available")),
        money_column("reserved", _("reserved")),
    )


@admin.register(Seller)
class SellerAdmin(Kept):
    list_display = ("name", "public_id", "shop", "reference", "since")
    list_select_related = ("shop",)
    list_filter = ("shop",)
    search_fields = ("name", "public_id__exact", "reference__exact")
    fields = ("public_id", "shop", "name", "reference", "country", "tax_id", "users", "since")
    autocomplete_fields = ("users",)
    inlines = (WalletRows,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Seller]:
        """Leave out whoever stands for a shop where it sells gift cards: nobody sells there, and nothing is paid out."""
        return super().get_queryset(request).filter(is_house=False)

    def get_fields(self, request: HttpRequest, obj: Seller | None = None) -> Any:
        return self.fields if obj else ("shop", "name", "reference", "country", "tax_id", "users")

    def get_readonly_fields(self, request: HttpRequest, obj: Seller | None = None) -> Any:
        return ("public_id", "shop", "since") if obj else ()  # a seller stays with its shop


@admin.register(Buyer)
class BuyerAdmin(LookOnly):
    list_display = ("reference", "name", "shop", "public_id")
    list_select_related = ("shop",)
    list_filter = ("shop",)
    search_help_text = _("A buyer's id, the shop's reference of the buyer, or the whole e-mail address")
    fields = ("public_id", "shop", "reference", "name", "email", time_column("created_at", _("since")))
    readonly_fields = fields

    def sought(self, term: str) -> Q:
        return Q(public_id=term) | Q(reference=term) | Q(email=term)


class RevokedFilter(admin.SimpleListFilter):
    title = _("state")
    parameter_name = "revoked"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return [("no", _("In use")), ("yes", _("Revoked"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(revoked_at__isnull=self.value() == "no") if self.value() in ("no", "yes") else queryset


class ApiKeyForm(forms.ModelForm):  # type: ignore[type-arg]
    scopes = forms.MultipleChoiceField(
        choices=ApiKey.Scope.choices,
        widget=forms.CheckboxSelectMultiple,
        initial=list(api_keys.EVERYDAY_SCOPES),
        label=_("May"),
    )

    class Meta:
        model = ApiKey
        fields = ("shop", "name", "scopes")


@admin.register(ApiKey)
class ApiKeyAdmin(Kept):
    form = ApiKeyForm
    list_display = (
        "name",
        "shop",
        "beginning",
        "may",
        time_column("created_at", _("made")),
        time_column("last_used_at", _("last used")),
        "state",
    )
    list_select_related = ("shop",)
    list_filter = ("shop", RevokedFilter)
    search_fields = ("name", "prefix", "shop__name")
    ordering = ("-pk",)
    actions = ("revoke",)

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        return ("shop", "name", "beginning", "may", "made", "used", "state") if obj else ("shop", "name", "scopes")

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        return self.get_fields(request, obj) if obj else ()

    def has_change_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        return obj is None and super().has_change_permission(request)  # the list's action; a key itself never changes

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None) -> HttpResponse:
        one_way = {"show_save_and_add_another": False, "show_save_and_continue": False}
        return super().add_view(request, form_url, one_way | (extra_context or {}))

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        mode = "live" if settings.PRODUCTION else "test"
        key, token = api_keys.issue(obj.shop, name=obj.name, scopes=form.cleaned_data["scopes"], mode=mode)
        obj.__dict__ |= {"pk": key.pk, "id": key.pk, "prefix": key.prefix, "created_at": key.created_at, "token": token}

    def response_add(self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("New API key"),
            "key": obj,
            "token": obj.__dict__.pop("token"),
        }
        response = TemplateResponse(request, "admin/wallet/apikey/made.html", context | {"opts": self.opts})
        response["Cache-Control"] = "no-store"
        return response

    @admin.action(description=_("Revoke the chosen keys, at once and for ever"), permissions=["change"])
    def revoke(self, request: HttpRequest, chosen: QuerySet[ApiKey]) -> None:
        keys = list(chosen)
        for key in keys:
            api_keys.revoke(key, now=timezone.now())
            self.log_change(request, key, gettext("Revoked"))
        done = ngettext(
            "%(count)s key is revoked: calls with it are refused from now on.",
            "%(count)s keys are revoked: calls with them are refused from now on.",
            len(keys),
        )
        self.message_user(request, done % {"count": len(keys)}, messages.SUCCESS)

    @admin.display(description=_("begins with"))
    def beginning(self, key: ApiKey) -> str:
        return f"{key.prefix}…"

    @admin.display(description=_("may"))
    def may(self, key: ApiKey) -> str:
        return ", ".join(key.scopes)

    @admin.display(description=_("made"))
    def made(self, key: ApiKey) -> str:
        return time_column("created_at", "")(key)

    @admin.display(description=_("last used"))
    def used(self, key: ApiKey) -> str:
        return time_column("last_used_at", "")(key)

    @admin.display(description=_("state"))
    def state(self, key: ApiKey) -> str:
        if key.revoked_at is None:
            return gettext("in use")
        return format_html("{} {}", gettext("revoked"), time_column("revoked_at", "")(key))


@admin.register(IdempotencyRecord)
class IdempotencyRecordAdmin(LookOnly):
    list_display = ("key", "route", "shop", "status", time_column("created_at", _("first used")))
    list_select_related = ("shop",)
    list_filter = ("shop",)
    search_help_text = _("A whole Idempotency-Key")
    fields = (
        "shop",
        "route",
        "key",
        "status",
        "answer",
        "fingerprint",
        time_column("claimed_until", _("claimed until")),
        time_column("created_at", _("first used")),
    )
    readonly_fields = fields

    def sought(self, term: str) -> Q:
        return Q(key=term)

    @admin.display(description=_("answer"))
    def answer(self, record: IdempotencyRecord) -> SafeString | str:
        try:
            return pretty(json.loads(record.body or ""))
        except (TypeError, ValueError):
            return pretty(record.body)


@admin.register(Wallet)
class WalletAdmin(WithDeeds):
    list_display = (
        "seller_name",
        "currency",
        money_column("pending", _("pending")),
        money_column("available", _("available")),
        money_column("reserved", _("reserved")),
    )
    list_display_links = ("currency",)
    list_select_related = ("seller",)
    list_filter = (CurrencyFilter,)
    search_help_text = _("A seller's name, id or reference")
    fields = (
        "seller",
        "currency",
        money_column("pending", _("pending")),
        money_column("available", _("available")),
        money_column("reserved", _("reserved")),
        "explained",
        "entries",
    )
    readonly_fields = fields
    deeds = (write_off_admin.DEED,)

    def facts(self, row: Wallet) -> list[tuple[Any, Any]]:
        return write_off_admin.standing({"wallet": row.pk})

    def sought(self, term: str) -> Q:
        return Q(seller_id__in=sellers_called(term))

    @admin.display(description=_("seller"))
    def seller_name(self, wallet: Wallet) -> SafeString | str:
        return link(Seller, wallet.seller_id, wallet.seller.name)

    @admin.display(description=_("what makes it"))
    def explained(self, wallet: Wallet) -> SafeString:
        return format_html('<a href="{}">{}</a>', reverse("explain_wallet", args=[wallet.pk]), gettext("Down to the movements"))

    @admin.display(description=_("entries"))
    def entries(self, wallet: Wallet) -> SafeString:
        rows = reverse("admin:wallet_walletentry_changelist")
        return format_html('<a href="{}?q=wallet_{}">{}</a>', rows, wallet.pk, gettext("All entries of this wallet"))


@admin.register(WalletEntry)
class WalletEntryAdmin(LookOnly):
    list_display = (
        whole_id,
        "seller_name",
        "kind",
        money_column("gross", _("gross")),
        money_column("fee", _("fee")),
        money_column("net", _("net")),
        "source_link",
        "entry_link",
        time_column("created_at", _("time")),
    )
    list_select_related = ("wallet__seller",)
    list_filter = ("kind", CurrencyFilter, recent("created_at"))
    search_help_text = _("An entry's number (wen_12), a wallet's (wallet_3), or a seller's name or id")
    fields = (
        whole_id,
        "seller_name",
        "wallet",
        "kind",
        "source_link",
        "entry_link",
        money_column("gross", _("gross")),
        money_column("fee", _("fee")),
        money_column("net", _("net")),
        money_column("pending", _("change of pending")),
        money_column("available", _("change of available")),
        money_column("reserved", _("change of reserved")),
        time_column("created_at", _("time")),
    )
    readonly_fields = fields

    def sought(self, term: str) -> Q:
        if term.startswith("wallet_"):
            return Q(wallet_id=number_in(term))
        wallets = Wallet.objects.filter(seller_id__in=sellers_called(term)).values_list("pk", flat=True)
        return Q(pk=number_in(term)) | Q(wallet_id__in=list(wallets))

    @admin.display(description=_("seller"))
    def seller_name(self, entry: WalletEntry) -> SafeString | str:
        return link(Seller, entry.wallet.seller_id, entry.wallet.seller.name)

    @admin.display(description=_("order or refund"))
    def source_link(self, entry: WalletEntry) -> SafeString:
        return reference_of(entry.source)

    @admin.display(description=_("journal entry"))
    def entry_link(self, entry: WalletEntry) -> SafeString | str:
        return link(JournalEntry, entry.journal_entry_id, f"je_{entry.journal_entry_id}")


@admin.register(OutboxMessage)
class OutboxMessageAdmin(LookOnly):
    list_display = ("topic", "about_link", "shop", id_column, time_column("created_at", _("time")))
    list_select_related = ("shop",)
    list_filter = ("shop", recent("created_at"))
    search_help_text = _("The id of a message (evt_…), or of what it is about")
    fields = ("public_id", "shop", "topic", "about_link", "content", time_column("created_at", _("time")))
    readonly_fields = fields

    def sought(self, term: str) -> Q:
        first = seek.first_id_since(OutboxMessage, "created_at", born(term))
        return Q(pk__gte=first) & (Q(public_id=term) | Q(about=term))

    @admin.display(description=_("about"))
    def about_link(self, message: OutboxMessage) -> SafeString:
        return reference_of(message.about)

    @admin.display(description=_("content"))
    def content(self, message: OutboxMessage) -> SafeString | str:
        return pretty(message.payload)

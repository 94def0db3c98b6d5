"""When sellers may have their money, in the admin: terms of release, which staff keep, and holds, which they place and lift, each with its reason."""

from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from ledger import clock
from ledger.admin import time_column
from ledger.deeds import actor_in
from ledger.titles import Entitled
from wallet import holds
from wallet.models import ReleaseTerms, SellerHold

PLACED = ("public_id", "seller", "reason", "until", "placed_by", "placed_at")
PSP_FILES_ARE_READ = False  # until they are, nothing would ever become available that waits for one
LIFTED = ("lifted_by", "lifted_at", "lift_reason")


class ReleaseTermsForm(forms.ModelForm):  # type: ignore[type-arg]
    """Terms of a shop, or of one of its sellers: each has them once."""

    class Meta:
        model = ReleaseTerms
        fields = (
            "shop",
            "seller",
            "days_after_payment",
            "days_after_delivery",
            "new_seller_days",
            "reserve_basis_points",
            "reserve_days",
            "payable_means_reconciled",
        )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        shop, seller = cleaned.get("shop"), cleaned.get("seller")
        if seller and shop and seller.shop_id != shop.pk:
            self.add_error("seller", _("This seller belongs to another shop."))
        if shop and ReleaseTerms.objects.filter(shop=shop, seller=seller).exclude(pk=self.instance.pk).exists():
            self.add_error("seller", _("There are terms for this already: change those."))
        if bool(cleaned.get("reserve_basis_points")) != bool(cleaned.get("reserve_days")):
            self.add_error("reserve_days", _("A reserve has a share and days: give both, or neither."))
        if cleaned.get("payable_means_reconciled") and not PSP_FILES_ARE_READ:
            self.add_error("payable_means_reconciled", _("Settlement files are not read yet: nothing would ever become available."))
        return cleaned


@admin.register(ReleaseTerms)
class ReleaseTermsAdmin(Entitled, admin.ModelAdmin):  # type: ignore[type-arg]
    form = ReleaseTermsForm
    list_display = ("shop", "seller", "days_after_payment", "days_after_delivery", "reserve_basis_points", "reserve_days")
    list_select_related = ("shop", "seller")
    list_filter = ("shop",)
    search_fields = ("seller__name", "shop__name")
    autocomplete_fields = ("seller",)
    show_facets = admin.ShowFacets.NEVER


class PlacingForm(forms.ModelForm):  # type: ignore[type-arg]
    """A hold to place."""

    class Meta:
        model = SellerHold
        fields = ("seller", "reason", "until")

    def clean_until(self) -> Any:
        until = self.cleaned_data["until"]
        if until is not None and until <= clock.now():
            raise forms.ValidationError(_("The end of a hold lies in the future."))
        return until


class LiftingForm(forms.ModelForm):  # type: ignore[type-arg]
    """A hold to lift."""

    why = forms.CharField(label=_("Why it is lifted"), max_length=200, help_text=_("It is kept with your name."))

    class Meta:
        model = SellerHold
        fields: ClassVar[Any] = ()


@admin.register(SellerHold)
class SellerHoldAdmin(Entitled, admin.ModelAdmin):  # type: ignore[type-arg]
    """Saving a new one places it; saving one that is active lifts it; one that is over is to look at."""

    list_display = (
        "seller",
        "reason",
        time_column("placed_at", _("since")),
        "placed_by",
        time_column("until", _("until")),
        time_column("lifted_at", _("lifted")),
    )
    list_select_related = ("seller",)
    search_fields = ("seller__name", "seller__public_id__exact", "public_id__exact")
    autocomplete_fields = ("seller",)
    show_facets = admin.ShowFacets.NEVER
    ordering = ("-pk",)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: SellerHold | None = None) -> bool:
        is_over = obj is not None and not holds.is_active(obj, now=clock.now())
        return not is_over and super().has_change_permission(request, obj)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        return super().get_form(request, obj, change, form=LiftingForm if obj else PlacingForm, **kwargs)

    def get_fields(self, request: HttpRequest, obj: SellerHold | None = None) -> Any:
        if obj is None:
            return ("seller", "reason", "until")
        return (*PLACED, "why") if self.has_change_permission(request, obj) else (*PLACED, *LIFTED)

    def get_readonly_fields(self, request: HttpRequest, obj: SellerHold | None = None) -> Any:
        return (*PLACED, *LIFTED) if obj else ()

    def save_model(self, request: HttpRequest, obj: SellerHold, form: Any, change: bool) -> None:
        actor, now = actor_in(request), clock.now()
        if change:
            done = holds.lift(obj.pk, reason=form.cleaned_data["why"], actor=actor, now=now)
        else:
            done = holds.place(obj.seller_id, reason=obj.reason, until=obj.until, actor=actor, now=now)
        obj.__dict__ |= {name: value for name, value in done.__dict__.items() if name != "_state"}

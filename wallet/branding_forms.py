"""What the admin asks of a shop's brand: a colour that can be read, or which one could; a logo that is drawn anew."""

import re
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from ledger.errors import DomainError
from wallet import branding, colours, statement_names
from wallet.models import Shop

FIELDS = ("accent", "new_logo", "no_logo", "statement_name", "support_email", "sends_receipts")
COLOUR = re.compile("#[0-9a-f]{6}")


class BrandForm(forms.ModelForm):  # type: ignore[type-arg]
    """The part of a shop's form that its buyers see."""

    new_logo = forms.FileField(
        label=_("Logo"),
        required=False,
        help_text=_("PNG, JPEG or WebP, at most 512 kB. It is shown up to 240 pixels wide and 60 high; give it twice that."),
    )
    no_logo = forms.BooleanField(label=_("Show no logo"), required=False)

    class Meta:
        model = Shop
        fields = ("accent", "statement_name", "support_email", "sends_receipts")

    def clean_accent(self) -> str:
        accent = str(self.cleaned_data["accent"]).strip().lower()
        if not accent:
            return ""
        if not COLOUR.fullmatch(accent):
            raise ValidationError(_("Write the colour as # and six digits, such as #2a50b0."))
        if not colours.can_be_read(accent):
            said = {"accent": accent, "ratio": f"{colours.legibility(accent):.2f}", "nearest": colours.nearest(accent)}
            raise ValidationError(
                _("%(accent)s stands out from the page by %(ratio)s to 1; words need 4.5 to 1. The nearest that does is %(nearest)s."),
                params=said,
            )
        return accent

    def clean_statement_name(self) -> str:
        name = str(self.cleaned_data["statement_name"]).strip()
        if name and not statement_names.is_fit(name):
            raise ValidationError(_("Statements show names of 5 to 22 characters, with a letter among them."))
        return name

    def clean_new_logo(self) -> bytes | None:
        given = self.cleaned_data["new_logo"]
        if not given:
            return None
        try:
            return branding.redrawn(given.read(branding.MOST_BYTES + 1))
        except DomainError as error:
            raise ValidationError(str(error)) from None

    def save(self, commit: bool = True) -> Any:
        """Save the shop with its logo; a new shop is saved first, for the logo belongs to it."""
        shop: Shop = super().save(commit=commit)
        drawn = self.cleaned_data.get("new_logo")
        if self.cleaned_data.get("no_logo"):
            shop.logo = ""
        elif drawn:
            shop.save()
            branding.keep_logo(shop, drawn)
        if commit or drawn:
            shop.save()
        return shop

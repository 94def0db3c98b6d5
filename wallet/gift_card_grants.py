"""Gift cards that staff give away: the form, and what becomes of it where it takes a second person (GIFT_CARD_APPROVAL_LIMITS)."""

from datetime import datetime
from typing import Any

from django import forms
from django.conf import settings
from django.utils.translation import gettext_lazy as _
from djmoney.money import Money

from ledger import approvals
from ledger.approvals import Facts, Kind, Outcome, Proposal, Terms
from ledger.deeds import NoteField
from ledger.errors import DomainError
from ledger.journal import Draft
from ledger.models import Approval
from ledger.money import exact, text
from ledger.templatetags.written import amount
from wallet import gift_cards
from wallet.gift_cards import LONGEST_DAYS, NewGiftCard
from wallet.models import Shop, StoredValueEntry

GRANT = "gift_card"


class GrantForm(forms.Form):
    """What is given away, and why.  `once` tells a form that is sent twice from two wishes."""

    shop = forms.ModelChoiceField(Shop.objects.order_by("name"), label=_("Shop"))
    amount = forms.CharField(label=_("Amount"), max_length=25)
    currency = forms.ChoiceField(label=_("Currency"), choices=[(code, code) for code in settings.CURRENCIES], initial="EUR")
    valid_days = forms.IntegerField(
        label=_("Valid for (days)"),
        required=False,
        min_value=0,
        max_value=LONGEST_DAYS,
        help_text=_("Empty: as long as the shop's other cards; 0: for ever"),
    )
    note = NoteField()
    once = forms.CharField(widget=forms.HiddenInput, max_length=60)

    def clean(self) -> dict[str, Any]:
        said = super().clean() or {}
        if "amount" in said and "currency" in said:
            try:
                said["amount"] = exact(said["amount"].strip(), said["currency"])
            except DomainError as error:
                self.add_error("amount", error.detail)
            else:
                if said["amount"].amount <= 0:
                    self.add_error("amount", _("An amount must be more than zero."))
        return said


def proposal_of(said: dict[str, Any]) -> Proposal:
    """Return the proposal of a card; the same form sent twice is one."""
    asked: Money = said["amount"]
    terms = {
        "shop": said["shop"].public_id,
        "amount": text(asked),
        "currency": asked.currency.code,
        "valid_days": said["valid_days"],
        "once": said["once"],
    }
    return Proposal(GRANT, "", terms, said["note"])


def asked_in(terms: Terms) -> Money:
    return exact(terms["amount"], terms["currency"])


def grant(approval: Approval, now: datetime) -> Outcome:
    """Give the card away, in both names."""
    terms = approval.terms
    asked = NewGiftCard(asked_in(terms), valid_days=terms["valid_days"], once=terms["once"])
    by = f"{approval.made_by}, {approval.decided_by}"
    card, _is_new = gift_cards.granted(shop_in(terms), asked, reason=approval.memo, by=by, now=now)
    entry_id = StoredValueEntry.objects.get(value=card.value, kind=StoredValueEntry.Kind.GRANTED).journal_entry_id
    return Outcome(card.public_id, entry_id)


def shop_in(terms: Terms) -> Shop:
    return Shop.objects.get(public_id=terms["shop"])


def facts(terms: Terms) -> Facts:
    days = terms["valid_days"]
    valid = _("as long as the shop's other cards") if days is None else (_("for ever") if days == 0 else f"{days}")
    return [(_("shop"), shop_in(terms).name), (_("to be given away"), amount(asked_in(terms))), (_("valid for (days)"), valid)]


def entry(terms: Terms, now: datetime) -> Draft:
    return gift_cards.draft_of_grant(asked_in(terms), reference="", memo="", now=now)


approvals.register(
    Kind(
        name=GRANT,
        title=_("Gift card given away"),
        may_see="wallet.view_giftcard",
        may_propose="wallet.add_giftcard",
        may_approve="wallet.approve_giftcard",
        apply=grant,
        summary=lambda terms: amount(asked_in(terms)),
        facts=facts,
        entry=entry,
    )
)

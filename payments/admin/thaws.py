"""Thaws in the admin: proposed on the page of a gift card or wallet that a lost dispute left frozen, and approved by a second person."""

from datetime import datetime
from typing import Any

from django.utils.html import format_html_join
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _
from djmoney.money import Money

from ledger import approvals, clock
from ledger.admin import link, reference_of
from ledger.approval_admin import BY_TWO
from ledger.approvals import Facts, Kind, Outcome, Proposal, Terms
from ledger.deeds import PROPOSED, Deed
from ledger.models import Approval
from ledger.money import exact, text
from ledger.templatetags.written import amount
from payments import thaws
from wallet.gift_card_admin import BuyerWalletAdmin, GiftCardAdmin, reasons_shown, subject_of
from wallet.models import GiftCard, StoredValue

THAW = "thaw"
MEANING = _("What is left on it can be spent again. Nothing is booked: what we bore of the dispute stays our loss.")


def value_of(row: GiftCard | StoredValue) -> StoredValue:
    return row.value if isinstance(row, GiftCard) else row


def is_left_frozen(row: GiftCard | StoredValue) -> bool:
    return bool(thaws.decided(value_of(row)))


def propose(row: GiftCard | StoredValue, said: dict[str, Any], actor: str) -> Approval:
    """Propose to let go what is left now, of the disputes that are decided now."""
    value = value_of(row)
    disputes = [dispute.public_id for dispute in thaws.decided(value)]
    terms = {"value": value.pk, "amount": text(value.balance), "currency": value.balance.currency.code, "disputes": disputes}
    return approvals.propose(Proposal(THAW, subject_of(value), terms, said["note"]), actor=actor, now=clock.now())


def thaw(approval: Approval, now: datetime) -> Outcome:
    """Let it go.  Locks the stored value."""
    terms = approval.terms
    thaws.thaw(terms["value"], disputes=terms["disputes"], left=asked_in(terms), now=now)
    return Outcome(subject_of(value_in(terms)))


def value_in(terms: Terms) -> StoredValue:
    return StoredValue.objects.select_related("buyer", "gift_card").get(pk=terms["value"])


def asked_in(terms: Terms) -> Money:
    return exact(terms["amount"], terms["currency"])


def facts(terms: Terms) -> Facts:
    value = value_in(terms)
    whose = reference_of(subject_of(value)) if value.buyer is None else link(StoredValue, value.pk, f"{value.buyer}")
    disputes = format_html_join(", ", "{}", ((reference_of(dispute),) for dispute in terms["disputes"]))
    return [(value.get_kind_display(), whose), (_("to be let go"), amount(asked_in(terms))), (_("frozen by the lost dispute"), disputes)]


def standing(terms: Terms) -> Facts:
    value = value_in(terms)
    return [
        (_("left on it"), amount(value.balance)),
        (_("of that, held"), amount(value.held)),
        (_("frozen for"), reasons_shown(value)),
        (_("we bear of the disputes"), amount(thaws.borne(value))),
    ]


approvals.register(
    Kind(
        name=THAW,
        title=_("Thaw after a lost dispute"),
        may_see="wallet.view_storedvalue",
        may_propose="wallet.propose_thaw",
        may_approve="wallet.approve_thaw",
        apply=thaw,
        summary=lambda terms: amount(asked_in(terms)),
        facts=facts,
        standing=standing,
    )
)

DEED = Deed(
    name="thaw_lost",
    title=_("Let go after a lost dispute"),
    meaning=format_lazy("{} {}", BY_TWO, MEANING),
    done=PROPOSED,
    permissions=("wallet.propose_thaw",),
    act=propose,
    is_possible=is_left_frozen,
)

# The pages are the wallet's, which knows no disputes
GiftCardAdmin.deeds = (*GiftCardAdmin.deeds, DEED)
BuyerWalletAdmin.deeds = (*BuyerWalletAdmin.deeds, DEED)

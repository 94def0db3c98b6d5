"""Write-offs in the admin: proposed on the page of a wallet that is below zero, and approved by a second person."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from django import forms
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _
from djmoney.money import Money

from ledger import approvals, clock
from ledger.approval_admin import BY_TWO
from ledger.approvals import Facts, Kind, Outcome, Proposal, Terms
from ledger.deeds import PROPOSED, Deed, DeedForm, leave_to_the_domain
from ledger.errors import DomainError
from ledger.journal import Draft
from ledger.models import Approval
from ledger.money import exact, text
from ledger.templatetags.written import amount
from wallet import write_offs
from wallet.balances import Figures
from wallet.models import Wallet

WRITE_OFF = "write_off"
MEANING = _("What the seller owes us, and will not pay, is our loss: the seller does not owe it any more.")


class WriteOffForm(DeedForm):
    """How much of what the seller owes is given up."""

    part = forms.DecimalField(label=_("Amount"), required=False)
    field_order = ("part", "note")

    def __init__(self, row: Wallet, data: Any = None) -> None:
        super().__init__(row, data)
        said = {"currency": row.available.currency.code, "owed": amount(owed_by(row))}
        self.fields["part"].help_text = _("In %(currency)s. Leave it empty to write off all that is owed: %(owed)s.") % said

    def clean_part(self) -> Money:
        part: Decimal | None = self.cleaned_data["part"]
        if part is None:
            return owed_by(self.row)
        try:
            return exact(part, self.row.available.currency.code)
        except DomainError as error:
            raise forms.ValidationError(error.detail) from error


def owed_by(wallet: Wallet) -> Money:
    return write_offs.owed_in(Figures(wallet.pending, wallet.available, wallet.reserved))


def owes(wallet: Wallet) -> bool:
    return bool(owed_by(wallet))


def propose(wallet: Wallet, said: dict[str, Any], actor: str) -> Approval:
    asked: Money = said["part"]
    terms = {"wallet": wallet.pk, "amount": text(asked), "currency": asked.currency.code}
    return approvals.propose(Proposal(WRITE_OFF, subject_of(wallet), terms, said["note"]), actor=actor, now=clock.now())


def subject_of(wallet: Wallet) -> str:
    return f"wallet_{wallet.pk}"


def write_off(approval: Approval, now: datetime) -> Outcome:
    """Take the loss.  Locks the wallet."""
    wallet = wallet_in(approval.terms)
    asked, reference = asked_in(approval.terms), approval.public_id
    entry_id = write_offs.write_off(wallet.seller_id, asked, reference=reference, memo=approval.memo, now=now)
    return Outcome(f"je_{entry_id}", entry_id)


def wallet_in(terms: Terms) -> Wallet:
    return Wallet.objects.select_related("seller").get(pk=terms["wallet"])


def asked_in(terms: Terms) -> Money:
    return exact(terms["amount"], terms["currency"])


def entry(terms: Terms, now: datetime) -> Draft:
    return write_offs.draft_of(wallet_in(terms).seller_id, asked_in(terms), reference="", memo="", now=now)


def facts(terms: Terms) -> Facts:
    return [(_("seller"), wallet_in(terms).seller.name), (_("to be written off"), amount(asked_in(terms)))]


def standing(terms: Terms) -> Facts:
    wallet = wallet_in(terms)
    figures = ((_("pending"), wallet.pending), (_("available"), wallet.available), (_("reserved"), wallet.reserved))
    return [*((name, amount(held)) for name, held in figures), (_("the seller owes"), amount(owed_by(wallet)))]


approvals.register(
    Kind(
        name=WRITE_OFF,
        title=_("Write-off"),
        may_see="wallet.view_wallet",
        may_propose="ledger.propose_write_off",
        may_approve="ledger.approve_write_off",
        apply=write_off,
        summary=lambda terms: amount(asked_in(terms)),
        facts=facts,
        standing=standing,
        entry=entry,
    )
)

DEED = Deed(
    name="write_off",
    title=_("Write off"),
    meaning=format_lazy("{} {}", BY_TWO, MEANING),
    done=PROPOSED,
    permissions=("ledger.propose_write_off",),
    act=propose,
    is_possible=owes,
    refuse=leave_to_the_domain,
    form=WriteOffForm,
    is_grave=True,
)

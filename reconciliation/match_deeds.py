"""What finance may do about mismatches: take one over, propose how it is resolved, approve that, write down what was found; one, or many.

Each is a call into the domain (resolution.py, notes.py), which locks, checks again and refuses.
"""

from typing import Any

from django import forms
from django.core.files.uploadedfile import UploadedFile
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ledger import clock, transitions
from ledger.admin import NOTHING
from ledger.deeds import Deed, DeedForm, NoteField, leave_to_the_domain
from ledger.journal import Draft
from reconciliation import notes, resolution
from reconciliation.match_bulk import Bulk, Chosen
from reconciliation.models import Mismatch, Proposal
from reconciliation.notes import NewFile
from reconciliation.resolution import NoSuchProposal


class ProposeForm(DeedForm):
    """Which account explains it.  The entry that would follow from the one that is suggested stands above."""

    account = forms.ChoiceField(
        label=_("Account that explains it"),
        required=False,
        help_text=_("If the PSP's file was wrong and its next one will put it right: what the PSP owes us."),
    )

    field_order = ("account", "note")

    def __init__(self, row: Mismatch, data: Any = None) -> None:
        super().__init__(row, data)
        able = resolution.accounts_for(row) if row.suspended else []
        account: Any = self.fields["account"]
        account.choices = [("", _("None: nothing is posted") if not able else NOTHING), *((code, code) for code in able)]
        account.initial = resolution.suggested_account(row)


class DecideForm(DeedForm):
    """Yes or no to the very proposal that was shown: another one may wait by now."""

    proposal = forms.IntegerField(widget=forms.HiddenInput)

    def __init__(self, row: Mismatch, data: Any = None) -> None:
        super().__init__(row, data)
        waiting = resolution.waiting_for(row)
        self.fields["proposal"].initial = waiting and waiting.pk

    def clean(self) -> dict[str, Any]:
        said = super().clean() or {}
        if not self.row.proposals.filter(pk=said.get("proposal")).exists():
            raise forms.ValidationError(_("This is not a proposal for this mismatch. Go back, and look at it again."))
        return said


class AssignForm(DeedForm):
    """Who looks into it from now on."""

    owner = forms.ChoiceField(label=_("Who"))

    field_order = ("owner", "note")

    def __init__(self, row: Mismatch, data: Any = None) -> None:
        super().__init__(row, data)
        owner: Any = self.fields["owner"]
        owner.choices = [(name, name) for name in resolution.owners()]


class LinesField(NoteField):
    """As many lines as it takes."""

    def tidied(self, note: str) -> str:
        return note.strip()


class NoteForm(DeedForm):
    """A note: longer than a reason."""

    note = LinesField(label=_("Note"), max_length=notes.LONGEST_NOTE, widget=forms.Textarea(attrs={"rows": 6}), help_text="")


class AttachForm(DeedForm):
    """A file, and what it shows."""

    file = forms.FileField(
        label=_("File"),
        help_text=_("%(kinds)s; %(size)s MB at most.")
        % {"kinds": ", ".join(notes.ATTACHABLE).upper(), "size": notes.LARGEST_ATTACHMENT // 1024**2},
    )

    field_order = ("file", "note")

    def clean_file(self) -> "UploadedFile[Any]":
        file: UploadedFile[Any] = self.cleaned_data["file"]
        if (file.size or 0) > notes.LARGEST_ATTACHMENT:
            raise forms.ValidationError(_("That is too large."))
        return file


def is_open(mismatch: Mismatch) -> bool:
    return mismatch.resolved_at is None


def is_proposed(mismatch: Mismatch) -> bool:
    return is_open(mismatch) and resolution.waiting_for(mismatch) is not None


def is_to_propose(mismatch: Mismatch) -> bool:
    return is_open(mismatch) and resolution.waiting_for(mismatch) is None


def take_over(mismatch: Mismatch, said: dict[str, Any], actor: str) -> Mismatch:
    return resolution.take_over(mismatch.pk, actor=actor, reason=said["note"])


def is_owned(mismatch: Mismatch) -> bool:
    return is_open(mismatch) and mismatch.owner != ""


def assign(mismatch: Mismatch, said: dict[str, Any], actor: str) -> Mismatch:
    return resolution.assign(mismatch.pk, said["owner"], actor=actor, reason=said["note"])


def give_back(mismatch: Mismatch, said: dict[str, Any], actor: str) -> Mismatch:
    return resolution.give_back(mismatch.pk, actor=actor, reason=said["note"])


def write_note(mismatch: Mismatch, said: dict[str, Any], actor: str) -> Mismatch:
    notes.write(mismatch.pk, said["note"], actor=actor, now=clock.now())
    return mismatch


def attach(mismatch: Mismatch, said: dict[str, Any], actor: str) -> Mismatch:
    file: UploadedFile[Any] = said["file"]
    notes.attach(mismatch.pk, NewFile(file.name or "", file.read(), said["note"]), actor=actor, now=clock.now())
    return mismatch


def propose(mismatch: Mismatch, said: dict[str, Any], actor: str) -> Mismatch:
    resolution.propose(mismatch.pk, said["account"], said["note"], actor=actor, now=clock.now())
    return mismatch


def approve(mismatch: Mismatch, said: dict[str, Any], actor: str) -> Mismatch:
    resolution.approve(said["proposal"], actor=actor, reason=said["note"], now=clock.now())
    return mismatch


def reject(mismatch: Mismatch, said: dict[str, Any], actor: str) -> Mismatch:
    resolution.reject(said["proposal"], actor=actor, reason=said["note"], now=clock.now())
    return mismatch


def draft_for(mismatch: Mismatch) -> Draft | None:
    """Return the entry that is proposed, or else the one that would explain the mismatch; None if there is none."""
    waiting = resolution.waiting_for(mismatch)
    return resolution.entry_proposed(waiting, now=clock.now()) if waiting else resolution.draft_of(mismatch, now=clock.now())


DEEDS = (
    Deed(
        name="take_over",
        title=_("Take over"),
        meaning=_("You look into this mismatch from now on. Your name stands beside it in the list."),
        done=_("It is yours."),
        permissions=("reconciliation.propose_resolution",),
        act=take_over,
        is_possible=is_open,
        refuse=leave_to_the_domain,
    ),
    Deed(
        name="assign",
        title=_("Give to"),
        meaning=_("Somebody else looks into this mismatch from now on. Their name stands beside it in the list."),
        done=_("It is theirs."),
        permissions=("reconciliation.propose_resolution",),
        act=assign,
        is_possible=is_open,
        refuse=leave_to_the_domain,
        form=AssignForm,
    ),
    Deed(
        name="give_back",
        title=_("Give back"),
        meaning=_("Nobody looks into this mismatch from now on, until somebody takes it over."),
        done=_("Given back. It waits for somebody to take it over."),
        permissions=("reconciliation.propose_resolution",),
        act=give_back,
        is_possible=is_owned,
        refuse=leave_to_the_domain,
    ),
    Deed(
        name="propose",
        title=_("Propose"),
        meaning=_(
            "Once somebody else has approved it, what stands in suspense of this mismatch goes to the account that you name, and it is "
            "closed. The fee in its line is booked as a fee of the PSP."
        ),
        done=_("Proposed. Somebody else approves it now."),
        permissions=("reconciliation.propose_resolution",),
        act=propose,
        is_possible=is_to_propose,
        refuse=leave_to_the_domain,
        form=ProposeForm,
    ),
    Deed(
        name="approve",
        title=_("Approve"),
        meaning=_("The entry below is posted, and the mismatch is closed. Whoever proposed it may not approve it."),
        done=_("Approved: the mismatch is resolved."),
        permissions=("reconciliation.approve_resolution",),
        act=approve,
        is_possible=is_proposed,
        refuse=leave_to_the_domain,
        form=DecideForm,
    ),
    Deed(
        name="reject",
        title=_("Reject"),
        meaning=_("Nothing is posted, and the mismatch stays open for another proposal."),
        done=_("Rejected: the mismatch is open."),
        permissions=("reconciliation.approve_resolution",),
        act=reject,
        is_possible=is_proposed,
        refuse=leave_to_the_domain,
        form=DecideForm,
        is_grave=True,
    ),
    Deed(
        name="write_note",
        title=_("Write a note"),
        meaning=_("Say what you found out, or what waits for whom. A note stays as it is, with your name."),
        done=_("Written down."),
        permissions=("reconciliation.annotate_mismatch",),
        act=write_note,
        form=NoteForm,
    ),
    Deed(
        name="attach",
        title=_("Attach a file"),
        meaning=_("A letter of the PSP, a page of the bank: what whoever decides should see. It stays, with your name."),
        done=_("Attached."),
        permissions=("reconciliation.annotate_mismatch",),
        act=attach,
        form=AttachForm,
    ),
)


# --- Many at once ---------------------------------------------------------------------------------------------------


def to_take_over(mismatch: Mismatch) -> Chosen:
    return Chosen(mismatch, resolution.waiting_for(mismatch), None)


def to_propose(mismatch: Mismatch) -> Chosen:
    return Chosen(mismatch, resolution.waiting_for(mismatch), resolution.draft_of(mismatch, now=clock.now()))


def to_approve(mismatch: Mismatch) -> Chosen:
    waiting = resolution.waiting_for(mismatch)
    return Chosen(mismatch, waiting, resolution.entry_proposed(waiting, now=clock.now()) if waiting else None)


def is_over(one: Chosen) -> str:
    return "" if is_open(one.mismatch) else gettext("It is resolved already.")


def not_to_take_over(one: Chosen, actor: str) -> str:
    return is_over(one) or (gettext("It is yours already.") if one.mismatch.owner == actor else "")


def not_to_propose(one: Chosen, actor: str) -> str:
    if one.waiting:
        return gettext("A proposal waits already.")
    return is_over(one) or ("" if one.draft else gettext("No account is suggested: only a person can say."))


def not_to_approve(one: Chosen, actor: str) -> str:
    if one.waiting is None:
        return is_over(one) or gettext("Nothing is proposed.")
    return gettext("You proposed it yourself.") if transitions.is_same_person(actor, one.waiting.made_by) else ""


def take_over_one(mismatch: Mismatch, proposal_id: int, why: str, actor: str) -> Mismatch:
    return resolution.take_over(mismatch.pk, actor=actor, reason=why)


def propose_suggested(mismatch: Mismatch, proposal_id: int, why: str, actor: str) -> Proposal:
    return resolution.propose(mismatch.pk, resolution.suggested_account(mismatch), why, actor=actor, now=clock.now())


def approve_shown(mismatch: Mismatch, proposal_id: int, why: str, actor: str) -> Proposal:
    if not mismatch.proposals.filter(pk=proposal_id).exists():
        raise NoSuchProposal("This is not a proposal for this mismatch. Go back, and look at it again.")
    return resolution.approve(proposal_id, actor=actor, reason=why, now=clock.now())


BULKS = (
    Bulk(
        name="take_over",
        title=_("Take over"),
        meaning=_("You look into these mismatches from now on. Your name stands beside them in the list."),
        permission="reconciliation.propose_resolution",
        chosen=to_take_over,
        hindrance=not_to_take_over,
        act=take_over_one,
    ),
    Bulk(
        name="propose",
        title=_("Propose what is suggested"),
        meaning=_("For each of them the account that is suggested is proposed. Once somebody else has approved it, its entry is posted."),
        permission="reconciliation.propose_resolution",
        chosen=to_propose,
        hindrance=not_to_propose,
        act=propose_suggested,
    ),
    Bulk(
        name="approve",
        title=_("Approve"),
        meaning=_(
            "The entries below are posted, one for each mismatch, and the mismatches are closed. What you proposed yourself is left out."
        ),
        permission="reconciliation.approve_resolution",
        chosen=to_approve,
        hindrance=not_to_approve,
        act=approve_shown,
    ),
)

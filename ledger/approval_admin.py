"""Approvals in the admin: what takes two people waits here for the second one, who sees what will be done, and posted, before deciding.

Each kind of approval is seen, proposed and approved by those who have its own rights.  Whoever proposed something may withdraw it, and no more.
A journal entry is proposed here; everything else on the page of what it is about.
"""

from collections.abc import Iterable
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import F, Q, QuerySet
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext_lazy as _

from ledger import approvals, chart, clock, entry_approvals
from ledger.admin import LISTS, NOTHING, Rows, id_column, link, reference_of, short, time_column
from ledger.approvals import Facts, Proposal
from ledger.deeds import PROPOSED, Deed, WithDeeds, actor_in, calling, leave_to_the_domain, page_of
from ledger.entry_forms import REFUSED, EntryForm, LegForms, Legs, draft_in, with_more_legs
from ledger.errors import DomainError
from ledger.journal import Draft, legs_of
from ledger.models import Account, Approval, ApprovalTransition, JournalEntry

Status = Approval.Status
BY_TWO = _("It is done once somebody else has approved it.")
LATEST = 3
LONGEST_SUBJECT = 28


def approve(approval: Approval, said: dict[str, Any], actor: str) -> Approval:
    approved = approvals.approve(approval.pk, actor=actor, reason=said["note"], now=clock.now())
    approvals.kind_of(approved).nudge()
    return approved


def propose(page: "admin.ModelAdmin[Any]", request: HttpRequest, proposal: Proposal) -> Approval:
    """Propose what a form asks for, in the reader's name, and say so.  Raises what `approvals.propose` raises."""
    approval = approvals.propose(proposal, actor=actor_in(request), now=clock.now())
    page.log_addition(request, approval, f"{PROPOSED}")
    page.message_user(request, PROPOSED, messages.SUCCESS)
    return approval


def propose_or_say_why_not(page: "admin.ModelAdmin[Any]", request: HttpRequest, proposal: Proposal) -> Approval | None:
    """Propose it as `propose` does; return None if it is refused, which is said."""
    try:
        return propose(page, request, proposal)
    except DomainError as error:
        page.message_user(request, error.detail, messages.ERROR)
        return None


def is_waiting(approval: Approval) -> bool:
    return approval.status == Status.WAITING


def approvals_about(subject: str) -> SafeString | str:
    """Return links to the latest approvals about it, with how each stands; for the page of whatever it is."""
    about = Approval.objects.filter(subject=subject).order_by("-pk")[:LATEST]
    return format_html_join(", ", "{}", ((link(Approval, each.pk, each.get_status_display()),) for each in about)) or NOTHING


def facts_of(approval: Approval) -> Facts:
    """Return who proposes what, why, and what it is about as things stand now, for whoever decides about it."""
    kind = approvals.kind_of(approval)
    return [
        (_("proposed by"), approval.made_by),
        (_("because"), approval.memo),
        *([(_("about"), reference_of(approval.subject))] if approval.subject else []),
        *kind.facts(approval.terms),
        *(kind.standing(approval.terms) if is_waiting(approval) else []),
    ]


def written(draft: Draft) -> str:
    """Return the entry, with what it does to each account that it names."""
    return render_to_string("admin/_effects.html", {"effects": entry_approvals.effects(draft)})


class StateFilter(admin.SimpleListFilter):
    """What waits, for whom; and what was decided."""

    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return [("waiting", _("Waiting")), ("for_me", _("Waiting for me")), ("mine", _("Proposed by me")), ("decided", _("Decided"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Approval]) -> QuerySet[Approval]:
        waits, me = Q(status=Status.WAITING), Q(made_by=actor_in(request))
        able = Q(kind__in=[kind.name for kind in approvals.KINDS.values() if request.user.has_perm(kind.may_approve)])
        states = {"waiting": waits, "for_me": waits & ~me & able, "mine": me, "decided": ~waits}
        return queryset.filter(states.get(self.value() or "", Q()))


class KindFilter(admin.SimpleListFilter):
    """Approvals of one kind."""

    title = _("kind")
    parameter_name = "of_kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return [(kind.name, kind.title) for kind in approvals.KINDS.values() if request.user.has_perm(kind.may_see)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Approval]) -> QuerySet[Approval]:
        return queryset.filter(kind=self.value()) if self.value() in dict(self.lookup_choices) else queryset


NAMES = dict(Status.choices)


class TransitionRows(Rows):
    model = ApprovalTransition
    fields = readonly_fields = (time_column("at", _("when")), "before_shown", "after_shown", "actor", "reason")

    @admin.display(description=_("before"))
    def before_shown(self, change: ApprovalTransition) -> Any:
        return NAMES.get(change.before, NOTHING)

    @admin.display(description=_("after"))
    def after_shown(self, change: ApprovalTransition) -> Any:
        return NAMES.get(change.after, NOTHING)


@admin.register(Approval)
class ApprovalAdmin(WithDeeds):
    change_list_template = "admin/approvals.html"
    list_display = (
        id_column,
        "kind_shown",
        "summary",
        "about",
        "status",
        "made_by",
        time_column("made_at", _("proposed")),
    )
    list_filter = (StateFilter, KindFilter)
    search_help_text = _("The id of an approval, or of what it is about")
    fields: ClassVar[Any] = (
        "public_id",
        "kind_shown",
        "summary",
        "subject_link",
        "status",
        "what_it_does",
        "what_it_posts",
        "made_by",
        "memo",
        time_column("made_at", _("proposed")),
        time_column("expires_at", _("waits until")),
        "decided_by",
        "reason",
        time_column("decided_at", _("decided")),
        "result_link",
    )
    readonly_fields: ClassVar[Any] = fields
    inlines = (TransitionRows,)
    deeds = (
        Deed(
            name="approve",
            title=_("Approve"),
            meaning=_("What is proposed below is done now. Whoever proposed it may not approve it."),
            done=_("Approved, and done."),
            permissions=("ledger.view_approval",),
            act=approve,
            is_possible=is_waiting,
            refuse=leave_to_the_domain,
        ),
        Deed(
            name="reject",
            title=_("Reject"),
            meaning=_("Nothing is done, and nothing is posted. It may be proposed anew."),
            done=_("Rejected: nothing is done."),
            permissions=("ledger.view_approval",),
            act=calling(approvals.reject),
            is_possible=is_waiting,
            refuse=leave_to_the_domain,
            is_grave=True,
        ),
        Deed(
            name="withdraw",
            title=_("Withdraw"),
            meaning=_("You take back what you have proposed: nothing is done, and nobody need decide about it."),
            done=_("Withdrawn: nothing is done."),
            permissions=("ledger.view_approval",),
            act=calling(approvals.withdraw),
            is_possible=is_waiting,
            refuse=leave_to_the_domain,
            is_grave=True,
        ),
    )

    def get_urls(self) -> list[URLPattern]:
        own = [path("entry/", self.admin_site.admin_view(self.entry_view), name="ledger_approval_entry")]
        return own + super().get_urls()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Approval]:
        """Return the approvals of the kinds that the reader may see."""
        seen = [kind.name for kind in approvals.KINDS.values() if request.user.has_perm(kind.may_see)]
        return super().get_queryset(request).filter(kind__in=seen)

    def get_ordering(self, request: HttpRequest) -> Any:
        return (F("decided_at").desc(nulls_first=True), "pk")

    def may_do(self, request: HttpRequest, deed: Deed, row: Approval) -> bool:
        """May the reader do this about an approval of this kind?  The maker withdraws; others, who have the right of it, decide."""
        if not deed.is_allowed(request):
            return False
        if deed.name == "withdraw":
            return row.made_by == actor_in(request)
        return row.made_by != actor_in(request) and bool(request.user.has_perm(approvals.kind_of(row).may_approve))

    def facts(self, row: Approval) -> Facts:
        entry = approvals.kind_of(row).entry(row.terms, clock.now()) if is_waiting(row) else None
        return [*facts_of(row), *([(_("entry"), written(entry))] if entry else [])]

    def sought(self, term: str) -> Q:
        return Q(public_id=term) | Q(subject=term)

    def entry_view(self, request: HttpRequest) -> HttpResponseBase:
        """Show what an entry would do, as often as it is asked for (`show`), add legs to fill in (`more`), or propose it (`propose`)."""
        if not request.user.has_perm("ledger.propose_entry"):
            raise PermissionDenied
        data = request.POST if request.method == "POST" else None
        form, legs = EntryForm(data), LegForms(data)
        context = self.admin_site.each_context(request) | {"title": _("Propose a journal entry"), "opts": self.opts}
        if data and "more" in data:
            form, legs = EntryForm(data), LegForms(with_more_legs(data))
        elif data and (proposed := self.shown_or_proposed(request, form, legs, context)):
            return HttpResponseRedirect(page_of(proposed))
        context |= {"form": form, "legs": legs, "accounts": open_accounts(), "is_bound": data is not None and "more" not in data}
        return TemplateResponse(request, "admin/entry_proposal.html", context)

    def shown_or_proposed(self, request: HttpRequest, form: EntryForm, legs: Legs, context: dict[str, Any]) -> Approval | None:
        """Put what the entry would do into the context, and propose it if that is asked for; what is refused is said on the form."""
        if not (form.is_valid() and legs.is_valid()):
            return None
        draft = draft_in(form, legs)
        context["effects"] = entry_approvals.effects(draft)
        try:
            legs_of(draft)  # raises what keeps it from balancing
            if "propose" not in request.POST:
                return None
            return propose(self, request, entry_approvals.proposal_of(draft, evidence=form.cleaned_data["evidence"]))
        except DomainError as error:
            form.add_error(error.field if error.field in form.fields else None, error.detail)
            return None

    @admin.display(description=_("kind"))
    def kind_shown(self, approval: Approval) -> Any:
        return approvals.kind_of(approval).title

    @admin.display(description=_("in short"))
    def summary(self, approval: Approval) -> Any:
        return approvals.kind_of(approval).summary(approval.terms)

    @admin.display(description=_("about"))
    def about(self, approval: Approval) -> SafeString | str:
        """The end of the subject's id, as a link, for the list; of a subject that has no id, its beginning."""
        listed = LISTS.get(approval.subject.partition("_")[0])
        if listed is None:
            return Truncator(approval.subject).chars(LONGEST_SUBJECT) or NOTHING
        address = reverse(f"admin:{listed}_changelist", query={"q": approval.subject})
        return format_html('<a href="{}">{}</a>', address, short(approval.subject))

    @admin.display(description=_("about"))
    def subject_link(self, approval: Approval) -> SafeString | str:
        return reference_of(approval.subject) if approval.subject else NOTHING

    @admin.display(description=_("what it does"))
    def what_it_does(self, approval: Approval) -> str:
        kind = approvals.kind_of(approval)
        standing = kind.standing(approval.terms) if is_waiting(approval) else []
        return render_to_string("admin/_facts.html", {"facts": [*kind.facts(approval.terms), *standing]})

    @admin.display(description=_("what it posts"))
    def what_it_posts(self, approval: Approval) -> str:
        """What it will post, as the world is now; what it has posted is on the page of the entry."""
        entry = approvals.kind_of(approval).entry(approval.terms, clock.now()) if is_waiting(approval) else None
        return written(entry) if entry else NOTHING

    @admin.display(description=_("what came of it"))
    def result_link(self, approval: Approval) -> SafeString | str:
        if approval.journal_entry_id is not None:
            return link(JournalEntry, approval.journal_entry_id, approval.result)
        return reference_of(approval.result) if approval.result else NOTHING


def open_accounts() -> list[str]:
    """Return the codes that a manual entry may name: the platform's own, and those of its PSPs that are open."""
    owned = chart.OWNED_KINDS - REFUSED
    of_psps = Q(*[("code__startswith", f"{kind}:") for kind in sorted(owned)], _connector=Q.OR)
    found = Account.objects.filter(of_psps).order_by("code").values_list("code", flat=True).distinct()
    return [*sorted(chart.KINDS.keys() - chart.OWNED_KINDS - REFUSED), *found]

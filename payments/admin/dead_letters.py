"""Dead letters in the admin: what the machine gave up on, open first and oldest first, with the whole history and the ways out that it has.

Each decision takes two people: one proposes it, another one approves it, and it is one call into `rescue`, which locks, checks that nobody
was quicker, and keeps who decided and why.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import F, Q
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import format_lazy
from django.utils.timesince import timesince
from django.utils.translation import gettext_lazy as _

from ledger import approvals, clock
from ledger.admin import NOTHING, id_column, recent, time_column
from ledger.approval_admin import BY_TWO, approvals_about
from ledger.approvals import Facts, Kind, Outcome, Proposal, Terms
from ledger.deeds import PROPOSED, Deed, WithDeeds, not_any_more
from ledger.models import Approval
from ledger.templatetags.written import amount
from payments import dead_letters, rescue, tasks
from payments.admin.columns import of_orders_called, order_link, refund_link, still_open
from payments.admin.payments import written
from payments.models import DeadLetter
from payments.states import OrderStatus, RefundStatus
from payments.timeline import timeline_of_order

DECISION = "dead_letter"
MAY_DECIDE = ("payments.change_deadletter",)
MAY_VOID = (*MAY_DECIDE, "payments.add_cancellation", "payments.add_refund")
REASONS = {
    dead_letters.TRIES_EXHAUSTED: _("The PSP could not be reached, or executed nothing, in any of the tries."),
    dead_letters.UNKNOWN_TOO_LONG: _("For 30 days the PSP has not said what became of it."),
    dead_letters.WORKER_DIED: _("Whoever worked on it died, again and again."),
    dead_letters.CANNOT_BE_BOOKED: _("What the PSP says does not fit what we asked for, so it cannot be booked."),
    dead_letters.NOT_GIVEN_BACK: _("A charge that came too late was not given back: the buyer still has to get the money."),
}


def is_open(letter: DeadLetter) -> bool:
    return letter.decided_at is None


def is_alive(letter: DeadLetter) -> bool:
    """Is what it is about still under way, so that somebody may decide how it ends?"""
    return is_open(letter) and (letter.refund or letter.order).status == OrderStatus.EXECUTING


def has_failed(letter: DeadLetter) -> bool:
    return is_open(letter) and (letter.refund or letter.order).status == OrderStatus.FAILED


def can_be_voided(letter: DeadLetter) -> bool:
    """May the PSP have taken something?  Of an order that has failed, and of which nothing was sent, there is nothing to void."""
    return letter.refund_id is None and (is_alive(letter) or (has_failed(letter) and not rescue.is_unsent(letter.order)))


def is_owed(letter: DeadLetter) -> bool:
    """Is it about a late charge whose refund has failed, so that the buyer's money is still with us?"""
    refund = letter.refund
    return is_open(letter) and refund is not None and refund.late_charge_id is not None and refund.status == RefundStatus.FAILED


def can_be_tried_again(letter: DeadLetter) -> bool:
    """May the machine take it up again?  Not a refund that has failed (its key is used up), nor an order that nobody can pay any more."""
    if letter.refund_id is not None or not has_failed(letter):
        return is_alive(letter)
    event, is_unsent = letter.order.event, letter.reason == dead_letters.TRIES_EXHAUSTED and rescue.is_unsent(letter.order)
    return is_unsent and not event.is_payment_done and event.expires_at > clock.now()


def can_be_closed(letter: DeadLetter) -> bool:
    return has_failed(letter) and not is_owed(letter)


def refuse(letter: DeadLetter) -> None:
    """Say who was quicker, if anybody was.  `rescue` decides of whatever it is given: what a letter's button promises is looked at here."""
    rescue.require_undecided(letter)
    if standing := approvals.waiting_about(DECISION, letter.public_id):
        raise approvals.waits_already(standing)
    not_any_more(letter)


@dataclass(frozen=True, slots=True)
class Way:
    """A way out that a letter has, if it is possible: what it is called, and the decision of `rescue` that it is."""

    name: str
    title: Any
    meaning: Any
    decision: str
    is_possible: Callable[[DeadLetter], bool]
    may_propose: tuple[str, ...] = MAY_DECIDE
    is_grave: bool = False


WAYS = (
    Way(
        name="redrive",
        title=_("Try again"),
        meaning=_("The machine takes it up again: it asks the PSP what became of it, and tries once more where nothing was executed."),
        decision=DeadLetter.Decision.REDRIVE,
        is_possible=can_be_tried_again,
    ),
    Way(
        name="fail",
        title=_("Fail"),
        meaning=_(
            "It is taken for not executed, although nobody knows. A payment that succeeds after all goes back to the buyer by itself."
        ),
        decision=DeadLetter.Decision.FAIL,
        is_possible=is_alive,
        is_grave=True,
    ),
    Way(
        name="close",
        title=_("Close the letter"),
        meaning=_("It has failed already, and nothing more is done about it. The letter is closed."),
        decision=DeadLetter.Decision.FAIL,
        is_possible=can_be_closed,
    ),
    Way(
        name="refund_again",
        title=_("Refund again"),
        meaning=_("The refund of this late charge has failed. The PSP is asked for another one, of all that is still owed."),
        decision=DeadLetter.Decision.REDRIVE,
        is_possible=is_owed,
    ),
    Way(
        name="take_note",
        title=_("Take note"),
        meaning=_(
            "The refund of this late charge has failed, and no other one is tried. The buyer is still owed the money: it stays "
            "booked as owed to buyers until it is paid back another way. The letter is closed."
        ),
        decision=DeadLetter.Decision.FAIL,
        is_possible=is_owed,
        is_grave=True,
    ),
    Way(
        name="void",
        title=_("Void and refund"),
        meaning=_(
            "The order is cancelled. If a charge may have been sent, the PSP is told to void it; money that was taken and cannot be "
            "voided goes back to the buyer in full."
        ),
        decision=DeadLetter.Decision.VOID,
        is_possible=can_be_voided,
        may_propose=MAY_VOID,
        is_grave=True,
    ),
)
WAY_CALLED = {way.name: way for way in WAYS}


def deed_of(way: Way) -> Deed:
    """Return the deed that proposes to decide a letter so."""

    def propose(letter: DeadLetter, said: dict[str, Any], actor: str) -> Approval:
        terms = {"letter": letter.public_id, "way": way.name}
        return approvals.propose(Proposal(DECISION, letter.public_id, terms, said["note"]), actor=actor, now=clock.now())

    def is_possible(letter: DeadLetter) -> bool:
        return way.is_possible(letter) and approvals.waiting_about(DECISION, letter.public_id) is None

    return Deed(
        name=way.name,
        title=way.title,
        meaning=format_lazy("{} {}", BY_TWO, way.meaning),
        done=PROPOSED,
        permissions=way.may_propose,
        act=propose,
        is_possible=is_possible,
        refuse=refuse,
        is_grave=way.is_grave,
    )


def letter_in(terms: Terms) -> DeadLetter:
    return DeadLetter.objects.select_related("order__event", "refund").get(public_id=terms["letter"])


def decide(approval: Approval, now: datetime) -> Outcome:
    """Decide the letter, if its way out is still one."""
    letter, way = letter_in(approval.terms), WAY_CALLED[approval.terms["way"]]
    rescue.require_undecided(letter)
    if not way.is_possible(letter):
        not_any_more(letter)
    note = f"{approval.memo} ({approval.made_by}, {approval.public_id})"
    rescue.decide(letter.pk, way.decision, actor=approval.decided_by, note=note, now=now)
    return Outcome(letter.public_id)


def facts_of(letter: DeadLetter) -> Facts:
    """Return what one must know of a letter before deciding it."""
    about = letter.refund or letter.order
    return [
        (what(letter), about.public_id),
        (_("amount"), amount(about.amount)),
        (_("order is"), letter.order.get_status_display()),
        (_("reason"), REASONS.get(letter.reason, letter.reason)),
        (_("waiting for"), age(letter)),
    ]


def facts_in(terms: Terms) -> Facts:
    way = WAY_CALLED[terms["way"]]
    return [(_("decision"), way.title), (_("what it does"), way.meaning)]


def nudge() -> None:
    tasks.nudge_executor()
    tasks.nudge_refunds()


approvals.register(
    Kind(
        name=DECISION,
        title=_("Decision about a dead letter"),
        may_see="payments.view_deadletter",
        may_propose="payments.change_deadletter",
        may_approve="payments.approve_deadletter",
        apply=decide,
        summary=lambda terms: WAY_CALLED[terms["way"]].title,
        facts=facts_in,
        standing=lambda terms: facts_of(letter_in(terms)),
        nudge=nudge,
    )
)


@admin.display(description=_("what"))
def what(letter: DeadLetter) -> Any:
    return _("refund") if letter.refund_id else _("payment")


@admin.display(description=_("amount"))
def amount_shown(letter: DeadLetter) -> SafeString:
    return format_html('<span class="amount">{}</span>', amount((letter.refund or letter.order).amount))


@admin.display(description=_("waiting for"))
def age(letter: DeadLetter) -> str:
    return timesince(letter.created_at, clock.now(), depth=1) if is_open(letter) else NOTHING


@admin.register(DeadLetter)
class DeadLetterAdmin(WithDeeds):
    list_display = (
        id_column,
        what,
        amount_shown,
        "reason",
        age,
        order_link,
        "decision",
        "decided_by",
    )
    list_select_related = ("order__event", "refund")
    list_filter = (
        still_open("decided_at", _("state"), open_words=_("Waits for a decision"), done_words=_("Decided")),
        "reason",
        "decision",
        recent("created_at"),
    )
    search_help_text = _("The id of a dead letter, or the id or reference of its order")
    fieldsets: ClassVar[Any] = (
        (
            None,
            {
                "fields": (
                    "public_id",
                    order_link,
                    refund_link,
                    amount_shown,
                    "reason",
                    "in_words",
                    "detail",
                    time_column("created_at", _("since")),
                    "decision",
                    "decided_by",
                    "note",
                    time_column("decided_at", _("decided")),
                    "approvals",
                )
            },
        ),
        (_("Time line"), {"fields": ("timeline",), "classes": ("wide", "timeline-set")}),
    )
    readonly_fields = tuple(name for _title, options in fieldsets for name in options["fields"])
    deeds = tuple(map(deed_of, WAYS))

    def get_ordering(self, request: HttpRequest) -> Any:
        return (F("decided_at").desc(nulls_first=True), "pk")

    def facts(self, row: DeadLetter) -> list[tuple[Any, Any]]:
        return facts_of(row)

    def sought(self, term: str) -> Q:
        return Q(public_id=term) | of_orders_called(term)

    @admin.display(description=_("in words"))
    def in_words(self, letter: DeadLetter) -> Any:
        return REASONS.get(letter.reason, letter.reason)

    @admin.display(description=_("approvals"))
    def approvals(self, letter: DeadLetter) -> SafeString | str:
        return approvals_about(letter.public_id)

    @admin.display(description=_("time line"))
    def timeline(self, letter: DeadLetter) -> str:
        return written(timeline_of_order(letter.order))

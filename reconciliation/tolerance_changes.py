"""Changes of tolerances, which take two people: one proposes to make or to end a rule, and another one approves it.

What a rule lets a bank keep is booked without anybody looking at it, so nobody says alone how much that is.
"""

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from djmoney.money import Money

from ledger import approvals
from ledger.admin import NOTHING
from ledger.approvals import Facts, Kind, Outcome, Proposal, Terms
from ledger.models import Approval
from ledger.money import text
from ledger.templatetags.written import amount, day
from reconciliation import tolerances
from reconciliation.models import ToleranceRule

CHANGE = "tolerance"


def making(rule: ToleranceRule, *, memo: str) -> Proposal:
    """Return the proposal of a new rule."""
    return Proposal(CHANGE, "", {"id": None, **said_by(rule, until=rule.valid_until)}, memo)


def ending(rule: ToleranceRule, *, last_day: date, memo: str) -> Proposal:
    """Return the proposal to let the rule hold until that day.  Of one rule one end waits at a time."""
    return Proposal(CHANGE, subject_of(rule.pk), {"id": rule.pk, **said_by(rule, until=last_day)}, memo)


def subject_of(rule_id: int) -> str:
    """Return what approvals call the rule, which has no public id."""
    return f"{CHANGE}:{rule_id}"


def said_by(rule: ToleranceRule, *, until: date | None) -> dict[str, Any]:
    """Return all that a rule says, as JSON knows it."""
    return {
        "currency": rule.currency,
        "psp": rule.psp,
        "amount": text(Money(rule.amount, rule.currency)),
        "days": rule.days,
        "valid_from": rule.valid_from.isoformat(),
        "valid_until": until and until.isoformat(),
    }


def change(approval: Approval, now: datetime) -> Outcome:
    """Make the rule, as the proposer's, or end it, which locks it.  Raises ToleranceHasEnded."""
    terms, actor = approval.terms, approval.decided_by
    reason = f"{approval.memo} ({approval.made_by}, {approval.public_id})"
    if terms["id"] is None:
        rule = tolerances.make(rule_in(terms), made_by=approval.made_by, actor=actor, reason=reason, now=now)
    else:
        rule = tolerances.end(terms["id"], last_day=date.fromisoformat(terms["valid_until"]), actor=actor, reason=reason)
    return Outcome(subject_of(rule.pk))


def rule_in(terms: Terms) -> ToleranceRule:
    return ToleranceRule(
        currency=terms["currency"],
        psp=terms["psp"],
        amount=Decimal(terms["amount"]),
        days=terms["days"],
        valid_from=date.fromisoformat(terms["valid_from"]),
        valid_until=terms["valid_until"] and date.fromisoformat(terms["valid_until"]),
    )


def facts(terms: Terms) -> Facts:
    rule = rule_in(terms)
    return [
        (_("what it does"), summary(terms)),
        (_("PSP"), rule.psp or gettext("any")),
        (_("may be missing"), amount(Money(rule.amount, rule.currency))),
        (_("bank days"), rule.days),
        (_("valid from"), day(rule.valid_from)),
        (_("valid until"), day_shown(rule.valid_until)),
    ]


def standing(terms: Terms) -> Facts:
    """Return what may be missing without the rule: on its first day, or, of one that is ended, on the day after its last; and its end now."""
    if terms["id"] is None:
        return [(_("without it"), others(terms, on=date.fromisoformat(terms["valid_from"])))]
    on = date.fromisoformat(terms["valid_until"]) + timedelta(days=1)
    rule = ToleranceRule.objects.get(pk=terms["id"])
    return [(_("holds now until"), day_shown(rule.valid_until)), (_("without it"), others(terms, on=on))]


def others(terms: Terms, *, on: date) -> str:
    """Return the rules that hold on that day for the same PSP, without this one."""
    held = tolerances.holding(terms["currency"], on, without=terms["id"])
    return ", ".join(str(rule) for rule in held if rule.psp in ("", terms["psp"])) or NOTHING


def day_shown(last: date | None) -> str:
    return day(last) if last else NOTHING


def summary(terms: Terms) -> Any:
    return _("Adds a tolerance") if terms["id"] is None else _("Ends a tolerance")


approvals.register(
    Kind(
        name=CHANGE,
        title=_("Tolerance"),
        may_see="reconciliation.view_tolerancerule",
        may_propose="reconciliation.change_tolerancerule",
        may_approve="reconciliation.approve_tolerancerule",
        apply=change,
        summary=summary,
        facts=facts,
        standing=standing,
    )
)

"""Changes of fee schedules, which take two people: what a schedule says, before and after, as the terms of an approval.

A form's change is made and undone, so that what Postgres would refuse is refused at once; what was made is what is proposed.
"""

from datetime import date, datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from djmoney.money import Money

from ledger import approvals
from ledger.admin import NOTHING
from ledger.approvals import Facts, Kind, Outcome, Proposal, Terms
from ledger.deeds import NotPossible
from ledger.models import Approval
from ledger.money import exact, text
from ledger.templatetags.written import amount, day
from payments import fee_schedules
from payments.models import FeeSchedule, FeeTier
from wallet.models import Seller, Shop

CHANGE = "fee_schedule"
AMOUNTS = ("fixed", "floor", "cap")
WHOM = ("shop", "seller", "category", "method")
TITLES = {
    "shop": _("shop"),
    "seller": _("seller"),
    "category": _("category"),
    "method": _("method"),
    "valid_from": _("valid from"),
    "valid_until": _("valid until"),
    "basis_points": _("basis points"),
    "fixed": _("fixed part"),
    "floor": _("least fee"),
    "cap": _("largest fee"),
    "tiers": _("tiers: basis points and fixed part"),
}
IN_THE_WAY = _("On some of its days there is another fee schedule for the same orders, or it was used in this very moment.")


class Made(Exception):
    """What a form made of a schedule.  It is raised where the form has saved, so that it stays nowhere but here."""

    def __init__(self, terms: Terms, note: str) -> None:
        super().__init__(note)
        self.terms, self.note = terms, note


def proposal_of(made: Made) -> Proposal:
    """Return the proposal of what the form made.  Of one schedule one change waits at a time."""
    schedule_id = made.terms["id"]
    return Proposal(CHANGE, subject_of(schedule_id) if schedule_id else "", made.terms, made.note)


def subject_of(schedule_id: int) -> str:
    """Return what approvals call the schedule, which has no public id."""
    return f"{CHANGE}:{schedule_id}"


def terms_of(schedule: FeeSchedule) -> dict[str, Any]:
    """Return all that a schedule says, as JSON knows it."""
    return {
        "shop": schedule.shop_id,
        "seller": schedule.seller_id,
        "category": schedule.category,
        "method": schedule.method,
        "valid_from": schedule.valid_from and schedule.valid_from.isoformat(),
        "valid_until": schedule.valid_until and schedule.valid_until.isoformat(),
        "currency": schedule.fixed.currency.code,
        "basis_points": schedule.basis_points,
        **{name: None if held is None else text(held) for name, held in held_by(schedule).items()},
        "tiers": [[text(tier.above), tier.basis_points, text(tier.fixed)] for tier in schedule.tiers.order_by("above")],
    }


def held_by(schedule: FeeSchedule) -> dict[str, Money | None]:
    """Return the amounts of a schedule, by the names of their columns."""
    return {name: getattr(schedule, name) for name in AMOUNTS}


def change(approval: Approval, now: datetime) -> Outcome:
    """Add, change, end or take away a schedule, if it is as it was when that was proposed.  Locks it.

    Raises NotPossible if it was changed meanwhile, another one is for the same orders, or one that was used would end in the past.
    """
    terms, after = approval.terms, approval.terms["after"]
    schedule = FeeSchedule() if terms["id"] is None else FeeSchedule.objects.select_for_update().filter(pk=terms["id"]).first()
    if schedule is None or (schedule.pk and terms_of(schedule) != terms["before"]):
        raise NotPossible(str(_("The fee schedule was changed since this was proposed. Reject it, and propose it anew.")))
    if after and schedule.used_at and after["valid_until"] and after["valid_until"] < fee_schedules.day_of(now).isoformat():
        raise NotPossible(str(_("It was used: it ends today at the earliest.")))
    try:
        with transaction.atomic():
            if after is None:
                schedule.delete()
            else:
                keep(schedule, after)
    except IntegrityError as error:
        raise NotPossible(str(IN_THE_WAY)) from error
    return Outcome(subject_of(schedule.pk or terms["id"]))


def keep(schedule: FeeSchedule, said: dict[str, Any]) -> None:
    """Let the schedule say this; its tiers are touched if they change, which Postgres refuses of one that was used."""
    currency, tiers = said["currency"], said["tiers"]
    stands = terms_of(schedule)["tiers"] if schedule.pk else []
    for name in ("category", "method", "basis_points"):
        setattr(schedule, name, said[name])
    for name in AMOUNTS:
        setattr(schedule, name, money_in(said[name], currency))
    schedule.shop_id, schedule.seller_id = said["shop"], said["seller"]
    schedule.valid_from, schedule.valid_until = (day_in(said[name]) for name in ("valid_from", "valid_until"))
    schedule.save()
    if tiers != stands:
        schedule.tiers.all().delete()
        for above, basis_points, fixed in tiers:
            tier = FeeTier(schedule=schedule, basis_points=basis_points)
            tier.above, tier.fixed = exact(above, currency), exact(fixed, currency)
            tier.save()


def day_in(said: str | None) -> date | None:
    return None if said is None else date.fromisoformat(said)


def money_in(digits: str | None, currency: str) -> Money | None:
    return None if digits is None else exact(digits, currency)


def facts(terms: Terms) -> Facts:
    """Return whom it is for, and what changes; all of a schedule that is new, or that is taken away."""
    before, after = (in_words(terms[side]) if terms[side] else {} for side in ("before", "after"))
    said: Facts = [(_("what it does"), summary(terms))]
    for name, title in TITLES.items():
        was, becomes = before.get(name), after.get(name)
        if was and becomes and was != becomes:
            said.append((title, f"{was} → {becomes}"))
        elif name in WHOM or not (was and becomes):
            said.append((title, becomes or was))
    return said


def summary(terms: Terms) -> Any:
    if terms["before"] is None:
        return _("Adds a fee schedule")
    return _("Takes a fee schedule away") if terms["after"] is None else _("Changes a fee schedule")


def in_words(said: dict[str, Any]) -> dict[str, str]:
    """Return what a schedule says, as people write it."""
    currency, days = said["currency"], {name: day_in(said[name]) for name in ("valid_from", "valid_until")}
    tiers = [
        gettext("above %(above)s: %(points)s + %(fixed)s")
        % {"above": written(above, currency), "points": points, "fixed": written(fixed, currency)}
        for above, points, fixed in said["tiers"]
    ]
    return {
        "shop": str(Shop.objects.get(pk=said["shop"])),
        "seller": str(Seller.objects.filter(pk=said["seller"]).first() or _("All")),
        "category": said["category"] or str(_("All")),
        "method": str(FeeSchedule.Method(said["method"]).label if said["method"] else _("All")),
        **{name: day(on) if on else NOTHING for name, on in days.items()},
        "basis_points": str(said["basis_points"]),
        **{name: written(said[name], currency) for name in AMOUNTS},
        "tiers": ", ".join(tiers) or NOTHING,
    }


def written(digits: str | None, currency: str) -> str:
    return NOTHING if digits is None else amount(exact(digits, currency))


approvals.register(
    Kind(
        name=CHANGE,
        title=_("Fee schedule"),
        may_see="payments.view_feeschedule",
        may_propose="payments.change_feeschedule",
        may_approve="payments.approve_feeschedule",
        apply=change,
        summary=summary,
        facts=facts,
    )
)

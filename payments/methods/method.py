"""A way to pay: what it asks of the buyer, when its end is known, what can be paid with it, and where refunds go.

A method says only how the buyer approves.  What a PSP can do is that PSP's to declare (`Psp.methods`), and registry.py puts the two together.
Nothing here knows tables, the web or a PSP by name.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from django.utils.functional import Promise
from djmoney.money import Money

from payments.psp.protocol import Capability, Session


class Asks(StrEnum):
    """What the buyer does next."""

    PSP_FIELDS = "psp_fields"  # fill in the PSP's fields, on our page or on the PSP's own
    REDIRECT = "redirect"  # approve on the PSP's page, which leads back
    SHOW_CODE = "show_code"  # scan the code that our page shows, and approve on the phone
    CODE = "code"  # type the code of a gift card
    WAIT = "wait"  # nothing now: somebody else decides
    NOTHING = "nothing"  # nothing at all


@dataclass(frozen=True, slots=True)
class Refunds:
    """How money goes back.  It always goes to where it came from: whole, or in part too; within so many days, or without an end.

    The days count from the moment of the charge, as the PSP tells it (`Charged.at`).
    """

    in_part: bool = True
    within_days: int | None = None

    def are_possible(self, *, paid_at: datetime, now: datetime) -> bool:
        """Tell whether what was paid then can still go back."""
        end = self.end(paid_at)
        return end is None or now < end

    def end(self, paid_at: datetime) -> datetime | None:
        """Return the first moment at which what was paid then can no longer go back; None: there is none."""
        return None if self.within_days is None else paid_at + timedelta(days=self.within_days)


@dataclass(frozen=True, slots=True)
class Method:
    """One way to pay.

    `needs_psp` says that a PSP's session stands behind it, not money that we keep ourselves.  `is_synchronous`: when the buyer is back, the
    end is known.  `confirms_itself`: approval at the PSP is the buyer's confirmation, so that we confirm even if our page was closed.
    `is_credit`: the buyer owes it to the provider from then on, whose demands stand on the buyer's statement, and no charge of the shop's.
    """

    name: str
    label: Promise
    asks: Asks
    is_synchronous: bool
    needs_psp: bool = True
    confirms_itself: bool = False
    is_credit: bool = False
    refunds: Refunds = field(default_factory=Refunds)
    can_do: Capability = field(default_factory=Capability)

    def offered_for(self, amount: Money, country: str = "") -> bool:
        """Tell whether the method can do this amount for a buyer of this country (ISO 3166; empty: not known, which excludes nothing)."""
        return why_not(self.can_do, amount, country) is None

    def asks_in(self, session: Session) -> Asks:
        """Return what the buyer does next in a session that stands as it does; nothing in one that is over."""
        match session.status:
            case "open":
                return self.asks
            case "requires_action":
                return Asks.REDIRECT
            case "in_review":
                return Asks.WAIT
            case "failed" if self.asks == Asks.PSP_FIELDS:
                return self.asks
            case _:
                return Asks.NOTHING


class Cause(StrEnum):
    """Why an amount cannot be paid in a way."""

    CURRENCY = "currency"
    COUNTRY = "country"
    TOO_SMALL = "too_small"
    TOO_LARGE = "too_large"


def why_not(capability: Capability, amount: Money, country: str = "") -> Cause | None:
    """Return the first reason why what is so capable cannot do this amount; None if it can."""
    currency, value = amount.currency.code, amount.amount
    if capability.currencies and currency not in capability.currencies:
        return Cause.CURRENCY
    if capability.countries and country and country not in capability.countries:
        return Cause.COUNTRY
    if value < capability.smallest.get(currency, value):
        return Cause.TOO_SMALL
    if value > capability.largest.get(currency, value):
        return Cause.TOO_LARGE
    return None

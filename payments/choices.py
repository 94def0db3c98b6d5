"""What the buyer chose on the payment page, kept by us: the way to pay, gift cards, the wallet.  So reload and back show the same page.

Nothing is held and nothing is charged by choosing.  A checkout that buys stored value is paid with money alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.views.decorators.debug import sensitive_variables
from djmoney.money import Money

from ledger.errors import DomainError
from payments import intake, saved_cards, tenders
from payments.methods.method import Asks, Method
from payments.methods.registry import METHODS, is_for, refusal_of
from payments.models import CheckoutSession, ChosenTender, PaymentEvent, SavedCard
from payments.psp import registry
from payments.psp.registry import UnknownPsp
from payments.states import SessionStatus
from payments.tenders import Plan
from wallet import buyer_wallets, gift_cards, stored_value
from wallet.gift_card_tries import Who
from wallet.models import StoredValue

MOST_GIFT_CARDS = 10
DECLINED_BY_PROVIDER = "declined_by_provider"


class WalletNotOffered(DomainError):
    code = "wallet_not_offered"


class TooManyGiftCards(DomainError):
    code = "too_many_gift_cards"


@dataclass(frozen=True, slots=True)
class Offer:
    """A way to pay that a PSP stands behind; `refusal` says to the buyer why it cannot be used for this checkout, if it cannot."""

    method: Method
    refusal: str


@dataclass(frozen=True, slots=True)
class Choices:
    """What may be chosen and what was: `plan` says what each stored value pays, `session` is the latest of the chosen way to pay.

    `failed` is the session that was opened last, if it failed.  What its provider declined is not proposed again while there is another way:
    who would ask again can still choose it.
    `tenders` are the gift cards and the wallet that are used, each with its row, in their order; `wallet` is the buyer's, used or not.
    """

    offers: Sequence[Offer]
    method: Method | None
    session: CheckoutSession | None
    unused: CheckoutSession | None
    failed: CheckoutSession | None
    tenders: Sequence[ChosenTender]
    plan: Plan
    wallet: StoredValue | None
    takes_gift_cards: bool
    saved_cards: Sequence[SavedCard]

    def part_of(self, value: StoredValue) -> Money:
        """Return what it would pay."""
        return next((part for one, part in self.plan.parts if one.pk == value.pk), self.plan.rest * 0)


def choices_of(event: PaymentEvent, to_pay: Money, *, now: datetime) -> Choices:
    """Return what the buyer may choose, and chose, of a checkout whose orders and sessions were read."""
    chosen = chosen_tenders(event)
    plan = tenders.planned([each.value for each in chosen], to_pay, now=now)
    offers = offers_of(event, plan.rest)
    sessions = sorted(event.sessions.all(), key=lambda row: row.pk)
    failed = next((row for row in sessions if row.session == event.psp_session and row.status == SessionStatus.FAILED), None)
    method = proposed(event, [offer.method for offer in offers if not offer.refusal], failed)
    of_method = [row for row in sessions if method and row.method == method.name]
    unused = [row for row in sessions if row.status == SessionStatus.UNUSED and METHODS[row.method].confirms_itself]
    takes_stored_value = all(order.fills_id is None for order in event.orders.all())
    return Choices(
        offers=offers,
        method=method,
        session=of_method[-1] if of_method else None,
        unused=unused[-1] if unused else None,
        failed=failed,
        tenders=chosen,
        plan=plan,
        wallet=buyer_wallets.in_currency(event.buyer, to_pay.currency.code) if takes_stored_value and event.buyer_signed_in else None,
        takes_gift_cards=takes_stored_value,
        saved_cards=saved_cards.offered_to(event),
    )


def proposed(event: PaymentEvent, possible: Sequence[Method], failed: CheckoutSession | None) -> Method | None:
    """Return the way to pay that the page proposes: the one chosen before, unless its provider has just declined the buyer, else the first."""
    declined = failed.method if failed and failed.failure_code == DECLINED_BY_PROVIDER else ""
    others = [each for each in possible if each.name != declined] or possible
    return next((each for each in others if each.name == event.chosen_method), others[0] if others else None)


def offers_of(event: PaymentEvent, rest: Money) -> Sequence[Offer]:
    """Return the ways to pay that the checkout's PSP has for the buyer's country, each with the reason why it cannot charge the rest.

    None if the PSP is not configured.
    """
    try:
        psp = registry.psp_named(event.psp)
    except UnknownPsp:
        return []
    charged, country = rest or event.amount, event.buyer_country
    offered = [each for each in METHODS.values() if each.needs_psp and each.name in psp.methods and is_for(country, each, psp)]
    return [Offer(each, refusal_of(each, psp, charged, country) or "") for each in offered]


def chosen_tenders(event: PaymentEvent) -> Sequence[ChosenTender]:
    """Return the gift cards and the wallet that the buyer wants to use, in the order in which they pay (as `tenders.chosen`)."""
    return list(tenders.wanted(event).select_related("value__gift_card"))


@sensitive_variables()
def use_gift_card(event: PaymentEvent, code: str, *, address: str, now: datetime) -> None:
    """Let the gift card with this code pay as much as it can; one that is used already stays so.

    Raises what `gift_cards.find_by_code` raises, TakesNoStoredValue, TooManyGiftCards.
    """
    intake.require_takes_stored_value(event)
    who = Who(checkout=event.public_id, buyer=f"{event.shop_id}:{event.buyer_id}" if event.buyer_signed_in else "", address=address)
    card = gift_cards.find_by_code(event.shop, code, currency=event.amount.currency.code, who=who, now=now)
    others = tenders.wanted(event).filter(value__kind=StoredValue.Kind.GIFT_CARD).exclude(value=card.value)
    if others.count() >= MOST_GIFT_CARDS:
        raise TooManyGiftCards(f"A payment takes {MOST_GIFT_CARDS} gift cards at most.", field="code")
    ChosenTender.objects.update_or_create(event=event, value=card.value, defaults={"created_at": now})  # by the code that is good now


def remove_tender(event: PaymentEvent, tender_id: int) -> None:
    """Use it no more; one that is not used is left alone."""
    ChosenTender.objects.filter(event=event, pk=tender_id).delete()


def use_wallet(event: PaymentEvent, *, wanted: bool, now: datetime) -> None:
    """Let the buyer's wallet pay as much as it can, or no more.  Raises TakesNoStoredValue, and WalletNotOffered without one that has money."""
    chosen = ChosenTender.objects.filter(event=event, value__kind=StoredValue.Kind.WALLET)
    if not wanted:
        chosen.delete()
        return
    intake.require_takes_stored_value(event)
    currency = event.amount.currency.code
    wallet = buyer_wallets.in_currency(event.buyer, currency) if event.buyer_signed_in else None
    if wallet is None or not stored_value.usable(wallet, currency=currency, now=now):
        raise WalletNotOffered("There is no money in the wallet that could be used here. Choose another way to pay.", field="use")
    ChosenTender.objects.get_or_create(event=event, value=wallet)


def state_of(session: CheckoutSession | None, *, now: datetime) -> str:
    """Return how a session stands in the page's words; "" if none was opened."""
    if session is None:
        return ""
    if session.status in (SessionStatus.OPEN, SessionStatus.REQUIRES_ACTION) and seconds_left(session, now=now) == 0:
        return "expired"
    match session.status:
        case SessionStatus.OPEN:
            return "waiting_for_phone" if METHODS[session.method].asks == Asks.SHOW_CODE else "open"
        case SessionStatus.COMPLETE:
            return "approved"
        case _:
            return session.status


def seconds_left(session: CheckoutSession | None, *, now: datetime) -> int | None:
    """Return for how long the session is open yet; None if there is none, or nobody says."""
    if session is None or session.expires_at is None:
        return None
    return max(int((session.expires_at - now).total_seconds()), 0)

"""Gift cards: sold or granted, found by their code, and frozen.  What is on one, `stored_value` alone changes.

A sold card is prepared empty by the transaction that opens its checkout; its value comes with the payment.  A granted one has its value
at once, at our expense, and takes two people above a limit (ledger/approvals.py).  A code is made for a card that has value, shown once, and
ends the one before it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.views.decorators.debug import sensitive_variables
from djmoney.money import Money

from ledger import approvals, chart, journal
from ledger.errors import DomainError
from ledger.journal import Draft
from ledger.models import JournalEntry
from ledger.money import text, zero
from wallet import gift_card_codes, gift_card_news, gift_card_tries, notifications, stored_value
from wallet.gift_card_tries import Who
from wallet.models import Buyer, DueExpiry, GiftCard, Shop, StoredValue, StoredValueEntry
from wallet.stored_value import Change

LONGEST_DAYS = 36_500

# What somebody gave away alone lately, by the time of Postgres.  Whoever approves something for somebody else is named beside them, and so not meant.
ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtextextended('wallet.gift_cards:' || %s, 0))"
GIVEN_LATELY = """
SELECT coalesce(sum(amount), 0) FROM wallet_giftcard
WHERE origin = 'granted' AND issued_by = %s AND created_at > now() - interval '24 hours' AND currency = %s
"""


class GiftCardConflict(DomainError):
    code = "gift_card_conflict"


class UnknownGiftCard(DomainError):
    code = "unknown_gift_card"


class GiftCardExpired(DomainError):
    code = "gift_card_expired"


class GiftCardEmpty(DomainError):
    code = "gift_card_empty"


class GiftCardFrozen(DomainError):
    code = "gift_card_frozen"


class GiftCardOfAnotherCurrency(DomainError):
    code = "gift_card_other_currency"


@dataclass(frozen=True, slots=True)
class NewGiftCard:
    """A gift card to be: over how much, and for how many days (none: as the shop or the house has it; 0: for ever).

    `reference` is the shop's own id of it, `once` the shop's name for this wish (its Idempotency-Key); both may be empty, and neither is used
    for two cards.
    """

    amount: Money
    reference: str = ""
    valid_days: int | None = None
    once: str = ""


@dataclass(frozen=True, slots=True)
class Sale:
    """A gift card that a checkout sells: what its payment order fills (payments/intake.py)."""

    card: NewGiftCard
    now: datetime

    def prepare(self, buyer: Buyer) -> StoredValue:
        """Make the empty card; who opens the checkout calls it, in that transaction.  Raises GiftCardConflict."""
        return prepare_sale(buyer.shop, self.card, now=self.now).value

    def is_same(self, standing: StoredValue) -> bool:
        """Is this the card that the checkout with this id sells already?  (Its amount is the order's.)"""
        card = GiftCard.objects.filter(value=standing).first()
        return card is not None and card.reference == self.card.reference


@transaction.atomic(durable=True)
def grant(
    shop: Shop, card: NewGiftCard, *, reason: str, by: str, now: datetime, limits: Mapping[str, Decimal] | None = None
) -> tuple[GiftCard, bool]:
    """Give a gift card away; return it, and whether it is new.  The platform bears it.  What `granted` says holds; commits by itself.

    Raises ApprovalNeeded for a new card that is more than one person, or one key, may give away alone within 24 hours (`limits`).
    """
    currency = card.amount.currency.code
    if limits and currency in limits:
        given = given_lately(by, currency)
        if standing_of(shop, card) is None:
            require_within(card.amount, limits, given=given)
    return granted(shop, card, reason=reason, by=by, now=now)


def granted(shop: Shop, card: NewGiftCard, *, reason: str, by: str, now: datetime) -> tuple[GiftCard, bool]:
    """Give a gift card away inside the caller's transaction, who has looked at the limits.

    The same wish again - by `once`, or by `reference` - answers with the card that stands.  Raises GiftCardConflict naming what differs,
    and ReasonMissing.
    """
    approvals.require_reason(reason)
    standing = standing_of(shop, card)
    if standing is None:
        try:
            with transaction.atomic():
                made = make(shop, card, GiftCard.Origin.GRANTED, reason=reason[:200], by=by, now=now)
        except IntegrityError:  # somebody else was first, in this very moment
            standing = standing_of(shop, card)
            if standing is None:
                raise
    if standing is not None:
        return require_same(standing, card, reason=reason[:200]), False
    [entry] = journal.post([draft_of_grant(card.amount, reference=made.public_id, memo=reason, now=now)])
    kind = StoredValueEntry.Kind.GRANTED
    change = Change(made.value_id, card.amount, card.amount * 0, kind=kind, source=made.public_id, journal_entry_id=entry)
    stored_value.change([change])
    made.value.refresh_from_db()
    notifications.publish([gift_card_news.issued(made)])
    return made, True


def draft_of_grant(amount: Money, *, reference: str, memo: str, now: datetime) -> Draft:
    """The entry of one card given away: it is our expense, and we owe whoever holds it."""
    return Draft(
        kind=JournalEntry.Kind.GIFT_CARD_GRANT,
        reference=reference,
        memo=memo,
        effective_at=now,
        debits=[(chart.gift_card_grants(), amount)],
        credits=[(chart.gift_cards(), amount)],
    )


def given_lately(by: str, currency: str) -> Money:
    """Return what they gave away alone within the last 24 hours, and let them give nothing more away until the caller's transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute(ONE_AT_A_TIME, [by])
        cursor.execute(GIVEN_LATELY, [by, currency])
        return Money(cursor.fetchone()[0], currency)


def require_within(amount: Money, limits: Mapping[str, Decimal], *, given: Money) -> None:
    """Raise ApprovalNeeded if the card, with what they gave away lately, is over more than one person, or one key, may give away alone."""
    if approvals.is_above(given + amount, limits):
        currency = amount.currency
        most = Money(limits[currency.code], currency)
        left = max(most - given, zero(currency.code))
        raise approvals.ApprovalNeeded(
            f"A gift card over {text(amount)} {currency} takes two people. One may give away {text(most)} {currency} within 24 hours, of which "
            f"{text(given)} {currency} are given: {text(left)} {currency} are left.",
            field="amount",
        )


def prepare_sale(shop: Shop, card: NewGiftCard, *, now: datetime) -> GiftCard:
    """Make an empty gift card, whose value comes with a payment that fills it.  Inside the caller's transaction.  Raises GiftCardConflict."""
    if standing_of(shop, card):
        raise GiftCardConflict(f"{card.reference or card.once} is another gift card already.", field="reference")
    try:
        with transaction.atomic():
            return make(shop, card, GiftCard.Origin.SOLD, reason="", by="", now=now)
    except IntegrityError as error:  # somebody else was first, in this very moment
        if not standing_of(shop, card):
            raise
        raise GiftCardConflict(f"{card.reference or card.once} is another gift card already.", field="reference") from error


def make(shop: Shop, card: NewGiftCard, origin: GiftCard.Origin, *, reason: str, by: str, now: datetime) -> GiftCard:
    """Write an empty card, and when it expires."""
    expires_at = expiry_of(shop, card, now=now)
    value = stored_value.open_gift_card(shop, currency=card.amount.currency.code, expires_at=expires_at)
    journal.open_accounts([chart.gift_card_grants(), chart.breakage_revenue()], currency=card.amount.currency.code)
    if expires_at is not None:
        DueExpiry.objects.create(value=value, due_at=expires_at)
    made = GiftCard(shop=shop, value=value, origin=origin, amount=card.amount, reference=card.reference, once=card.once)
    made.reason, made.issued_by, made.told = reason, by, 1 if origin == GiftCard.Origin.GRANTED else 0
    made.save(force_insert=True)
    return made


def expiry_of(shop: Shop, card: NewGiftCard, *, now: datetime) -> datetime | None:
    """Return when a card that is issued now expires: its own days, else the shop's, else the house's; none: never."""
    own = card.valid_days if card.valid_days is not None else shop.gift_card_days
    days = settings.GIFT_CARD_DAYS if own is None else own
    return now + timedelta(days=days) if days else None


def standing_of(shop: Shop, card: NewGiftCard) -> GiftCard | None:
    """Return the shop's card that was asked for with this key, or has this reference."""
    cards = GiftCard.objects.select_related("value").filter(shop=shop)
    by_key = cards.filter(once=card.once).first() if card.once else None
    return by_key or (cards.filter(reference=card.reference).first() if card.reference else None)


def require_same(standing: GiftCard, card: NewGiftCard, *, reason: str) -> GiftCard:
    """Return the granted card that stands.  Raises GiftCardConflict naming the first term that is not the same."""
    differences = {
        "amount": standing.amount != card.amount,
        "reference": (standing.reference, standing.origin) != (card.reference, GiftCard.Origin.GRANTED),
        "reason": standing.reason != reason,
    }
    for term, differs in differences.items():
        if differs:
            raise GiftCardConflict(f"{standing.public_id} was asked for before, with another {term}.", field=term)
    return standing


@transaction.atomic(durable=True)
@sensitive_variables()
def make_code(card_id: int, *, now: datetime) -> str:
    """Make the card's code and return it, as nobody ever can again; the code before it is over.  Locks the value, then the card.

    Raises GiftCardEmpty (no payment filled it yet, say) and GiftCardExpired.
    """
    card = GiftCard.objects.get(pk=card_id)
    [card.value] = stored_value.lock([card.value_id])
    require_not_expired(card, now=now)
    if not card.value.balance:
        raise GiftCardEmpty(f"Nothing is on {card.public_id}: a code is made for a gift card that has value.")
    code = gift_card_codes.new_code()
    card.code_hash, card.code_last4, card.code_made_at = gift_card_codes.hash_of(gift_card_codes.normalised(code)), code[-4:], now
    card.save(update_fields=["code_hash", "code_last4", "code_made_at"])
    return code


@sensitive_variables()
def find(shop: Shop, code: str, *, who: Who, now: datetime) -> GiftCard:
    """Return the shop's gift card with this code, as it stands: to say what is on it.  A wrong code counts against who tries it.

    Commits the count by itself, so no transaction may be open.  Raises UnknownGiftCard (one word for wrong and unknown), TooManyCodesTried.
    """
    gift_card_tries.count(shop, who, now=now)
    hashed = gift_card_codes.hash_of(gift_card_codes.normalised(code))
    card = listed(shop).filter(code_hash=hashed).exclude(code_hash="").first()  # in the words of the index, for every plan
    if card is None:
        raise UnknownGiftCard("There is no gift card with this code. Check it and try again.", field="code")
    gift_card_tries.give_back(shop, who)
    return card


@sensitive_variables()
def find_by_code(shop: Shop, code: str, *, currency: str, who: Who, now: datetime) -> GiftCard:
    """Return the shop's gift card with this code, which something in the currency can be paid with now.

    Raises what `find` and `require_usable` raise.
    """
    card = find(shop, code, who=who, now=now)
    require_usable(card, currency=currency, now=now)
    return card


def require_usable(card: GiftCard, *, currency: str, now: datetime) -> None:
    """Raise GiftCardExpired, GiftCardFrozen, GiftCardOfAnotherCurrency, or GiftCardEmpty (all of it is spent, or held by a checkout)."""
    require_not_expired(card, now=now)
    if card.value.frozen_at is not None:
        raise GiftCardFrozen("This gift card cannot be used at present. Ask the shop.", field="code")
    if card.amount.currency.code != currency:
        raise GiftCardOfAnotherCurrency(f"This gift card is in {card.amount.currency}, and you pay in {currency}.", field="code")
    if not card.value.balance:
        raise GiftCardEmpty("Nothing is left on this gift card.", field="code")
    if not card.value.free:
        raise GiftCardEmpty("What is left on this gift card is held by another payment that is under way.", field="code")


def require_not_expired(card: GiftCard, *, now: datetime) -> None:
    if card.value.expires_at is not None and card.value.expires_at <= now:
        raise GiftCardExpired(f"This gift card expired on {card.value.expires_at:%Y-%m-%d}.", field="code")


def listed(shop: Shop) -> QuerySet[GiftCard]:
    """Return the shop's gift cards with their values, and whether each was ever filled."""
    return with_standing(GiftCard.objects.filter(shop=shop))


def with_standing(cards: QuerySet[GiftCard]) -> QuerySet[GiftCard]:
    entries = StoredValueEntry.objects.filter(value=OuterRef("value"))
    return cards.select_related("value", "shop").annotate(was_filled=Exists(entries))


def status_of(card: GiftCard, *, now: datetime) -> str:
    """Return how a listed card stands: awaiting_payment, expired, frozen, empty or active."""
    value = card.value
    if not getattr(card, "was_filled", True):
        return "awaiting_payment"
    if value.expires_at is not None and value.expires_at <= now:
        return "expired"
    if value.frozen_at is not None:
        return "frozen"
    return "active" if value.balance else "empty"

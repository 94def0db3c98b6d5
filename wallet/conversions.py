"""Conversions: a seller's money in one currency becomes money in another, at the rates of the day.

One journal entry that balances in each currency, and both wallets, change in one commit.  What comes out is rounded down to the minor unit,
so that changing money there and back never makes any.  Between the two currencies stands the account `fx_position`: what the platform holds
of the one, and owes of the other, until it changes that itself; what it gains or loses meanwhile is seen there (conversion_position.py).

Locks all wallets of the sellers by ascending id.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from math import floor

from django.db import transaction
from djmoney.money import Money

from ledger import chart, journal
from ledger.errors import DomainError
from ledger.journal import Draft
from ledger.models import JournalEntry
from ledger.money import LARGEST, TooLarge, from_minor, minor_units, text, zero
from ledger.statements import execute
from wallet import balances, conversion_news, notifications, rates
from wallet.balances import Change, UnknownWallet
from wallet.models import Conversion, Seller, WalletEntry
from wallet.rates import Pair


class NotConvertible(DomainError):
    """Nothing, more than there is, or so little that nothing would come out."""

    code = "not_convertible"


class ConversionConflict(DomainError):
    """The same Idempotency-Key was used for another conversion."""

    code = "conversion_conflict"


class QuoteChanged(DomainError):
    """Another rate holds by now than when the quote was given."""

    code = "quote_changed"


@dataclass(frozen=True, slots=True)
class Quote:
    """What an amount would become now, and by which rates.  Nothing is promised: a new rate may come."""

    sold: Money
    bought: Money
    pair: Pair

    @property
    def rate(self) -> Decimal:
        return self.pair.rate

    @property
    def source(self) -> str:
        return self.pair.source

    @property
    def quoted_on(self) -> date:
        return self.pair.quoted_on


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants converted.  `once` (an Idempotency-Key) names the wish, `requested_by` says whose it is.

    `expected` is what they were told that they get: if it is another amount by now, nothing is converted.  None takes what there is.
    """

    amount: Money
    to: str
    once: str = ""
    requested_by: str = ""
    expected: Money | None = None


@dataclass(frozen=True, slots=True)
class Deal:
    """What one seller gives and gets."""

    seller: Seller
    quote: Quote
    once: str = ""


LOCK = """
SELECT seller_id, currency, available FROM wallet_wallet
WHERE seller_id IN (SELECT id FROM json_to_recordset(%s) AS wanted (id bigint)) ORDER BY id FOR NO KEY UPDATE
"""


# --- What would come out --------------------------------------------------------------------------------------------


def quote(amount: Money, to: str, *, now: datetime) -> Quote:
    """Return what the amount would become in that currency now.

    Raises UnknownCurrency, SameCurrency, NoRate, StaleRate, NotConvertible, TooLarge.
    """
    return quoted(amount, rates.pair(amount.currency.code, to, now=now))


def quoted(sold: Money, pair: Pair) -> Quote:
    """Return what the amount becomes by these rates, rounded down to the minor unit.  Raises NotConvertible, TooLarge."""
    if sold.amount <= 0:
        raise NotConvertible("Send an amount above zero.", field="amount")
    bought = bought_for(sold, pair)
    if not bought.amount:
        raise NotConvertible(f"{text(sold)} {sold.currency} is less than the smallest amount of {pair.bought}.", field="amount")
    if bought.amount > LARGEST:
        raise TooLarge(f"{text(sold)} {sold.currency} would be more {pair.bought} than the largest amount.", field="amount")
    return Quote(sold, bought, pair)


def bought_for(sold: Money, pair: Pair) -> Money:
    """Return what the amount becomes by these rates: reckoned exactly, and rounded down once."""
    worth = Fraction(sold.amount) * Fraction(pair.bought_per_euro) / Fraction(pair.sold_per_euro)
    return from_minor(floor(worth * 10 ** minor_units(pair.bought)), pair.bought)


def tell(movements: Sequence[WalletEntry]) -> None:
    """Put the conversion behind each movement of one beside it (`conversion`), for whoever shows them.  One query, or none."""
    sources = {each.source for each in movements if each.kind == WalletEntry.Kind.CONVERSION}
    made = {each.public_id: each for each in Conversion.objects.filter(public_id__in=sources)} if sources else {}
    for each in movements:
        each.conversion = made.get(each.source)  # type: ignore[attr-defined]


# --- One conversion -------------------------------------------------------------------------------------------------


@transaction.atomic(durable=True)
def convert(seller: Seller, wish: Wish, *, kept: Money, now: datetime) -> Conversion:
    """Change money of the seller's available balance into another currency; what is `kept` of the wallet always stays there.

    The same wish answers with its conversion, whatever the rates are by then.  Raises UnknownCurrency, SameCurrency, NoRate, StaleRate,
    UnknownWallet, NotConvertible, TooLarge, QuoteChanged, and ConversionConflict (the same key stands with other terms; `field` says which).
    """
    sold = wish.amount.currency.code
    minor_units(wish.to)
    available = lock([seller.pk]).get((seller.pk, sold))
    if (standing := asked_before(seller, wish)) is not None:
        return standing
    if available is None:
        raise UnknownWallet(f"The seller has no wallet in {sold}: nothing was sold in it yet.", field="amount")
    offer = quote(wish.amount, wish.to, now=now)
    most = max(available - kept.amount, Decimal(0))
    if wish.amount.amount > most:
        raise NotConvertible(f"{text(Money(most, sold))} {sold} can be converted, and not {text(wish.amount)} {sold}.", field="amount")
    if wish.expected not in (None, offer.bought):
        raise QuoteChanged(f"By the rate of now it is {text(offer.bought)} {wish.to}. Look at it, and ask again.", field="expected")
    balances.open_wallets([seller.pk], currency=wish.to)
    [made] = post([Deal(seller, offer, wish.once)], requested_by=wish.requested_by, now=now)
    return made


def asked_before(seller: Seller, wish: Wish) -> Conversion | None:
    """Return the conversion that this wish has made already.  Raises ConversionConflict if it was another wish then."""
    found = Conversion.objects.filter(seller=seller, once=wish.once).first() if wish.once else None
    if found is not None and (found.sold, found.bought.currency.code) != (wish.amount, wish.to):
        said = f"{found.public_id} was asked for with the same Idempotency-Key: {text(found.sold)} {found.sold.currency} into {found.bought.currency}."
        raise ConversionConflict(said, field="amount" if found.bought.currency.code == wish.to else "to")
    return found


# --- Many at once ---------------------------------------------------------------------------------------------------


def sell_all(sellers: Sequence[Seller], pair: Pair, *, kept: Mapping[int, Money], requested_by: str, now: datetime) -> list[Conversion]:
    """Convert whatever the sellers have available in a currency above what is kept of it (by seller), inside the caller's transaction.

    A fixed number of statements for any number of sellers.  What is too little to become anything stays where it is, and so does what would
    be more than an amount can be.
    """
    held = lock([seller.pk for seller in sellers])
    deals = []
    for seller in sellers:
        keep = kept.get(seller.pk, zero(pair.sold))
        spare = Money(held.get((seller.pk, pair.sold), Decimal(0)), pair.sold) - keep
        if spare.amount > 0 and 0 < bought_for(spare, pair).amount <= LARGEST:
            deals.append(Deal(seller, quoted(spare, pair)))
    if not deals:
        return []
    balances.open_wallets([deal.seller.pk for deal in deals], currency=pair.bought)
    return post(deals, requested_by=requested_by, now=now)


def lock(seller_ids: Sequence[int]) -> dict[tuple[int, str], Decimal]:
    """Lock all wallets of the sellers, by ascending id; return what is available in each, by seller and currency."""
    rows = execute(LOCK, [{"id": seller_id} for seller_id in seller_ids])
    return {(seller_id, currency): available for seller_id, currency, available in rows}


def post(deals: Sequence[Deal], *, requested_by: str, now: datetime) -> list[Conversion]:
    """Write the conversions: rows, entries, movements and messages.  The caller holds the wallets and has looked at what is there."""
    made = [conversion_of(deal, requested_by=requested_by, now=now) for deal in deals]
    for currency in sorted({code for each in made for code in (each.sold.currency.code, each.bought.currency.code)}):
        journal.open_accounts([chart.fx_position()], currency=currency)
    entries = journal.post([draft_of(each) for each in made])
    left = balances.change([movement(each, entry, -each.sold) for each, entry in zip(made, entries, strict=True)])
    came = balances.change([movement(each, entry, each.bought) for each, entry in zip(made, entries, strict=True)])
    for each, *ids in zip(made, entries, left, came, strict=True):
        each.journal_entry_id, each.sold_entry_id, each.bought_entry_id = ids
    Conversion.objects.bulk_create(made)
    notifications.publish([conversion_news.made(each) for each in made])
    return made


def conversion_of(deal: Deal, *, requested_by: str, now: datetime) -> Conversion:
    pair = deal.quote.pair
    return Conversion(
        seller=deal.seller,
        sold=deal.quote.sold,
        bought=deal.quote.bought,
        rate=pair.rate,
        sold_per_euro=pair.sold_per_euro,
        bought_per_euro=pair.bought_per_euro,
        sold_rate=pair.sold_rate,
        bought_rate=pair.bought_rate,
        source=pair.source,
        quoted_on=pair.quoted_on,
        requested_by=requested_by,
        once=deal.once,
        converted_at=now,
    )


def draft_of(made: Conversion) -> Draft:
    """The entry of one conversion: we owe the seller less of the one currency and more of the other, and hold the difference."""
    wallet, position = chart.seller_available(made.seller_id), chart.fx_position()
    return Draft(
        kind=JournalEntry.Kind.CONVERSION,
        reference=made.public_id,
        effective_at=made.converted_at,
        debits=[(wallet, made.sold), (position, made.bought)],
        credits=[(position, made.sold), (wallet, made.bought)],
    )


def movement(made: Conversion, entry: int, amount: Money) -> Change:
    nothing = zero(amount.currency.code)
    kind = WalletEntry.Kind.CONVERSION
    return Change(made.seller_id, entry, kind, made.public_id, amount, nothing, nothing, available=amount, reserved=nothing)

"""Stored value: the only writer of what is left on gift cards and in buyers' wallets, and of its movements.

Each movement names the journal entry that says the same in the books; both are written by one transaction.  What a checkout wants is held
first, taken when its charge succeeded, and let go when it did not: so nothing is spent twice, and a gift card is whole again after a
declined card.  Stored values are locked by ascending id, after orders and before wallets of sellers.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from djmoney.money import Money

from ledger import chart, journal
from ledger.errors import DomainError
from ledger.money import text, zero
from ledger.statements import execute
from wallet.models import Buyer, DueExpiry, GiftCard, Shop, StoredValue


class StoredValueTooLow(DomainError):
    code = "stored_value_too_low"


@dataclass(frozen=True, slots=True)
class Change:
    """What one fact changes of a stored value: its balance, and what of it is held; negative takes away.

    `kind`, `source` and `journal_entry_id` say why the balance changes; they are not kept where it does not.
    """

    value_id: int
    amount: Money
    held: Money
    kind: str = ""
    source: str = ""
    journal_entry_id: int | None = None


CHANGE = """
WITH change AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%s) AS change (value_id bigint, amount numeric, held numeric, currency text, kind text, source text,
        journal_entry_id bigint)
), locked AS MATERIALIZED (
    SELECT id, currency FROM wallet_storedvalue WHERE id IN (SELECT value_id FROM change) ORDER BY id FOR NO KEY UPDATE
), entry AS (
    INSERT INTO wallet_storedvalueentry (value_id, kind, source, journal_entry_id, amount, currency)
    SELECT locked.id, kind, source, journal_entry_id, amount, locked.currency
    FROM change JOIN locked ON locked.id = value_id AND locked.currency = change.currency WHERE amount <> 0
), moved AS (
    UPDATE wallet_storedvalue AS stored SET balance = stored.balance + brought.amount, held = stored.held + brought.held
    FROM (SELECT locked.id, sum(amount) AS amount, sum(held) AS held
          FROM change JOIN locked ON locked.id = value_id AND locked.currency = change.currency GROUP BY locked.id) AS brought
    WHERE stored.id = brought.id
)
SELECT count(*) FROM change JOIN locked ON locked.id = value_id AND locked.currency = change.currency
"""


def lock(value_ids: Collection[int]) -> list[StoredValue]:
    """Lock the stored values by ascending id and return them.  Inside the caller's transaction."""
    return list(StoredValue.objects.select_for_update(no_key=True).filter(pk__in=value_ids).order_by("pk"))


def usable(value: StoredValue, *, currency: str, now: datetime) -> Money:
    """Return what of it can be spent now in the currency: nothing if it is frozen, has expired, or is in another currency."""
    is_over = value.expires_at is not None and value.expires_at <= now
    if is_over or value.frozen_at is not None or value.balance.currency.code != currency:
        return zero(currency)
    return value.free


def change(changes: Sequence[Change]) -> None:
    """Change balances and what is held of them, as each change says.  One statement, inside the caller's transaction; locks by ascending id.

    Postgres refuses to hold more than there is, and to take more than is left beside what is held (IntegrityError).  Raises
    StoredValueTooLow for one that is not there in that currency.
    """
    if not changes:
        return
    [(count,)] = execute(CHANGE, [row_of(each) for each in changes])
    if count != len(changes):
        raise StoredValueTooLow(
            f"{len(changes) - count} of {len(changes)} movements name a stored value that is not there in their currency."
        )


def hold(value: StoredValue, amount: Money) -> None:
    """Hold so much of a locked stored value.  Raises StoredValueTooLow."""
    if amount.currency != value.balance.currency or amount > value.free:
        raise StoredValueTooLow(
            f"{text(value.free)} {value.balance.currency} of it are left, and {text(amount)} {amount.currency} are needed."
        )
    change([Change(value.pk, amount=amount * 0, held=amount)])


def row_of(each: Change) -> dict[str, Any]:
    return {
        "value_id": each.value_id,
        "amount": each.amount.amount,
        "held": each.held.amount,
        "currency": each.amount.currency.code,
        "kind": each.kind,
        "source": each.source,
        "journal_entry_id": each.journal_entry_id,
    }


def account_of(value: StoredValue) -> str:
    """Return the account in the books that says what we owe for it."""
    if value.kind == StoredValue.Kind.GIFT_CARD:
        return chart.gift_cards()
    if value.buyer_id is None:
        raise ValueError("a wallet has a buyer")
    return chart.buyer_wallet(value.buyer_id)


def accounts_of(value_ids: Collection[int]) -> dict[int, str]:
    """Return the account of each, by id."""
    return {value.pk: account_of(value) for value in StoredValue.objects.filter(pk__in=value_ids)} if value_ids else {}


def open_gift_card(shop: Shop, *, currency: str, expires_at: datetime | None) -> StoredValue:
    """Make the empty value of a gift card, and its account.  Inside the caller's transaction."""
    journal.open_accounts([chart.gift_cards()], currency=currency)
    nothing = zero(currency)
    return StoredValue.objects.create(shop=shop, kind=StoredValue.Kind.GIFT_CARD, balance=nothing, held=nothing, expires_at=expires_at)


def open_wallet(buyer: Buyer, *, currency: str) -> StoredValue:
    """Return the buyer's wallet in the currency, an empty one if there was none.  Inside the caller's transaction."""
    journal.open_accounts([chart.buyer_wallet(buyer.pk)], currency=currency)
    nothing = zero(currency)
    wallet, _is_new = StoredValue.objects.get_or_create(
        buyer=buyer, currency=currency, kind=StoredValue.Kind.WALLET, defaults={"shop": buyer.shop, "balance": nothing, "held": nothing}
    )
    return wallet


@transaction.atomic
def freeze(value_id: int, *, because: str, now: datetime) -> None:
    """Let nothing of it be spent any more, for this reason (one line) too: it stays frozen until the last one is gone.  Locks it."""
    [value] = lock([value_id])
    if because not in reasons_of(value):
        value.frozen_at, value.frozen_because = value.frozen_at or now, "\n".join([*reasons_of(value), because])
        value.save(update_fields=["frozen_at", "frozen_because"])


@transaction.atomic
def thaw(value_id: int, *, because: str) -> None:
    """Let it be spent again as far as this reason goes; what it was not frozen for changes nothing.  Locks it."""
    [value] = lock([value_id])
    others = [reason for reason in reasons_of(value) if reason != because]
    value.frozen_at, value.frozen_because = value.frozen_at if others else None, "\n".join(others)
    value.save(update_fields=["frozen_at", "frozen_because"])


def reasons_of(value: StoredValue) -> list[str]:
    """Return why it is frozen: ids of disputes, and what staff wrote."""
    return value.frozen_because.splitlines()


def prolong(value_ids: Collection[int], *, until: datetime, over_at: datetime | None = None) -> None:
    """Let gift cards be good until then, if they would expire before, or have; with `over_at`, those alone that are over by then.

    Inside the caller's transaction, which has locked them.  Whoever expires them looks at `expires_at` again, once the value is locked.
    """
    over = list(StoredValue.objects.filter(pk__in=value_ids, expires_at__lt=over_at or until).values_list("pk", flat=True))
    if over:
        StoredValue.objects.filter(pk__in=over).update(expires_at=until)
        GiftCard.objects.filter(value__in=over).update(expired_at=None)
        DueExpiry.objects.bulk_create([DueExpiry(value_id=pk, due_at=until) for pk in over], ignore_conflicts=True)

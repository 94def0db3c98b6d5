"""Where a seller's money goes: bank accounts are checked, sealed, replaced and verified here, and nowhere else.

One account per seller and currency is current.  Its details are never changed: other details are another account, which replaces it and
waits (`settings.BANK_CHANGE_HOLD_H`), so that whoever owned the old one can object.  Nothing is paid out before somebody other than
who gave the details has verified them.  No number is ever part of an error, a message or a log.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.views.decorators.debug import sensitive_variables

from ledger import money
from ledger.errors import DomainError
from payouts import account_numbers, notices, vault
from payouts.account_numbers import Checked
from payouts.models import BankAccount, new_bank_account_id
from wallet.models import Seller

SHOP = "shop"  # verifies what it vouches for
RESEALED_AT_ONCE = 500
LONGEST_HOLDER = 70


class NoSuchBankAccount(DomainError):
    code = "unknown_bank_account"


class NotToVerify(DomainError):
    """It was replaced, or somebody verified it already."""

    code = "already_decided"


class MakerMayNotVerify(DomainError):
    code = "maker_may_not_verify"


@dataclass(frozen=True, slots=True)
class NewBankAccount:
    """An account as somebody gave it: an IBAN, or country, account number and bank code where there is none."""

    currency: str
    holder: str
    iban: str = field(default="", repr=False)
    country: str = ""
    account_number: str = field(default="", repr=False)
    bank_code: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Resealed:
    """What one call of `reseal` did: up to which id, how many accounts, and the ids of those whose details do not open."""

    last: int
    count: int
    unopened: list[str]


@sensitive_variables("wanted", "checked")
@transaction.atomic(durable=True)
def add(seller: Seller, wanted: NewBankAccount, *, by: str, now: datetime) -> BankAccount:
    """Make this the seller's account for its currency; return it.  It must be verified before anything is paid to it.

    The details that are current already change nothing.  A first account can be used once it is verified, another one not before its hold
    is over.  Shop and people are told.  `by` says who gave it (`staff:`, `user:` or `api:` and a name).  Locks the seller, then the account
    before.  Raises BankDetailsRefused, whose `field` names what is wrong.
    """
    holder, checked = read(wanted)
    return kept(seller, wanted.currency, holder, checked, by=by, now=now)


@sensitive_variables("wanted", "checked")
@transaction.atomic(durable=True)
def add_vouched(seller: Seller, wanted: NewBankAccount, *, by: str, now: datetime) -> BankAccount:
    """Do what `add` does, for a shop that has verified the details itself: the account counts as verified by the shop."""
    holder, checked = read(wanted)
    account = kept(seller, wanted.currency, holder, checked, by=by, now=now)
    if account.verified_at is None:
        account.verified_at, account.verified_by = now, SHOP
        account.save(update_fields=["verified_at", "verified_by"])
    return account


@transaction.atomic(durable=True)
def verify(account_id: int, *, by: str, reason: str, now: datetime) -> BankAccount:
    """Note that the account is the seller's, and how that was found out; from then on, and after its hold, money goes there.

    Locks the account.  Raises MakerMayNotVerify for who gave the details, NotToVerify if it was replaced or verified meanwhile,
    NoSuchBankAccount.
    """
    account = BankAccount.objects.select_for_update(no_key=True).filter(pk=account_id).first()
    if account is None:
        raise NoSuchBankAccount("There is no such bank account. Look at the seller's list of them.")
    if account.replaced_at is not None:
        raise NotToVerify(f"The bank account {account.public_id} was replaced by another one. Verify that one.")
    if account.verified_at is not None:
        raise NotToVerify(f"The bank account {account.public_id} was verified by {account.verified_by} already.")
    if name_in(account.added_by) == name_in(by):
        raise MakerMayNotVerify("You gave these details yourself. Somebody else must verify them.")
    account.verified_at, account.verified_by, account.verified_reason = now, by, reason[:200]
    account.save(update_fields=["verified_at", "verified_by", "verified_reason"])
    return account


def name_in(actor: str) -> str:
    """Return who it is, as staff or as a seller's person: the same name is the same login."""
    return actor.partition(":")[2] or actor


def current(seller: Seller, currency: str) -> BankAccount | None:
    """Return the seller's account for the currency, verified or not, on hold or not; None if there is none."""
    return BankAccount.objects.filter(seller=seller, currency=currency, replaced_at=None).first()


@transaction.atomic(durable=True)
def reseal(*, after: int = 0) -> Resealed | None:
    """Seal up to RESEALED_AT_ONCE accounts anew that an older key has sealed, those with ids after `after`; None if there are none.

    Locks them by id.  An account that does not open stays as it is.
    """
    older = BankAccount.objects.select_for_update(no_key=True).filter(pk__gt=after).exclude(sealed__startswith=vault.current_mark())
    accounts, unopened = list(older.order_by("pk")[:RESEALED_AT_ONCE]), []
    for account in accounts:
        try:
            details = vault.open_sealed(account.sealed, owner=account.public_id)
        except vault.CannotOpen:
            unopened.append(account.public_id)
        else:
            account.sealed = vault.seal(details, owner=account.public_id)
    BankAccount.objects.bulk_update(accounts, ["sealed"])
    return Resealed(accounts[-1].pk, len(accounts) - len(unopened), unopened) if accounts else None


@sensitive_variables("wanted")
def read(wanted: NewBankAccount) -> tuple[str, Checked]:
    """Return the holder as it is kept, and the checked details.  Raises BankDetailsRefused, UnknownCurrency."""
    money.minor_units(wanted.currency)
    holder = " ".join(wanted.holder.split())
    if not 1 <= len(holder) <= LONGEST_HOLDER or not holder.isprintable() or not any(sign.isalnum() for sign in holder):
        said = f"Give the name that the bank knows the account by, in 1 to {LONGEST_HOLDER} letters that can be seen."
        raise account_numbers.BankDetailsRefused(said, field="holder")
    given = {name: getattr(wanted, name) for name in ("iban", "country", "account_number", "bank_code")}
    checked = account_numbers.checked(**given)
    account_numbers.require_currency(checked, wanted.currency)
    return holder, checked


@sensitive_variables("checked")
def kept(seller: Seller, currency: str, holder: str, checked: Checked, *, by: str, now: datetime) -> BankAccount:
    """Return the current account if it is this one, else put this one in its place, inside the caller's transaction."""
    Seller.objects.select_for_update(no_key=True).get(pk=seller.pk)
    fingerprint = vault.fingerprint(checked.text)
    before = BankAccount.objects.select_for_update(no_key=True).filter(seller=seller, currency=currency, replaced_at=None).first()
    if before is not None and (before.fingerprint, before.holder) == (fingerprint, holder):
        return before
    hold = timedelta(hours=settings.BANK_CHANGE_HOLD_H) if before else timedelta()
    public_id = new_bank_account_id()
    if before is not None:
        before.replaced_at = now
        before.save(update_fields=["replaced_at"])
    account = BankAccount.objects.create(
        public_id=public_id,
        seller=seller,
        currency=currency,
        kind=checked.kind,
        country=checked.country,
        holder=holder,
        sealed=vault.seal(checked.details, owner=public_id),
        fingerprint=fingerprint,
        last4=checked.last4,
        bic=checked.bic,
        bank_name=checked.bank_name,
        added_by=by,
        added_at=now,
        usable_from=now + hold,
    )
    notices.tell(account, before=before, now=now)
    return account

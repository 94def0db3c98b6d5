"""The books: accounts, entries and postings, the snapshots that keep long sums short, and the seals that show any edit.

Written by `journal` (entries, postings, accounts), `snapshots` and `seals` alone.  Rows are added and never changed: Postgres refuses
any UPDATE, DELETE or TRUNCATE, an entry that does not balance per currency, has fewer than two legs or is added to later, and an amount
finer than its currency's minor unit (migration 0002).
"""

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from ledger.currencies import MINOR_UNITS
from ledger.money import AmountField, is_exact


class Account(models.Model):
    """A code of the chart in one currency."""

    code = models.TextField()
    currency = models.CharField(max_length=3)

    class Meta:
        verbose_name = _("account")
        verbose_name_plural = _("accounts")
        constraints = [
            models.UniqueConstraint(fields=["code", "currency"], name="account_is_named_once_per_currency"),
            models.CheckConstraint(condition=models.Q(currency__in=sorted(MINOR_UNITS)), name="account_has_a_known_currency"),
        ]

    def __str__(self) -> str:
        return f"{self.code} {self.currency}"


class JournalEntry(models.Model):
    """One fact in the books.  Its reference is unique: that is the at-most-once of the books."""

    class Kind(models.TextChoices):
        SALE = "sale", _("Sale")
        REFUND = "refund", _("Refund")
        REFUND_REVERSAL = "refund_reversal", _("Refund that came back")
        LATE_CHARGE = "late_charge", _("Late charge")
        DISPUTE = "dispute", _("Dispute opened")
        DISPUTE_CLOSED = "dispute_closed", _("Dispute closed")
        RELEASE = "release", _("Delivered: now available")
        RESERVE_RELEASE = "reserve_release", _("Reserve set free")
        PAYOUT = "payout", _("Payout")
        PAYOUT_PAID = "payout_paid", _("Payout arrived")
        PAYOUT_RETURN = "payout_return", _("Payout that came back")
        FEE_INVOICE = "fee_invoice", _("Tax of a fee invoice")
        SETTLEMENT = "settlement", _("Settlement batch of a PSP")
        BANK_STATEMENT = "bank_statement", _("Bank statement")
        RESOLUTION = "resolution", _("Mismatch explained")
        MANUAL = "manual", _("Manual entry")

    kind = models.TextField(choices=Kind)
    reference = models.TextField()
    memo = models.TextField(default="", blank=True)
    effective_at = models.DateTimeField()
    booked_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        verbose_name = _("journal entry")
        verbose_name_plural = _("journal entries")
        indexes = [BrinIndex(fields=["effective_at"], name="entry_by_effective_date")]
        constraints = [models.UniqueConstraint(fields=["reference"], name="entry_is_posted_once")]

    def __str__(self) -> str:
        return f"{self.kind} {self.reference}"

    @property
    def public_id(self) -> str:
        return f"je_{self.pk}"


class Posting(models.Model):
    """One leg of an entry: a debit is positive, a credit negative, and the legs of an entry sum to nothing in each currency."""

    pk = models.CompositePrimaryKey("entry_id", "line")
    entry = models.ForeignKey(JournalEntry, models.PROTECT, related_name="postings", db_constraint=False, db_index=False)
    line = models.SmallIntegerField()
    account = models.ForeignKey(Account, models.PROTECT, related_name="postings", db_constraint=False, db_index=False)
    amount = AmountField()

    class Meta:
        indexes = [models.Index(fields=["account", "entry"], name="posting_by_account")]
        constraints = [
            models.CheckConstraint(condition=~models.Q(amount=0), name="posting_moves_money"),
            models.CheckConstraint(condition=is_exact("amount"), name="posting_is_in_minor_units"),
        ]

    def __str__(self) -> str:
        return f"{'debit' if self.amount.amount > 0 else 'credit'} {abs(self.amount)}"


class BalanceSnapshot(models.Model):
    """An account's balance over all entries up to one of them, so that reading a balance need not sum from the beginning."""

    account = models.ForeignKey(Account, models.PROTECT, related_name="snapshots", db_index=False)
    through_entry_id = models.BigIntegerField()
    balance = models.DecimalField(max_digits=28, decimal_places=4)
    taken_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["account", "through_entry_id"], name="account_has_one_snapshot_per_entry")]

    def __str__(self) -> str:
        return f"{self.account_id} through {self.through_entry_id}"


class EntryDigest(models.Model):
    """The hash of one entry and its postings, as they were when they were sealed."""

    entry_id = models.BigIntegerField(primary_key=True)
    digest = models.BinaryField()

    def __str__(self) -> str:
        return f"je_{self.entry_id}"


class LedgerSeal(models.Model):
    """A link of the chain over the books: it covers the digests of a batch of entries and the seal before it."""

    number = models.BigIntegerField(primary_key=True)
    first_entry_id = models.BigIntegerField()
    last_entry_id = models.BigIntegerField(unique=True)
    entries = models.IntegerField()
    previous_hash = models.TextField(blank=True)
    hash = models.TextField()
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    def __str__(self) -> str:
        return f"seal {self.number}"

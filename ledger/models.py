"""The books: accounts, entries and postings, the snapshots that keep long sums short, and the seals that show any edit.

Written by `journal` (entries, postings, accounts), `snapshots`, `seals` and `periods` (closed months) alone.  Rows are added and never changed: Postgres refuses
any UPDATE, DELETE or TRUNCATE, an entry that does not balance per currency, has fewer than two legs or is added to later, and an amount
finer than its currency's minor unit (migration 0002).

Beside them: what takes two people, and waits for the second one (`approvals`).
"""

from datetime import datetime

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from ledger.currencies import MINOR_UNITS
from ledger.ids import new_id
from ledger.money import AmountField, is_exact


def new_approval_id() -> str:
    return new_id("apr")


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
        WRITE_OFF = "write_off", _("Write-off")
        STORED_VALUE = "stored_value", _("Gift card or top-up bought")
        GIFT_CARD_GRANT = "gift_card_grant", _("Gift card granted")
        BREAKAGE = "breakage", _("Gift card expired")
        CONVERSION = "conversion", _("Currency conversion")

    kind = models.TextField(choices=Kind)
    reference = models.TextField()
    memo = models.TextField(default="", blank=True)
    effective_at = models.DateTimeField()
    occurred_at = models.DateTimeField(null=True, help_text=_("When it happened, if its month was closed by then"))
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

    @property
    def happened_at(self) -> datetime:
        """When it happened: its effective date, but for what was heard of after its month had been closed."""
        return self.occurred_at or self.effective_at


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


class ClosedMonth(models.Model):
    """A month of UTC, by its first day, into which no entry comes any more (periods.py)."""

    month = models.DateField(primary_key=True)
    closed_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        verbose_name = _("closed month")
        verbose_name_plural = _("closed months")
        default_permissions = ()  # they are shown by the month's close

    def __str__(self) -> str:
        return f"{self.month:%Y-%m}"


class ClosedTotal(models.Model):
    """What was debited and credited to all accounts of one kind, in one currency, by the entries of a closed month."""

    month = models.ForeignKey(ClosedMonth, models.PROTECT, related_name="totals", db_index=False)
    kind = models.TextField()
    currency = models.CharField(max_length=3)
    debits = models.DecimalField(max_digits=28, decimal_places=4)
    credits = models.DecimalField(max_digits=28, decimal_places=4)

    class Meta:
        verbose_name = _("total of a closed month")
        verbose_name_plural = _("totals of closed months")
        default_permissions = ()  # they are shown by the month's close
        constraints = [models.UniqueConstraint(fields=["month", "kind", "currency"], name="closed_month_has_one_total_per_kind")]

    def __str__(self) -> str:
        return f"{self.month_id:%Y-%m} {self.kind} {self.currency}"


class Approval(models.Model):
    """What somebody proposes to do, in terms that stay, and what somebody else said to it (approvals.py).

    The kind says what the terms mean; the subject is the id of what it is about, of which one waits at a time.  Postgres keeps the terms as
    they are, and maker and checker apart (migration 0010).
    """

    class Status(models.TextChoices):
        WAITING = "WAITING", _("Waiting for approval")
        APPROVED = "APPROVED", _("Approved")
        REJECTED = "REJECTED", _("Rejected")
        WITHDRAWN = "WITHDRAWN", _("Withdrawn")
        EXPIRED = "EXPIRED", _("Expired")

    public_id = models.TextField(default=new_approval_id, editable=False)
    kind = models.TextField()
    subject = models.TextField(blank=True)
    terms = models.JSONField()
    status = models.TextField(choices=Status, default=Status.WAITING)
    memo = models.TextField()
    made_by = models.TextField()
    made_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    decided_by = models.TextField(blank=True)
    decided_at = models.DateTimeField(null=True)
    reason = models.TextField(blank=True)
    result = models.TextField(blank=True, help_text=_("The id of what came of it"))
    journal_entry = models.ForeignKey(JournalEntry, models.PROTECT, null=True, related_name="+", db_index=False)

    class Meta:
        verbose_name = _("approval")
        verbose_name_plural = _("approvals")
        default_permissions = ("view",)
        permissions = [
            ("propose_entry", _("Can propose a journal entry")),
            ("approve_entry", _("Can approve or reject a journal entry that somebody else proposes")),
            ("propose_write_off", _("Can propose to write something off")),
            ("approve_write_off", _("Can approve or reject a write-off that somebody else proposes")),
        ]
        indexes = [
            models.Index(fields=["expires_at"], condition=models.Q(status="WAITING"), name="approval_that_waits"),
            models.Index(fields=["subject"], condition=~models.Q(subject=""), name="approval_by_subject"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["public_id"], name="approval_has_an_id_of_its_own"),
            models.UniqueConstraint(
                fields=["kind", "subject"],
                condition=models.Q(status="WAITING") & ~models.Q(subject=""),
                name="one_approval_waits_per_subject",
            ),
            models.CheckConstraint(condition=~models.Q(memo="") & ~models.Q(made_by=""), name="approval_says_why_and_by_whom"),
            models.CheckConstraint(
                condition=models.Q(status="WAITING", decided_at=None, decided_by="", reason="")
                | models.Q(status="EXPIRED", decided_at__isnull=False, decided_by="", reason="")
                | models.Q(status__in=["APPROVED", "REJECTED", "WITHDRAWN"], decided_at__isnull=False)
                & ~models.Q(decided_by="")
                & ~models.Q(reason=""),
                name="approval_is_decided_by_somebody_who_says_why",
            ),
            models.CheckConstraint(
                condition=models.Q(status="APPROVED") & ~models.Q(result="")
                | ~models.Q(status="APPROVED") & models.Q(result="", journal_entry=None),
                name="approval_has_its_result",
            ),
        ]

    def __str__(self) -> str:
        return self.public_id


class WrittenDown(models.Model):
    """One step of something, written by Postgres itself (a trigger), so that none is missed: what was, what is, who did it, and why."""

    before = models.TextField(blank=True)
    after = models.TextField(blank=True)
    actor = models.TextField(blank=True, help_text=_("Empty: the machine"))
    reason = models.TextField(blank=True)
    at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        abstract = True
        verbose_name = _("what became of it")
        verbose_name_plural = _("what became of it")
        default_permissions = ("view",)


class ApprovalTransition(WrittenDown):
    """One step of an approval."""

    approval = models.ForeignKey(Approval, models.PROTECT, related_name="transitions")
    after = models.TextField()

    def __str__(self) -> str:
        return f"{self.before or '-'} to {self.after}"

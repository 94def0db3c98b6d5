"""Finance's rows: the files that PSPs and banks send with what stands in them, and what the watch over the house found.

Nothing here is money: a staged line is what somebody else says.  Runs and heartbeats are written by beat's tasks; runs are deleted when
they are old.  Files and their lines are written by `ingestion`, and stay.
"""

from django.core.validators import MaxValueValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from ledger.ids import new_id
from ledger.models import ClosedMonth, JournalEntry, WrittenDown
from ledger.money import is_exact, minor_units
from payments.models import Dispute, LateCharge, PaymentOrder, Refund
from payouts.models import Payout


def new_source_file_id() -> str:
    return new_id("sf")


def new_batch_id() -> str:
    return new_id("sb")


def new_mismatch_id() -> str:
    return new_id("mm")


def new_compared_statement_id() -> str:
    return new_id("bs")


def new_month_close_id() -> str:
    return new_id("mc")


class InvariantRun(models.Model):
    """One look at the invariants: when, how many were checked, and the rows that broke one.

    `seal_head` is what the next look compares the chain of seals with: the head that this one saw, or the older one that it missed.
    """

    class Scope(models.TextChoices):
        QUICK = "quick", _("Quick")
        FULL = "full", _("Full")

    scope = models.TextField(choices=Scope)
    started_at = models.DateTimeField(db_index=True)
    took_ms = models.PositiveIntegerField()
    checked = models.PositiveIntegerField()
    violations = models.JSONField(default=list, blank=True)
    seal_head = models.TextField(default="", blank=True)

    class Meta:
        verbose_name = _("invariant run")
        verbose_name_plural = _("invariant runs")

    def __str__(self) -> str:
        return f"{self.scope} run of {self.started_at:%Y-%m-%d %H:%M:%S}"


class InsideLook(models.Model):
    """One look inside the house (inside.py): who asked for it and why, the figures of both sides, and the run over all invariants.

    `figures` and `drift` are kept for good; the run with all of its rows as long as runs are.  Not made yet: `ended_at` is empty.
    """

    asked_by = models.TextField(blank=True, help_text=_("Empty: beat, each night"))
    reason = models.TextField(blank=True)
    asked_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    figures = models.JSONField(default=list, blank=True, help_text=_("Of both sides"))
    drift = models.JSONField(default=list, blank=True, help_text=_("What stops payouts"))
    run = models.ForeignKey(InvariantRun, models.SET_NULL, null=True, related_name="+", db_index=False)

    class Meta:
        verbose_name = _("look inside")
        verbose_name_plural = _("looks inside")
        default_permissions = ("view",)
        permissions = [("add_insidelook", "Can have the house looked into now")]
        indexes = [models.Index(fields=["id"], condition=Q(ended_at=None), name="look_inside_to_be_made")]
        constraints = [models.CheckConstraint(condition=Q(asked_by="") | ~Q(reason=""), name="look_inside_that_was_asked_for_has_a_reason")]

    def __str__(self) -> str:
        return f"look of {self.asked_at:%Y-%m-%d %H:%M}"


class AcceptedHead(models.Model):
    """A person's word that the chain of seals was rightly cut off or written anew: from `instead_of`, the watch goes on with `head`."""

    head = models.TextField()
    instead_of = models.TextField(db_index=True)
    accepted_by = models.TextField()
    note = models.TextField()
    at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        verbose_name = _("accepted head")
        verbose_name_plural = _("accepted heads")

    def __str__(self) -> str:
        return f"{self.head[:16]} instead of {self.instead_of[:16]}, by {self.accepted_by}"


class QueueHeartbeat(models.Model):
    """When a worker last worked on a queue, by Postgres' clock: the canary that beat sends through it wrote this."""

    queue = models.TextField(primary_key=True)
    at = models.DateTimeField()

    class Meta:
        verbose_name = _("queue heartbeat")
        verbose_name_plural = _("queue heartbeats")

    def __str__(self) -> str:
        return self.queue


class SourceFile(models.Model):
    """A file as a PSP or a bank gave it, and how far it has been read.  The same bytes are one file, whatever it is called.

    Its lines count for nothing before it is STAGED: wholly read, with its own checks kept.  A REFUSED one has no lines, and says why.
    """

    class Kind(models.TextChoices):
        SETTLEMENT = "settlement", _("Settlement file")
        STATEMENT = "statement", _("Bank statement")

    class Status(models.TextChoices):
        RECEIVED = "RECEIVED", _("Received")
        STAGED = "STAGED", _("Read")
        REFUSED = "REFUSED", _("Refused")

    public_id = models.TextField(default=new_source_file_id, editable=False)
    source = models.CharField(max_length=32, help_text=_("The PSP or the bank, by its short name"))
    kind = models.TextField(choices=Kind, blank=True, help_text=_("Empty where the format is none that we read"))
    format = models.TextField(blank=True)
    name = models.CharField(max_length=200, help_text=_("As it was given; it names nothing of ours"))
    size = models.PositiveBigIntegerField(help_text=_("In bytes, as it was given"))
    sha256 = models.CharField(max_length=64)
    status = models.TextField(choices=Status, default=Status.RECEIVED)
    staged = models.PositiveIntegerField(default=0, help_text=_("How many of its records are staged"))
    error_line = models.PositiveIntegerField(null=True, help_text=_("Where it was refused; empty where that is no line"))
    error = models.TextField(blank=True, help_text=_("Why it was refused"))
    currencies = models.JSONField(default=list, help_text=_("In which its money is settled or booked"))
    last_day = models.DateField(null=True, help_text=_("The last day that its lines are about"))
    received_by = models.TextField()
    received_at = models.DateTimeField()
    staged_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = _("file received")
        verbose_name_plural = _("files received")
        permissions = [
            ("upload_sourcefile", "Can upload a file of a PSP or a bank"),
            ("reread_sourcefile", "Can have a refused file read again"),
            ("download_sourcefile", "Can download the original of a file"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["public_id"], name="source_file_has_one_public_id"),
            models.UniqueConstraint(fields=["sha256"], name="source_file_is_received_once"),
            models.CheckConstraint(
                condition=Q(status="REFUSED", staged=0) & ~Q(error="") | ~Q(status="REFUSED") & Q(error="", error_line=None),
                name="refused_file_has_no_lines_and_says_why",
            ),
            models.CheckConstraint(
                condition=Q(status="STAGED", staged_at__isnull=False) | ~Q(status="STAGED") & Q(staged_at=None),
                name="staged_file_says_when",
            ),
            models.CheckConstraint(condition=Q(status="REFUSED") | ~Q(format=""), name="only_a_refused_file_has_no_format"),
        ]

    def __str__(self) -> str:
        return self.name


class SourceChunk(models.Model):
    """A piece of a file's original.  Kept in the database, so that a restore of it alone brings back every row with what it was read from."""

    file = models.ForeignKey(SourceFile, models.PROTECT, related_name="chunks", db_index=False)
    number = models.PositiveIntegerField()
    content = models.BinaryField()

    class Meta:
        verbose_name = _("piece of a file")
        verbose_name_plural = _("pieces of files")
        constraints = [models.UniqueConstraint(fields=["file", "number"], name="source_chunk_is_numbered_once")]

    def __str__(self) -> str:
        return f"{self.file_id}:{self.number}"


class StagedLine(models.Model):
    """A line of a settlement file, as formats/records.py has it: one column for each of a SettlementLine's fields.

    `number` counts the file's records from 1; `line` is where it stands.  Written by COPY in the transaction that counts it into its file,
    which is why Postgres need not look the file up for each.  The parser has seen to it that no amount is finer than its currency counts.
    """

    file = models.ForeignKey(SourceFile, models.PROTECT, related_name="lines", db_index=False, db_constraint=False)
    number = models.PositiveIntegerField()
    line = models.PositiveIntegerField()
    kind = models.TextField(help_text=_("What it is about, in our own words: a LineKind"))
    type = models.TextField()
    batch = models.TextField()
    psp_reference = models.TextField()
    charge_reference = models.TextField()
    our_reference = models.TextField()
    currency = models.CharField(max_length=3)
    gross = models.DecimalField(max_digits=24, decimal_places=4)
    net_currency = models.CharField(max_length=3)
    fee = models.DecimalField(max_digits=24, decimal_places=4)
    net = models.DecimalField(max_digits=24, decimal_places=4)
    rate = models.DecimalField(max_digits=28, decimal_places=12)
    occurred_at = models.DateTimeField(null=True)
    method = models.TextField()
    text = models.TextField()
    settled_on = models.DateField(null=True)

    class Meta:
        verbose_name = _("settlement line")
        verbose_name_plural = _("settlement lines")
        indexes = [models.Index(fields=["file"], condition=Q(type__in=["dispute_fee", "Fee"]), name="fees_of_disputes_of_a_file")]
        constraints = [models.UniqueConstraint(fields=["file", "number"], name="settlement_line_is_staged_once")]

    def __str__(self) -> str:
        return f"{self.type} {self.psp_reference}"


class SettlementBatch(models.Model):
    """All lines of a file that a PSP settles together in one currency, and what came of comparing them with our books.

    Compared once, in one transaction: each line is then a LineMatch or a Mismatch, and the entry says what the batch proves.  `fees` are
    those that were to be expected, where that is known.  Of a batch that comes again, in another file, nothing counts twice: its payout and its
    own fees are mismatches, as its charges are.
    """

    public_id = models.TextField(default=new_batch_id, editable=False)
    file = models.ForeignKey(SourceFile, models.PROTECT, related_name="batches", db_index=False)
    psp = models.TextField()
    name = models.TextField(help_text=_("As the PSP calls it"))
    currency = models.CharField(max_length=3)
    closed_at = models.DateTimeField(null=True, help_text=_("When it was settled, or the last of its lines happened"))
    lines = models.PositiveIntegerField(default=0)
    matched = models.PositiveIntegerField(default=0)
    mismatched = models.PositiveIntegerField(default=0)
    paid_out = models.DecimalField(max_digits=24, decimal_places=4, default=0, help_text=_("To our bank"))
    fees = models.DecimalField(max_digits=24, decimal_places=4, default=0)
    suspended = models.DecimalField(max_digits=24, decimal_places=4, default=0, help_text=_("Of its mismatches together"))
    copy_of = models.ForeignKey(
        "self",
        models.PROTECT,
        null=True,
        related_name="+",
        db_index=False,
        help_text=_("The same batch, compared from another file before"),
    )
    journal_entry = models.ForeignKey(JournalEntry, models.PROTECT, null=True, related_name="+", db_index=False)
    matched_at = models.DateTimeField(null=True)
    orders_settled_at = models.DateTimeField(null=True, help_text=_("When its orders had been told that they are paid to us"))

    class Meta:
        verbose_name = _("settlement batch")
        verbose_name_plural = _("settlement batches")
        indexes = [models.Index(fields=["name"], name="settlement_batch_by_name")]
        constraints = [
            models.UniqueConstraint(fields=["public_id"], name="settlement_batch_has_one_public_id"),
            models.UniqueConstraint(fields=["file", "name", "currency"], name="settlement_batch_is_kept_once"),
            models.CheckConstraint(
                condition=Q(matched_at=None, journal_entry=None) | Q(matched_at__isnull=False, lines=F("matched") + F("mismatched")),
                name="matched_batch_has_no_line_left_over",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.psp} {self.name} {self.currency}"


class Figures(SettlementBatch):
    """The figures for finance and management (reports.py): no rows of their own, but a page, and a permission to see it."""

    class Meta:
        proxy = True
        default_permissions = ("view",)
        verbose_name = _("figures")
        verbose_name_plural = _("figures")


class ExpectedFee(models.Model):
    """What a PSP keeps of each charge in a currency by its contract.  Without a row, its fees are taken as its files say them."""

    psp = models.CharField(max_length=32)
    currency = models.CharField(max_length=3)
    basis_points = models.PositiveIntegerField(help_text=_("100 basis points are 1 %"))
    fixed = models.DecimalField(max_digits=24, decimal_places=4, default=0, help_text=_("In the currency, for each charge"))

    class Meta:
        verbose_name = _("expected fee of a PSP")
        verbose_name_plural = _("expected fees of PSPs")
        constraints = [
            models.UniqueConstraint(fields=["psp", "currency"], name="fee_is_expected_once"),
            models.CheckConstraint(condition=Q(basis_points__lte=10_000, fixed__gte=0), name="expected_fee_is_a_fee"),
        ]

    def __str__(self) -> str:
        return f"{self.psp} {self.currency}"


class LineMatch(models.Model):
    """A settlement line that says what our books say, and what of ours it is about: nothing where it only moves the PSP's own figures.

    Each charge, refund and dispute is matched once with a line of each kind; Postgres holds whoever compares twice to that.
    """

    line = models.OneToOneField(StagedLine, models.PROTECT, primary_key=True, related_name="match", db_constraint=False)
    batch = models.ForeignKey(SettlementBatch, models.PROTECT, related_name="matches", db_constraint=False)
    kind = models.TextField()
    order = models.ForeignKey(PaymentOrder, models.PROTECT, null=True, related_name="+", db_index=False, db_constraint=False)
    refund = models.ForeignKey(Refund, models.PROTECT, null=True, related_name="+", db_index=False, db_constraint=False)
    dispute = models.ForeignKey(Dispute, models.PROTECT, null=True, related_name="+", db_index=False, db_constraint=False)
    late_charge = models.ForeignKey(LateCharge, models.PROTECT, null=True, related_name="+", db_index=False, db_constraint=False)

    class Meta:
        verbose_name = _("matched line")
        verbose_name_plural = _("matched lines")
        constraints = [
            models.UniqueConstraint(fields=[about, "kind"], condition=Q(**{f"{about}__isnull": False}), name=f"{about}_is_matched_once")
            for about in ("order", "refund", "dispute", "late_charge")
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.line_id}"


class Mismatch(models.Model):
    """Something in which a PSP's file, or a bank's statement, and our books differ.

    `suspended` of it stands in suspense until it is resolved, a credit above zero.  Of a payout that the bank paid with another AMOUNT that is
    the difference, since our books have the rest.

    Without a line it is MISSING_THERE: ours, and in no file.  If a line comes after all, it is LATE, and resolved; so is a line MISSING_HERE
    whose charge our books come to know.  Of a FEE only the difference is in suspense: its line is matched all the same.

    MISSING_AT_BANK is what a PSP says that it paid us, or our books say that they paid a seller, and no bank statement has: it has no line
    either, and is LATE if one comes.  A bank's line is LATE, too, once our books explain it.
    """

    class Kind(models.TextChoices):
        MISSING_HERE = "missing_here", _("Not in our books")
        MISSING_THERE = "missing_there", _("Not in the PSP's files")
        AMOUNT = "amount", _("Another amount")
        CURRENCY = "currency", _("Another currency")
        FEE = "fee", _("Another fee")
        DUPLICATE = "duplicate", _("Settled twice")
        LATE = "late", _("Settled late")
        WRONG_BATCH = "wrong_batch", _("In the wrong batch")
        MISSING_AT_BANK = "missing_at_bank", _("Not at the bank")

    public_id = models.TextField(default=new_mismatch_id, editable=False)
    kind = models.TextField(choices=Kind)
    psp = models.TextField()
    batch = models.ForeignKey(SettlementBatch, models.PROTECT, null=True, related_name="mismatches")
    line = models.OneToOneField(StagedLine, models.PROTECT, null=True, related_name="mismatch", db_constraint=False)
    bank_line = models.OneToOneField(
        "StagedBankLine", models.PROTECT, null=True, related_name="mismatch", db_constraint=False, help_text=_("Of a bank's statement")
    )
    subject = models.TextField(blank=True, help_text=_("The id of what of ours it is about"))
    currency = models.CharField(max_length=3)
    expected = models.DecimalField(max_digits=24, decimal_places=4, null=True, help_text=_("By our books"))
    found = models.DecimalField(max_digits=24, decimal_places=4, null=True, help_text=_("By the file"))
    suspended = models.DecimalField(max_digits=24, decimal_places=4, default=0)
    found_at = models.DateTimeField()
    resolved_at = models.DateTimeField(null=True)
    owner = models.TextField(blank=True, db_default="", help_text=_("Who looks into it"))
    could_be = models.TextField(
        blank=True,
        db_default="",
        help_text=_("What of ours a bank's line may be, one possibility a line: more than one fits, so none is taken"),
    )

    class Meta:
        verbose_name = _("mismatch")
        verbose_name_plural = _("mismatches")
        permissions = [
            ("propose_resolution", "Can take a mismatch over, and propose how it is resolved"),
            ("approve_resolution", "Can approve or reject how somebody else would resolve a mismatch"),
            ("annotate_mismatch", "Can write notes on a mismatch, and attach files to it"),
        ]
        indexes = [
            models.Index(fields=["found_at"], condition=Q(resolved_at=None), name="open_mismatches_by_age"),
            models.Index(fields=["subject"], name="mismatch_by_subject"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["public_id"], name="mismatch_has_one_public_id"),
            models.UniqueConstraint(
                fields=["subject"], condition=Q(line=None, bank_line=None), name="what_is_missing_there_is_missed_once"
            ),
            models.CheckConstraint(
                condition=Q(line=None, bank_line=None, kind__in=["missing_there", "missing_at_bank", "late"], suspended=0)
                | Q(line__isnull=False, bank_line=None, batch__isnull=False)
                | Q(line=None, bank_line__isnull=False, batch=None),
                name="mismatch_of_a_line_is_of_its_batch",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.subject or self.line_id or self.bank_line_id}"


class Proposal(models.Model):
    """How somebody would resolve a mismatch: by the account that explains what stands in suspense, or, where nothing does, without an entry.

    Somebody else approves or rejects it.  It is withdrawn if the mismatch is explained meanwhile.  Postgres keeps its terms as they are.
    """

    class Status(models.TextChoices):
        WAITING = "WAITING", _("Waiting for approval")
        APPROVED = "APPROVED", _("Approved")
        REJECTED = "REJECTED", _("Rejected")
        WITHDRAWN = "WITHDRAWN", _("Explained meanwhile")

    mismatch = models.ForeignKey(Mismatch, models.PROTECT, related_name="proposals")
    status = models.TextField(choices=Status, default=Status.WAITING)
    account = models.TextField(blank=True, help_text=_("Empty: nothing is posted"))
    memo = models.TextField()
    made_by = models.TextField()
    made_at = models.DateTimeField()
    decided_by = models.TextField(blank=True)
    decided_at = models.DateTimeField(null=True)
    reason = models.TextField(blank=True)
    journal_entry = models.ForeignKey(JournalEntry, models.PROTECT, null=True, related_name="+", db_index=False)

    class Meta:
        verbose_name = _("proposal")
        verbose_name_plural = _("proposals")
        default_permissions = ("view",)
        constraints = [
            models.UniqueConstraint(
                fields=["mismatch"], condition=Q(status__in=["WAITING", "APPROVED"]), name="mismatch_has_one_proposal_that_counts"
            ),
            models.CheckConstraint(condition=~Q(memo="") & ~Q(made_by=""), name="proposal_says_why_and_by_whom"),
            models.CheckConstraint(condition=Q(decided_by="") | ~Q(decided_by=F("made_by")), name="maker_does_not_approve_the_proposal"),
            models.CheckConstraint(
                condition=Q(status="WAITING", decided_at=None, decided_by="", reason="")
                | Q(status="WITHDRAWN", decided_at__isnull=False, decided_by="", reason="")
                | Q(status__in=["APPROVED", "REJECTED"], decided_at__isnull=False) & ~Q(decided_by="") & ~Q(reason=""),
                name="proposal_is_decided_by_somebody_who_says_why",
            ),
            models.CheckConstraint(
                condition=Q(status="APPROVED", journal_entry__isnull=False) & ~Q(account="")
                | Q(status="APPROVED", journal_entry=None, account="")
                | ~Q(status="APPROVED") & Q(journal_entry=None),
                name="approved_proposal_has_the_entry_that_it_names",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.account or '-'}: {self.memo}"


class MismatchTransition(WrittenDown):
    """One thing that became of a mismatch."""

    class What(models.TextChoices):
        OWNER = "owner", _("Owner")
        PROPOSAL = "proposal", _("Proposal")
        MISMATCH = "mismatch", _("Mismatch")

    mismatch = models.ForeignKey(Mismatch, models.PROTECT, related_name="transitions")
    what = models.TextField(choices=What)

    def __str__(self) -> str:
        return f"{self.what}: {self.before} -> {self.after}"


class MismatchNote(models.Model):
    """What somebody wrote down about a mismatch.  It stays: who was wrong writes another one."""

    mismatch = models.ForeignKey(Mismatch, models.PROTECT, related_name="notes")
    text = models.TextField()
    written_by = models.TextField()
    written_at = models.DateTimeField()

    class Meta:
        verbose_name = _("note")
        verbose_name_plural = _("notes")
        default_permissions = ()  # whoever may view the mismatch reads them
        constraints = [models.CheckConstraint(condition=~Q(text="") & ~Q(written_by=""), name="note_says_something_and_by_whom")]

    def __str__(self) -> str:
        return f"{self.written_by}: {self.text[:60]}"


class MismatchAttachment(models.Model):
    """A file that somebody attached to a mismatch: evidence, kept in the database as it came.  Postgres proves size and hash, and keeps it.

    Its name is only shown, and its kind is one of notes.ATTACHABLE: it is given back as a download and never shown by a browser.
    """

    mismatch = models.ForeignKey(Mismatch, models.PROTECT, related_name="attachments")
    name = models.CharField(max_length=100)
    media_type = models.TextField()
    size = models.PositiveIntegerField(help_text=_("In bytes"))
    sha256 = models.CharField(max_length=64)
    content = models.BinaryField()
    note = models.TextField(help_text=_("What it shows"))
    added_by = models.TextField()
    added_at = models.DateTimeField()

    class Meta:
        verbose_name = _("attachment")
        verbose_name_plural = _("attachments")
        default_permissions = ()  # whoever may view the mismatch may fetch them
        constraints = [
            models.UniqueConstraint(fields=["mismatch", "sha256"], name="file_is_attached_once"),
            models.CheckConstraint(condition=~Q(name="") & ~Q(note="") & ~Q(added_by=""), name="attachment_says_what_it_is_and_by_whom"),
        ]

    def __str__(self) -> str:
        return self.name


class BankStatement(models.Model):
    """A statement of one account of ours.  `is_continuation` and `is_continued` tell that it goes on where, or goes on after, another part."""

    file = models.ForeignKey(SourceFile, models.PROTECT, related_name="statements", db_index=False)
    position = models.PositiveIntegerField(help_text=_("In the file, from 1"))
    line = models.PositiveIntegerField()
    account = models.TextField(help_text=_("IBAN, or what the bank calls it"))
    currency = models.CharField(max_length=3)
    number = models.TextField(blank=True, help_text=_("The bank's own number of the statement"))
    opening = models.DecimalField(max_digits=24, decimal_places=4)
    opened_on = models.DateField(null=True)
    closing = models.DecimalField(max_digits=24, decimal_places=4, null=True)
    closed_on = models.DateField(null=True)
    lines = models.PositiveIntegerField(default=0)
    is_continuation = models.BooleanField(default=False)
    is_continued = models.BooleanField(default=False)
    has_balances = models.BooleanField(
        db_default=True, default=True, help_text=_("No: a report within the day, whose lines come again and are not compared")
    )

    class Meta:
        verbose_name = _("bank statement")
        verbose_name_plural = _("bank statements")
        constraints = [models.UniqueConstraint(fields=["file", "position"], name="bank_statement_is_staged_once")]

    def __str__(self) -> str:
        return f"{self.account} {self.number}"


class StagedBankLine(models.Model):
    """A booked line of a bank statement, as formats/records.py has it: one column for each of a BankLine's fields."""

    file = models.ForeignKey(SourceFile, models.PROTECT, related_name="bank_lines", db_index=False, db_constraint=False)
    number = models.PositiveIntegerField()
    statement = models.ForeignKey(BankStatement, models.PROTECT, related_name="bank_lines", db_constraint=False)
    line = models.PositiveIntegerField()
    amount = models.DecimalField(max_digits=24, decimal_places=4)
    currency = models.CharField(max_length=3)
    booked_on = models.DateField(null=True)
    valued_on = models.DateField(null=True)
    is_reversal = models.BooleanField()
    bank_reference = models.TextField()
    end_to_end_id = models.TextField()
    batch_reference = models.TextField()
    counterparty = models.TextField()
    counterparty_account = models.TextField()
    text = models.TextField()
    code = models.TextField()
    return_reason = models.TextField()
    parts = models.PositiveIntegerField()

    class Meta:
        verbose_name = _("bank line")
        verbose_name_plural = _("bank lines")
        indexes = [models.Index(fields=["bank_reference"], condition=~Q(bank_reference=""), name="bank_line_by_reference")]
        constraints = [models.UniqueConstraint(fields=["file", "number"], name="bank_line_is_staged_once")]

    def __str__(self) -> str:
        return f"{self.amount} {self.currency} {self.bank_reference}"


class ComparedStatement(models.Model):
    """What came of comparing a bank statement with our books (bank_matching.py), once and in one transaction.

    Each of its lines is then a BankLineMatch or a Mismatch, and the entry says what the statement proves.
    """

    statement = models.OneToOneField(BankStatement, models.PROTECT, primary_key=True, related_name="compared")
    public_id = models.TextField(default=new_compared_statement_id, editable=False)
    lines = models.PositiveIntegerField()
    matched = models.PositiveIntegerField()
    mismatched = models.PositiveIntegerField()
    again = models.PositiveIntegerField(help_text=_("Of those that match: how many another statement has brought before"))
    paid_in = models.DecimalField(max_digits=24, decimal_places=4, help_text=_("By PSPs, with what the bank kept of it"))
    charges = models.DecimalField(
        max_digits=24, decimal_places=4, db_default=0, default=0, help_text=_("What the bank kept of it, within a tolerance")
    )
    suspended = models.DecimalField(max_digits=24, decimal_places=4, help_text=_("Of its mismatches together"))
    journal_entry = models.ForeignKey(JournalEntry, models.PROTECT, null=True, related_name="+", db_index=False)
    matched_at = models.DateTimeField()

    class Meta:
        verbose_name = _("compared bank statement")
        verbose_name_plural = _("compared bank statements")
        constraints = [
            models.UniqueConstraint(fields=["public_id"], name="compared_statement_has_one_public_id"),
            models.CheckConstraint(condition=Q(lines=F("matched") + F("mismatched")), name="compared_statement_has_no_line_left_over"),
        ]

    def __str__(self) -> str:
        return self.public_id


class ToleranceRule(models.Model):
    """How much of what a PSP pays in may be missing at our bank, and how long it may take.  Without a rule, nothing may be missing.

    It holds for payments that the bank books on a day from `valid_from` to `valid_until`; a rule of the PSP's own comes before one for all.
    A rule is never changed, only ended: Postgres keeps its terms, and writes down who ended it and why.
    """

    currency = models.CharField(max_length=3)
    psp = models.CharField(max_length=32, blank=True, help_text=_("Empty: whatever the PSP"))
    amount = models.DecimalField(
        max_digits=24, decimal_places=4, help_text=_("So much may be missing of one payment: it is booked as a charge of the bank's")
    )
    days = models.PositiveSmallIntegerField(
        validators=[MaxValueValidator(30)], help_text=_("Bank days that a payment may take since the PSP ordered it; then it is missing")
    )
    valid_from = models.DateField()
    valid_until = models.DateField(null=True, blank=True, help_text=_("The last day; empty: until it is ended"))
    made_by = models.TextField(editable=False)
    made_at = models.DateTimeField(editable=False)

    class Meta:
        verbose_name = _("tolerance")
        verbose_name_plural = _("tolerances")
        default_permissions = ("add", "change", "view")
        permissions = [("approve_tolerancerule", _("Can approve or reject a change of tolerances that somebody else proposes"))]
        constraints = [
            models.CheckConstraint(condition=Q(amount__gte=0) & ~Q(made_by=""), name="tolerance_is_an_amount_that_somebody_named"),
            models.CheckConstraint(condition=is_exact("amount"), name="tolerance_is_in_minor_units"),
            models.CheckConstraint(
                condition=Q(valid_until=None) | Q(valid_until__gte=F("valid_from")), name="tolerance_ends_after_it_began"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.psp} {round(self.amount, minor_units(self.currency))} {self.currency}".strip()


class ToleranceChange(models.Model):
    """That a tolerance was made, or its end moved, written by Postgres itself (a trigger): who, when and why, from what to what."""

    rule = models.ForeignKey(ToleranceRule, models.PROTECT, related_name="changes")
    before = models.TextField(blank=True, help_text=_("Until when it held"))
    after = models.TextField(blank=True)
    actor = models.TextField(blank=True)
    reason = models.TextField(blank=True)
    at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        verbose_name = _("change of a tolerance")
        verbose_name_plural = _("changes of tolerances")
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.before} -> {self.after}"


class BankLineMatch(models.Model):
    """What of ours a bank line is: a PSP's payment of a batch, a payout that went or came back, or a line that is here already.

    One line may pay several batches, or be many payouts that the bank booked in one sum: then it has a row for each, with its `amount`.  A
    batch is paid once, by one line or by several INSTALMENTs; what it is short by, within a tolerance, the bank kept.  A payout goes as
    often as our books say that it did; `number` counts that.
    """

    class Kind(models.TextChoices):
        SETTLEMENT = "settlement", _("Paid by a PSP")
        INSTALMENT = "instalment", _("Paid by a PSP in parts")
        PAYOUT = "payout", _("Paid to a seller")
        PAYOUT_RETURN = "payout_return", _("Payout that came back")
        AGAIN = "again", _("Brought by another statement")

    line = models.ForeignKey(StagedBankLine, models.PROTECT, related_name="matches", db_constraint=False)
    kind = models.TextField(choices=Kind)
    batch = models.ForeignKey(SettlementBatch, models.PROTECT, null=True, related_name="+", db_index=False, db_constraint=False)
    payout = models.ForeignKey(Payout, models.PROTECT, null=True, related_name="+", db_index=False, db_constraint=False)
    number = models.PositiveIntegerField(null=True)
    amount = models.DecimalField(max_digits=24, decimal_places=4, null=True, help_text=_("Of the line; empty: all of it"))
    short_by = models.DecimalField(
        max_digits=24,
        decimal_places=4,
        db_default=0,
        default=0,
        help_text=_("Of what the PSP paid: the bank kept it, within the tolerance"),
    )
    rule = models.ForeignKey(
        ToleranceRule, models.PROTECT, null=True, related_name="+", db_index=False, help_text=_("The tolerance that allows what is missing")
    )

    class Meta:
        verbose_name = _("matched bank line")
        verbose_name_plural = _("matched bank lines")
        constraints = [
            models.UniqueConstraint(fields=["line"], condition=Q(amount=None), name="bank_line_is_matched_as_a_whole_once"),
            models.UniqueConstraint(fields=["batch"], condition=Q(kind="settlement"), name="batch_is_paid_to_the_bank_once"),
            models.UniqueConstraint(fields=["batch", "line"], condition=Q(batch__isnull=False), name="bank_line_pays_a_batch_once"),
            models.UniqueConstraint(
                fields=["payout", "kind", "number"], condition=Q(payout__isnull=False), name="payout_is_matched_as_often_as_it_went"
            ),
            models.CheckConstraint(
                condition=Q(kind="settlement", batch__isnull=False, payout=None, number=None)
                | Q(kind="instalment", batch__isnull=False, payout=None, number=None, amount=None)
                | Q(kind__in=["payout", "payout_return"], batch=None, payout__isnull=False, number__isnull=False)
                | Q(kind="again", batch=None, payout=None, number=None, amount=None),
                name="bank_line_matches_what_its_kind_says",
            ),
            models.CheckConstraint(
                condition=Q(short_by=0, rule=None) | Q(kind="settlement", amount=None, short_by__gt=0, rule__isnull=False),
                name="bank_keeps_what_a_tolerance_allows",
            ),
        ]

    def __str__(self) -> str:
        return str(self.get_kind_display())


class FolderEntry(models.Model):
    """A file that stands in the folder: as long as it looks the same, it is not read again.

    Without `file`, it could not be received, and `error` says why: for good, or to be tried again, ever more seldom, `try_after` a moment.
    """

    source = models.CharField(max_length=32)
    name = models.TextField()
    size = models.PositiveBigIntegerField()
    modified_ns = models.PositiveBigIntegerField()
    file = models.ForeignKey(SourceFile, models.PROTECT, related_name="folder_entries", null=True)
    error = models.TextField(blank=True, db_default="", default="", help_text=_("Why it could not be received"))
    tries = models.PositiveIntegerField(db_default=0, default=0, help_text=_("In a row that failed"))
    try_after = models.DateTimeField(null=True, help_text=_("Empty: it is not tried again as long as it looks the same"))

    class Meta:
        verbose_name = _("file in the folder")
        verbose_name_plural = _("files in the folder")
        constraints = [models.UniqueConstraint(fields=["source", "name"], name="folder_entry_is_remembered_once")]

    def __str__(self) -> str:
        return f"{self.source}/{self.name}"


class SftpSource(models.Model):
    """A source whose files come over SFTP: when its server was last looked at, and how often in a row that failed, and why."""

    source = models.CharField(max_length=32, primary_key=True)
    looked_at = models.DateTimeField()
    failures = models.PositiveIntegerField(default=0, help_text=_("In a row"))
    failed_since = models.DateTimeField(null=True)
    error = models.TextField(blank=True)

    class Meta:
        verbose_name = _("SFTP server")
        verbose_name_plural = _("SFTP servers")
        constraints = [
            models.CheckConstraint(
                condition=Q(failures=0, failed_since=None, error="") | Q(failures__gt=0, failed_since__isnull=False) & ~Q(error=""),
                name="failing_server_says_why_and_since_when",
            )
        ]

    def __str__(self) -> str:
        return self.source


class SftpEntry(models.Model):
    """A file that stands on an SFTP server, and since when it looks as it does.  Done without `file`, it was refused, and `error` says why."""

    source = models.CharField(max_length=32)
    name = models.TextField()
    size = models.PositiveBigIntegerField(help_text=_("In bytes"))
    modified_s = models.PositiveBigIntegerField(help_text=_("When it was last written to, by the server's clock, in seconds since 1970"))
    seen_at = models.DateTimeField(help_text=_("When it was first seen as it is"))
    is_done = models.BooleanField(default=False, help_text=_("Whether it is not fetched again as long as it looks the same"))
    file = models.ForeignKey(SourceFile, models.PROTECT, related_name="sftp_entries", null=True)
    error = models.TextField(blank=True)

    class Meta:
        verbose_name = _("file on an SFTP server")
        verbose_name_plural = _("files on SFTP servers")
        constraints = [models.UniqueConstraint(fields=["source", "name"], name="sftp_entry_is_remembered_once")]

    def __str__(self) -> str:
        return f"{self.source}/{self.name}"


class ExpectedFile(models.Model):
    """A file that a PSP or a bank gives us about each day, and by when it must be here and read (reconciliation/expected.py)."""

    source = models.CharField(max_length=32, help_text=_("The PSP or the bank, by its short name"))
    kind = models.TextField(choices=SourceFile.Kind)
    currency = models.CharField(max_length=3, blank=True, help_text=_("Empty: whatever its currencies"))
    due_at = models.TimeField(help_text=_("At this time of the day it must be here"))
    zone = models.CharField(max_length=64, default="UTC", help_text=_("The time zone of that time, such as Europe/Berlin"))
    days_after = models.PositiveSmallIntegerField(
        default=1, validators=[MaxValueValidator(14)], help_text=_("How many days after the day that it is about; 1 is the next morning")
    )
    has_weekends = models.BooleanField(default=True, help_text=_("Whether there is one about Saturdays and Sundays too"))
    has_quiet_days = models.BooleanField(
        db_default=True, default=True, help_text=_("Whether there is one about days on which nothing of ours moved, too")
    )
    since = models.DateField(help_text=_("The first day that there must be one about"))

    class Meta:
        verbose_name = _("expected file")
        verbose_name_plural = _("expected files")
        constraints = [models.UniqueConstraint(fields=["source", "kind", "currency"], name="file_is_expected_once")]

    def __str__(self) -> str:
        return " ".join(filter(None, (self.source, self.get_kind_display(), self.currency)))


class MonthClose(models.Model):
    """How a month was closed, by two people (close.py): who prepared it and why, who closed it, or who called it off."""

    class Status(models.TextChoices):
        PREPARED = "PREPARED", _("Prepared, waits for a second person")
        CLOSED = "CLOSED", _("Closed")
        CALLED_OFF = "CALLED_OFF", _("Called off")

    public_id = models.TextField(default=new_month_close_id, editable=False)
    month = models.DateField(help_text=_("Its first day"))
    status = models.TextField(choices=Status, default=Status.PREPARED)
    prepared_by = models.TextField()
    prepared_at = models.DateTimeField()
    memo = models.TextField()
    decided_by = models.TextField(blank=True)
    decided_at = models.DateTimeField(null=True)
    reason = models.TextField(blank=True)
    closed_month = models.OneToOneField(ClosedMonth, models.PROTECT, null=True, related_name="close")

    class Meta:
        verbose_name = _("month close")
        verbose_name_plural = _("month close")
        default_permissions = ("view",)
        permissions = [
            ("prepare_close", "Can prepare the close of a month"),
            ("approve_close", "Can close a month that somebody else prepared"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["public_id"], name="month_close_has_one_public_id"),
            models.UniqueConstraint(fields=["month"], condition=~Q(status="CALLED_OFF"), name="month_is_closed_once"),
            models.CheckConstraint(condition=~Q(memo="") & ~Q(prepared_by=""), name="month_close_says_why_and_by_whom"),
            models.CheckConstraint(condition=~Q(status="CLOSED") | ~Q(decided_by=F("prepared_by")), name="maker_does_not_close_the_month"),
            models.CheckConstraint(
                condition=Q(status="PREPARED", decided_at=None, decided_by="", reason="")
                | ~Q(status="PREPARED") & Q(decided_at__isnull=False) & ~Q(decided_by="") & ~Q(reason=""),
                name="month_close_is_decided_by_somebody_who_says_why",
            ),
            models.CheckConstraint(
                condition=Q(status="CLOSED", closed_month=F("month")) | ~Q(status="CLOSED") & Q(closed_month=None),
                name="closed_month_is_the_one_that_was_prepared",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.month:%Y-%m}"


class CloseEvidence(models.Model):
    """What a month was closed on: one JSON document, as it was written then.  Postgres proves its hash, and keeps it."""

    close = models.OneToOneField(MonthClose, models.PROTECT, primary_key=True, related_name="evidence")
    document = models.BinaryField()
    sha256 = models.CharField(max_length=64)

    class Meta:
        verbose_name = _("evidence of a month close")
        verbose_name_plural = _("evidence of month closes")
        default_permissions = ()  # whoever may view the close may fetch it

    def __str__(self) -> str:
        return self.sha256[:16]


class RightsTransition(WrittenDown):
    """One change of what a login may do.

    Postgres refuses what somebody would change of their own rights; a new password for themselves it does not.
    """

    class What(models.TextChoices):
        LOGIN = "login", _("Login")
        ACTIVE = "active", _("May log in")
        STAFF = "staff", _("Staff")
        SUPERUSER = "superuser", _("Superuser")
        ROLE = "role", _("Role")
        RIGHT = "right", _("Single right")
        PASSWORD = "password", _("Password")

    login = models.TextField(help_text=_("By its name, which stays when the login goes"))
    what = models.TextField(choices=What)
    actor = models.TextField(blank=True, help_text=_("Empty: the machine, or the login itself"))

    class Meta:
        verbose_name = _("change of rights")
        verbose_name_plural = _("changes of rights")
        default_permissions = ()  # the audit trail shows them, and the login's page
        indexes = [models.Index(fields=["login"], name="rights_transition_by_login")]

    def __str__(self) -> str:
        return f"{self.login}: {self.what} {self.before} -> {self.after}"


class AuditTrail(RightsTransition):
    """Who did what and why, of all tables of transitions (audit.py): no rows of its own, but a page, and a permission to see it."""

    class Meta:
        proxy = True
        default_permissions = ("view",)
        verbose_name = _("audit trail")
        verbose_name_plural = _("audit trail")

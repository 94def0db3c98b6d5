"""Pay-out's rows: where a seller's money goes, when, each payout with its calls to the bank, and the runs that make many at once.

A payout is its own queue: what is due has a `next_attempt_at`.  The row is the queue; Celery is the hands; Redis is a doorbell.
"""

from datetime import time

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from ledger.ids import new_id
from ledger.models import JournalEntry
from ledger.money import AmountField, is_exact
from payouts.pain001 import DIALECTS
from payouts.states import LIVE, AttemptStatus, FileStatus, Interval, PayoutOperation, PayoutStatus, RunStatus
from wallet.models import Seller, Shop, WalletEntry


def new_bank_account_id() -> str:
    return new_id("ba")


def new_run_id() -> str:
    return new_id("run")


def new_payout_id() -> str:
    return new_id("po")


def new_file_id() -> str:
    return new_id("pf")


class PayoutSchedule(models.Model):
    """When and how much a seller is paid out in one currency; without a seller: all sellers of the shop that have none of their own.

    Paid out is what is available above `keep_back`, if that is `minimum` at least.  A person other than its maker must approve a payout, or
    a run, of more than `approval_limit` (empty: see terms.py); what the seller has under way, and was paid that day, counts into a payout.
    """

    shop = models.ForeignKey(Shop, models.PROTECT, related_name="payout_schedules", db_index=False)
    seller = models.ForeignKey(Seller, models.PROTECT, related_name="payout_schedules", null=True, blank=True)
    interval = models.TextField(choices=Interval, default=Interval.MONTHLY)
    weekday = models.PositiveSmallIntegerField(
        default=1, validators=[MinValueValidator(1), MaxValueValidator(7)], help_text=_("1 is Monday; for every week")
    )
    month_day = models.PositiveSmallIntegerField(
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(31)],
        help_text=_("For every month; in a month without that day it is the last one"),
    )
    cut_off = models.TimeField(default=time(0, 0), help_text=_("What is available at this time of the day is paid out"))
    zone = models.CharField(max_length=64, default="UTC", help_text=_("The time zone of the cut-off, such as Europe/Berlin"))
    holidays = models.CharField(
        max_length=2, blank=True, help_text=_("The country whose bank holidays (and weekends) put a payout off to the next working day")
    )
    minimum = AmountField()
    keep_back = AmountField()
    approval_limit = models.DecimalField(max_digits=24, decimal_places=4, null=True, blank=True)
    provider = models.CharField(max_length=32, blank=True, help_text=_("Who pays out; empty: the default"))
    in_force_since = models.DateTimeField(
        db_default=Now(), editable=False, help_text=_("Since its days were last changed: what was over before is not run by it")
    )

    class Meta:
        verbose_name = _("payout schedule")
        verbose_name_plural = _("payout schedules")
        constraints = [
            models.UniqueConstraint(fields=["shop", "seller", "currency"], name="seller_has_one_payout_schedule", nulls_distinct=False),
            models.CheckConstraint(condition=Q(minimum__gte=0, keep_back__gte=0), name="payout_schedule_takes_nothing_below_nothing"),
            models.CheckConstraint(condition=Q(weekday__range=(1, 7), month_day__range=(1, 31)), name="payout_schedule_has_its_day"),
            models.CheckConstraint(condition=is_exact("minimum"), name="payout_schedule_minimum_is_in_minor_units"),
            models.CheckConstraint(condition=is_exact("keep_back"), name="payout_schedule_keep_back_is_in_minor_units"),
        ]

    def __str__(self) -> str:
        return f"{self.get_interval_display()} for {self.seller or 'all sellers'}"


class PayoutCurrency(models.Model):
    """The currency that a seller is paid out in: what is available in others is converted into it before each payout (conversions.py).

    Without a row, or with none in it, each currency is paid out as it is.
    """

    seller = models.OneToOneField(Seller, models.PROTECT, related_name="payout_currency")
    currency = models.CharField(max_length=3, blank=True, help_text=_("Empty: each currency is paid out as it is"))
    chosen_by = models.TextField(editable=False)
    chosen_at = models.DateTimeField(editable=False)

    class Meta:
        verbose_name = _("payout currency")
        verbose_name_plural = _("payout currencies")
        default_permissions = ("view", "add", "change")

    def __str__(self) -> str:
        return f"{self.seller}: {self.currency or '–'}"


class BankAccount(models.Model):
    """Where a seller's money of one currency goes.  The number is kept encrypted (`vault`), and shown as its last four characters only.

    It is never changed, only replaced.  Nothing is paid out to it before it is verified, nor before `usable_from`.
    """

    class Kind(models.TextChoices):
        IBAN = "iban", _("IBAN")
        LOCAL = "local", _("Account number and bank code")

    public_id = models.TextField(default=new_bank_account_id, editable=False)
    seller = models.ForeignKey(Seller, models.PROTECT, related_name="bank_accounts", db_index=False)
    currency = models.CharField(max_length=3)
    kind = models.TextField(choices=Kind)
    country = models.CharField(max_length=2)
    holder = models.CharField(max_length=70, help_text=_("The name that the bank knows the account by"))
    sealed = models.TextField(editable=False, help_text=_("The number, and the bank code of a local account, encrypted"))
    fingerprint = models.CharField(max_length=64, editable=False, help_text=_("Equal for equal numbers, and tells nothing of them"))
    last4 = models.CharField(max_length=4, editable=False)
    bic = models.CharField(max_length=11, blank=True)
    bank_name = models.CharField(max_length=140, blank=True)
    added_by = models.TextField(help_text=_("Who gave it"))
    added_at = models.DateTimeField()
    usable_from = models.DateTimeField(help_text=_("Changed details wait, so that their owner can object"))
    verified_at = models.DateTimeField(null=True)
    verified_by = models.TextField(blank=True)
    verified_reason = models.CharField(max_length=200, db_default="", default="", blank=True, help_text=_("How it was verified"))
    replaced_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = _("bank account")
        verbose_name_plural = _("bank accounts")
        constraints = [
            models.UniqueConstraint(fields=["public_id"], name="bank_account_has_one_public_id"),
            models.UniqueConstraint(
                fields=["seller", "currency"], condition=Q(replaced_at=None), name="seller_has_one_bank_account_per_currency"
            ),
            models.CheckConstraint(condition=Q(verified_at=None) | ~Q(verified_by=""), name="bank_account_is_verified_by_somebody"),
            models.CheckConstraint(
                condition=Q(verified_by="") | ~Q(verified_by=F("added_by")), name="bank_account_is_verified_by_somebody_else"
            ),
        ]

    def __str__(self) -> str:
        return self.masked

    @property
    def masked(self) -> str:
        """The account as people may see it: DE•• •••• 3000, or US •••• 6789 where there is no IBAN."""
        return f"{self.country}{'••' if self.kind == self.Kind.IBAN else ''} •••• {self.last4}"


class BankAccountNotice(models.Model):
    """An e-mail that tells somebody of a change of bank details, to the address as it was before.  The row is the queue (notices.py)."""

    bank_account = models.ForeignKey(BankAccount, models.PROTECT, related_name="notices", db_index=False)
    address = models.EmailField()
    tries = models.PositiveIntegerField(db_default=0, default=0)
    next_attempt_at = models.DateTimeField(null=True, help_text=_("Empty: it was sent, or given up"))
    sent_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        verbose_name = _("notice of a change")
        verbose_name_plural = _("notices of changes")
        indexes = [models.Index(fields=["next_attempt_at"], condition=Q(next_attempt_at__isnull=False), name="bank_notice_to_send")]
        constraints = [models.UniqueConstraint(fields=["bank_account", "address"], name="bank_account_is_told_once_to_each")]

    def __str__(self) -> str:
        return f"{self.bank_account_id} {self.created_at:%Y-%m-%d}"


class PayoutRun(models.Model):
    """All payouts of one shop, currency and calendar for one period, made by one transaction; the same period is run once."""

    public_id = models.TextField(default=new_run_id, editable=False)
    shop = models.ForeignKey(Shop, models.PROTECT, related_name="payout_runs", db_index=False)
    interval = models.TextField(choices=Interval)
    calendar = models.CharField(
        max_length=100, help_text=_("For the sellers with this day, time and zone of the cut-off, and this country's bank holidays")
    )
    period = models.CharField(max_length=10, help_text=_("2026-10, 2026-W47 or 2026-11-21"))
    ends_at = models.DateTimeField(help_text=_("The cut-off"))
    status = models.TextField(choices=RunStatus, default=RunStatus.WAITING)
    total = AmountField()
    count = models.PositiveIntegerField()
    made_by = models.TextField()
    decided_by = models.TextField(blank=True)
    decided_at = models.DateTimeField(null=True)
    reason = models.TextField(blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        verbose_name = _("payout run")
        verbose_name_plural = _("payout runs")
        constraints = [
            models.UniqueConstraint(fields=["public_id"], name="payout_run_has_one_public_id"),
            models.UniqueConstraint(fields=["shop", "currency", "interval", "calendar", "period"], name="payout_run_is_made_once"),
            models.CheckConstraint(
                condition=Q(status=RunStatus.WAITING, decided_at=None) | ~Q(status=RunStatus.WAITING) & Q(decided_at__isnull=False),
                name="payout_run_is_decided_by_somebody",
            ),
            models.CheckConstraint(condition=Q(decided_by="") | ~Q(decided_by=F("made_by")), name="maker_does_not_approve_the_run"),
        ]

    def __str__(self) -> str:
        return f"{self.period} {self.total}"


class Payout(models.Model):
    """Money on its way from a seller's available balance to the seller's bank.  Taken off the balance when the payout is made.

    SUCCESS, FAILED, RETURNED and CANCELLED each have their entries: `journal_entry` took the money off, `paid_entry` off our bank,
    `return_entry` put it back.  One that was given up and arrived after all has a `late_entry`, too, and if that came back, a
    `late_return_entry`.
    """

    class Cause(models.TextChoices):
        RUN = "run", _("Payout run")
        REQUEST = "request", _("Asked for")

    public_id = models.TextField(default=new_payout_id, editable=False)
    shop = models.ForeignKey(Shop, models.PROTECT, related_name="+", db_index=False)
    seller = models.ForeignKey(Seller, models.PROTECT, related_name="payouts", db_index=False)
    bank_account = models.ForeignKey(BankAccount, models.PROTECT, related_name="payouts", db_index=False)
    run = models.ForeignKey(PayoutRun, models.PROTECT, related_name="payouts", null=True, db_index=False)
    cause = models.TextField(choices=Cause)
    amount = AmountField()
    status = models.TextField(choices=PayoutStatus)
    reference = models.CharField(max_length=120, db_default="", default="", blank=True, help_text=_("The shop's own id of this payout"))
    once = models.CharField(max_length=255, db_default="", default="", blank=True, help_text=_("The Idempotency-Key that asked for it"))
    requested_by = models.TextField(db_default="", default="", blank=True)
    decided_by = models.TextField(db_default="", default="", blank=True, help_text=_("Who approved or rejected it"))
    decided_at = models.DateTimeField(null=True)
    provider = models.TextField()
    provider_reference = models.TextField(db_default="", default="", blank=True)
    failure_code = models.TextField(db_default="", default="", blank=True)
    failure_message = models.TextField(db_default="", default="", blank=True)
    tries = models.PositiveIntegerField(db_default=0, default=0, help_text=_("How often it was claimed"))
    failures = models.PositiveIntegerField(db_default=0, default=0, help_text=_("How many calls in a row came to nothing"))
    asked = models.PositiveIntegerField(db_default=0, default=0, help_text=_("How often the bank was asked what became of it"))
    deaths = models.PositiveIntegerField(
        db_default=0, default=0, help_text=_("How many claims in a row were not handed back, this one included")
    )
    next_attempt_at = models.DateTimeField(
        null=True,
        help_text=_("Empty while it executes: it waits for a person; set although it has failed: it was given up, and is asked for"),
    )
    arrives_on = models.DateField(null=True)
    paid_at = models.DateTimeField(null=True)
    journal_entry = models.ForeignKey(JournalEntry, models.PROTECT, related_name="+", db_index=False)
    wallet_entry = models.ForeignKey(WalletEntry, models.PROTECT, related_name="+", db_index=False)
    paid_entry = models.ForeignKey(JournalEntry, models.PROTECT, null=True, related_name="+", db_index=False)
    return_entry = models.ForeignKey(JournalEntry, models.PROTECT, null=True, related_name="+", db_index=False)
    return_wallet_entry = models.ForeignKey(WalletEntry, models.PROTECT, null=True, related_name="+", db_index=False)
    late_entry = models.ForeignKey(JournalEntry, models.PROTECT, null=True, related_name="+", db_index=False)
    late_wallet_entry = models.ForeignKey(WalletEntry, models.PROTECT, null=True, related_name="+", db_index=False)
    late_return_entry = models.ForeignKey(JournalEntry, models.PROTECT, null=True, related_name="+", db_index=False)
    late_return_wallet_entry = models.ForeignKey(WalletEntry, models.PROTECT, null=True, related_name="+", db_index=False)
    told = models.PositiveIntegerField(db_default=0, default=0, help_text=_("How many messages were published about it"))
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        verbose_name = _("payout")
        verbose_name_plural = _("payouts")
        indexes = [
            models.Index(fields=["seller", "id"], name="payout_by_seller"),
            models.Index(fields=["shop", "id"], name="payout_by_shop"),
            models.Index(fields=["next_attempt_at"], condition=Q(next_attempt_at__isnull=False), name="payout_to_execute"),
            models.Index(
                fields=["id"],
                condition=Q(status=PayoutStatus.WAITING) | Q(status=PayoutStatus.EXECUTING, next_attempt_at=None),
                name="payout_for_a_person",
            ),
            models.Index(fields=["currency"], condition=Q(status__in=[*LIVE]), name="payout_in_transit"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["public_id"], name="payout_has_one_public_id"),
            models.UniqueConstraint(fields=["seller", "reference"], condition=~Q(reference=""), name="payout_reference_is_used_once"),
            models.UniqueConstraint(fields=["seller", "once"], condition=~Q(once=""), name="payout_is_asked_for_once_per_key"),
            models.UniqueConstraint(fields=["run", "seller"], name="run_pays_a_seller_once"),
            models.UniqueConstraint(fields=["journal_entry"], name="payout_has_its_own_entry"),
            models.UniqueConstraint(fields=["wallet_entry"], name="payout_has_its_own_movement"),
            models.CheckConstraint(condition=Q(amount__gt=0), name="payout_has_an_amount"),
            models.CheckConstraint(condition=is_exact("amount"), name="payout_is_in_minor_units"),
            models.CheckConstraint(condition=Q(decided_by="") | ~Q(decided_by=F("requested_by")), name="maker_does_not_approve_the_payout"),
            models.CheckConstraint(
                condition=Q(return_entry__isnull=True, return_wallet_entry__isnull=True)
                | Q(return_entry__isnull=False, return_wallet_entry__isnull=False),
                name="payout_is_put_back_in_books_and_wallet",
            ),
            models.CheckConstraint(
                condition=Q(late_entry__isnull=True, late_wallet_entry__isnull=True)
                | Q(late_entry__isnull=False, late_wallet_entry__isnull=False),
                name="payout_is_taken_again_in_books_and_wallet",
            ),
            models.CheckConstraint(
                condition=Q(late_return_entry__isnull=True, late_return_wallet_entry__isnull=True)
                | Q(late_return_entry__isnull=False, late_return_wallet_entry__isnull=False),
                name="late_payout_is_put_back_in_books_and_wallet",
            ),
            models.CheckConstraint(
                condition=Q(status__in=LIVE, paid_entry=None, return_entry=None, late_entry=None, late_return_entry=None)
                | Q(status=PayoutStatus.SUCCESS, paid_entry__isnull=False, return_entry=None, late_entry=None, late_return_entry=None)
                | Q(
                    status=PayoutStatus.SUCCESS,
                    paid_entry=None,
                    return_entry__isnull=False,
                    late_entry__isnull=False,
                    late_return_entry=None,
                )
                | Q(  # it came back, and another file paid it: its line says so
                    status__in=[PayoutStatus.SUCCESS, PayoutStatus.RETURNED],
                    paid_entry__isnull=False,
                    return_entry__isnull=False,
                    late_entry=None,
                    late_return_entry=None,
                )
                | Q(
                    status__in=[PayoutStatus.SUCCESS, PayoutStatus.RETURNED],
                    paid_entry=None,
                    return_entry__isnull=False,
                    late_entry__isnull=False,
                    late_return_entry__isnull=False,
                )
                | Q(
                    status__in=[PayoutStatus.FAILED, PayoutStatus.CANCELLED],
                    paid_entry=None,
                    return_entry__isnull=False,
                    late_entry=None,
                    late_return_entry=None,
                ),
                name="payout_has_its_entries",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.public_id} {self.amount}"


class PayoutAttempt(models.Model):
    """One call to a bank about a payout.  A call that moves money is written and committed before it is sent."""

    payout = models.ForeignKey(Payout, models.PROTECT, related_name="attempts", db_index=False)
    operation = models.TextField(choices=PayoutOperation)
    number = models.PositiveIntegerField()
    provider = models.TextField()
    key = models.TextField(help_text=_("Under which the bank knows the payout"))
    status = models.TextField(choices=AttemptStatus, default=AttemptStatus.SENDING)
    provider_reference = models.TextField(blank=True)
    error_code = models.TextField(blank=True)
    error_message = models.TextField(blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = _("payout attempt")
        verbose_name_plural = _("payout attempts")
        constraints = [models.UniqueConstraint(fields=["payout", "operation", "number"], name="payout_attempt_is_numbered_once")]

    def __str__(self) -> str:
        return f"{self.key} #{self.number} {self.status}"


class PayoutTransition(models.Model):
    """One change of a status, written by Postgres itself (a trigger), so that none is missed: what, from, to, when, by whom and why."""

    class Kind(models.TextChoices):
        PAYOUT = "payout", _("Payout")
        RUN = "run", _("Payout run")
        FILE = "file", _("Payment file")

    kind = models.TextField(choices=Kind)
    object_id = models.BigIntegerField()
    before = models.TextField()
    after = models.TextField()
    actor = models.TextField(blank=True, help_text=_("Empty: the machine"))
    reason = models.TextField(blank=True)
    at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        indexes = [models.Index(fields=["kind", "object_id"], name="payout_transition_by_object")]

    def __str__(self) -> str:
        return f"{self.kind} {self.object_id}: {self.before} -> {self.after}"


class ReturnWatch(models.Model):
    """Until when a provider was asked for payouts that came back, so that none is lost with its webhook."""

    provider = models.TextField(primary_key=True)
    asked_until = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.provider} {self.asked_until}"


class PaymentFile(models.Model):
    """A file that tells our bank to pay many payouts.  Kept is all that its bytes are made of, and their hash; never the file itself.

    Its lines may still be dropped until it has its hash; from then on it says the same for ever.  Somebody other than its maker, and than
    who finished it after a crash, approves it.
    """

    public_id = models.TextField(default=new_file_id, editable=False)
    message_id = models.CharField(max_length=35, editable=False, help_text=_("Under which the bank knows the file"))
    provider = models.TextField()
    format = models.TextField(choices=[(name, name) for name in DIALECTS])
    execute_on = models.DateField(help_text=_("The day on which the bank is to pay"))
    debtor = models.JSONField(help_text=_("Our own account, from which the bank pays"))
    count = models.PositiveIntegerField()
    total = AmountField()
    sha256 = models.CharField(max_length=64, db_default="", default="", blank=True)
    status = models.TextField(choices=FileStatus, default=FileStatus.MADE)
    reason = models.TextField(db_default="", default="", blank=True, help_text=_("Why it was approved or rejected"))
    created_by = models.TextField()
    created_at = models.DateTimeField()
    finished_by = models.TextField(db_default="", default="", blank=True, help_text=_("Who gave it its hash, after a crash somebody else"))
    approved_by = models.TextField(db_default="", default="", blank=True)
    approved_at = models.DateTimeField(null=True)
    downloaded_by = models.TextField(db_default="", default="", blank=True)
    downloaded_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = _("payment file")
        verbose_name_plural = _("payment files")
        permissions = [
            ("make_paymentfile", "Can make a payment file"),
            ("approve_paymentfile", "Can approve or reject a payment file"),
            ("download_paymentfile", "Can download a payment file, with all bank details in it"),
            ("answer_paymentfile", "Can upload the bank's answer to a payment file"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["public_id"], name="payment_file_has_one_public_id"),
            models.UniqueConstraint(fields=["message_id"], name="bank_knows_one_payment_file_by_an_id"),
            models.CheckConstraint(
                condition=Q(approved_by="", approved_at=None) | ~Q(approved_by="") & Q(approved_at__isnull=False),
                name="payment_file_is_approved_by_somebody",
            ),
            models.CheckConstraint(
                condition=Q(approved_by="") | ~Q(approved_by=F("created_by")) & ~Q(approved_by=F("finished_by")),
                name="maker_does_not_approve_the_file",
            ),
            models.CheckConstraint(
                condition=Q(downloaded_at=None) | Q(approved_at__isnull=False) & ~Q(sha256=""), name="payment_file_leaves_when_approved"
            ),
            models.CheckConstraint(
                condition=Q(status=FileStatus.MADE, approved_at=None)
                | Q(status=FileStatus.APPROVED, approved_at__isnull=False)
                | Q(status__in=[FileStatus.ACCEPTED, FileStatus.PARTLY], downloaded_at__isnull=False)
                | Q(status=FileStatus.REJECTED),
                name="payment_file_goes_step_by_step",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.public_id} {self.total}"


class PaymentFileLine(models.Model):
    """One payout in a payment file, and what the bank said of it last.  A payout is in one file at a time: a dropped line frees it.

    If the file paid it although something else had paid it, `again_entry` took the money off our bank a second time; `again_return_entry`
    put it back.  What came back before that is the seller's second payment: `again_wallet_entry` took it off the seller, too, and
    `again_return_wallet_entry` put it back.
    """

    file = models.ForeignKey(PaymentFile, models.PROTECT, related_name="lines", db_index=False)
    number = models.PositiveIntegerField()
    payout = models.ForeignKey(Payout, models.PROTECT, related_name="file_lines", db_index=False)
    text = models.TextField(help_text=_("What stands on the receiver's statement"))
    bank_status = models.TextField(db_default="", default="", help_text=_("In the words of ISO 20022: ACSC, RJCT, ..."))
    bank_reason = models.TextField(db_default="", default="")
    dropped_at = models.DateTimeField(null=True)
    dropped_why = models.TextField(db_default="", default="")
    freed_by = models.TextField(
        db_default="", default="", help_text=_("Who saw in the bank's statement that it never left; empty: it was dropped otherwise")
    )
    again_entry = models.ForeignKey(JournalEntry, models.PROTECT, null=True, related_name="+", db_index=False)
    again_return_entry = models.ForeignKey(JournalEntry, models.PROTECT, null=True, related_name="+", db_index=False)
    again_wallet_entry = models.ForeignKey(WalletEntry, models.PROTECT, null=True, related_name="+", db_index=False)
    again_return_wallet_entry = models.ForeignKey(WalletEntry, models.PROTECT, null=True, related_name="+", db_index=False)

    class Meta:
        verbose_name = _("line of a payment file")
        verbose_name_plural = _("lines of payment files")
        constraints = [
            models.UniqueConstraint(fields=["file", "number"], name="payment_file_line_is_numbered_once"),
            models.UniqueConstraint(fields=["payout", "file"], name="payment_file_names_a_payout_once"),
            models.UniqueConstraint(fields=["payout"], condition=Q(dropped_at=None), name="payout_is_in_one_payment_file"),
            models.CheckConstraint(condition=Q(freed_by="") | Q(dropped_at__isnull=False), name="payment_file_line_is_freed_when_dropped"),
            models.CheckConstraint(
                condition=Q(again_return_entry=None) | Q(again_entry__isnull=False), name="payment_file_line_came_back_when_paid_again"
            ),
            models.CheckConstraint(
                condition=Q(again_wallet_entry=None, again_return_wallet_entry=None)
                | Q(again_entry__isnull=False, again_wallet_entry__isnull=False, again_return_entry=None, again_return_wallet_entry=None)
                | Q(again_wallet_entry__isnull=False, again_return_entry__isnull=False, again_return_wallet_entry__isnull=False),
                name="payment_file_line_is_in_books_and_wallet",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.file.public_id} #{self.number}"


class PayoutStop(models.Model):
    """While one of these is not lifted, nothing is paid out to anybody (stops.py).  Postgres keeps it as it was made, and as it was lifted."""

    reason = models.TextField(help_text=_("What was found"))
    placed_by = models.TextField()
    placed_at = models.DateTimeField()
    lifted_by = models.TextField(db_default="", default="", blank=True)
    lifted_at = models.DateTimeField(null=True)
    lift_reason = models.TextField(db_default="", default="", blank=True)

    class Meta:
        verbose_name = _("stop of all payouts")
        verbose_name_plural = _("stops of all payouts")
        default_permissions = ("view",)
        permissions = [
            ("add_payoutstop", "Can stop all payouts"),
            ("lift_payoutstop", "Can let payouts go on after they were stopped"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["lifted_at"], condition=Q(lifted_at=None), name="payouts_are_stopped_once", nulls_distinct=False
            ),
            models.CheckConstraint(condition=~Q(reason="") & ~Q(placed_by=""), name="stop_of_payouts_says_why_and_by_whom"),
            models.CheckConstraint(
                condition=Q(lifted_at=None, lifted_by="", lift_reason="")
                | Q(lifted_at__isnull=False) & ~Q(lifted_by="") & ~Q(lift_reason="") & ~Q(lifted_by=F("placed_by")),
                name="stop_of_payouts_is_lifted_by_another_who_says_why",
            ),
        ]

    def __str__(self) -> str:
        return f"since {self.placed_at:%Y-%m-%d %H:%M}"


class PaymentFileAnswer(models.Model):
    """One answer of the bank that was read: what it said of how many, and what of it nobody could make sense of (`problems`)."""

    file = models.ForeignKey(PaymentFile, models.PROTECT, related_name="answers")
    sha256 = models.CharField(max_length=64)
    message_id = models.TextField(help_text=_("The bank's own id of the answer"))
    said = models.TextField(blank=True, help_text=_("Of the file as a whole, in the words of ISO 20022"))
    counts = models.JSONField()
    problems = models.JSONField()
    received_by = models.TextField()
    received_at = models.DateTimeField()

    class Meta:
        verbose_name = _("answer of a bank")
        verbose_name_plural = _("answers of banks")
        constraints = [models.UniqueConstraint(fields=["sha256"], name="answer_of_a_bank_is_kept_once")]

    def __str__(self) -> str:
        return f"{self.message_id} {self.said}"

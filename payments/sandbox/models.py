"""The sandbox's tables: sessions, kept cards, charges, refunds, disputes, payouts, stored answers, the journal, webhook deliveries, the clock,
and what is told of a day that is over: settlement batches, bank statements, and the faults that were planted in them.

Amounts are whole minor units. No column holds the number of a card or bank account, or a security code. The journal is append-only (a trigger
says so); `charged <= amount` and `refunded <= amount` are checked by the database as well as by the code. The key of a
charge, refund or payout is not unique: a key that was pruned executes again, and whoever does that shall see it.
"""

from datetime import datetime, timedelta

from django.db import models
from django.db.models import F, Q


class Session(models.Model):
    """One buyer confirming one total once. Its token may be charged in parts up to `amount`.

    `card` names the behaviour of the card behind it, if there is one. `saved_card` is the token of the card that the buyer pays with, or,
    with `save_card`, of the card that was kept for the `customer`, whose `country` (if it was told) bounds the ways to pay. `short_code` is what a QR code leads to. A session that a person reviews
    becomes `decides_to` at `decides_at`, unless somebody decides before.
    """

    id = models.CharField(primary_key=True, max_length=48)
    nonce = models.CharField(max_length=255, unique=True)
    amount = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    charged = models.BigIntegerField(default=0)
    parent_origin = models.CharField(max_length=255)
    return_url = models.CharField(max_length=2000)
    locale = models.CharField(max_length=16)
    description = models.CharField(max_length=500)
    method = models.CharField(max_length=16, default="card", db_default="card")
    customer = models.CharField(max_length=64, default="", db_default="")
    country = models.CharField(max_length=2, default="", db_default="")
    save_card = models.BooleanField(default=False, db_default=False)
    saved_card = models.CharField(max_length=48, default="", db_default="")
    short_code = models.CharField(max_length=16, unique=True, null=True)
    status = models.CharField(max_length=16, default="open")
    failure_code = models.CharField(max_length=32, default="", db_default="")
    decides_at = models.DateTimeField(null=True)
    decides_to = models.CharField(max_length=16, default="", db_default="")
    token = models.CharField(max_length=64, unique=True, null=True)
    card = models.CharField(max_length=48, default="")
    card_brand = models.CharField(max_length=16, default="")
    card_funding = models.CharField(max_length=16, default="")
    card_country = models.CharField(max_length=2, default="")
    card_last4 = models.CharField(max_length=4, default="")
    card_exp_month = models.SmallIntegerField(null=True)
    card_exp_year = models.SmallIntegerField(null=True)
    card_fingerprint = models.CharField(max_length=48, default="")
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()

    class Meta:
        app_label = "sandbox"
        constraints = [
            models.CheckConstraint(name="session_charged_within_amount", condition=Q(charged__range=(0, F("amount")))),
            models.CheckConstraint(
                name="session_token_when_complete",
                condition=Q(status="complete", token__isnull=False) | (~Q(status="complete") & Q(token__isnull=True)),
            ),
        ]
        indexes = [
            models.Index(name="session_to_decide", fields=["decides_at"], condition=Q(decides_at__isnull=False)),
            models.Index(name="session_with_code", fields=["created_at"], condition=Q(short_code__isnull=False)),
        ]

    def __str__(self) -> str:
        return self.id


class SavedCard(models.Model):
    """A card that is kept for a customer under a token, once; what is forgotten stays as a row that pays for nothing."""

    token = models.CharField(primary_key=True, max_length=48)
    customer = models.CharField(max_length=64)
    card = models.CharField(max_length=48)
    fingerprint = models.CharField(max_length=48)
    exp_month = models.SmallIntegerField()
    exp_year = models.SmallIntegerField()
    created_at = models.DateTimeField()
    forgotten_at = models.DateTimeField(null=True)

    class Meta:
        app_label = "sandbox"
        constraints = [
            models.UniqueConstraint(name="card_kept_once", fields=["customer", "fingerprint"], condition=Q(forgotten_at__isnull=True)),
        ]

    def __str__(self) -> str:
        return self.token


class Movement(models.Model):
    """What a charge, a refund and a payout have in common: money that moves under an idempotency key."""

    id = models.CharField(primary_key=True, max_length=48)
    key = models.CharField(max_length=255, db_index=True)
    reference = models.CharField(max_length=255)
    amount = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    status = models.CharField(max_length=16)
    failure = models.JSONField(null=True)
    created_at = models.DateTimeField()
    matures_at = models.DateTimeField(null=True)
    matures_to = models.CharField(max_length=16, default="")
    hidden_until = models.DateTimeField(null=True)

    class Meta:
        abstract = True


def visible(key: str, *, now: datetime, lag_s: float) -> Q:
    """Match the movements under this key that looking it up may find: not hidden, and older than the lag."""
    found = Q(key=key) & (Q(hidden_until=None) | Q(hidden_until__lte=now))
    return found & Q(created_at__lte=now - timedelta(seconds=lag_s)) if lag_s else found


class Charge(Movement):
    """Money taken from a session's card. `lost` is what lost disputes took back; `disputed_at`, when the card's bank will.

    `statement_descriptor` is how the buyer's statement names the shop; without one, by the account's name.
    """

    session = models.ForeignKey(Session, models.PROTECT, related_name="charges")
    refunded = models.BigIntegerField(default=0)
    lost = models.BigIntegerField(default=0)
    succeeded_at = models.DateTimeField(null=True)
    disputed_at = models.DateTimeField(null=True)
    metadata = models.JSONField(default=dict)
    statement_descriptor = models.CharField(max_length=22, default="", db_default="")

    class Meta:
        app_label = "sandbox"
        constraints = [
            models.CheckConstraint(name="charge_refunded_within_amount", condition=Q(refunded__range=(0, F("amount")))),
            models.CheckConstraint(name="charge_lost_within_amount", condition=Q(lost__range=(0, F("amount")))),
            models.CheckConstraint(name="charge_amount_positive", condition=Q(amount__gt=0)),
        ]
        indexes = [
            models.Index(name="charge_to_mature", fields=["matures_at"], condition=Q(matures_at__isnull=False)),
            models.Index(name="charge_to_dispute", fields=["disputed_at"], condition=Q(disputed_at__isnull=False)),
            models.Index(name="charge_of_reference", fields=["reference"]),
        ]

    def __str__(self) -> str:
        return self.id


class Refund(Movement):
    """Money given back out of a charge."""

    charge = models.ForeignKey(Charge, models.PROTECT, related_name="refunds")

    class Meta:
        app_label = "sandbox"
        constraints = [models.CheckConstraint(name="refund_amount_positive", condition=Q(amount__gt=0))]
        indexes = [
            models.Index(name="refund_to_mature", fields=["matures_at"], condition=Q(matures_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return self.id


class Dispute(models.Model):
    """A buyer's bank takes a charge back, all or part of it, until it is decided who is right."""

    id = models.CharField(primary_key=True, max_length=48)
    charge = models.ForeignKey(Charge, models.PROTECT, related_name="disputes")
    status = models.CharField(max_length=16, default="open")
    amount = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    fee = models.BigIntegerField()
    lost_amount = models.BigIntegerField(default=0)
    reason = models.CharField(max_length=64)
    evidence_due_by = models.DateTimeField()
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    closes_at = models.DateTimeField(null=True)
    closes_to = models.CharField(max_length=16, default="")

    class Meta:
        app_label = "sandbox"
        constraints = [
            models.CheckConstraint(name="dispute_amount_positive", condition=Q(amount__gt=0)),
            models.CheckConstraint(name="dispute_fee_not_negative", condition=Q(fee__gte=0)),
            models.CheckConstraint(name="dispute_lost_within_amount", condition=Q(lost_amount__range=(0, F("amount")))),
            models.UniqueConstraint(name="dispute_open_once", fields=["charge"], condition=Q(status="open")),
        ]
        indexes = [
            models.Index(name="dispute_to_close", fields=["closes_at"], condition=Q(closes_at__isnull=False)),
            models.Index(name="dispute_updated", fields=["updated_at", "id"]),
        ]

    def __str__(self) -> str:
        return self.id


class Payout(Movement):
    """Money sent to a bank account. `account` names the behaviour of the account, of whose number the last four digits stay."""

    account = models.CharField(max_length=16)
    account_last4 = models.CharField(max_length=4)
    updated_at = models.DateTimeField()

    class Meta:
        app_label = "sandbox"
        constraints = [models.CheckConstraint(name="payout_amount_positive", condition=Q(amount__gt=0))]
        indexes = [
            models.Index(name="payout_to_mature", fields=["matures_at"], condition=Q(matures_at__isnull=False)),
            models.Index(name="payout_updated", fields=["updated_at", "id"]),
        ]

    def __str__(self) -> str:
        return self.id


class StoredAnswer(models.Model):
    """The answer to the first call under an idempotency key, for 24 hours; or, for ever, that the key is buried."""

    key = models.CharField(primary_key=True, max_length=255)
    operation = models.CharField(max_length=16)
    request_hash = models.CharField(max_length=64)
    status = models.SmallIntegerField(null=True)
    body = models.TextField(default="")
    created_at = models.DateTimeField()

    class Meta:
        app_label = "sandbox"

    def __str__(self) -> str:
        return self.key


class JournalRow(models.Model):
    """One thing that happened. Rows are only ever added."""

    seq = models.BigAutoField(primary_key=True)
    at = models.DateTimeField()
    type = models.CharField(max_length=32)
    key = models.CharField(max_length=255, null=True)
    object_id = models.CharField(max_length=64)
    reference = models.CharField(max_length=255)
    amount = models.BigIntegerField(null=True)
    currency = models.CharField(max_length=3, null=True)
    account = models.CharField(max_length=64)

    class Meta:
        app_label = "sandbox"
        db_table = "sandbox_journal"
        indexes = [models.Index(name="journal_refund_succeeded", fields=["object_id"], condition=Q(type="refund.succeeded"))]

    def __str__(self) -> str:
        return f"{self.seq} {self.type} {self.object_id}"


class Delivery(models.Model):
    """One webhook on its way. `next_attempt_at` is null once it arrived, or when it was lost on purpose.

    `address` says to which of our two addresses it goes. `fault` is the kind of fault that changes how it is sent; `skew_s` is how wrong the clock of its signature is.
    """

    id = models.BigAutoField(primary_key=True)
    event_id = models.CharField(max_length=48)
    type = models.CharField(max_length=32)
    object_id = models.CharField(max_length=48)
    address = models.CharField(max_length=16, default="payments")
    body = models.TextField()
    created_at = models.DateTimeField()
    attempts = models.IntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True)
    delivered_at = models.DateTimeField(null=True)
    last_result = models.CharField(max_length=200, default="")
    fault = models.CharField(max_length=32, default="")
    skew_s = models.FloatField(default=0)

    class Meta:
        app_label = "sandbox"
        indexes = [
            models.Index(name="delivery_due", fields=["next_attempt_at"], condition=Q(next_attempt_at__isnull=False)),
            models.Index(name="delivery_of_object", fields=["object_id"]),
        ]

    def __str__(self) -> str:
        return f"{self.event_id} {self.type}"


class ClockOffset(models.Model):
    """How far the sandbox's time is ahead of real time: one row, or none."""

    offset_s = models.FloatField()

    class Meta:
        app_label = "sandbox"
        db_table = "sandbox_clock"

    def __str__(self) -> str:
        return f"{self.offset_s:+} s"


class ClosedDay(models.Model):
    """A day of the PSP and of its bank that is over: rows of the journal up to `up_to_seq` belong to it or to a day before."""

    day = models.DateField(primary_key=True)
    up_to_seq = models.BigIntegerField()

    class Meta:
        app_label = "sandbox"

    def __str__(self) -> str:
        return f"{self.day}"


class DailyFile(models.Model):
    """What a settlement batch and a bank statement have in common: one day, one currency, and how its files look in each format."""

    id = models.BigAutoField(primary_key=True)
    name = models.CharField(max_length=24, unique=True)
    day = models.DateField()
    currency = models.CharField(max_length=3)
    lines = models.IntegerField(default=0)
    digests = models.JSONField(default=dict)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.name


class SettlementBatch(DailyFile):
    """What the PSP settled: `carried_in` is what the batch before lacked, `carried_out` what this one lacks, `paid_out` goes to the bank."""

    carried_in = models.BigIntegerField(default=0)
    carried_out = models.BigIntegerField(default=0)
    paid_out = models.BigIntegerField(default=0)

    class Meta:
        app_label = "sandbox"
        constraints = [
            models.CheckConstraint(
                name="batch_is_paid_out_or_carried", condition=Q(paid_out=0, carried_out__gte=0) | Q(paid_out__gte=0, carried_out=0)
            ),
            models.CheckConstraint(name="batch_carries_in_a_lack", condition=Q(carried_in__gte=0)),
        ]


class SettlementLine(models.Model):
    """One line of a batch; without a batch it waits for the next one of its currency, from `waits_until` on. Of `gross`, `fee` is kept."""

    id = models.BigAutoField(primary_key=True)
    batch = models.ForeignKey(SettlementBatch, models.PROTECT, null=True, related_name="+", db_index=False)
    type = models.CharField(max_length=24)
    object_id = models.CharField(max_length=64)
    charge = models.CharField(max_length=64)
    key = models.CharField(max_length=255)
    reference = models.CharField(max_length=255)
    charge_reference = models.CharField(max_length=255)
    method = models.CharField(max_length=16)
    currency = models.CharField(max_length=3)
    gross = models.BigIntegerField()
    fee = models.BigIntegerField()
    occurred_at = models.DateTimeField()
    waits_until = models.DateField(null=True)

    class Meta:
        app_label = "sandbox"
        indexes = [models.Index(name="line_of_batch", fields=["batch", "id"])]

    def __str__(self) -> str:
        return f"{self.type} {self.object_id}"


class BankStatement(DailyFile):
    """What the bank booked on the merchant's account; `number` counts the statements of one currency."""

    number = models.IntegerField()
    opening = models.BigIntegerField()
    closing = models.BigIntegerField()

    class Meta:
        app_label = "sandbox"
        constraints = [models.UniqueConstraint(name="statement_number_once", fields=["currency", "number"])]


class BankEntry(models.Model):
    """One booking on the merchant's account, signed as he sees it; without a statement it waits for that of `booked_on`."""

    id = models.BigAutoField(primary_key=True)
    statement = models.ForeignKey(BankStatement, models.PROTECT, null=True, related_name="+", db_index=False)
    kind = models.CharField(max_length=16)
    booked_on = models.DateField()
    currency = models.CharField(max_length=3)
    amount = models.BigIntegerField()
    object_id = models.CharField(max_length=64)
    end_to_end_id = models.CharField(max_length=255)
    account_last4 = models.CharField(max_length=4, default="")
    reason = models.CharField(max_length=4, default="")

    class Meta:
        app_label = "sandbox"
        indexes = [models.Index(name="entry_of_statement", fields=["statement", "id"])]

    def __str__(self) -> str:
        return f"{self.kind} {self.object_id}"


class PlantedFault(models.Model):
    """A fault in a file: `kind` struck the line about `object_id`, which truly is what stands here. `invented` is the id of an extra line."""

    id = models.BigAutoField(primary_key=True)
    operation = models.CharField(max_length=16)
    file = models.CharField(max_length=24)
    kind = models.CharField(max_length=32)
    object_id = models.CharField(max_length=64)
    key = models.CharField(max_length=255)
    reference = models.CharField(max_length=255)
    currency = models.CharField(max_length=3)
    gross = models.BigIntegerField()
    fee = models.BigIntegerField()
    invented = models.CharField(max_length=64, default="")

    class Meta:
        app_label = "sandbox"

    def __str__(self) -> str:
        return f"{self.kind} {self.object_id}"

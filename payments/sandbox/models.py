"""The sandbox's tables: sessions, charges, refunds, disputes, payouts, stored answers, the journal, webhook deliveries, the clock.

Amounts are whole minor units. No column holds the number of a card or bank account, or a security code. The journal is append-only (a trigger
says so); `charged <= amount` and `refunded <= amount` are checked by the database as well as by the code. The key of a
charge, refund or payout is not unique: a key that was pruned executes again, and whoever does that shall see it.
"""

from datetime import datetime, timedelta

from django.db import models
from django.db.models import F, Q


class Session(models.Model):
    """One buyer confirming one total once. Its token may be charged in parts up to `amount`."""

    id = models.CharField(primary_key=True, max_length=48)
    nonce = models.CharField(max_length=255, unique=True)
    amount = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    charged = models.BigIntegerField(default=0)
    parent_origin = models.CharField(max_length=255)
    return_url = models.CharField(max_length=2000)
    locale = models.CharField(max_length=16)
    description = models.CharField(max_length=500)
    status = models.CharField(max_length=16, default="open")
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

    def __str__(self) -> str:
        return self.id


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
    """Money taken from a session's card. `lost` is what lost disputes took back; `disputed_at`, when the card's bank will."""

    session = models.ForeignKey(Session, models.PROTECT, related_name="charges")
    refunded = models.BigIntegerField(default=0)
    lost = models.BigIntegerField(default=0)
    succeeded_at = models.DateTimeField(null=True)
    disputed_at = models.DateTimeField(null=True)
    metadata = models.JSONField(default=dict)

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

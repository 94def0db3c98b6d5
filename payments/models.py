"""Pay-in's rows: what a buyer was asked to pay, what each seller is to get, each call to a PSP, and what PSPs told us.

Two tables are queues and stay narrow, so that the large ones need no index on what changes: `DueOrder` (what the executor has to do next)
and `OpenCheckout` (what may still expire).  The row is the queue; Celery is the hands; Redis is a doorbell.
"""

import secrets

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from ledger.ids import new_id
from ledger.models import JournalEntry
from ledger.money import AmountField, is_exact
from payments.states import AttemptStatus, EventStatus, OrderStatus, RefundStatus
from wallet.models import Buyer, Seller, Shop, WalletEntry


def new_payment_id() -> str:
    return new_id("pay")


def new_order_id() -> str:
    return new_id("ord")


def new_refund_id() -> str:
    return new_id("re")


def new_checkout_token() -> str:
    return secrets.token_urlsafe(24)


class FeeSchedule(models.Model):
    """The platform's fee of a shop in one currency, for one seller or (no seller) for all that have none of their own."""

    shop = models.ForeignKey(Shop, models.PROTECT, related_name="fee_schedules", db_index=False)
    seller = models.ForeignKey(Seller, models.PROTECT, related_name="fee_schedules", null=True, blank=True)
    basis_points = models.PositiveIntegerField(help_text="100 basis points are 1 %")
    fixed = AmountField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["shop", "seller", "currency"], name="seller_has_one_fee_schedule", nulls_distinct=False),
            models.CheckConstraint(condition=Q(basis_points__lte=10_000, fixed__gte=0), name="fee_is_between_nothing_and_all"),
            models.CheckConstraint(condition=is_exact("fixed"), name="fee_schedule_fixed_is_in_minor_units"),
        ]

    def __str__(self) -> str:
        return f"{self.basis_points / 100} % + {self.fixed} for {self.seller or 'all sellers'}"


class PaymentEvent(models.Model):
    """One checkout: what one buyer pays once, for one or more sellers.  The token in its page's address is its secret."""

    public_id = models.TextField(default=new_payment_id, editable=False)
    token = models.TextField(default=new_checkout_token, editable=False)
    shop = models.ForeignKey(Shop, models.PROTECT, related_name="payment_events", db_index=False)
    checkout_id = models.CharField(max_length=120)
    buyer = models.ForeignKey(Buyer, models.PROTECT, related_name="payment_events")
    amount = AmountField()
    psp = models.TextField()
    status = models.TextField(choices=EventStatus, default=EventStatus.OPEN)
    is_payment_done = models.BooleanField(default=False)
    return_url = models.TextField(blank=True)
    locale = models.CharField(max_length=12, default="en")
    metadata = models.JSONField(default=dict, blank=True)
    psp_session = models.TextField(blank=True, help_text="The PSP's session of the payment page, the latest one")
    confirmed_session = models.TextField(blank=True, help_text="The session that the buyer confirmed last")
    confirmations = models.PositiveSmallIntegerField(default=0)
    payment_token = models.TextField(blank=True, help_text="The PSP's token of the payment details, confirmed last")
    card_brand = models.CharField(max_length=20, blank=True)
    card_last4 = models.CharField(max_length=4, blank=True)
    expires_at = models.DateTimeField()
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        indexes = [models.Index(fields=["shop", "id"], name="payment_event_by_shop")]
        constraints = [
            models.UniqueConstraint(fields=["public_id"], name="payment_event_has_one_public_id"),
            models.UniqueConstraint(fields=["token"], name="payment_event_has_one_token"),
            models.UniqueConstraint(fields=["shop", "checkout_id"], name="checkout_is_opened_once"),
            models.CheckConstraint(condition=Q(amount__gt=0), name="payment_event_has_an_amount"),
            models.CheckConstraint(condition=is_exact("amount"), name="payment_event_is_in_minor_units"),
            models.CheckConstraint(
                condition=Q(is_payment_done=True) | Q(status__in=[EventStatus.OPEN, EventStatus.PARTLY_PAID]),
                name="payment_event_is_done_before_it_is_final",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.checkout_id} {self.amount}"


class PaymentOrder(models.Model):
    """What one seller gets from one checkout.  SUCCESS if and only if its journal entry and its wallet entry stand."""

    public_id = models.TextField(default=new_order_id, editable=False)
    event = models.ForeignKey(PaymentEvent, models.PROTECT, related_name="orders")
    shop = models.ForeignKey(Shop, models.PROTECT, related_name="+", db_index=False)
    seller = models.ForeignKey(Seller, models.PROTECT, related_name="payment_orders", db_index=False)
    reference = models.CharField(max_length=120, blank=True, help_text="The shop's own id of this order")
    description = models.CharField(max_length=200, blank=True)
    items = models.JSONField(default=list, blank=True)
    amount = AmountField()
    fee = AmountField()
    net = AmountField()
    psp = models.TextField()
    status = models.TextField(choices=OrderStatus, default=OrderStatus.NOT_STARTED)
    failure_code = models.TextField(blank=True)
    confirmations = models.PositiveSmallIntegerField(db_default=0, default=0)
    confirmed_by = models.TextField(db_default="", default="", help_text="The PSP session or Idempotency-Key that started it last")
    journal_entry = models.ForeignKey(JournalEntry, models.PROTECT, null=True, related_name="+", db_index=False)
    wallet_entry = models.ForeignKey(WalletEntry, models.PROTECT, null=True, related_name="+", db_index=False)
    refunded = AmountField()
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        indexes = [models.Index(fields=["seller", "id"], name="payment_order_by_seller")]
        constraints = [
            models.UniqueConstraint(fields=["public_id"], name="payment_order_has_one_public_id"),
            models.UniqueConstraint(fields=["shop", "reference"], condition=~Q(reference=""), name="order_reference_is_unique_in_its_shop"),
            models.CheckConstraint(condition=Q(amount__gt=0, fee__gte=0, net__gte=0), name="payment_order_has_an_amount"),
            models.CheckConstraint(condition=Q(amount=F("fee") + F("net")), name="fee_and_net_make_the_amount"),
            models.CheckConstraint(condition=Q(refunded__gte=0, refunded__lte=F("amount")), name="never_refunded_more_than_taken"),
            models.CheckConstraint(condition=is_exact("amount"), name="payment_order_amount_is_in_minor_units"),
            models.CheckConstraint(condition=is_exact("fee"), name="payment_order_fee_is_in_minor_units"),
            models.CheckConstraint(
                condition=Q(status=OrderStatus.SUCCESS, journal_entry__isnull=False, wallet_entry__isnull=False)
                | (~Q(status=OrderStatus.SUCCESS) & Q(journal_entry__isnull=True, wallet_entry__isnull=True)),
                name="success_has_its_entries",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.public_id} {self.amount}"

    @property
    def ledger_updated(self) -> bool:
        return self.journal_entry_id is not None

    @property
    def wallet_updated(self) -> bool:
        return self.wallet_entry_id is not None


class DueOrder(models.Model):
    """What the executor has to do for an order that is executing: charge it under this key, or ask what became of the charge."""

    order = models.OneToOneField(PaymentOrder, models.PROTECT, primary_key=True, related_name="due")
    psp_key = models.TextField()
    payment_token = models.TextField()
    tries = models.PositiveIntegerField(default=0, help_text="How often it was claimed")
    maybe_sent = models.BooleanField(db_default=False, default=False, help_text="A charge under this key may have reached the PSP")
    next_attempt_at = models.DateTimeField()
    claimed_until = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index(fields=["next_attempt_at"], name="due_order_by_time")]

    def __str__(self) -> str:
        return f"{self.psp_key} due {self.next_attempt_at}"


class OpenCheckout(models.Model):
    """A payment event that is not done: what is left of it when its time is up is failed by the sweep."""

    event = models.OneToOneField(PaymentEvent, models.PROTECT, primary_key=True, related_name="open_checkout")
    expires_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["expires_at"], name="open_checkout_by_time")]

    def __str__(self) -> str:
        return f"{self.event_id} until {self.expires_at}"


class PspAttempt(models.Model):
    """One charge sent to a PSP, written and committed before it is sent, with the key under which the PSP knows it."""

    order = models.ForeignKey(PaymentOrder, models.PROTECT, related_name="attempts", db_index=False)
    number = models.PositiveIntegerField()
    psp = models.TextField()
    psp_key = models.TextField()
    status = models.TextField(choices=AttemptStatus, default=AttemptStatus.SENDING)
    psp_reference = models.TextField(blank=True)
    error_code = models.TextField(blank=True)
    error_message = models.TextField(blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "PSP attempt"
        indexes = [models.Index(fields=["psp_key"], name="psp_attempt_by_key")]
        constraints = [models.UniqueConstraint(fields=["order", "number"], name="psp_attempt_is_numbered_once")]

    def __str__(self) -> str:
        return f"{self.psp_key} #{self.number} {self.status}"


class PspEvent(models.Model):
    """The inbox: a webhook of a PSP, stored before it is acknowledged, once per event id."""

    class Status(models.TextChoices):
        RECEIVED = "received", "Received"
        APPLIED = "applied", "Applied"
        PARKED = "parked", "Parked"

    psp = models.TextField()
    event_id = models.TextField()
    type = models.TextField()
    body = models.JSONField()
    status = models.TextField(choices=Status, default=Status.RECEIVED)
    reason = models.TextField(blank=True, help_text="Why it is parked")
    received_at = models.DateTimeField(db_default=Now(), editable=False)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "PSP event"
        indexes = [models.Index(fields=["id"], condition=Q(status="received"), name="psp_event_to_apply")]
        constraints = [models.UniqueConstraint(fields=["psp", "event_id"], name="psp_event_is_stored_once")]

    def __str__(self) -> str:
        return f"{self.type} {self.event_id}"


class Refund(models.Model):
    """Money of one order that goes back to the buyer.  Its amount is taken off what may still be refunded before the PSP is asked."""

    public_id = models.TextField(default=new_refund_id, editable=False)
    order = models.ForeignKey(PaymentOrder, models.PROTECT, related_name="refunds")
    amount = AmountField()
    fee = AmountField()
    net = AmountField()
    reason = models.CharField(max_length=200, blank=True)
    status = models.TextField(choices=RefundStatus, default=RefundStatus.EXECUTING)
    psp_reference = models.TextField(blank=True)
    failure_code = models.TextField(blank=True)
    tries = models.PositiveIntegerField(db_default=0, default=0, help_text="How often it was claimed")
    next_attempt_at = models.DateTimeField(null=True)
    journal_entry = models.ForeignKey(JournalEntry, models.PROTECT, null=True, related_name="+", db_index=False)
    wallet_entry = models.ForeignKey(WalletEntry, models.PROTECT, null=True, related_name="+", db_index=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        indexes = [models.Index(fields=["next_attempt_at"], condition=Q(status="EXECUTING"), name="refund_to_execute")]
        constraints = [
            models.UniqueConstraint(fields=["public_id"], name="refund_has_one_public_id"),
            models.CheckConstraint(condition=Q(amount__gt=0, fee__gte=0, net__gte=0), name="refund_has_an_amount"),
            models.CheckConstraint(condition=Q(amount=F("fee") + F("net")), name="refund_fee_and_net_make_the_amount"),
            models.CheckConstraint(
                condition=Q(status=RefundStatus.SUCCESS, journal_entry__isnull=False, wallet_entry__isnull=False)
                | (~Q(status=RefundStatus.SUCCESS) & Q(journal_entry__isnull=True, wallet_entry__isnull=True)),
                name="refunded_has_its_entries",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.public_id} {self.amount}"

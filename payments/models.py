"""Pay-in's rows: what a buyer was asked to pay, what each seller is to get, each call to a PSP, and what PSPs told us.

Two tables are queues and stay narrow, so that the large ones need no index on what changes: `DueOrder` (what the executor has to do next)
and `OpenCheckout` (what may still expire).  The row is the queue; Celery is the hands; Redis is a doorbell.
"""

import secrets

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _
from djmoney.money import Money

from ledger.ids import new_id
from ledger.models import JournalEntry
from ledger.money import DECIMAL_PLACES, MAX_DIGITS, AmountField, is_exact
from ledger.retries import Strategy
from payments.states import (
    AttemptStatus,
    CancellationStatus,
    DisputeStatus,
    EventStatus,
    OrderStatus,
    PspOperation,
    RefundStatus,
    SessionStatus,
)
from wallet.models import Buyer, Seller, Shop, StoredValue, WalletEntry


def new_payment_id() -> str:
    return new_id("pay")


def new_order_id() -> str:
    return new_id("ord")


def new_refund_id() -> str:
    return new_id("re")


def new_cancellation_id() -> str:
    return new_id("can")


def new_dispute_id() -> str:
    return new_id("dsp")


def new_late_charge_id() -> str:
    return new_id("late")


def new_dead_letter_id() -> str:
    return new_id("dl")


def new_saved_card_id() -> str:
    return new_id("card")


def new_checkout_token() -> str:
    return secrets.token_urlsafe(24)


class FeeSchedule(models.Model):
    """The platform's fee of a shop in one currency, for one seller or all, one category or all, one method or all, on its days.

    No two are for the same orders on the same day; of those that are for an order, the most specific counts (fee_schedules.py).  Once an
    order was opened under it nothing but its end may change, nor may its tiers.  Postgres sees to both.
    """

    class Method(models.TextChoices):
        CARD = "card", _("Card")

    shop = models.ForeignKey(Shop, models.PROTECT, related_name="fee_schedules", db_index=False)
    seller = models.ForeignKey(Seller, models.PROTECT, related_name="fee_schedules", null=True, blank=True)
    category = models.CharField(max_length=60, db_default="", default="", blank=True, help_text=_("As the shop writes it on its orders"))
    method = models.TextField(choices=Method, db_default="", default="", blank=True)
    valid_from = models.DateField(null=True, blank=True, help_text=_("The first day; empty: from the beginning"))
    valid_until = models.DateField(null=True, blank=True, help_text=_("The first day on which it is over; empty: for good"))
    basis_points = models.PositiveIntegerField(help_text=_("100 basis points are 1 %"))
    fixed = AmountField()
    floor = AmountField(null=True, blank=True, help_text=_("The least fee of an order; empty: none"))
    cap = AmountField(null=True, blank=True, help_text=_("The largest fee of an order; empty: none"))
    used_at = models.DateTimeField(null=True, editable=False, help_text=_("When the first order was opened under it"))

    class Meta:
        verbose_name = _("fee schedule")
        verbose_name_plural = _("fee schedules")
        permissions = [("approve_feeschedule", _("Can approve or reject a change of fee schedules that somebody else proposes"))]
        indexes = [models.Index(fields=["shop", "seller", "currency"], name="fee_schedule_by_shop")]
        constraints = [
            models.CheckConstraint(condition=Q(basis_points__lte=10_000, fixed__gte=0), name="fee_is_between_nothing_and_all"),
            models.CheckConstraint(condition=Q(floor__gte=0, cap__gte=0) & Q(cap__gte=F("floor")), name="fee_floor_is_below_its_cap"),
            models.CheckConstraint(condition=Q(valid_from__lt=F("valid_until")), name="fee_schedule_begins_before_it_ends"),
            models.CheckConstraint(condition=Q(method__in=["", "card"]), name="fee_schedule_is_for_a_known_method"),
            models.CheckConstraint(condition=is_exact("fixed"), name="fee_schedule_fixed_is_in_minor_units"),
            models.CheckConstraint(condition=is_exact("floor"), name="fee_schedule_floor_is_in_minor_units"),
            models.CheckConstraint(condition=is_exact("cap"), name="fee_schedule_cap_is_in_minor_units"),
        ]

    def __str__(self) -> str:
        return f"{self.basis_points / 100} % + {self.fixed} for {self.seller or 'all sellers'}"


class FeeTier(models.Model):
    """A step of a fee schedule: what of an order lies above it is charged by it, up to the next step (fees.py)."""

    schedule = models.ForeignKey(FeeSchedule, models.CASCADE, related_name="tiers", db_index=False)
    above = AmountField()
    basis_points = models.PositiveIntegerField(help_text=_("100 basis points are 1 %"))
    fixed = AmountField()

    class Meta:
        verbose_name = _("fee tier")
        verbose_name_plural = _("fee tiers")
        constraints = [
            models.UniqueConstraint(fields=["schedule", "above"], name="fee_tier_begins_once"),
            models.CheckConstraint(
                condition=Q(above__gt=0, basis_points__lte=10_000, fixed__gte=0), name="fee_tier_is_between_nothing_and_all"
            ),
            models.CheckConstraint(condition=is_exact("above"), name="fee_tier_above_is_in_minor_units"),
            models.CheckConstraint(condition=is_exact("fixed"), name="fee_tier_fixed_is_in_minor_units"),
        ]

    def __str__(self) -> str:
        return f"{self.basis_points / 100} % + {self.fixed} above {self.above}"


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
    buyer_signed_in = models.BooleanField(
        db_default=False, default=False, help_text=_("The shop vouches for who pays: their wallet and saved cards are offered")
    )
    buyer_country = models.CharField(
        max_length=2, db_default="", default="", blank=True, help_text=_("Where the buyer is, says the shop; empty: not known")
    )
    statement_name = models.CharField(
        max_length=22, db_default="", default="", blank=True, help_text=_("How statements name the shop, as it was when this was opened")
    )
    chosen_method = models.CharField(
        max_length=20, db_default="", default="", blank=True, help_text=_("How the buyer wants to pay, as the page shows it")
    )
    psp_session = models.TextField(blank=True, help_text=_("The PSP's session of the payment page, the latest one"))
    confirmed_session = models.TextField(blank=True, help_text=_("The session that the buyer confirmed last"))
    confirmations = models.PositiveSmallIntegerField(default=0)
    card_brand = models.CharField(max_length=20, blank=True)
    card_last4 = models.CharField(max_length=4, blank=True)
    method = models.CharField(max_length=20, db_default="", default="", blank=True, help_text=_("How the buyer paid, as the PSP calls it"))
    card_funding = models.CharField(max_length=10, db_default="", default="", blank=True, help_text=_("Credit, debit or prepaid"))
    card_country = models.CharField(max_length=2, db_default="", default="", blank=True, help_text=_("Where the card was issued"))
    told = models.PositiveIntegerField(db_default=0, default=0, help_text=_("How many messages were published about it"))
    expires_at = models.DateTimeField()
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        verbose_name = _("payment event")
        verbose_name_plural = _("payment events")
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
    reference = models.CharField(max_length=120, blank=True, help_text=_("The shop's own id of this order"))
    description = models.CharField(max_length=200, blank=True)
    category = models.CharField(max_length=60, db_default="", default="", blank=True, help_text=_("What it is about, for the fee"))
    items = models.JSONField(default=list, blank=True)
    amount = AmountField()
    fee = AmountField()
    net = AmountField()
    psp = models.TextField()
    status = models.TextField(choices=OrderStatus, default=OrderStatus.NOT_STARTED)
    failure_code = models.TextField(blank=True)
    confirmations = models.PositiveSmallIntegerField(db_default=0, default=0)
    confirmed_by = models.TextField(db_default="", default="", help_text=_("The PSP session or Idempotency-Key that started it last"))
    confirmed_before = models.JSONField(db_default=[], default=list, blank=True, help_text=_("What started it before that"))
    payment_token = models.TextField(db_default="", default="", blank=True, help_text=_("The PSP's token that it was started with last"))
    journal_entry = models.ForeignKey(JournalEntry, models.PROTECT, null=True, related_name="+", db_index=False)
    wallet_entry = models.ForeignKey(WalletEntry, models.PROTECT, null=True, related_name="+", db_index=False)
    tendered = AmountField(help_text=_("What of it is paid with gift cards and the buyer's wallet; the PSP is charged the rest"))
    tendered_back = AmountField(help_text=_("What of that went back there, or is about to"))
    fills = models.ForeignKey(
        StoredValue,
        models.PROTECT,
        null=True,
        related_name="bought_by",
        db_index=False,
        help_text=_("The gift card or wallet that it buys value for"),
    )
    refunded = AmountField()
    disputed = AmountField()
    unreleased = AmountField(help_text=_("What of it is pending in its seller's wallet, and becomes available when it is released"))
    delivered_at = models.DateTimeField(null=True)
    delivered_by = models.TextField(db_default="", default="", blank=True)
    delivery_note = models.CharField(max_length=200, db_default="", default="", blank=True)
    released_at = models.DateTimeField(null=True, help_text=_("When what was pending of it became available"))
    settled_at = models.DateTimeField(null=True, help_text=_("When the PSP's file said that it is paid to us"))
    told = models.PositiveIntegerField(db_default=0, default=0, help_text=_("How many messages were published about it"))
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        verbose_name = _("payment order")
        verbose_name_plural = _("payment orders")
        indexes = [
            models.Index(fields=["seller", "id"], name="payment_order_by_seller"),
            models.Index(fields=["fills"], condition=Q(fills__isnull=False), name="payment_order_by_what_it_fills"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["public_id"], name="payment_order_has_one_public_id"),
            models.UniqueConstraint(fields=["shop", "reference"], condition=~Q(reference=""), name="order_reference_is_unique_in_its_shop"),
            models.CheckConstraint(condition=Q(amount__gt=0, fee__gte=0, net__gte=0), name="payment_order_has_an_amount"),
            models.CheckConstraint(condition=Q(amount=F("fee") + F("net")), name="fee_and_net_make_the_amount"),
            models.CheckConstraint(condition=Q(refunded__gte=0, refunded__lte=F("amount")), name="never_refunded_more_than_taken"),
            models.CheckConstraint(
                condition=Q(disputed__gte=0, disputed__lte=F("amount") - F("refunded")), name="never_refunded_and_disputed_more_than_taken"
            ),
            models.CheckConstraint(
                condition=Q(tendered=0, tendered_back=0)
                | Q(
                    tendered__gt=0,
                    tendered__lte=F("amount"),
                    tendered_back__gte=0,
                    tendered_back__lte=F("tendered"),
                    fills__isnull=True,
                    status__in=[OrderStatus.EXECUTING, OrderStatus.SUCCESS],
                ),
                name="tenders_are_a_part_of_what_is_paid",
            ),
            models.CheckConstraint(
                condition=Q(refunded__gte=F("tendered_back"))
                & Q(refunded__lte=F("amount") - F("tendered") + F("tendered_back") - F("disputed")),
                name="never_more_refunded_and_disputed_of_the_charge_than_taken",
            ),
            models.CheckConstraint(condition=Q(fills__isnull=True) | Q(fee=0, unreleased=0), name="what_fills_stored_value_has_no_fee"),
            models.CheckConstraint(condition=is_exact("tendered"), name="payment_order_tendered_is_in_minor_units"),
            models.CheckConstraint(condition=is_exact("amount"), name="payment_order_amount_is_in_minor_units"),
            models.CheckConstraint(condition=is_exact("fee"), name="payment_order_fee_is_in_minor_units"),
            models.CheckConstraint(
                condition=Q(status=OrderStatus.SUCCESS, journal_entry__isnull=False, wallet_entry__isnull=False, fills__isnull=True)
                | Q(status=OrderStatus.SUCCESS, journal_entry__isnull=False, wallet_entry__isnull=True, fills__isnull=False)
                | (~Q(status=OrderStatus.SUCCESS) & Q(journal_entry__isnull=True, wallet_entry__isnull=True)),
                name="success_has_its_entries",
            ),
            models.CheckConstraint(
                condition=Q(unreleased=0)
                | Q(unreleased__gt=0, unreleased__lte=F("net"), status=OrderStatus.SUCCESS, released_at__isnull=True),
                name="only_what_is_paid_and_not_released_is_pending",
            ),
            models.CheckConstraint(
                condition=Q(status=OrderStatus.SUCCESS) | Q(delivered_at__isnull=True, released_at__isnull=True),
                name="only_what_is_paid_is_delivered_and_released",
            ),
            models.CheckConstraint(
                condition=Q(delivered_at__isnull=True, delivered_by="") | Q(delivered_at__isnull=False) & ~Q(delivered_by=""),
                name="a_delivery_has_its_actor",
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

    @property
    def left(self) -> Money:
        """What was neither given back, nor is on its way, nor is disputed: as much can still be refunded."""
        return self.amount - self.refunded - self.disputed

    @property
    def charge(self) -> Money:
        """What the PSP is asked for: all that no gift card or wallet pays."""
        return self.amount - self.tendered

    @property
    def charge_left(self) -> Money:
        """What of the PSP's charge was neither given back, nor is on its way, nor is disputed."""
        return self.left - (self.tendered - self.tendered_back)


class SavedCard(models.Model):
    """A card that the PSP keeps for a buyer: its token, and what may be shown of it.  No number of it ever comes here.

    Once the buyer wants it forgotten it is offered no more; the PSP is asked until it has forgotten it.
    """

    public_id = models.TextField(default=new_saved_card_id, editable=False)
    buyer = models.ForeignKey(Buyer, models.PROTECT, related_name="saved_cards")
    psp = models.TextField()
    token = models.TextField()
    brand = models.CharField(max_length=20)
    last4 = models.CharField(max_length=4)
    exp_month = models.PositiveSmallIntegerField()
    exp_year = models.PositiveSmallIntegerField()
    funding = models.CharField(max_length=10, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    forget_at = models.DateTimeField(null=True, help_text=_("When the PSP is asked to forget it; empty: the buyer wants it kept"))
    forgotten_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = _("saved card")
        verbose_name_plural = _("saved cards")
        indexes = [
            models.Index(fields=["forget_at"], condition=Q(forget_at__isnull=False, forgotten_at__isnull=True), name="saved_card_to_forget")
        ]
        constraints = [
            models.UniqueConstraint(fields=["public_id"], name="saved_card_has_one_public_id"),
            models.UniqueConstraint(fields=["psp", "token"], name="saved_card_is_kept_once"),
            models.CheckConstraint(condition=Q(exp_month__gte=1, exp_month__lte=12), name="saved_card_ends_in_a_month"),
            models.CheckConstraint(
                condition=Q(forgotten_at__isnull=True) | Q(forget_at__isnull=False), name="a_card_is_forgotten_because_its_buyer_wants_it"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.brand} {self.last4}"


class CheckoutSession(models.Model):
    """A PSP's session of a checkout, for one way to pay and one sum: kept before the buyer can approve anything in it.

    `status` is the PSP's word as it was heard last, until the approval is confirmed by us, or can no longer be used.  Where approving at the PSP
    is the buyer's confirmation, `look_at` says when the PSP is asked how it stands: the row is the queue, a webhook only brings the time forward.
    """

    event = models.ForeignKey(PaymentEvent, models.PROTECT, related_name="sessions", db_index=False)
    psp = models.TextField()
    session = models.TextField()
    method = models.CharField(max_length=20)
    saved_card = models.ForeignKey(SavedCard, models.PROTECT, null=True, related_name="+", db_index=False)
    amount = AmountField()
    status = models.TextField(choices=SessionStatus, default=SessionStatus.OPEN)
    failure_code = models.CharField(max_length=60, blank=True)
    code_text = models.TextField(blank=True, help_text=_("What its QR code says"))
    schedule = models.JSONField(default=list, blank=True, help_text=_("What the buyer pays later, and when"))
    look_at = models.DateTimeField(null=True, help_text=_("When the PSP is asked how it stands; empty: it is not asked by itself"))
    expires_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        verbose_name = _("checkout session")
        verbose_name_plural = _("checkout sessions")
        indexes = [
            models.Index(fields=["event", "id"], name="checkout_session_by_event"),
            models.Index(fields=["look_at"], condition=Q(look_at__isnull=False), name="checkout_session_to_look_at"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["psp", "session"], name="checkout_session_is_kept_once"),
            models.CheckConstraint(
                condition=Q(look_at__isnull=True) | ~Q(status__in=[SessionStatus.CONFIRMED, SessionStatus.UNUSED]),
                name="what_is_over_is_not_looked_at",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.method} {self.amount}"


class ChosenTender(models.Model):
    """A gift card or wallet that the buyer wants to pay a checkout with, as far as it goes; the rest is charged by the PSP."""

    event = models.ForeignKey(PaymentEvent, models.PROTECT, related_name="chosen_tenders", db_index=False)
    value = models.ForeignKey(StoredValue, models.PROTECT, related_name="+", db_index=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["event", "value"], name="a_tender_is_chosen_once")]

    def __str__(self) -> str:
        return f"{self.event_id} by {self.value_id}"


class Tender(models.Model):
    """What one gift card or wallet pays of one order: held while the rest is charged, then taken with it or let go."""

    class Status(models.TextChoices):
        HELD = "HELD", _("Held")
        TAKEN = "TAKEN", _("Taken")
        RELEASED = "RELEASED", _("Let go")

    order = models.ForeignKey(PaymentOrder, models.PROTECT, related_name="tenders")
    value = models.ForeignKey(StoredValue, models.PROTECT, related_name="tenders")
    amount = AmountField()
    refunded = AmountField(help_text=_("What of it went back, or is about to"))
    status = models.TextField(choices=Status, default=Status.HELD)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        verbose_name = _("tender")
        verbose_name_plural = _("tenders")
        constraints = [
            models.UniqueConstraint(fields=["order", "value"], condition=~Q(status="RELEASED"), name="a_tender_pays_an_order_once"),
            models.CheckConstraint(condition=Q(amount__gt=0), name="tender_has_an_amount"),
            models.CheckConstraint(
                condition=Q(refunded=0) | Q(refunded__gt=0, refunded__lte=F("amount"), status="TAKEN"),
                name="no_more_of_a_tender_goes_back_than_was_taken",
            ),
            models.CheckConstraint(condition=is_exact("amount"), name="tender_is_in_minor_units"),
        ]

    def __str__(self) -> str:
        return f"{self.amount} {self.status}"


class DueOrder(models.Model):
    """What the executor has to do for an order that is executing: charge it under this key, or ask what became of the charge."""

    order = models.OneToOneField(PaymentOrder, models.PROTECT, primary_key=True, related_name="due")
    psp_key = models.TextField()
    payment_token = models.TextField()
    tries = models.PositiveIntegerField(default=0, help_text=_("How often it was claimed"))
    failures = models.PositiveIntegerField(db_default=0, default=0, help_text=_("How many calls in a row came to nothing"))
    deaths = models.PositiveIntegerField(db_default=0, default=0, help_text=_("How many claims were never handed back"))
    maybe_sent = models.BooleanField(db_default=False, default=False, help_text=_("A charge under this key may have reached the PSP"))
    to_be_voided = models.BooleanField(db_default=False, default=False, help_text=_("It was cancelled: nothing is charged any more"))
    next_attempt_at = models.DateTimeField(null=True, help_text=_("Empty: it is a dead letter, and waits for a person"))
    claimed_until = models.DateTimeField(null=True)

    class Meta:
        verbose_name = _("due order")
        verbose_name_plural = _("due orders")
        indexes = [models.Index(fields=["next_attempt_at"], name="due_order_by_time")]

    def __str__(self) -> str:
        return f"{self.psp_key} due {self.next_attempt_at}"


class ReceiptMail(models.Model):
    """The receipt of a payment that is on its way to its buyer by e-mail, or was sent (receipts.py)."""

    event = models.OneToOneField(PaymentEvent, models.PROTECT, primary_key=True, related_name="receipt_mail")
    address = models.EmailField()
    noted_at = models.DateTimeField()
    tries = models.PositiveIntegerField(db_default=0, default=0)
    next_attempt_at = models.DateTimeField(null=True, help_text=_("Empty: it was sent, or given up"))
    sent_at = models.DateTimeField(null=True)
    error = models.CharField(
        max_length=80,
        db_default="",
        default="",
        blank=True,
        help_text=_("Of what kind the last failure was: its words may hold the address"),
    )

    class Meta:
        verbose_name = _("receipt by e-mail")
        verbose_name_plural = _("receipts by e-mail")
        default_permissions = ("view",)
        indexes = [models.Index(fields=["next_attempt_at"], condition=Q(next_attempt_at__isnull=False), name="receipt_mail_by_time")]

    def __str__(self) -> str:
        return f"{self.event}"


class DueRelease(models.Model):
    """When what is pending of a paid order becomes available; every paid order that is not released has its row."""

    order = models.OneToOneField(PaymentOrder, models.PROTECT, primary_key=True, related_name="due_release")
    due_at = models.DateTimeField(null=True, help_text=_("Empty: once it is delivered, and not before"))
    waits_for_file = models.BooleanField(
        db_default=False, default=False, help_text=_("It was due, and waits until the PSP's file says that it is paid to us")
    )

    class Meta:
        verbose_name = _("due release")
        verbose_name_plural = _("due releases")
        indexes = [models.Index(fields=["due_at"], name="due_release_by_time")]

    def __str__(self) -> str:
        return f"{self.order_id} due {self.due_at}"


class Reserve(models.Model):
    """A part of an order that is held back after its release, by its seller's terms of then, until its time has come."""

    order = models.OneToOneField(PaymentOrder, models.PROTECT, related_name="reserve")
    seller = models.ForeignKey(Seller, models.PROTECT, related_name="reserves")
    amount = AmountField()
    free_at = models.DateTimeField()
    journal_entry = models.ForeignKey(JournalEntry, models.PROTECT, related_name="+", db_index=False)
    released_at = models.DateTimeField(null=True)
    release_entry = models.ForeignKey(JournalEntry, models.PROTECT, null=True, related_name="+", db_index=False)
    release_wallet_entry = models.ForeignKey(WalletEntry, models.PROTECT, null=True, related_name="+", db_index=False)

    class Meta:
        verbose_name = _("reserve")
        verbose_name_plural = _("reserves")
        indexes = [models.Index(fields=["free_at"], condition=Q(released_at__isnull=True), name="reserve_to_free")]
        constraints = [
            models.CheckConstraint(condition=Q(amount__gt=0), name="reserve_has_an_amount"),
            models.CheckConstraint(
                condition=Q(released_at__isnull=True, release_entry__isnull=True, release_wallet_entry__isnull=True)
                | Q(released_at__isnull=False, release_entry__isnull=False, release_wallet_entry__isnull=False),
                name="freed_reserve_has_its_entries",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.amount} until {self.free_at}"


class OpenCheckout(models.Model):
    """A payment event that is not done: what is left of it when its time is up is failed by the sweep."""

    event = models.OneToOneField(PaymentEvent, models.PROTECT, primary_key=True, related_name="open_checkout")
    expires_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["expires_at"], name="open_checkout_by_time")]

    def __str__(self) -> str:
        return f"{self.event_id} until {self.expires_at}"


class PspAttempt(models.Model):
    """One call to a PSP about an order or its refund, with the key under which the PSP knows what it moves.

    A call that moves money is written and committed before it is sent; a look-up is written with its answer.
    """

    order = models.ForeignKey(PaymentOrder, models.PROTECT, related_name="attempts", db_index=False)
    refund = models.ForeignKey("Refund", models.PROTECT, related_name="attempts", null=True, db_index=False)
    operation = models.TextField(choices=PspOperation, default=PspOperation.CHARGE, db_default=PspOperation.CHARGE.value)
    number = models.PositiveIntegerField()
    psp = models.TextField()
    psp_key = models.TextField()
    status = models.TextField(choices=AttemptStatus, default=AttemptStatus.SENDING)
    psp_reference = models.TextField(blank=True)
    error_code = models.TextField(blank=True)
    error_message = models.TextField(blank=True)
    asked_for = models.DecimalField(
        max_digits=MAX_DIGITS,
        decimal_places=DECIMAL_PLACES,
        null=True,
        help_text=_("What a charge asked for, in the order's currency; empty: the whole order"),
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    finished_at = models.DateTimeField(null=True)
    ask_again_at = models.DateTimeField(null=True, help_text=_("When the PSP is asked what became of it, if it was given up unresolved"))
    given_up_at = models.DateTimeField(null=True, help_text=_("Since when nobody waits for it, although it is unresolved"))

    class Meta:
        verbose_name = _("PSP attempt")
        verbose_name_plural = _("PSP attempts")
        indexes = [
            models.Index(fields=["psp_key"], name="psp_attempt_by_key"),
            models.Index(fields=["psp_reference"], condition=~Q(psp_reference=""), name="psp_attempt_by_psp_reference"),
            models.Index(fields=["ask_again_at"], condition=Q(ask_again_at__isnull=False), name="psp_attempt_to_ask_for"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["order", "operation", "number", "refund"], name="psp_attempt_is_numbered_once", nulls_distinct=False
            )
        ]

    def __str__(self) -> str:
        return f"{self.psp_key} #{self.number} {self.status}"

    @property
    def asked(self) -> Money:
        """What a charge asked for: the part of its order that no gift card or wallet was to pay."""
        return self.order.amount if self.asked_for is None else Money(self.asked_for, self.order.amount.currency)


class PspEvent(models.Model):
    """The inbox: a webhook of a PSP, stored before it is acknowledged, once per event id."""

    class Status(models.TextChoices):
        RECEIVED = "received", _("Received")
        APPLIED = "applied", _("Applied")
        PARKED = "parked", _("Parked")

    psp = models.TextField()
    event_id = models.TextField()
    type = models.TextField()
    body = models.JSONField()
    status = models.TextField(choices=Status, default=Status.RECEIVED)
    reason = models.TextField(blank=True, help_text=_("Why it is parked"))
    tries = models.PositiveIntegerField(db_default=0, default=0, help_text=_("How often a parked event was looked at again"))
    next_attempt_at = models.DateTimeField(null=True, help_text=_("When a parked event that may have come too early is looked at again"))
    received_at = models.DateTimeField(db_default=Now(), editable=False)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = _("PSP event")
        verbose_name_plural = _("PSP events")
        indexes = [
            models.Index(fields=["id"], condition=Q(status="received"), name="psp_event_to_apply"),
            models.Index(fields=["next_attempt_at"], condition=Q(next_attempt_at__isnull=False), name="psp_event_to_look_at_again"),
        ]
        constraints = [models.UniqueConstraint(fields=["psp", "event_id"], name="psp_event_is_stored_once")]

    def __str__(self) -> str:
        return f"{self.type} {self.event_id}"


class LateCharge(models.Model):
    """A charge that succeeded after its order was given up, paid otherwise or cancelled: booked as owed to the buyer, and given back.

    What the buyer's bank took back instead (`taken_back`) is owed no more.
    """

    public_id = models.TextField(default=new_late_charge_id, editable=False)
    order = models.ForeignKey(PaymentOrder, models.PROTECT, related_name="late_charges")
    psp = models.TextField()
    psp_key = models.TextField()
    psp_reference = models.TextField()
    amount = AmountField()
    taken_back = AmountField(help_text=_("What of it the buyer's bank took back for good in a dispute"))
    charged_at = models.DateTimeField()
    journal_entry = models.ForeignKey(JournalEntry, models.PROTECT, related_name="+", db_index=False)
    seen_at = models.DateTimeField(null=True, help_text=_("When finance took note of it"))
    seen_by = models.TextField(blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        verbose_name = _("late charge")
        verbose_name_plural = _("late charges")
        constraints = [
            models.UniqueConstraint(fields=["public_id"], name="late_charge_has_one_public_id"),
            models.UniqueConstraint(fields=["psp", "psp_reference"], name="late_charge_is_kept_once"),
            models.CheckConstraint(condition=Q(amount__gt=0), name="late_charge_has_an_amount"),
            models.CheckConstraint(
                condition=Q(taken_back__gte=0, taken_back__lte=F("amount")), name="no_more_of_a_late_charge_is_taken_back_than_came"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.public_id} {self.amount}"

    @property
    def refund(self) -> "Refund":
        """The refund that gives it back, the latest one: a person may have asked for another where one had failed."""
        return max(self.refunds.all(), key=lambda refund: refund.pk)


class Refund(models.Model):
    """Money that goes back to the buyer: of one order, or (`late_charge`) of a charge that came too late to be anybody's order.

    What is refunded of an order is taken off what may still be refunded before the PSP is asked.  A refund that succeeded and then came
    back is FAILED with both of its entries: the one that gave the money away, and its reversal.
    """

    class Cause(models.TextChoices):
        REQUESTED = "requested", _("Asked for")
        CANCELLATION = "cancellation", _("Cancellation")
        LATE_CHARGE = "late_charge", _("Late charge")

    public_id = models.TextField(default=new_refund_id, editable=False)
    order = models.ForeignKey(PaymentOrder, models.PROTECT, related_name="refunds")
    late_charge = models.ForeignKey(LateCharge, models.PROTECT, related_name="refunds", null=True)
    cause = models.TextField(choices=Cause, default=Cause.REQUESTED, db_default=Cause.REQUESTED.value)
    charge = models.TextField(db_default="", default="", help_text=_("The PSP's id of the charge whose money goes back"))
    amount = AmountField()
    fee = AmountField()
    net = AmountField()
    borne = AmountField(help_text=_("What of it the platform bears: the buyer had got it otherwise"))
    tendered = AmountField(help_text=_("What of it goes back to gift cards and the buyer's wallet; the PSP is asked for the rest"))
    takes_from = models.ForeignKey(
        StoredValue,
        models.PROTECT,
        null=True,
        related_name="+",
        db_index=False,
        help_text=_("The gift card or wallet whose purchase goes back"),
    )
    fee_policy = models.TextField(choices=Shop.FeePolicy, default=Shop.FeePolicy.PRO_RATA, db_default=Shop.FeePolicy.PRO_RATA.value)
    reason = models.CharField(max_length=200, blank=True)
    reference = models.CharField(max_length=120, db_default="", default="", blank=True, help_text=_("The shop's own id of this refund"))
    once = models.CharField(max_length=255, db_default="", default="", blank=True, help_text=_("The Idempotency-Key that asked for it"))
    requested_by = models.TextField(db_default="", default="", blank=True)
    goes_first_to = models.TextField(
        db_default="",
        default="",
        blank=True,
        help_text=_("Where it was asked to go first; empty: nobody asked, or before this was written"),
    )
    status = models.TextField(choices=RefundStatus, default=RefundStatus.EXECUTING)
    psp_reference = models.TextField(blank=True)
    failure_code = models.TextField(blank=True)
    tries = models.PositiveIntegerField(db_default=0, default=0, help_text=_("How often it was claimed"))
    failures = models.PositiveIntegerField(db_default=0, default=0, help_text=_("How many calls in a row came to nothing"))
    deaths = models.PositiveIntegerField(
        db_default=0, default=0, help_text=_("How many claims in a row were not handed back, this one included")
    )
    next_attempt_at = models.DateTimeField(null=True, help_text=_("Empty while it executes: it is a dead letter, and waits for a person"))
    journal_entry = models.ForeignKey(JournalEntry, models.PROTECT, null=True, related_name="+", db_index=False)
    wallet_entry = models.ForeignKey(WalletEntry, models.PROTECT, null=True, related_name="+", db_index=False)
    reversal_entry = models.ForeignKey(JournalEntry, models.PROTECT, null=True, related_name="+", db_index=False)
    reversal_wallet_entry = models.ForeignKey(WalletEntry, models.PROTECT, null=True, related_name="+", db_index=False)
    told = models.PositiveIntegerField(db_default=0, default=0, help_text=_("How many messages were published about it"))
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        verbose_name = _("refund")
        verbose_name_plural = _("refunds")
        permissions = [("approve_refund", _("Can approve or reject a refund that somebody else proposes"))]
        indexes = [
            models.Index(fields=["next_attempt_at"], condition=Q(status="EXECUTING"), name="refund_to_execute"),
            models.Index(fields=["psp_reference"], condition=~Q(psp_reference=""), name="refund_by_psp_reference"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["public_id"], name="refund_has_one_public_id"),
            models.UniqueConstraint(
                fields=["late_charge"], condition=~Q(status=RefundStatus.FAILED), name="late_charge_is_given_back_once"
            ),
            models.UniqueConstraint(fields=["order", "reference"], condition=~Q(reference=""), name="refund_reference_is_used_once"),
            models.UniqueConstraint(fields=["order", "once"], condition=~Q(once=""), name="refund_is_asked_for_once_per_key"),
            models.CheckConstraint(condition=Q(amount__gt=0, fee__gte=0, net__gte=0), name="refund_has_an_amount"),
            models.CheckConstraint(
                condition=Q(borne__gte=0, amount=F("fee") + F("net") + F("borne")), name="refund_fee_net_and_borne_make_the_amount"
            ),
            models.CheckConstraint(
                condition=Q(tendered__gte=0, tendered__lte=F("amount") - F("borne")),
                name="what_goes_back_to_tenders_is_a_part_of_the_refund",
            ),
            models.CheckConstraint(
                condition=Q(status=RefundStatus.EXECUTING, journal_entry__isnull=True, reversal_entry__isnull=True)
                | Q(status=RefundStatus.SUCCESS, journal_entry__isnull=False, reversal_entry__isnull=True)
                | Q(status=RefundStatus.FAILED, journal_entry__isnull=True, reversal_entry__isnull=True)
                | Q(status=RefundStatus.FAILED, journal_entry__isnull=False, reversal_entry__isnull=False),
                name="refund_has_its_entries",
            ),
            models.CheckConstraint(
                condition=Q(
                    late_charge__isnull=False, takes_from__isnull=True, wallet_entry__isnull=True, reversal_wallet_entry__isnull=True
                )
                | Q(takes_from__isnull=False, late_charge__isnull=True, wallet_entry__isnull=True, reversal_wallet_entry__isnull=True)
                | Q(late_charge__isnull=True, journal_entry__isnull=True, wallet_entry__isnull=True, reversal_wallet_entry__isnull=True)
                | Q(late_charge__isnull=True, reversal_entry__isnull=True, wallet_entry__isnull=False, reversal_wallet_entry__isnull=True)
                | Q(
                    late_charge__isnull=True, reversal_entry__isnull=False, wallet_entry__isnull=False, reversal_wallet_entry__isnull=False
                ),
                name="refund_moves_the_wallet_as_the_books",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.public_id} {self.amount}"

    @property
    def charged_back(self) -> Money:
        """What of it the PSP gives back."""
        return self.amount - self.tendered


class TenderRefund(models.Model):
    """What of a refund goes back to one gift card or wallet."""

    refund = models.ForeignKey(Refund, models.PROTECT, related_name="tender_refunds", db_index=False)
    tender = models.ForeignKey(Tender, models.PROTECT, related_name="refunds")
    amount = AmountField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["refund", "tender"], name="a_refund_names_a_tender_once"),
            models.CheckConstraint(condition=Q(amount__gt=0), name="tender_refund_has_an_amount"),
        ]

    def __str__(self) -> str:
        return f"{self.refund_id}: {self.amount}"


class Cancellation(models.Model):
    """The wish that one order shall not be paid after all: called off before the charge, voided at the PSP, or refunded."""

    class Outcome(models.TextChoices):
        CANCELLED = "cancelled", _("Never charged")
        VOIDED = "voided", _("Voided at the PSP")
        REFUNDED = "refunded", _("Refunded")

    public_id = models.TextField(default=new_cancellation_id, editable=False)
    order = models.ForeignKey(PaymentOrder, models.PROTECT, related_name="cancellations")
    reason = models.CharField(max_length=200, blank=True)
    once = models.CharField(max_length=255, db_default="", default="", blank=True, help_text=_("The Idempotency-Key that asked for it"))
    requested_by = models.TextField(db_default="", default="", blank=True)
    status = models.TextField(choices=CancellationStatus, default=CancellationStatus.EXECUTING)
    outcome = models.TextField(choices=Outcome, db_default="", default="", blank=True)
    failure_code = models.TextField(db_default="", default="", blank=True)
    refund = models.OneToOneField(Refund, models.PROTECT, null=True, related_name="cancellation")
    told = models.PositiveIntegerField(db_default=0, default=0, help_text=_("How many messages were published about it"))
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = _("cancellation")
        verbose_name_plural = _("cancellations")
        indexes = [models.Index(fields=["id"], condition=Q(status=CancellationStatus.EXECUTING), name="cancellation_to_follow")]
        constraints = [
            models.UniqueConstraint(fields=["public_id"], name="cancellation_has_one_public_id"),
            models.UniqueConstraint(
                fields=["order"],
                condition=~Q(status=CancellationStatus.FAILED) & ~Q(outcome="refunded"),  # what came back may be given back again
                name="order_is_cancelled_once",
            ),
            models.CheckConstraint(
                condition=Q(status=CancellationStatus.SUCCESS, finished_at__isnull=False) & ~Q(outcome="")
                | ~Q(status=CancellationStatus.SUCCESS),
                name="cancelled_has_its_outcome",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.public_id} {self.status}"


class Dispute(models.Model):
    """A buyer's bank took the money of a charge back.  The seller's part is held until it is decided; what is lost never comes back.

    `held` is what was held of the seller: less than `amount` where the order was refunded before, and nothing of a charge that came too
    late; more was taken at the end if a refund had come to nothing meanwhile, and later if one came back.  `fee` is what the PSP charges
    for the dispute, `fee_returned` our own fee on what was lost, by the `fee_policy` of then.
    """

    public_id = models.TextField(default=new_dispute_id, editable=False)
    order = models.ForeignKey(PaymentOrder, models.PROTECT, related_name="disputes")
    psp = models.TextField()
    psp_reference = models.TextField()
    charge = models.TextField(db_default="", default="", help_text=_("The PSP's id of the charge that is disputed"))
    reason = models.TextField(blank=True)
    status = models.TextField(choices=DisputeStatus, default=DisputeStatus.OPEN)
    amount = AmountField()
    held = AmountField()
    fee = AmountField()
    lost = AmountField()
    fee_returned = AmountField()
    fee_policy = models.TextField(
        choices=Shop.FeePolicy,
        db_default="",
        default="",
        blank=True,
        help_text=_("How our fee on what was lost was given back; empty: it is not decided, or was before this was kept"),
    )
    opened_at = models.DateTimeField()
    evidence_due_at = models.DateTimeField(null=True)
    closed_at = models.DateTimeField(null=True)
    journal_entry = models.ForeignKey(JournalEntry, models.PROTECT, related_name="+", db_index=False)
    wallet_entry = models.ForeignKey(WalletEntry, models.PROTECT, null=True, related_name="+", db_index=False)
    closing_entry = models.ForeignKey(JournalEntry, models.PROTECT, null=True, related_name="+", db_index=False)
    closing_wallet_entry = models.ForeignKey(WalletEntry, models.PROTECT, null=True, related_name="+", db_index=False)
    told = models.PositiveIntegerField(db_default=0, default=0, help_text=_("How many messages were published about it"))
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        verbose_name = _("dispute")
        verbose_name_plural = _("disputes")
        indexes = [models.Index(fields=["evidence_due_at"], condition=Q(status=DisputeStatus.OPEN), name="dispute_to_answer")]
        constraints = [
            models.UniqueConstraint(fields=["public_id"], name="dispute_has_one_public_id"),
            models.UniqueConstraint(fields=["psp", "psp_reference"], name="dispute_is_kept_once"),
            models.CheckConstraint(
                condition=Q(amount__gt=0, held__gte=0, held__lte=F("amount"), fee__gte=0, lost__gte=0, lost__lte=F("amount")),
                name="dispute_has_an_amount",
            ),
            models.CheckConstraint(
                condition=Q(status=DisputeStatus.OPEN, closing_entry__isnull=True, closed_at__isnull=True, lost=0)
                | Q(status=DisputeStatus.WON, closing_entry__isnull=False, closed_at__isnull=False, lost=0)
                | Q(status=DisputeStatus.LOST, closing_entry__isnull=False, closed_at__isnull=False, lost=F("amount"))
                | Q(status=DisputeStatus.PARTIAL, closing_entry__isnull=False, closed_at__isnull=False, lost__gt=0, lost__lt=F("amount")),
                name="decided_dispute_has_its_entry",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.public_id} {self.amount} {self.status}"


class DisputeWatch(models.Model):
    """Until when a PSP was asked for its disputes, so that none is lost with its webhook."""

    psp = models.TextField(primary_key=True)
    asked_until = models.DateTimeField()

    class Meta:
        verbose_name_plural = "dispute watches"

    def __str__(self) -> str:
        return f"{self.psp} until {self.asked_until}"


class RetryPolicy(models.Model):
    """How calls of one operation of one PSP are tried again.  Where there is no row, the PSP's adapter or the house decides (retries.py)."""

    psp = models.TextField()
    operation = models.TextField(choices=[(PspOperation.CHARGE.value, "Charge"), (PspOperation.REFUND.value, "Refund")])
    strategy = models.TextField(choices=[(strategy.value, strategy.value.replace("_", " ")) for strategy in Strategy])
    first_s = models.PositiveIntegerField(default=1, help_text=_("Seconds before the first retry"))
    longest_s = models.PositiveIntegerField(default=120, help_text=_("No wait is longer than this, in seconds"))
    most_tries = models.PositiveSmallIntegerField(default=8, help_text=_("Then it is a dead letter"))

    class Meta:
        verbose_name = _("retry policy")
        verbose_name_plural = _("retry policies")
        constraints = [
            models.UniqueConstraint(fields=["psp", "operation"], name="psp_operation_has_one_retry_policy"),
            models.CheckConstraint(
                condition=Q(most_tries__gte=1, most_tries__lte=100, longest_s__lte=86_400, first_s__lte=F("longest_s")),
                name="retry_policy_ends",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.psp} {self.operation}: {self.strategy}"


class CircuitBreaker(models.Model):
    """What all workers know of a PSP's operation: how often it failed in a row, and until when nobody calls it."""

    psp = models.TextField()
    operation = models.TextField(choices=PspOperation)
    failures = models.PositiveIntegerField(default=0)
    opened_at = models.DateTimeField(null=True, help_text=_("Empty: it is closed, and calls go through"))
    open_until = models.DateTimeField(null=True, help_text=_("Then one call is let through, to see"))

    class Meta:
        verbose_name = _("circuit breaker")
        verbose_name_plural = _("circuit breakers")
        constraints = [models.UniqueConstraint(fields=["psp", "operation"], name="psp_operation_has_one_breaker")]

    def __str__(self) -> str:
        return f"{self.psp} {self.operation}: {'open' if self.opened_at else 'closed'}"


class DeadLetter(models.Model):
    """An order or a refund that the machine gave up on and that waits for a person, with the reason, and what the person decided."""

    class Reason(models.TextChoices):
        TRIES_EXHAUSTED = "tries_exhausted", _("No try got through")
        UNKNOWN_TOO_LONG = "unknown_too_long", _("No answer for 30 days")
        WORKER_DIED = "worker_died", _("Workers died over it")
        CANNOT_BE_BOOKED = "cannot_be_booked", _("The answer cannot be booked")
        NOT_GIVEN_BACK = "late_charge_not_given_back", _("A buyer's money is still with us")

    class Decision(models.TextChoices):
        REDRIVE = "redrive", _("Try again")
        FAIL = "fail", _("Fail")
        VOID = "void", _("Void and refund")
        SETTLED = "settled", _("Settled meanwhile")

    public_id = models.TextField(default=new_dead_letter_id, editable=False)
    order = models.ForeignKey(PaymentOrder, models.PROTECT, related_name="dead_letters")
    refund = models.ForeignKey(Refund, models.PROTECT, related_name="dead_letters", null=True)
    reason = models.TextField(choices=Reason)
    detail = models.TextField(blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    decision = models.TextField(choices=Decision, db_default="", default="", blank=True)
    decided_by = models.TextField(db_default="", default="", blank=True)
    note = models.CharField(max_length=500, db_default="", default="", blank=True)
    decided_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = _("dead letter")
        verbose_name_plural = _("dead letters")
        permissions = [("approve_deadletter", _("Can approve or reject what somebody else would decide about a dead letter"))]
        indexes = [models.Index(fields=["id"], condition=Q(decided_at__isnull=True), name="dead_letter_open")]
        constraints = [
            models.UniqueConstraint(fields=["public_id"], name="dead_letter_has_one_public_id"),
            models.UniqueConstraint(
                fields=["order", "refund"], condition=Q(decided_at__isnull=True), name="one_open_dead_letter", nulls_distinct=False
            ),
            models.CheckConstraint(
                condition=Q(decided_at__isnull=True, decision="", decided_by="")
                | Q(decided_at__isnull=False) & ~Q(decision="") & ~Q(decided_by=""),
                name="a_decision_has_its_actor",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.public_id}: {self.get_reason_display()}"


class Transition(models.Model):
    """One change of a status, written by Postgres itself (a trigger), so that none is missed: what, from, to, when, by whom and why."""

    class Kind(models.TextChoices):
        EVENT = "event", _("Payment event")
        ORDER = "order", _("Payment order")
        REFUND = "refund", _("Refund")
        CANCELLATION = "cancellation", _("Cancellation")
        DISPUTE = "dispute", _("Dispute")

    kind = models.TextField(choices=Kind)
    object_id = models.BigIntegerField()
    before = models.TextField()
    after = models.TextField()
    actor = models.TextField(blank=True, help_text=_("Empty: the machine"))
    reason = models.TextField(blank=True)
    at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        indexes = [models.Index(fields=["kind", "object_id"], name="transition_by_object")]

    def __str__(self) -> str:
        return f"{self.kind} {self.object_id}: {self.before} -> {self.after}"

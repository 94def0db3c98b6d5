"""Whom we owe, who may ask, and what we tell them: shops and their keys, sellers and buyers, wallets, and the outbox.

A shop is the tenant: the shop whose back end calls the REST API; everything that is a shop's own carries it.  A wallet is the one cached
balance of the house, written by `balances` alone; the books are the truth (reconciliation/invariants.py compares them).
"""

import secrets

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from ledger.ids import new_id
from ledger.models import JournalEntry
from ledger.money import AmountField, is_exact


def new_shop_id() -> str:
    return new_id("shop")


def new_seller_id() -> str:
    return new_id("sel")


def new_buyer_id() -> str:
    return new_id("buy")


def new_endpoint_id() -> str:
    return new_id("we")


def new_signing_secret() -> str:
    return f"shsec_{secrets.token_urlsafe(32)}"


class Shop(models.Model):
    """A shop of the marketplace, as its buyers know it.  Its secret signs the result that a buyer carries back to it."""

    class FeePolicy(models.TextChoices):
        PRO_RATA = "pro_rata", _("Its share of the fee")
        FULL = "full", _("All that is left of the fee")
        KEEP = "keep", _("Nothing: the seller bears the fee")

    public_id = models.TextField(default=new_shop_id, editable=False)
    name = models.CharField(max_length=120)
    signing_secret = models.TextField(default=new_signing_secret, editable=False)
    return_origins = models.JSONField(
        default=list, blank=True, help_text=_("Where a buyer may be sent back to, such as https://shop.example")
    )
    fee_basis_points = models.PositiveIntegerField(
        default=1000, help_text=_("Fee where no schedule says otherwise; 100 basis points are 1 %")
    )
    refund_fee_policy = models.TextField(
        choices=FeePolicy,
        default=FeePolicy.PRO_RATA,
        db_default=FeePolicy.PRO_RATA.value,
        help_text=_("What a refund gives back of our fee"),
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        verbose_name = _("shop")
        verbose_name_plural = _("shops")
        constraints = [
            models.UniqueConstraint(fields=["public_id"], name="shop_has_one_public_id"),
            models.CheckConstraint(condition=Q(fee_basis_points__lte=10_000), name="shop_fee_is_at_most_all"),
        ]

    def __str__(self) -> str:
        return self.name


class ApiKey(models.Model):
    """A key of a shop's back end.  Only its SHA-256 is kept; the key itself is shown once, when it is made."""

    class Scope(models.TextChoices):
        PAYMENTS_READ = "payments:read"
        PAYMENTS_WRITE = "payments:write"
        WALLET_READ = "wallet:read"
        WALLET_WRITE = "wallet:write"
        LEDGER_READ = "ledger:read"
        LEDGER_WRITE = "ledger:write"
        WEBHOOKS_READ = "webhooks:read"
        WEBHOOKS_WRITE = "webhooks:write"

    shop = models.ForeignKey(Shop, models.PROTECT, related_name="api_keys")
    name = models.CharField(max_length=120)
    prefix = models.CharField(max_length=16, editable=False)
    sha256 = models.CharField(max_length=64, editable=False)
    scopes = models.JSONField(default=list)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = _("API key")
        verbose_name_plural = _("API keys")
        constraints = [models.UniqueConstraint(fields=["sha256"], name="api_key_is_unique")]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"


class IdempotencyRecord(models.Model):
    """What one `Idempotency-Key` of one shop was used for, and the answer it got.  No status yet: the request is being worked on."""

    shop = models.ForeignKey(Shop, models.PROTECT, related_name="+", db_index=False)
    route = models.TextField()
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64)
    claimed_until = models.DateTimeField()
    status = models.PositiveSmallIntegerField(null=True)
    body = models.JSONField(null=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        verbose_name = _("idempotency record")
        verbose_name_plural = _("idempotency records")
        constraints = [models.UniqueConstraint(fields=["shop", "route", "key"], name="idempotency_key_is_used_once")]

    def __str__(self) -> str:
        return f"{self.route} {self.key}"


class Seller(models.Model):
    """Whoever a wallet belongs to."""

    public_id = models.TextField(default=new_seller_id, editable=False)
    shop = models.ForeignKey(Shop, models.PROTECT, related_name="sellers")
    reference = models.CharField(max_length=120, blank=True, help_text=_("The shop's own id of this seller"))
    name = models.CharField(max_length=120)
    users = models.ManyToManyField(settings.AUTH_USER_MODEL, related_name="sellers", blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        verbose_name = _("seller")
        verbose_name_plural = _("sellers")
        constraints = [
            models.UniqueConstraint(fields=["public_id"], name="seller_has_one_public_id"),
            models.UniqueConstraint(
                fields=["shop", "reference"], condition=~Q(reference=""), name="seller_reference_is_unique_in_its_shop"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Buyer(models.Model):
    """Whoever pays.  Known by the shop's own reference."""

    public_id = models.TextField(default=new_buyer_id, editable=False)
    shop = models.ForeignKey(Shop, models.PROTECT, related_name="buyers", db_index=False)
    reference = models.CharField(max_length=120)
    name = models.CharField(max_length=120, blank=True)
    email = models.EmailField(blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        verbose_name = _("buyer")
        verbose_name_plural = _("buyers")
        constraints = [
            models.UniqueConstraint(fields=["public_id"], name="buyer_has_one_public_id"),
            models.UniqueConstraint(fields=["shop", "reference"], name="buyer_reference_is_unique_in_its_shop"),
        ]

    def __str__(self) -> str:
        return self.name or self.reference


class Wallet(models.Model):
    """What we owe one seller in one currency: for orders under way, to pay out, and held back.  No index on what changes (HOT updates)."""

    seller = models.ForeignKey(Seller, models.PROTECT, related_name="wallets", db_index=False)
    pending = AmountField()
    available = AmountField()
    reserved = AmountField()

    class Meta:
        verbose_name = _("wallet")
        verbose_name_plural = _("wallets")
        constraints = [
            models.UniqueConstraint(fields=["seller", "currency"], name="seller_has_one_wallet_per_currency"),
            models.CheckConstraint(condition=Q(pending__gte=0, reserved__gte=0), name="wallet_is_not_overdrawn"),
            models.CheckConstraint(condition=is_exact("pending"), name="wallet_pending_is_in_minor_units"),
            models.CheckConstraint(condition=is_exact("available"), name="wallet_available_is_in_minor_units"),
            models.CheckConstraint(condition=is_exact("reserved"), name="wallet_reserved_is_in_minor_units"),
        ]

    def __str__(self) -> str:
        return f"{self.seller} {self.currency}"  # type: ignore[attr-defined]


class WalletEntry(models.Model):
    """One movement of a wallet, with its arithmetic: gross - fee = net, and the net is what its three figures changed by."""

    class Kind(models.TextChoices):
        SALE = "sale", _("Sale")
        REFUND = "refund", _("Refund")
        REFUND_REVERSAL = "refund_reversal", _("Refund that came back")
        DISPUTE = "dispute", _("Dispute opened")
        DISPUTE_CLOSED = "dispute_closed", _("Dispute closed")
        RELEASE = "release", _("Delivered: now available")
        RESERVE_RELEASE = "reserve_release", _("Reserve set free")
        PAYOUT = "payout", _("Payout")
        PAYOUT_RETURN = "payout_return", _("Payout that came back")

    wallet = models.ForeignKey(Wallet, models.PROTECT, related_name="entries", db_index=False)
    kind = models.TextField(choices=Kind)
    source = models.TextField(help_text=_("The payment order, refund, dispute or payout behind it"))
    journal_entry = models.ForeignKey(JournalEntry, models.PROTECT, related_name="+", db_index=False)
    gross = AmountField()
    fee = AmountField()
    net = AmountField()
    pending = AmountField()
    available = AmountField()
    reserved = AmountField()
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        verbose_name = _("wallet entry")
        verbose_name_plural = _("wallet entries")
        indexes = [models.Index(fields=["wallet", "id"], name="wallet_entry_by_wallet")]
        constraints = [
            models.CheckConstraint(condition=Q(net=F("gross") - F("fee")), name="net_is_gross_less_fee"),
            models.CheckConstraint(
                condition=Q(net=F("pending") + F("available") + F("reserved")), name="net_is_what_the_wallet_changed_by"
            ),
            models.CheckConstraint(condition=is_exact("gross"), name="wallet_entry_gross_is_in_minor_units"),
            models.CheckConstraint(condition=is_exact("fee"), name="wallet_entry_fee_is_in_minor_units"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.net}"

    @property
    def public_id(self) -> str:
        return f"wen_{self.pk}"


class OutboxMessage(models.Model):
    """Something that happened, kept by the transaction that made it true, for everyone who follows the shop's payments."""

    public_id = models.TextField()
    shop = models.ForeignKey(Shop, models.PROTECT, related_name="+", db_index=False, db_constraint=False)
    topic = models.TextField()
    about = models.TextField()
    sequence = models.PositiveIntegerField(default=0, db_default=0, help_text=_("Counts the messages about the same object: 1, 2, 3, ..."))
    payload = models.JSONField()
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        verbose_name = _("outbox message")
        verbose_name_plural = _("outbox messages")
        indexes = [models.Index(fields=["shop", "id"], name="outbox_message_by_shop")]
        constraints = [models.UniqueConstraint(fields=["public_id"], name="outbox_message_has_one_public_id")]

    def __str__(self) -> str:
        return f"{self.topic} {self.about}"


class RelayPosition(models.Model):
    """Up to which message the relay has made deliveries.  One row; whoever relays holds its lock."""

    name = models.TextField(primary_key=True)
    message_id = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.name} {self.message_id}"


class WebhookEndpoint(models.Model):
    """An address of a shop that is told what happens.  Disabled, it gets nothing, and what was under way waits."""

    class DisabledReason(models.TextChoices):
        SWITCHED_OFF = "switched_off", _("Switched off by hand")
        GONE = "gone", _("It answered 410 Gone")
        FAILING = "failing", _("Nothing arrived for three days")

    public_id = models.TextField(default=new_endpoint_id, editable=False)
    shop = models.ForeignKey(Shop, models.PROTECT, related_name="webhook_endpoints", db_index=False)
    url = models.TextField()
    description = models.CharField(max_length=200, blank=True)
    topics = models.JSONField(default=list, blank=True, help_text=_("Such as payment.paid or payment_order.*; none of them means all"))
    is_enabled = models.BooleanField(default=True, editable=False)
    disabled_at = models.DateTimeField(null=True, editable=False)
    disabled_reason = models.TextField(blank=True, choices=DisabledReason, editable=False)
    failing_since = models.DateTimeField(null=True, editable=False)
    sequence = models.PositiveIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        verbose_name = _("webhook endpoint")
        verbose_name_plural = _("webhook endpoints")
        constraints = [
            models.UniqueConstraint(fields=["public_id"], name="webhook_endpoint_has_one_public_id"),
            models.UniqueConstraint(fields=["shop", "url"], name="webhook_endpoint_is_unique_in_its_shop"),
            models.CheckConstraint(
                condition=Q(is_enabled=True, disabled_at=None) | Q(is_enabled=False, disabled_at__isnull=False),
                name="webhook_endpoint_is_enabled_or_was_disabled",
            ),
        ]

    def __str__(self) -> str:
        return self.url


class WebhookSecret(models.Model):
    """What signs the messages to one endpoint.  Kept readable, for it must sign; in a table of its own, so that readers of others lack it."""

    endpoint = models.ForeignKey(WebhookEndpoint, models.CASCADE, related_name="secrets")
    secret = models.TextField()
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    expires_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"secret {self.pk} of {self.endpoint_id}"


class WebhookDelivery(models.Model):
    """One message on its way to one endpoint.  Due are those with a `next_attempt_at`; a claim is a lease, and `tries` counts the claims.

    A series of tries begins at `tried_since`, after `earlier_tries`: sending again by hand begins a new one.
    """

    class Status(models.TextChoices):
        PENDING = "pending", _("Pending")
        DELIVERED = "delivered", _("Delivered")
        FAILED = "failed", _("Failed")
        CANCELLED = "cancelled", _("Cancelled")

    message = models.ForeignKey(OutboxMessage, models.PROTECT, related_name="deliveries", db_index=False)
    endpoint = models.ForeignKey(WebhookEndpoint, models.PROTECT, related_name="deliveries", db_index=False)
    status = models.TextField(choices=Status, default=Status.PENDING, db_default=Status.PENDING.value)
    tries = models.PositiveIntegerField(default=0, db_default=0)
    earlier_tries = models.PositiveIntegerField(default=0, db_default=0)
    tried_since = models.DateTimeField(null=True)
    next_attempt_at = models.DateTimeField(null=True)
    claimed_until = models.DateTimeField(null=True)
    delivered_at = models.DateTimeField(null=True)
    last_status = models.PositiveSmallIntegerField(null=True, help_text=_("What the endpoint answered last"))
    last_error = models.TextField(default="", db_default="")

    class Meta:
        verbose_name = _("webhook delivery")
        verbose_name_plural = _("webhook deliveries")
        indexes = [
            models.Index(fields=["endpoint", "id"], name="webhook_delivery_by_endpoint"),
            models.Index(
                fields=["endpoint", "next_attempt_at"], condition=Q(next_attempt_at__isnull=False), name="webhook_delivery_is_due"
            ),
            models.Index(fields=["endpoint"], condition=Q(claimed_until__isnull=False), name="webhook_delivery_in_flight"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["message", "endpoint"], name="message_goes_to_an_endpoint_once"),
            models.CheckConstraint(
                condition=Q(status="pending", next_attempt_at__isnull=False) | ~Q(status="pending") & Q(next_attempt_at=None),
                name="webhook_delivery_is_due_while_pending",
            ),
            models.CheckConstraint(
                condition=~Q(status="delivered") | Q(delivered_at__isnull=False), name="webhook_delivery_knows_when_it_arrived"
            ),
        ]

    def __str__(self) -> str:
        return self.public_id

    @property
    def public_id(self) -> str:
        return f"whd_{self.pk}"


class DeliveryAttempt(models.Model):
    """One try of a delivery and how it ended: the status that came back, or what went wrong.  Nothing of the answer's body is kept."""

    delivery = models.ForeignKey(WebhookDelivery, models.CASCADE, related_name="attempts")
    number = models.PositiveIntegerField()
    at = models.DateTimeField()
    duration_ms = models.PositiveIntegerField()
    status = models.PositiveSmallIntegerField(null=True)
    error = models.TextField(default="", db_default="")

    class Meta:
        verbose_name = _("delivery attempt")
        verbose_name_plural = _("delivery attempts")

    def __str__(self) -> str:
        return f"{self.delivery_id} try {self.number}"

"""Whom we owe, who may ask, and what we tell them: shops and their keys, sellers and buyers, wallets, and the outbox.

A shop is the tenant: the shop whose back end calls the REST API; everything that is a shop's own carries it.  A wallet is the one cached
balance of the house, written by `balances` alone; the books are the truth (reconciliation/invariants.py compares them).
"""

import secrets

from django.conf import settings
from django.core.validators import RegexValidator
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


def new_hold_id() -> str:
    return new_id("hold")


def new_invoice_id() -> str:
    return new_id("inv")


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
        FILES_READ = "files:read"
        FILES_WRITE = "files:write"
        PAYOUTS_READ = "payouts:read"
        PAYOUTS_WRITE = "payouts:write"
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
    country = models.CharField(
        max_length=2,
        default="",
        db_default="",
        blank=True,
        validators=[RegexValidator("^[A-Z]{2}$", _("Two capital letters, such as DE."))],
        help_text=_("Where the seller is, such as DE: it decides the tax on our fees"),
    )
    tax_id = models.CharField(max_length=40, default="", db_default="", blank=True, help_text=_("The seller's VAT or tax number"))
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
        WRITE_OFF = "write_off", _("Written off")

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


class ReleaseTerms(models.Model):
    """When a shop's sellers may have what they sold, for one seller or (no seller) for all that have none of their own (terms.py)."""

    shop = models.ForeignKey(Shop, models.PROTECT, related_name="release_terms", db_index=False)
    seller = models.ForeignKey(Seller, models.PROTECT, related_name="release_terms", null=True, blank=True)
    days_after_payment = models.PositiveSmallIntegerField(
        null=True, blank=True, default=14, help_text=_("Days after the payment; empty: only what was delivered becomes available")
    )
    days_after_delivery = models.PositiveSmallIntegerField(default=0, help_text=_("Days after the delivery"))
    new_seller_days = models.PositiveSmallIntegerField(default=0, help_text=_("Nothing before a seller has been here for so many days"))
    reserve_basis_points = models.PositiveIntegerField(
        default=0, help_text=_("What is held back of each order for a while; 100 basis points are 1 %")
    )
    reserve_days = models.PositiveSmallIntegerField(default=0, help_text=_("For how many days it is held back"))
    payable_means_reconciled = models.BooleanField(
        default=False, help_text=_("Only what the PSP's settlement file has settled becomes available")
    )

    class Meta:
        verbose_name = _("release terms")
        verbose_name_plural = _("release terms")
        constraints = [
            models.UniqueConstraint(fields=["shop", "seller"], name="seller_has_release_terms_once", nulls_distinct=False),
            models.CheckConstraint(condition=Q(reserve_basis_points__lte=10_000), name="reserve_is_at_most_all"),
            models.CheckConstraint(
                condition=Q(days_after_payment__lte=3650, days_after_delivery__lte=3650, new_seller_days__lte=3650, reserve_days__lte=3650),
                name="release_terms_end",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.shop}: {self.seller or 'all sellers'}"


class SellerHold(models.Model):
    """No payout leaves while it is active: until it ends or is lifted.  What is delivered becomes available all the same (holds.py)."""

    public_id = models.TextField(default=new_hold_id, editable=False)
    seller = models.ForeignKey(Seller, models.PROTECT, related_name="holds")
    reason = models.CharField(max_length=200)
    until = models.DateTimeField(null=True, blank=True, help_text=_("Empty: until it is lifted"))
    placed_by = models.TextField(editable=False)
    placed_at = models.DateTimeField(editable=False)
    lifted_by = models.TextField(db_default="", default="", editable=False)
    lifted_at = models.DateTimeField(null=True, editable=False)
    lift_reason = models.CharField(max_length=200, db_default="", default="", editable=False)

    class Meta:
        verbose_name = _("hold")
        verbose_name_plural = _("holds")
        constraints = [
            models.UniqueConstraint(fields=["public_id"], name="hold_has_one_public_id"),
            models.CheckConstraint(condition=~Q(reason="") & ~Q(placed_by=""), name="hold_has_its_reason_and_its_actor"),
            models.CheckConstraint(condition=Q(until__isnull=True) | Q(until__gt=F("placed_at")), name="hold_ends_after_it_begins"),
            models.CheckConstraint(
                condition=Q(lifted_at__isnull=True, lifted_by="", lift_reason="")
                | Q(lifted_at__isnull=False) & ~Q(lifted_by="") & ~Q(lift_reason=""),
                name="lifting_a_hold_has_its_reason_and_its_actor",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.seller}: {self.reason}"


class TaxRate(models.Model):
    """The tax in a shop's fees for sellers of one country, for a time: the first day is counted in, the last one is not (invoices.py)."""

    shop = models.ForeignKey(Shop, models.PROTECT, related_name="tax_rates", db_index=False)
    country = models.CharField(
        max_length=2,
        validators=[RegexValidator("^[A-Z]{2}$", _("Two capital letters, such as DE."))],
        help_text=_("The seller's country, such as DE"),
    )
    basis_points = models.PositiveIntegerField(help_text=_("Tax that is in our fees; 100 basis points are 1 %"))
    reverse_charge = models.BooleanField(default=False, help_text=_("The seller owes the tax, and the invoice says so"))
    since = models.DateField(help_text=_("From this day on"))
    until = models.DateField(
        null=True, blank=True, help_text=_("Up to this day, which is not counted in; empty: until another rate begins")
    )

    class Meta:
        verbose_name = _("tax rate")
        verbose_name_plural = _("tax rates")
        constraints = [
            models.UniqueConstraint(fields=["shop", "country", "since"], name="tax_rate_begins_once"),
            models.CheckConstraint(condition=Q(until__isnull=True) | Q(until__gt=F("since")), name="tax_rate_ends_after_it_begins"),
            models.CheckConstraint(condition=Q(basis_points__lte=10_000), name="tax_rate_is_at_most_all"),
            models.CheckConstraint(condition=Q(reverse_charge=False) | Q(basis_points=0), name="reverse_charge_has_no_tax"),
            models.CheckConstraint(condition=Q(country__regex="^[A-Z]{2}$"), name="tax_rate_has_a_country"),
        ]

    def __str__(self) -> str:
        return f"{self.country} {self.basis_points / 100:g} %"


class InvoiceSeries(models.Model):
    """The last number that was given to a shop's invoices, or credit notes, of one year.  Its row is locked while numbers are given."""

    shop = models.ForeignKey(Shop, models.PROTECT, related_name="+", db_index=False)
    series = models.CharField(max_length=3)
    year = models.PositiveSmallIntegerField()
    last = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["shop", "series", "year"], name="invoice_series_is_counted_once")]

    def __str__(self) -> str:
        return f"{self.series}-{self.year}-{self.last:06d}"


class FeeInvoice(models.Model):
    """What a seller's fees of one month and currency came to, and the tax in them; or the credit note that takes an invoice back.

    Never changed (migration 0008): a mistake is taken back by a credit note that names it, and invoiced once more as the next version.
    The names stand as they were when it was issued.  Amounts of a credit note are negative.
    """

    class Series(models.TextChoices):
        INVOICE = "INV", _("Invoice")
        CREDIT_NOTE = "CN", _("Credit note")

    public_id = models.TextField(default=new_invoice_id, editable=False)
    shop = models.ForeignKey(Shop, models.PROTECT, related_name="fee_invoices", db_index=False)
    seller = models.ForeignKey(Seller, models.PROTECT, related_name="fee_invoices", db_index=False)
    period = models.CharField(max_length=7, help_text=_("The month, such as 2026-10"))
    version = models.PositiveSmallIntegerField(default=1)
    series = models.CharField(max_length=3, choices=Series)
    year = models.PositiveSmallIntegerField()
    sequence = models.PositiveIntegerField()
    corrects = models.OneToOneField("self", models.PROTECT, related_name="corrected_by", null=True)
    reason = models.CharField(max_length=200, blank=True)
    net = AmountField()
    tax = AmountField()
    gross = AmountField()
    tax_basis_points = models.PositiveIntegerField()
    reverse_charge = models.BooleanField()
    shop_name = models.CharField(max_length=120)
    seller_name = models.CharField(max_length=120)
    seller_country = models.CharField(max_length=2, blank=True)
    seller_tax_id = models.CharField(max_length=40, blank=True)
    issued_at = models.DateTimeField()
    issued_by = models.TextField()

    class Meta:
        verbose_name = _("fee invoice")
        verbose_name_plural = _("fee invoices")
        indexes = [models.Index(fields=["seller", "id"], name="fee_invoice_by_seller")]
        constraints = [
            models.UniqueConstraint(fields=["public_id"], name="fee_invoice_has_one_public_id"),
            models.UniqueConstraint(fields=["shop", "series", "year", "sequence"], name="fee_invoice_number_is_given_once"),
            models.UniqueConstraint(
                fields=["seller", "currency", "period", "version"], condition=Q(corrects=None), name="fees_of_a_month_are_invoiced_once"
            ),
            models.CheckConstraint(condition=Q(gross=F("net") + F("tax")), name="fee_invoice_gross_is_net_and_tax"),
            models.CheckConstraint(condition=Q(reverse_charge=False) | Q(tax=0), name="reverse_charge_shows_no_tax"),
            models.CheckConstraint(condition=Q(corrects=None) | ~Q(reason=""), name="correction_has_its_reason"),
            models.CheckConstraint(
                condition=Q(series="INV", gross__gte=0) | Q(series="CN", gross__lte=0), name="credit_note_has_its_own_series"
            ),
            models.CheckConstraint(condition=is_exact("net"), name="fee_invoice_net_is_in_minor_units"),
            models.CheckConstraint(condition=is_exact("tax"), name="fee_invoice_tax_is_in_minor_units"),
        ]

    def __str__(self) -> str:
        return self.number

    @property
    def number(self) -> str:
        return f"{self.series}-{self.year}-{self.sequence:06d}"


class FeeInvoiceLine(models.Model):
    """The fees of one kind of movement: how many movements, and net + tax = gross to the last minor unit."""

    pk = models.CompositePrimaryKey("invoice_id", "position")
    invoice = models.ForeignKey(FeeInvoice, models.PROTECT, related_name="lines", db_index=False)
    position = models.PositiveSmallIntegerField()
    kind = models.TextField(choices=WalletEntry.Kind)
    count = models.PositiveIntegerField()
    net = AmountField()
    tax = AmountField()
    gross = AmountField()

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(gross=F("net") + F("tax")), name="fee_invoice_line_gross_is_net_and_tax")]

    def __str__(self) -> str:
        return f"{self.count} {self.kind} {self.gross}"


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


class SecondFactor(models.Model):
    """The authenticator app of a login: its secret, sealed, and the step of the last code taken, so that none is taken twice."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, models.CASCADE, related_name="second_factor")
    sealed = models.TextField()
    last_step = models.BigIntegerField()
    set_up_at = models.DateTimeField()

    class Meta:
        verbose_name = _("second factor")
        verbose_name_plural = _("second factors")

    def __str__(self) -> str:
        return str(self.user)


class RecoveryCode(models.Model):
    """One of the codes that open a login once when its app is gone.  Only its SHA-256 is kept; the codes are shown once."""

    factor = models.ForeignKey(SecondFactor, models.CASCADE, related_name="recovery_codes", db_index=False)
    sha256 = models.CharField(max_length=64)
    used_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["factor", "sha256"], name="recovery_code_is_unique")]

    def __str__(self) -> str:
        return f"recovery code {self.pk} of {self.factor_id}"


class SecondFactorChange(models.Model):
    """What happened to a login's second factor, by whom and why, kept for good; and the e-mail that tells of it (login_notices.py)."""

    class Kind(models.TextChoices):
        SET_UP = "set_up", _("Set up")
        SWITCHED_OFF = "switched_off", _("Switched off")
        RESET = "reset", _("Reset by staff")
        RECOVERY_CODE_USED = "recovery_code_used", _("Logged in with a recovery code")
        RECOVERY_CODES_RENEWED = "recovery_codes_renewed", _("New recovery codes made")

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="second_factor_changes")
    kind = models.TextField(choices=Kind)
    by = models.TextField()
    reason = models.CharField(max_length=200, blank=True)
    at = models.DateTimeField()
    address = models.EmailField(blank=True)
    tries = models.PositiveIntegerField(default=0, db_default=0)
    next_attempt_at = models.DateTimeField(null=True, help_text=_("Empty: it was sent, given up, or there is no address"))
    sent_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = _("change of a second factor")
        verbose_name_plural = _("changes of second factors")
        indexes = [models.Index(fields=["next_attempt_at"], condition=Q(next_attempt_at__isnull=False), name="login_notice_to_send")]
        constraints = [models.CheckConstraint(condition=~Q(kind="reset") | ~Q(reason=""), name="reset_of_second_factor_has_its_reason")]

    def __str__(self) -> str:
        return f"{self.user}: {self.get_kind_display()}"


class MonthlyFigures(models.Model):
    """What a wallet's sales of one month came to, of the movements before the position (monthly.py): a sum that is kept, not a truth."""

    pk = models.CompositePrimaryKey("wallet_id", "month")
    wallet = models.ForeignKey(Wallet, models.PROTECT, related_name="+", db_index=False)
    month = models.DateField(help_text=_("Its first day"))
    net = AmountField()

    class Meta:
        verbose_name = _("figures of a month")
        verbose_name_plural = _("figures of months")

    def __str__(self) -> str:
        return f"{self.month:%Y-%m} {self.net}"


class MonthlyPosition(models.Model):
    """Up to which movement the monthly figures are kept.  One row; whoever keeps them holds its lock."""

    name = models.TextField(primary_key=True)
    next_id = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.name} {self.next_id}"


class NoticeDismissal(models.Model):
    """That a person was shown a notice on the seller's home and has dismissed it (home.py)."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+", db_index=False)
    key = models.CharField(max_length=100)
    dismissed_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name = _("dismissed notice")
        verbose_name_plural = _("dismissed notices")
        constraints = [models.UniqueConstraint(fields=["user", "key"], name="notice_is_dismissed_once")]

    def __str__(self) -> str:
        return f"{self.user} {self.key}"

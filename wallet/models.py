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
from djmoney.money import Money

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


def new_gift_card_id() -> str:
    return new_id("gc")


def new_hold_id() -> str:
    return new_id("hold")


def new_invoice_id() -> str:
    return new_id("inv")


def new_conversion_id() -> str:
    return new_id("cnv")


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
    gift_card_days = models.PositiveIntegerField(
        null=True, blank=True, help_text=_("For how many days its gift cards are valid; 0: for ever; empty: as the house has it")
    )
    accent = models.CharField(
        max_length=7,
        db_default="",
        default="",
        blank=True,
        help_text=_("Colour of its buttons and links on the payment page, such as #2a50b0"),
    )
    logo = models.TextField(db_default="", default="", editable=False, help_text=_("Digest of the logo that its pages show"))
    statement_name = models.CharField(
        max_length=22,
        db_default="",
        default="",
        blank=True,
        validators=[RegexValidator(r"^[A-Za-z0-9 .&-]+$", _("Letters from A to Z, digits, blanks and . - & only."))],
        help_text=_("How card statements name it; empty: its name in capitals"),
    )
    support_email = models.EmailField(db_default="", default="", blank=True, help_text=_("Where its buyers can ask"))
    sends_receipts = models.BooleanField(
        _("sends receipts"), db_default=True, default=True, help_text=_("By e-mail to whoever paid, if the shop gave an address")
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        verbose_name = _("shop")
        verbose_name_plural = _("shops")
        constraints = [
            models.UniqueConstraint(fields=["public_id"], name="shop_has_one_public_id"),
            models.CheckConstraint(condition=Q(fee_basis_points__lte=10_000), name="shop_fee_is_at_most_all"),
            models.CheckConstraint(condition=Q(accent="") | Q(accent__regex="^#[0-9a-f]{6}$"), name="shop_accent_is_a_colour"),
        ]

    def __str__(self) -> str:
        return self.name


class ShopLogo(models.Model):
    """A logo as it was drawn anew (branding.py): WebP.  What a shop showed before stays, for pages and e-mails that name it."""

    shop = models.ForeignKey(Shop, models.PROTECT, related_name="logos", db_index=False)
    digest = models.TextField()
    content = models.BinaryField()
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        verbose_name = _("logo of a shop")
        verbose_name_plural = _("logos of shops")
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["shop", "digest"], name="a_logo_is_kept_once")]

    def __str__(self) -> str:
        return f"{self.shop_id} {self.digest}"


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
        GIFT_CARDS_READ = "gift_cards:read"
        GIFT_CARDS_WRITE = "gift_cards:write"
        BUYERS_READ = "buyers:read"
        BUYERS_WRITE = "buyers:write"

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
    is_house = models.BooleanField(
        default=False, db_default=False, editable=False, help_text=_("Stands for the shop itself where it sells gift cards and top-ups")
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        verbose_name = _("seller")
        verbose_name_plural = _("sellers")
        constraints = [
            models.UniqueConstraint(fields=["public_id"], name="seller_has_one_public_id"),
            models.UniqueConstraint(
                fields=["shop", "reference"], condition=~Q(reference=""), name="seller_reference_is_unique_in_its_shop"
            ),
            models.UniqueConstraint(fields=["shop"], condition=Q(is_house=True), name="shop_has_one_house_seller"),
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
        CONVERSION = "conversion", _("Converted")

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


class ExchangeRate(models.Model):
    """What one unit of `base` was worth in `quote` on a day, as the European Central Bank or two people of ours say it.

    Never changed (migration 0014).  The newest of a pair holds: of the latest day, and of that day the one that came last.
    """

    class Source(models.TextChoices):
        ECB = "ecb", _("European Central Bank")
        MANUAL = "manual", _("Set by hand, by two people")

    base = models.CharField(max_length=3)
    quote = models.CharField(max_length=3)
    rate = models.DecimalField(max_digits=24, decimal_places=12, help_text=_("Units of the second currency for one of the first"))
    source = models.TextField(choices=Source)
    quoted_on = models.DateField(help_text=_("The day that the rate is of"))
    received_at = models.DateTimeField()
    received_by = models.TextField()
    file_sha256 = models.CharField(max_length=64, blank=True, help_text=_("Of the file that it came in"))
    approval = models.TextField(blank=True, help_text=_("By which it was set by hand"))

    class Meta:
        verbose_name = _("exchange rate")
        verbose_name_plural = _("exchange rates")
        default_permissions = ("view", "add")
        permissions = [
            ("upload_exchangerate", _("Can load a file of exchange rates")),
            ("approve_exchangerate", _("Can approve or reject an exchange rate that somebody else proposes")),
        ]
        indexes = [models.Index(fields=["base", "quote", "-quoted_on", "-id"], name="exchange_rate_newest_first")]
        constraints = [
            models.UniqueConstraint(fields=["base", "quote", "quoted_on"], condition=Q(source="ecb"), name="ecb_quotes_once_a_day"),
            models.UniqueConstraint(fields=["approval"], condition=~Q(approval=""), name="approval_sets_one_exchange_rate"),
            models.CheckConstraint(condition=Q(rate__gt=0) & ~Q(base=F("quote")), name="exchange_rate_is_between_two_currencies"),
            models.CheckConstraint(
                condition=Q(source="ecb", approval="") & ~Q(file_sha256="") | Q(source="manual", file_sha256="") & ~Q(approval=""),
                name="exchange_rate_came_in_a_file_or_by_two_people",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.base}/{self.quote} {self.rate.normalize():f} ({self.quoted_on})"


class Conversion(models.Model):
    """Money of a seller that was changed into another currency at the rates of a day: `sold` left one wallet, `bought` came into another.

    Both rates are per euro, 1 for the euro itself, so that `sold` x `bought_per_euro` / `sold_per_euro`, rounded down to the minor unit, is
    `bought`; `rate` says the same for people.  Never changed (migration 0014).
    """

    public_id = models.TextField(default=new_conversion_id, editable=False)
    seller = models.ForeignKey(Seller, models.PROTECT, related_name="conversions", db_index=False)
    sold = AmountField(currency_field_name="sold_currency")
    bought = AmountField(currency_field_name="bought_currency")
    rate = models.DecimalField(max_digits=30, decimal_places=12, help_text=_("Of the currency that was bought, for one of the other"))
    sold_per_euro = models.DecimalField(max_digits=24, decimal_places=12)
    bought_per_euro = models.DecimalField(max_digits=24, decimal_places=12)
    sold_rate = models.ForeignKey(ExchangeRate, models.PROTECT, related_name="+", null=True, db_index=False)
    bought_rate = models.ForeignKey(ExchangeRate, models.PROTECT, related_name="+", null=True, db_index=False)
    source = models.TextField(help_text=_("Whose rates they are"))
    quoted_on = models.DateField(help_text=_("The day of the rate, of two the earlier one"))
    journal_entry = models.OneToOneField(JournalEntry, models.PROTECT, related_name="+")
    sold_entry = models.OneToOneField(WalletEntry, models.PROTECT, related_name="+")
    bought_entry = models.OneToOneField(WalletEntry, models.PROTECT, related_name="+")
    requested_by = models.TextField()
    once = models.TextField(blank=True, help_text=_("The Idempotency-Key that it was asked for with"))
    converted_at = models.DateTimeField()

    class Meta:
        verbose_name = _("conversion")
        verbose_name_plural = _("conversions")
        default_permissions = ("view",)
        indexes = [models.Index(fields=["seller", "id"], name="conversion_by_seller")]
        constraints = [
            models.UniqueConstraint(fields=["public_id"], name="conversion_has_one_public_id"),
            models.UniqueConstraint(fields=["seller", "once"], condition=~Q(once=""), name="conversion_is_asked_for_once"),
            models.CheckConstraint(
                condition=Q(sold__gt=0, bought__gt=0) & ~Q(sold_currency=F("bought_currency")), name="conversion_is_between_two_currencies"
            ),
            models.CheckConstraint(
                condition=Q(sold_currency="EUR", sold_rate=None, sold_per_euro=1) | Q(sold_rate__isnull=False), name="sold_at_a_rate"
            ),
            models.CheckConstraint(
                condition=Q(bought_currency="EUR", bought_rate=None, bought_per_euro=1) | Q(bought_rate__isnull=False),
                name="bought_at_a_rate",
            ),
            models.CheckConstraint(condition=is_exact("sold", "sold_currency"), name="conversion_sold_is_in_minor_units"),
            models.CheckConstraint(condition=is_exact("bought", "bought_currency"), name="conversion_bought_is_in_minor_units"),
        ]

    def __str__(self) -> str:
        return self.public_id


class StoredValue(models.Model):
    """Money that a buyer has paid before and spends later: what is left on a gift card, or in a buyer's own wallet.

    `held` of the balance is spoken for: by a checkout whose card is being charged, or by a refund of what bought it.  Written by
    `stored_value` alone; the books are the truth.  Frozen: nothing is spent while whose money it is, is open (a dispute of what bought it).
    """

    class Kind(models.TextChoices):
        GIFT_CARD = "gift_card", _("Gift card")
        WALLET = "wallet", _("Buyer's wallet")

    shop = models.ForeignKey(Shop, models.PROTECT, related_name="+", db_index=False)
    kind = models.TextField(choices=Kind)
    buyer = models.ForeignKey(Buyer, models.PROTECT, related_name="wallets", null=True)
    balance = AmountField()
    held = AmountField()
    expires_at = models.DateTimeField(null=True, help_text=_("Empty: never"))
    frozen_at = models.DateTimeField(null=True)
    frozen_because = models.TextField(
        db_default="", default="", blank=True, help_text=_("Such as the dispute of the charge that bought it")
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        verbose_name = _("stored value")
        verbose_name_plural = _("stored values")
        permissions = [
            ("propose_thaw", _("Can propose to let go what a lost dispute froze")),
            ("approve_thaw", _("Can approve or reject what somebody else would let go after a lost dispute")),
        ]
        indexes = [models.Index(fields=["expires_at"], condition=Q(expires_at__isnull=False), name="stored_value_by_expiry")]
        constraints = [
            models.UniqueConstraint(fields=["buyer", "currency"], condition=Q(kind="wallet"), name="buyer_has_one_wallet_per_currency"),
            models.CheckConstraint(condition=Q(held__gte=0, balance__gte=F("held")), name="no_more_is_held_than_there_is"),
            models.CheckConstraint(
                condition=Q(kind="gift_card") | Q(kind="wallet", buyer__isnull=False, expires_at__isnull=True),
                name="a_buyers_wallet_has_a_buyer_and_no_end",
            ),
            models.CheckConstraint(
                condition=Q(frozen_at__isnull=True, frozen_because="") | Q(frozen_at__isnull=False) & ~Q(frozen_because=""),
                name="what_is_frozen_says_why",
            ),
            models.CheckConstraint(condition=is_exact("balance"), name="stored_value_balance_is_in_minor_units"),
            models.CheckConstraint(condition=is_exact("held"), name="stored_value_held_is_in_minor_units"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.balance}"

    @property
    def free(self) -> Money:
        """What of it can be spent, if it is neither frozen nor expired."""
        return self.balance - self.held


class GiftCard(models.Model):
    """A gift card: its value, and its code, of which a keyed hash is kept alone.  A code is shown once, when it is made; a new one ends the old.

    Sold: its value comes with the payment that buys it.  Granted: the platform gives it, with a reason, by two people above a limit.
    """

    class Origin(models.TextChoices):
        SOLD = "sold", _("Sold")
        GRANTED = "granted", _("Granted")

    public_id = models.TextField(default=new_gift_card_id, editable=False)
    shop = models.ForeignKey(Shop, models.PROTECT, related_name="gift_cards", db_index=False)
    value = models.OneToOneField(StoredValue, models.PROTECT, related_name="gift_card")
    origin = models.TextField(choices=Origin)
    amount = AmountField(help_text=_("What it was issued over"))
    reference = models.CharField(max_length=120, blank=True, help_text=_("The shop's own id of it"))
    once = models.CharField(max_length=255, db_default="", default="", blank=True, help_text=_("The Idempotency-Key that asked for it"))
    reason = models.CharField(max_length=200, db_default="", default="", blank=True, help_text=_("Why it was granted"))
    issued_by = models.TextField(db_default="", default="", blank=True)
    code_hash = models.CharField(max_length=64, db_default="", default="", blank=True, editable=False)
    code_last4 = models.CharField(max_length=4, db_default="", default="", blank=True, editable=False)
    code_made_at = models.DateTimeField(null=True, editable=False)
    expired_at = models.DateTimeField(null=True, editable=False, help_text=_("When what was left on it became breakage"))
    told = models.PositiveIntegerField(db_default=0, default=0, editable=False, help_text=_("How many messages were published about it"))
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        verbose_name = _("gift card")
        verbose_name_plural = _("gift cards")
        permissions = [("approve_giftcard", _("Can approve or reject a gift card that somebody else would grant"))]
        indexes = [
            models.Index(fields=["shop", "id"], name="gift_card_by_shop"),
            models.Index(fields=["issued_by", "created_at"], condition=Q(origin="granted"), name="gift_card_by_giver"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["public_id"], name="gift_card_has_one_public_id"),
            models.UniqueConstraint(fields=["code_hash"], condition=~Q(code_hash=""), name="gift_card_code_is_unique"),
            models.UniqueConstraint(
                fields=["shop", "reference"], condition=~Q(reference=""), name="gift_card_reference_is_unique_in_its_shop"
            ),
            models.UniqueConstraint(fields=["shop", "once"], condition=~Q(once=""), name="gift_card_is_asked_for_once"),
            models.CheckConstraint(condition=Q(amount__gt=0), name="gift_card_has_an_amount"),
            models.CheckConstraint(condition=is_exact("amount"), name="gift_card_is_in_minor_units"),
            models.CheckConstraint(condition=Q(origin="sold") | ~Q(reason="") & ~Q(issued_by=""), name="a_granted_gift_card_says_why"),
        ]

    def __str__(self) -> str:
        return f"…{self.code_last4} {self.amount}"


class DueExpiry(models.Model):
    """When what is left on a gift card expires, or is looked at again; every gift card that has not expired, and will, has its row."""

    value = models.OneToOneField(StoredValue, models.PROTECT, primary_key=True, related_name="due_expiry")
    due_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["due_at"], name="due_expiry_by_time")]

    def __str__(self) -> str:
        return f"{self.value_id} at {self.due_at}"


class CodeTries(models.Model):
    """How many wrong codes of gift cards came from one place - a checkout, a buyer, an address, an API key - since its window began.

    The place is a keyed hash (gift_card_tries.py).
    """

    subject = models.CharField(max_length=64, primary_key=True)
    tries = models.PositiveIntegerField()
    ends_at = models.DateTimeField(help_text=_("When its window ends, and the count begins anew"))

    class Meta:
        indexes = [models.Index(fields=["ends_at"], name="code_tries_by_end")]

    def __str__(self) -> str:
        return f"{self.tries} until {self.ends_at}"


class StoredValueEntry(models.Model):
    """One movement of stored value, with the journal entry that says the same; negative takes away."""

    class Kind(models.TextChoices):
        BOUGHT = "bought", _("Bought")
        GRANTED = "granted", _("Granted")
        SPENT = "spent", _("Spent")
        REFUND = "refund", _("Refund")
        REFUND_REVERSAL = "refund_reversal", _("Refund that came back")
        BOUGHT_BACK = "bought_back", _("Purchase refunded")
        EXPIRED = "expired", _("Expired")

    value = models.ForeignKey(StoredValue, models.PROTECT, related_name="entries", db_index=False)
    kind = models.TextField(choices=Kind)
    source = models.TextField(help_text=_("The payment order, refund or gift card behind it"))
    journal_entry = models.ForeignKey(JournalEntry, models.PROTECT, related_name="+", db_index=False)
    amount = AmountField()
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        verbose_name = _("movement of stored value")
        verbose_name_plural = _("movements of stored value")
        indexes = [models.Index(fields=["value", "id"], name="stored_value_entry_by_value")]
        constraints = [
            models.UniqueConstraint(fields=["value", "journal_entry"], name="an_entry_moves_stored_value_once"),
            models.CheckConstraint(condition=~Q(amount=0), name="stored_value_entry_moves_something"),
            models.CheckConstraint(condition=is_exact("amount"), name="stored_value_entry_is_in_minor_units"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.amount}"


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
    """Up to which message a relay has come: of webhooks' deliveries, of receipts.  Whoever relays holds its lock."""

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

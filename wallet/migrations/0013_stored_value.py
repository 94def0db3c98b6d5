import django.db.models.deletion
import django.db.models.functions.datetime
import djmoney.models.fields
import wallet.models
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("ledger", "0012_stored_value_and_conversions"),
        ("wallet", "0012_write_offs"),
    ]

    operations = [
        migrations.AddField(
            model_name="seller",
            name="is_house",
            field=models.BooleanField(
                db_default=False,
                default=False,
                editable=False,
                help_text="Stands for the shop itself where it sells gift cards and top-ups",
            ),
        ),
        migrations.CreateModel(
            name="StoredValue",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("kind", models.TextField(choices=[("gift_card", "Gift card"), ("wallet", "Buyer's wallet")])),
                ("currency", djmoney.models.fields.CurrencyField(choices=[], default=None, editable=False, max_length=3)),
                (
                    "balance",
                    djmoney.models.fields.MoneyField(currency_choices=(), currency_field_name="currency", decimal_places=4, max_digits=24),
                ),
                (
                    "held",
                    djmoney.models.fields.MoneyField(currency_choices=(), currency_field_name="currency", decimal_places=4, max_digits=24),
                ),
                ("expires_at", models.DateTimeField(help_text="Empty: never", null=True)),
                ("frozen_at", models.DateTimeField(null=True)),
                (
                    "frozen_because",
                    models.TextField(blank=True, db_default="", default="", help_text="Such as the dispute of the charge that bought it"),
                ),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                (
                    "buyer",
                    models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name="wallets", to="wallet.buyer"),
                ),
                (
                    "shop",
                    models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="wallet.shop"),
                ),
            ],
            options={
                "verbose_name": "stored value",
                "verbose_name_plural": "stored values",
            },
        ),
        migrations.CreateModel(
            name="GiftCard",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("public_id", models.TextField(default=wallet.models.new_gift_card_id, editable=False)),
                ("origin", models.TextField(choices=[("sold", "Sold"), ("granted", "Granted")])),
                ("currency", djmoney.models.fields.CurrencyField(choices=[], default=None, editable=False, max_length=3)),
                (
                    "amount",
                    djmoney.models.fields.MoneyField(
                        currency_choices=(),
                        currency_field_name="currency",
                        decimal_places=4,
                        help_text="What it was issued over",
                        max_digits=24,
                    ),
                ),
                ("reference", models.CharField(blank=True, help_text="The shop's own id of it", max_length=120)),
                (
                    "once",
                    models.CharField(
                        blank=True, db_default="", default="", help_text="The Idempotency-Key that asked for it", max_length=255
                    ),
                ),
                ("reason", models.CharField(blank=True, db_default="", default="", help_text="Why it was granted", max_length=200)),
                ("issued_by", models.TextField(blank=True, db_default="", default="")),
                ("code_hash", models.CharField(blank=True, db_default="", default="", editable=False, max_length=64)),
                ("code_last4", models.CharField(blank=True, db_default="", default="", editable=False, max_length=4)),
                ("code_made_at", models.DateTimeField(editable=False, null=True)),
                ("expired_at", models.DateTimeField(editable=False, help_text="When what was left on it became breakage", null=True)),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                (
                    "value",
                    models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name="gift_card", to="wallet.storedvalue"),
                ),
            ],
            options={
                "verbose_name": "gift card",
                "verbose_name_plural": "gift cards",
                "permissions": [("approve_giftcard", "Can approve or reject a gift card that somebody else would grant")],
            },
        ),
        migrations.CreateModel(
            name="StoredValueEntry",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.TextField(
                        choices=[
                            ("bought", "Bought"),
                            ("granted", "Granted"),
                            ("spent", "Spent"),
                            ("refund", "Refund"),
                            ("refund_reversal", "Refund that came back"),
                            ("bought_back", "Purchase refunded"),
                            ("expired", "Expired"),
                        ]
                    ),
                ),
                ("source", models.TextField(help_text="The payment order, refund or gift card behind it")),
                ("currency", djmoney.models.fields.CurrencyField(choices=[], default=None, editable=False, max_length=3)),
                (
                    "amount",
                    djmoney.models.fields.MoneyField(currency_choices=(), currency_field_name="currency", decimal_places=4, max_digits=24),
                ),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                (
                    "journal_entry",
                    models.ForeignKey(
                        db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="ledger.journalentry"
                    ),
                ),
                (
                    "value",
                    models.ForeignKey(
                        db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name="entries", to="wallet.storedvalue"
                    ),
                ),
            ],
            options={
                "verbose_name": "movement of stored value",
                "verbose_name_plural": "movements of stored value",
            },
        ),
        migrations.AddIndex(
            model_name="storedvalue",
            index=models.Index(condition=models.Q(("expires_at__isnull", False)), fields=["expires_at"], name="stored_value_by_expiry"),
        ),
        migrations.AddConstraint(
            model_name="storedvalue",
            constraint=models.UniqueConstraint(
                condition=models.Q(("kind", "wallet")), fields=("buyer", "currency"), name="buyer_has_one_wallet_per_currency"
            ),
        ),
        migrations.AddConstraint(
            model_name="storedvalue",
            constraint=models.CheckConstraint(
                condition=models.Q(("balance__gte", models.F("held")), ("held__gte", 0)), name="no_more_is_held_than_there_is"
            ),
        ),
        migrations.AddConstraint(
            model_name="storedvalue",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("kind", "gift_card"),
                    models.Q(("buyer__isnull", False), ("expires_at__isnull", True), ("kind", "wallet")),
                    _connector="OR",
                ),
                name="a_buyers_wallet_has_a_buyer_and_no_end",
            ),
        ),
        migrations.AddConstraint(
            model_name="storedvalue",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("frozen_at__isnull", True), ("frozen_because", "")),
                    models.Q(("frozen_at__isnull", False), models.Q(("frozen_because", ""), _negated=True)),
                    _connector="OR",
                ),
                name="what_is_frozen_says_why",
            ),
        ),
        migrations.AddConstraint(
            model_name="storedvalue",
            constraint=models.CheckConstraint(
                condition=models.Func(
                    models.F("balance"), models.F("currency"), function="money_is_exact", output_field=models.BooleanField()
                ),
                name="stored_value_balance_is_in_minor_units",
            ),
        ),
        migrations.AddConstraint(
            model_name="storedvalue",
            constraint=models.CheckConstraint(
                condition=models.Func(
                    models.F("held"), models.F("currency"), function="money_is_exact", output_field=models.BooleanField()
                ),
                name="stored_value_held_is_in_minor_units",
            ),
        ),
        migrations.AddConstraint(
            model_name="giftcard",
            constraint=models.UniqueConstraint(fields=("public_id",), name="gift_card_has_one_public_id"),
        ),
        migrations.AddConstraint(
            model_name="giftcard",
            constraint=models.UniqueConstraint(
                condition=models.Q(("code_hash", ""), _negated=True), fields=("code_hash",), name="gift_card_code_is_unique"
            ),
        ),
        migrations.AddConstraint(
            model_name="giftcard",
            constraint=models.CheckConstraint(condition=models.Q(("amount__gt", 0)), name="gift_card_has_an_amount"),
        ),
        migrations.AddConstraint(
            model_name="giftcard",
            constraint=models.CheckConstraint(
                condition=models.Func(
                    models.F("amount"), models.F("currency"), function="money_is_exact", output_field=models.BooleanField()
                ),
                name="gift_card_is_in_minor_units",
            ),
        ),
        migrations.AddConstraint(
            model_name="giftcard",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("origin", "sold"),
                    models.Q(models.Q(("reason", ""), _negated=True), models.Q(("issued_by", ""), _negated=True)),
                    _connector="OR",
                ),
                name="a_granted_gift_card_says_why",
            ),
        ),
        migrations.AddIndex(
            model_name="storedvalueentry",
            index=models.Index(fields=["value", "id"], name="stored_value_entry_by_value"),
        ),
        migrations.AddConstraint(
            model_name="storedvalueentry",
            constraint=models.UniqueConstraint(fields=("value", "journal_entry"), name="an_entry_moves_stored_value_once"),
        ),
        migrations.AddConstraint(
            model_name="storedvalueentry",
            constraint=models.CheckConstraint(condition=models.Q(("amount", 0), _negated=True), name="stored_value_entry_moves_something"),
        ),
        migrations.AddConstraint(
            model_name="storedvalueentry",
            constraint=models.CheckConstraint(
                condition=models.Func(
                    models.F("amount"), models.F("currency"), function="money_is_exact", output_field=models.BooleanField()
                ),
                name="stored_value_entry_is_in_minor_units",
            ),
        ),
    ]

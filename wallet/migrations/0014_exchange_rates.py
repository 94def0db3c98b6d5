"""Exchange rates, and the conversions of sellers' money that were made by them."""

from pathlib import Path

import django.db.models.deletion
import djmoney.models.fields
import wallet.models
from django.db import migrations, models

SQL = Path(__file__).with_suffix(".sql").read_text()
KINDS = [
    ("sale", "Sale"),
    ("refund", "Refund"),
    ("refund_reversal", "Refund that came back"),
    ("dispute", "Dispute opened"),
    ("dispute_closed", "Dispute closed"),
    ("release", "Delivered: now available"),
    ("reserve_release", "Reserve set free"),
    ("payout", "Payout"),
    ("payout_return", "Payout that came back"),
    ("write_off", "Written off"),
    ("conversion", "Converted"),
]


class Migration(migrations.Migration):
    dependencies = [
        ("wallet", "0013_stored_value"),
    ]

    operations = [
        migrations.AlterField(model_name="feeinvoiceline", name="kind", field=models.TextField(choices=KINDS)),
        migrations.AlterField(model_name="walletentry", name="kind", field=models.TextField(choices=KINDS)),
        migrations.CreateModel(
            name="ExchangeRate",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("base", models.CharField(max_length=3)),
                ("quote", models.CharField(max_length=3)),
                (
                    "rate",
                    models.DecimalField(decimal_places=12, help_text="Units of the second currency for one of the first", max_digits=24),
                ),
                ("source", models.TextField(choices=[("ecb", "European Central Bank"), ("manual", "Set by hand, by two people")])),
                ("quoted_on", models.DateField(help_text="The day that the rate is of")),
                ("received_at", models.DateTimeField()),
                ("received_by", models.TextField()),
                ("file_sha256", models.CharField(blank=True, help_text="Of the file that it came in", max_length=64)),
                ("approval", models.TextField(blank=True, help_text="By which it was set by hand")),
            ],
            options={
                "verbose_name": "exchange rate",
                "verbose_name_plural": "exchange rates",
                "permissions": [
                    ("upload_exchangerate", "Can load a file of exchange rates"),
                    ("approve_exchangerate", "Can approve or reject an exchange rate that somebody else proposes"),
                ],
                "default_permissions": ("view", "add"),
                "indexes": [models.Index(fields=["base", "quote", "-quoted_on", "-id"], name="exchange_rate_newest_first")],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("source", "ecb")), fields=("base", "quote", "quoted_on"), name="ecb_quotes_once_a_day"
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("approval", ""), _negated=True), fields=("approval",), name="approval_sets_one_exchange_rate"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("rate__gt", 0), models.Q(("base", models.F("quote")), _negated=True)),
                        name="exchange_rate_is_between_two_currencies",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("approval", ""), ("source", "ecb"), models.Q(("file_sha256", ""), _negated=True)),
                            models.Q(("file_sha256", ""), ("source", "manual"), models.Q(("approval", ""), _negated=True)),
                            _connector="OR",
                        ),
                        name="exchange_rate_came_in_a_file_or_by_two_people",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Conversion",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("public_id", models.TextField(default=wallet.models.new_conversion_id, editable=False)),
                ("sold_currency", djmoney.models.fields.CurrencyField(choices=[], default=None, editable=False, max_length=3)),
                (
                    "sold",
                    djmoney.models.fields.MoneyField(
                        currency_choices=(), currency_field_name="sold_currency", decimal_places=4, max_digits=24
                    ),
                ),
                ("bought_currency", djmoney.models.fields.CurrencyField(choices=[], default=None, editable=False, max_length=3)),
                (
                    "bought",
                    djmoney.models.fields.MoneyField(
                        currency_choices=(), currency_field_name="bought_currency", decimal_places=4, max_digits=24
                    ),
                ),
                (
                    "rate",
                    models.DecimalField(
                        decimal_places=12, help_text="Of the currency that was bought, for one of the other", max_digits=30
                    ),
                ),
                ("sold_per_euro", models.DecimalField(decimal_places=12, max_digits=24)),
                ("bought_per_euro", models.DecimalField(decimal_places=12, max_digits=24)),
                ("source", models.TextField(help_text="Whose rates they are")),
                ("quoted_on", models.DateField(help_text="The day of the rate, of two the earlier one")),
                ("requested_by", models.TextField()),
                ("once", models.TextField(blank=True, help_text="The Idempotency-Key that it was asked for with")),
                ("converted_at", models.DateTimeField()),
                (
                    "bought_entry",
                    models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name="+", to="wallet.walletentry"),
                ),
                (
                    "bought_rate",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="wallet.exchangerate",
                    ),
                ),
                (
                    "journal_entry",
                    models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name="+", to="ledger.journalentry"),
                ),
                (
                    "seller",
                    models.ForeignKey(
                        db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name="conversions", to="wallet.seller"
                    ),
                ),
                (
                    "sold_entry",
                    models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name="+", to="wallet.walletentry"),
                ),
                (
                    "sold_rate",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="wallet.exchangerate",
                    ),
                ),
            ],
            options={
                "verbose_name": "conversion",
                "verbose_name_plural": "conversions",
                "default_permissions": ("view",),
                "indexes": [models.Index(fields=["seller", "id"], name="conversion_by_seller")],
                "constraints": [
                    models.UniqueConstraint(fields=["public_id"], name="conversion_has_one_public_id"),
                    models.UniqueConstraint(
                        condition=models.Q(("once", ""), _negated=True), fields=("seller", "once"), name="conversion_is_asked_for_once"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("bought__gt", 0), ("sold__gt", 0), models.Q(("sold_currency", models.F("bought_currency")), _negated=True)
                        ),
                        name="conversion_is_between_two_currencies",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("sold_currency", "EUR"), ("sold_per_euro", 1), ("sold_rate", None)),
                            ("sold_rate__isnull", False),
                            _connector="OR",
                        ),
                        name="sold_at_a_rate",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("bought_currency", "EUR"), ("bought_per_euro", 1), ("bought_rate", None)),
                            ("bought_rate__isnull", False),
                            _connector="OR",
                        ),
                        name="bought_at_a_rate",
                    ),
                    models.CheckConstraint(
                        condition=models.Func(
                            models.F("sold"),
                            models.F("sold_currency"),
                            function="money_is_exact",
                            output_field=models.BooleanField(),
                        ),
                        name="conversion_sold_is_in_minor_units",
                    ),
                    models.CheckConstraint(
                        condition=models.Func(
                            models.F("bought"),
                            models.F("bought_currency"),
                            function="money_is_exact",
                            output_field=models.BooleanField(),
                        ),
                        name="conversion_bought_is_in_minor_units",
                    ),
                ],
            },
        ),
        migrations.RunSQL(SQL, migrations.RunSQL.noop),
    ]

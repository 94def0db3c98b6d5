"""Where sellers are taxed, and the invoices over their fees."""

from pathlib import Path

import django.core.validators
import django.db.models.deletion
import django.db.models.expressions
import djmoney.models.fields
import wallet.models
from django.db import migrations, models


SQL = Path(__file__).with_suffix(".sql").read_text()


class Migration(migrations.Migration):
    dependencies = [
        ("wallet", "0007_terms_of_release_and_holds"),
    ]

    operations = [
        migrations.AddField(
            model_name="seller",
            name="country",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="Where the seller is, such as DE: it decides the tax on our fees",
                max_length=2,
                validators=[django.core.validators.RegexValidator("^[A-Z]{2}$", "Two capital letters, such as DE.")],
            ),
        ),
        migrations.AddField(
            model_name="seller",
            name="tax_id",
            field=models.CharField(blank=True, db_default="", default="", help_text="The seller's VAT or tax number", max_length=40),
        ),
        migrations.CreateModel(
            name="FeeInvoice",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("public_id", models.TextField(default=wallet.models.new_invoice_id, editable=False)),
                ("period", models.CharField(help_text="The month, such as 2026-10", max_length=7)),
                ("version", models.PositiveSmallIntegerField(default=1)),
                ("series", models.CharField(choices=[("INV", "Invoice"), ("CN", "Credit note")], max_length=3)),
                ("year", models.PositiveSmallIntegerField()),
                ("sequence", models.PositiveIntegerField()),
                ("reason", models.CharField(blank=True, max_length=200)),
                ("currency", djmoney.models.fields.CurrencyField(choices=[], default=None, editable=False, max_length=3)),
                (
                    "net",
                    djmoney.models.fields.MoneyField(currency_choices=(), currency_field_name="currency", decimal_places=4, max_digits=24),
                ),
                (
                    "tax",
                    djmoney.models.fields.MoneyField(currency_choices=(), currency_field_name="currency", decimal_places=4, max_digits=24),
                ),
                (
                    "gross",
                    djmoney.models.fields.MoneyField(currency_choices=(), currency_field_name="currency", decimal_places=4, max_digits=24),
                ),
                ("tax_basis_points", models.PositiveIntegerField()),
                ("reverse_charge", models.BooleanField()),
                ("shop_name", models.CharField(max_length=120)),
                ("seller_name", models.CharField(max_length=120)),
                ("seller_country", models.CharField(blank=True, max_length=2)),
                ("seller_tax_id", models.CharField(blank=True, max_length=40)),
                ("issued_at", models.DateTimeField()),
                ("issued_by", models.TextField()),
                (
                    "corrects",
                    models.OneToOneField(
                        null=True, on_delete=django.db.models.deletion.PROTECT, related_name="corrected_by", to="wallet.feeinvoice"
                    ),
                ),
                (
                    "seller",
                    models.ForeignKey(
                        db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name="fee_invoices", to="wallet.seller"
                    ),
                ),
                (
                    "shop",
                    models.ForeignKey(
                        db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name="fee_invoices", to="wallet.shop"
                    ),
                ),
            ],
            options={
                "verbose_name": "fee invoice",
                "verbose_name_plural": "fee invoices",
            },
        ),
        migrations.CreateModel(
            name="FeeInvoiceLine",
            fields=[
                ("pk", models.CompositePrimaryKey("invoice_id", "position", blank=True, editable=False, primary_key=True, serialize=False)),
                ("position", models.PositiveSmallIntegerField()),
                (
                    "kind",
                    models.TextField(
                        choices=[
                            ("sale", "Sale"),
                            ("refund", "Refund"),
                            ("refund_reversal", "Refund that came back"),
                            ("dispute", "Dispute opened"),
                            ("dispute_closed", "Dispute closed"),
                            ("release", "Delivered: now available"),
                            ("reserve_release", "Reserve set free"),
                            ("payout", "Payout"),
                            ("payout_return", "Payout that came back"),
                        ]
                    ),
                ),
                ("count", models.PositiveIntegerField()),
                ("currency", djmoney.models.fields.CurrencyField(choices=[], default=None, editable=False, max_length=3)),
                (
                    "net",
                    djmoney.models.fields.MoneyField(currency_choices=(), currency_field_name="currency", decimal_places=4, max_digits=24),
                ),
                (
                    "tax",
                    djmoney.models.fields.MoneyField(currency_choices=(), currency_field_name="currency", decimal_places=4, max_digits=24),
                ),
                (
                    "gross",
                    djmoney.models.fields.MoneyField(currency_choices=(), currency_field_name="currency", decimal_places=4, max_digits=24),
                ),
                (
                    "invoice",
                    models.ForeignKey(
                        db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name="lines", to="wallet.feeinvoice"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="InvoiceSeries",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("series", models.CharField(max_length=3)),
                ("year", models.PositiveSmallIntegerField()),
                ("last", models.PositiveIntegerField(default=0)),
                (
                    "shop",
                    models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="wallet.shop"),
                ),
            ],
        ),
        migrations.CreateModel(
            name="TaxRate",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "country",
                    models.CharField(
                        help_text="The seller's country, such as DE",
                        max_length=2,
                        validators=[django.core.validators.RegexValidator("^[A-Z]{2}$", "Two capital letters, such as DE.")],
                    ),
                ),
                ("basis_points", models.PositiveIntegerField(help_text="Tax that is in our fees; 100 basis points are 1 %")),
                ("reverse_charge", models.BooleanField(default=False, help_text="The seller owes the tax, and the invoice says so")),
                ("since", models.DateField(help_text="From this day on")),
                (
                    "until",
                    models.DateField(
                        blank=True, help_text="Up to this day, which is not counted in; empty: until another rate begins", null=True
                    ),
                ),
                (
                    "shop",
                    models.ForeignKey(
                        db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name="tax_rates", to="wallet.shop"
                    ),
                ),
            ],
            options={
                "verbose_name": "tax rate",
                "verbose_name_plural": "tax rates",
            },
        ),
        migrations.AddIndex(
            model_name="feeinvoice",
            index=models.Index(fields=["seller", "id"], name="fee_invoice_by_seller"),
        ),
        migrations.AddConstraint(
            model_name="feeinvoice",
            constraint=models.UniqueConstraint(fields=("public_id",), name="fee_invoice_has_one_public_id"),
        ),
        migrations.AddConstraint(
            model_name="feeinvoice",
            constraint=models.UniqueConstraint(fields=("shop", "series", "year", "sequence"), name="fee_invoice_number_is_given_once"),
        ),
        migrations.AddConstraint(
            model_name="feeinvoice",
            constraint=models.UniqueConstraint(
                condition=models.Q(("corrects", None)),
                fields=("seller", "currency", "period", "version"),
                name="fees_of_a_month_are_invoiced_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="feeinvoice",
            constraint=models.CheckConstraint(
                condition=models.Q(("gross", django.db.models.expressions.CombinedExpression(models.F("net"), "+", models.F("tax")))),
                name="fee_invoice_gross_is_net_and_tax",
            ),
        ),
        migrations.AddConstraint(
            model_name="feeinvoice",
            constraint=models.CheckConstraint(
                condition=models.Q(("reverse_charge", False), ("tax", 0), _connector="OR"), name="reverse_charge_shows_no_tax"
            ),
        ),
        migrations.AddConstraint(
            model_name="feeinvoice",
            constraint=models.CheckConstraint(
                condition=models.Q(("corrects", None), models.Q(("reason", ""), _negated=True), _connector="OR"),
                name="correction_has_its_reason",
            ),
        ),
        migrations.AddConstraint(
            model_name="feeinvoice",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("gross__gte", 0), ("series", "INV")), models.Q(("gross__lte", 0), ("series", "CN")), _connector="OR"
                ),
                name="credit_note_has_its_own_series",
            ),
        ),
        migrations.AddConstraint(
            model_name="feeinvoice",
            constraint=models.CheckConstraint(
                condition=models.Func(models.F("net"), models.F("currency"), function="money_is_exact", output_field=models.BooleanField()),
                name="fee_invoice_net_is_in_minor_units",
            ),
        ),
        migrations.AddConstraint(
            model_name="feeinvoice",
            constraint=models.CheckConstraint(
                condition=models.Func(models.F("tax"), models.F("currency"), function="money_is_exact", output_field=models.BooleanField()),
                name="fee_invoice_tax_is_in_minor_units",
            ),
        ),
        migrations.AddConstraint(
            model_name="feeinvoiceline",
            constraint=models.CheckConstraint(
                condition=models.Q(("gross", django.db.models.expressions.CombinedExpression(models.F("net"), "+", models.F("tax")))),
                name="fee_invoice_line_gross_is_net_and_tax",
            ),
        ),
        migrations.AddConstraint(
            model_name="invoiceseries",
            constraint=models.UniqueConstraint(fields=("shop", "series", "year"), name="invoice_series_is_counted_once"),
        ),
        migrations.AddConstraint(
            model_name="taxrate",
            constraint=models.UniqueConstraint(fields=("shop", "country", "since"), name="tax_rate_begins_once"),
        ),
        migrations.AddConstraint(
            model_name="taxrate",
            constraint=models.CheckConstraint(
                condition=models.Q(("until__isnull", True), ("until__gt", models.F("since")), _connector="OR"),
                name="tax_rate_ends_after_it_begins",
            ),
        ),
        migrations.AddConstraint(
            model_name="taxrate",
            constraint=models.CheckConstraint(condition=models.Q(("basis_points__lte", 10000)), name="tax_rate_is_at_most_all"),
        ),
        migrations.AddConstraint(
            model_name="taxrate",
            constraint=models.CheckConstraint(
                condition=models.Q(("reverse_charge", False), ("basis_points", 0), _connector="OR"), name="reverse_charge_has_no_tax"
            ),
        ),
        migrations.AddConstraint(
            model_name="taxrate",
            constraint=models.CheckConstraint(condition=models.Q(("country__regex", "^[A-Z]{2}$")), name="tax_rate_has_a_country"),
        ),
        migrations.RunSQL(SQL, migrations.RunSQL.noop),
    ]

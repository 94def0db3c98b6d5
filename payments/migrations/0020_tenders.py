from pathlib import Path

import django.db.models.deletion
import django.db.models.expressions
import django.db.models.functions.datetime
import djmoney.models.fields
from django.db import migrations, models

SQL = Path(__file__).with_suffix(".sql").read_text()
UNGUARDED = """
DROP TRIGGER order_keeps_its_tenders ON payments_paymentorder;
DROP TRIGGER tender_is_fixed ON payments_tender;
DROP FUNCTION tender_is_fixed();
"""


def amount_column(model: str, name: str, *, help_text: str) -> migrations.SeparateDatabaseAndState:
    """Add an amount in the row's own currency, of which the rows that stand have nothing; Postgres keeps the default, no row is written."""
    table = f"payments_{model}"
    field = djmoney.models.fields.MoneyField(
        currency_choices=(), currency_field_name="currency", decimal_places=4, max_digits=24, help_text=help_text
    )
    return migrations.SeparateDatabaseAndState(
        database_operations=[
            migrations.RunSQL(
                f"ALTER TABLE {table} ADD COLUMN {name} numeric(24, 4) NOT NULL DEFAULT 0", f"ALTER TABLE {table} DROP COLUMN {name}"
            )
        ],
        state_operations=[migrations.AddField(model, name, field)],
    )


class Migration(migrations.Migration):
    dependencies = [
        ("ledger", "0012_stored_value_and_conversions"),
        ("payments", "0019_how_the_buyer_paid"),
        ("wallet", "0013_stored_value"),
    ]

    operations = [
        migrations.CreateModel(
            name="ChosenTender",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
            ],
        ),
        migrations.CreateModel(
            name="Tender",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("currency", djmoney.models.fields.CurrencyField(choices=[], default=None, editable=False, max_length=3)),
                (
                    "amount",
                    djmoney.models.fields.MoneyField(currency_choices=(), currency_field_name="currency", decimal_places=4, max_digits=24),
                ),
                (
                    "refunded",
                    djmoney.models.fields.MoneyField(
                        currency_choices=(),
                        currency_field_name="currency",
                        decimal_places=4,
                        help_text="What of it went back, or is about to",
                        max_digits=24,
                    ),
                ),
                ("status", models.TextField(choices=[("HELD", "Held"), ("TAKEN", "Taken"), ("RELEASED", "Let go")], default="HELD")),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
            ],
            options={
                "verbose_name": "tender",
                "verbose_name_plural": "tenders",
            },
        ),
        migrations.CreateModel(
            name="TenderRefund",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("currency", djmoney.models.fields.CurrencyField(choices=[], default=None, editable=False, max_length=3)),
                (
                    "amount",
                    djmoney.models.fields.MoneyField(currency_choices=(), currency_field_name="currency", decimal_places=4, max_digits=24),
                ),
            ],
        ),
        migrations.RemoveConstraint(
            model_name="paymentorder",
            name="success_has_its_entries",
        ),
        migrations.RemoveConstraint(
            model_name="refund",
            name="refund_moves_the_wallet_as_the_books",
        ),
        migrations.AddField(
            model_name="paymentorder",
            name="fills",
            field=models.ForeignKey(
                db_index=False,
                help_text="The gift card or wallet that it buys value for",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="bought_by",
                to="wallet.storedvalue",
            ),
        ),
        amount_column(
            "paymentorder", "tendered", help_text="What of it is paid with gift cards and the buyer's wallet; the PSP is charged the rest"
        ),
        amount_column("paymentorder", "tendered_back", help_text="What of that went back there, or is about to"),
        migrations.AddField(
            model_name="pspattempt",
            name="asked_for",
            field=models.DecimalField(
                decimal_places=4,
                help_text="What a charge asked for, in the order's currency; empty: the whole order",
                max_digits=24,
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="refund",
            name="takes_from",
            field=models.ForeignKey(
                db_index=False,
                help_text="The gift card or wallet whose purchase goes back",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="wallet.storedvalue",
            ),
        ),
        amount_column(
            "refund", "tendered", help_text="What of it goes back to gift cards and the buyer's wallet; the PSP is asked for the rest"
        ),
        migrations.AddIndex(
            model_name="paymentorder",
            index=models.Index(condition=models.Q(("fills__isnull", False)), fields=["fills"], name="payment_order_by_what_it_fills"),
        ),
        migrations.AddConstraint(
            model_name="paymentorder",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("tendered", 0), ("tendered_back", 0)),
                    models.Q(
                        ("fills__isnull", True),
                        ("status__in", ["EXECUTING", "SUCCESS"]),
                        ("tendered__gt", 0),
                        ("tendered__lte", models.F("amount")),
                        ("tendered_back__gte", 0),
                        ("tendered_back__lte", models.F("tendered")),
                    ),
                    _connector="OR",
                ),
                name="tenders_are_a_part_of_what_is_paid",
            ),
        ),
        migrations.AddConstraint(
            model_name="paymentorder",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("refunded__gte", models.F("tendered_back")),
                    (
                        "refunded__lte",
                        django.db.models.expressions.CombinedExpression(
                            django.db.models.expressions.CombinedExpression(
                                django.db.models.expressions.CombinedExpression(models.F("amount"), "-", models.F("tendered")),
                                "+",
                                models.F("tendered_back"),
                            ),
                            "-",
                            models.F("disputed"),
                        ),
                    ),
                ),
                name="never_more_refunded_and_disputed_of_the_charge_than_taken",
            ),
        ),
        migrations.AddConstraint(
            model_name="paymentorder",
            constraint=models.CheckConstraint(
                condition=models.Q(("fills__isnull", True), models.Q(("fee", 0), ("unreleased", 0)), _connector="OR"),
                name="what_fills_stored_value_has_no_fee",
            ),
        ),
        migrations.AddConstraint(
            model_name="paymentorder",
            constraint=models.CheckConstraint(
                condition=models.Func(
                    models.F("tendered"), models.F("currency"), function="money_is_exact", output_field=models.BooleanField()
                ),
                name="payment_order_tendered_is_in_minor_units",
            ),
        ),
        migrations.AddConstraint(
            model_name="paymentorder",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("fills__isnull", True), ("journal_entry__isnull", False), ("status", "SUCCESS"), ("wallet_entry__isnull", False)
                    ),
                    models.Q(
                        ("fills__isnull", False), ("journal_entry__isnull", False), ("status", "SUCCESS"), ("wallet_entry__isnull", True)
                    ),
                    models.Q(
                        models.Q(("status", "SUCCESS"), _negated=True), ("journal_entry__isnull", True), ("wallet_entry__isnull", True)
                    ),
                    _connector="OR",
                ),
                name="success_has_its_entries",
            ),
        ),
        migrations.AddConstraint(
            model_name="refund",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("tendered__gte", 0),
                    ("tendered__lte", django.db.models.expressions.CombinedExpression(models.F("amount"), "-", models.F("borne"))),
                ),
                name="what_goes_back_to_tenders_is_a_part_of_the_refund",
            ),
        ),
        migrations.AddConstraint(
            model_name="refund",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("late_charge__isnull", False),
                        ("reversal_wallet_entry__isnull", True),
                        ("takes_from__isnull", True),
                        ("wallet_entry__isnull", True),
                    ),
                    models.Q(
                        ("late_charge__isnull", True),
                        ("reversal_wallet_entry__isnull", True),
                        ("takes_from__isnull", False),
                        ("wallet_entry__isnull", True),
                    ),
                    models.Q(
                        ("journal_entry__isnull", True),
                        ("late_charge__isnull", True),
                        ("reversal_wallet_entry__isnull", True),
                        ("wallet_entry__isnull", True),
                    ),
                    models.Q(
                        ("late_charge__isnull", True),
                        ("reversal_entry__isnull", True),
                        ("reversal_wallet_entry__isnull", True),
                        ("wallet_entry__isnull", False),
                    ),
                    models.Q(
                        ("late_charge__isnull", True),
                        ("reversal_entry__isnull", False),
                        ("reversal_wallet_entry__isnull", False),
                        ("wallet_entry__isnull", False),
                    ),
                    _connector="OR",
                ),
                name="refund_moves_the_wallet_as_the_books",
            ),
        ),
        migrations.AddField(
            model_name="chosentender",
            name="event",
            field=models.ForeignKey(
                db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name="chosen_tenders", to="payments.paymentevent"
            ),
        ),
        migrations.AddField(
            model_name="chosentender",
            name="value",
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="wallet.storedvalue"),
        ),
        migrations.AddField(
            model_name="tender",
            name="order",
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="tenders", to="payments.paymentorder"),
        ),
        migrations.AddField(
            model_name="tender",
            name="value",
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="tenders", to="wallet.storedvalue"),
        ),
        migrations.AddField(
            model_name="tenderrefund",
            name="refund",
            field=models.ForeignKey(
                db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name="tender_refunds", to="payments.refund"
            ),
        ),
        migrations.AddField(
            model_name="tenderrefund",
            name="tender",
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="refunds", to="payments.tender"),
        ),
        migrations.AddConstraint(
            model_name="chosentender",
            constraint=models.UniqueConstraint(fields=("event", "value"), name="a_tender_is_chosen_once"),
        ),
        migrations.AddConstraint(
            model_name="tender",
            constraint=models.UniqueConstraint(
                condition=models.Q(("status", "RELEASED"), _negated=True), fields=("order", "value"), name="a_tender_pays_an_order_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="tender",
            constraint=models.CheckConstraint(condition=models.Q(("amount__gt", 0)), name="tender_has_an_amount"),
        ),
        migrations.AddConstraint(
            model_name="tender",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("refunded", 0),
                    models.Q(("refunded__gt", 0), ("refunded__lte", models.F("amount")), ("status", "TAKEN")),
                    _connector="OR",
                ),
                name="no_more_of_a_tender_goes_back_than_was_taken",
            ),
        ),
        migrations.AddConstraint(
            model_name="tender",
            constraint=models.CheckConstraint(
                condition=models.Func(
                    models.F("amount"), models.F("currency"), function="money_is_exact", output_field=models.BooleanField()
                ),
                name="tender_is_in_minor_units",
            ),
        ),
        migrations.AddConstraint(
            model_name="tenderrefund",
            constraint=models.UniqueConstraint(fields=("refund", "tender"), name="a_refund_names_a_tender_once"),
        ),
        migrations.AddConstraint(
            model_name="tenderrefund",
            constraint=models.CheckConstraint(condition=models.Q(("amount__gt", 0)), name="tender_refund_has_an_amount"),
        ),
        migrations.RunSQL(SQL, UNGUARDED),
    ]

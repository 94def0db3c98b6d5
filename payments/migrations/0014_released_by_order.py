"""What is pending belongs to an order, and becomes available when that order is released; a part may be held back for a while."""

from pathlib import Path

import django.db.models.deletion
import djmoney.models.fields
from django.db import migrations, models
from django.db.models import F, Q

SQL = Path(__file__).with_suffix(".sql").read_text()
AMOUNT = {"currency_choices": (), "currency_field_name": "currency", "decimal_places": 4, "max_digits": 24}


class Migration(migrations.Migration):
    dependencies = [
        ("ledger", "0006_kinds_of_the_pay_out"),
        ("wallet", "0007_terms_of_release_and_holds"),
        ("payments", "0013_names_for_people"),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(
                    "ALTER TABLE payments_paymentorder ADD COLUMN unreleased numeric(24, 4) NOT NULL DEFAULT 0",
                    "ALTER TABLE payments_paymentorder DROP COLUMN unreleased",
                )
            ],
            state_operations=[
                migrations.AddField(
                    "paymentorder",
                    "unreleased",
                    djmoney.models.fields.MoneyField(
                        **AMOUNT, help_text="What of it is pending in its seller's wallet, and becomes available when it is released"
                    ),
                )
            ],
        ),
        migrations.AddField("paymentorder", "delivered_at", models.DateTimeField(null=True)),
        migrations.AddField("paymentorder", "delivered_by", models.TextField(blank=True, db_default="", default="")),
        migrations.AddField("paymentorder", "delivery_note", models.CharField(blank=True, db_default="", default="", max_length=200)),
        migrations.AddField(
            "paymentorder",
            "released_at",
            models.DateTimeField(help_text="When what was pending of it became available", null=True),
        ),
        migrations.AddField(
            "paymentorder",
            "settled_at",
            models.DateTimeField(help_text="When the PSP's file said that it is paid to us", null=True),
        ),
        migrations.AddConstraint(
            "paymentorder",
            models.CheckConstraint(
                condition=Q(unreleased=0) | Q(unreleased__gt=0, unreleased__lte=F("net"), status="SUCCESS", released_at__isnull=True),
                name="only_what_is_paid_and_not_released_is_pending",
            ),
        ),
        migrations.AddConstraint(
            "paymentorder",
            models.CheckConstraint(
                condition=Q(status="SUCCESS") | Q(delivered_at__isnull=True, released_at__isnull=True),
                name="only_what_is_paid_is_delivered_and_released",
            ),
        ),
        migrations.AddConstraint(
            "paymentorder",
            models.CheckConstraint(
                condition=Q(delivered_at__isnull=True, delivered_by="") | Q(delivered_at__isnull=False) & ~Q(delivered_by=""),
                name="a_delivery_has_its_actor",
            ),
        ),
        migrations.CreateModel(
            "DueRelease",
            fields=[
                (
                    "order",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="due_release",
                        serialize=False,
                        to="payments.paymentorder",
                    ),
                ),
                ("due_at", models.DateTimeField(help_text="Empty: once it is delivered, and not before", null=True)),
                (
                    "waits_for_file",
                    models.BooleanField(
                        db_default=False, default=False, help_text="It was due, and waits until the PSP's file says that it is paid to us"
                    ),
                ),
            ],
            options={
                "verbose_name": "due release",
                "verbose_name_plural": "due releases",
                "indexes": [models.Index(fields=["due_at"], name="due_release_by_time")],
            },
        ),
        migrations.CreateModel(
            "Reserve",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("currency", djmoney.models.fields.CurrencyField(choices=[], default=None, editable=False, max_length=3)),
                ("amount", djmoney.models.fields.MoneyField(**AMOUNT)),
                ("free_at", models.DateTimeField()),
                ("released_at", models.DateTimeField(null=True)),
                (
                    "order",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT, related_name="reserve", to="payments.paymentorder"
                    ),
                ),
                (
                    "seller",
                    models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="reserves", to="wallet.seller"),
                ),
                *(
                    (
                        name,
                        models.ForeignKey(
                            db_index=False, null=is_null, on_delete=django.db.models.deletion.PROTECT, related_name="+", to=to
                        ),
                    )
                    for name, to, is_null in (
                        ("journal_entry", "ledger.journalentry", False),
                        ("release_entry", "ledger.journalentry", True),
                        ("release_wallet_entry", "wallet.walletentry", True),
                    )
                ),
            ],
            options={
                "verbose_name": "reserve",
                "verbose_name_plural": "reserves",
                "indexes": [
                    models.Index(fields=["free_at"], condition=Q(released_at__isnull=True), name="reserve_to_free"),
                ],
                "constraints": [
                    models.CheckConstraint(condition=Q(amount__gt=0), name="reserve_has_an_amount"),
                    models.CheckConstraint(
                        condition=Q(released_at__isnull=True, release_entry__isnull=True, release_wallet_entry__isnull=True)
                        | Q(released_at__isnull=False, release_entry__isnull=False, release_wallet_entry__isnull=False),
                        name="freed_reserve_has_its_entries",
                    ),
                ],
            },
        ),
        migrations.RunSQL(SQL, migrations.RunSQL.noop),
    ]

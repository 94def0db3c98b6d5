"""In which currency a seller is paid out."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("wallet", "0014_exchange_rates"),
        ("payouts", "0010_payouts_are_stopped_by_hand"),
    ]

    operations = [
        migrations.CreateModel(
            name="PayoutCurrency",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("currency", models.CharField(blank=True, help_text="Empty: each currency is paid out as it is", max_length=3)),
                ("chosen_by", models.TextField(editable=False)),
                ("chosen_at", models.DateTimeField(editable=False)),
                (
                    "seller",
                    models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name="payout_currency", to="wallet.seller"),
                ),
            ],
            options={
                "verbose_name": "payout currency",
                "verbose_name_plural": "payout currencies",
                "default_permissions": ("view", "add", "change"),
            },
        ),
    ]

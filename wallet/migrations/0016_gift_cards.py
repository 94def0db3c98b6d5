"""Gift cards: of which shop they are, when they expire, and how many wrong codes came from where.  Movements of stored value only grow."""

from pathlib import Path

import django.db.models.deletion
from django.db import migrations, models

SQL = Path(__file__).with_suffix(".sql").read_text()


class Migration(migrations.Migration):
    dependencies = [("wallet", "0015_branding")]

    operations = [
        migrations.CreateModel(
            name="CodeTries",
            fields=[
                ("subject", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("tries", models.PositiveIntegerField()),
                ("ends_at", models.DateTimeField(help_text="When its window ends, and the count begins anew")),
            ],
            options={"indexes": [models.Index(fields=["ends_at"], name="code_tries_by_end")]},
        ),
        migrations.CreateModel(
            name="DueExpiry",
            fields=[
                (
                    "value",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="due_expiry",
                        serialize=False,
                        to="wallet.storedvalue",
                    ),
                ),
                ("due_at", models.DateTimeField()),
            ],
            options={"indexes": [models.Index(fields=["due_at"], name="due_expiry_by_time")]},
        ),
        migrations.AddField(
            model_name="giftcard",
            name="shop",
            field=models.ForeignKey(
                db_index=False,
                default=None,  # there are no gift cards yet
                on_delete=django.db.models.deletion.PROTECT,
                related_name="gift_cards",
                to="wallet.shop",
            ),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="giftcard",
            name="told",
            field=models.PositiveIntegerField(
                db_default=0, default=0, editable=False, help_text="How many messages were published about it"
            ),
        ),
        migrations.AddField(
            model_name="shop",
            name="gift_card_days",
            field=models.PositiveIntegerField(
                blank=True, help_text="For how many days its gift cards are valid; 0: for ever; empty: as the house has it", null=True
            ),
        ),
        migrations.AddIndex(model_name="giftcard", index=models.Index(fields=["shop", "id"], name="gift_card_by_shop")),
        migrations.AddConstraint(
            model_name="giftcard",
            constraint=models.UniqueConstraint(
                condition=models.Q(("reference", ""), _negated=True),
                fields=("shop", "reference"),
                name="gift_card_reference_is_unique_in_its_shop",
            ),
        ),
        migrations.AddConstraint(
            model_name="giftcard",
            constraint=models.UniqueConstraint(
                condition=models.Q(("once", ""), _negated=True), fields=("shop", "once"), name="gift_card_is_asked_for_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="seller",
            constraint=models.UniqueConstraint(
                condition=models.Q(("is_house", True)), fields=("shop",), name="shop_has_one_house_seller"
            ),
        ),
        migrations.RunSQL(SQL, migrations.RunSQL.noop),
    ]

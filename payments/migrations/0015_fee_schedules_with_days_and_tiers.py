"""Fee schedules have days, a category, a method, a floor, a cap and tiers; orders have a category."""

from pathlib import Path

import django.db.models.deletion
import djmoney.models.fields
from django.db import migrations, models
from django.db.models import F, Q

SQL = Path(__file__).with_suffix(".sql").read_text()
AMOUNT = {"currency_choices": (), "currency_field_name": "currency", "decimal_places": 4, "max_digits": 24}
OPTIONAL = AMOUNT | {"blank": True, "null": True}


def is_exact(field):
    return models.Func(F(field), F("currency"), function="money_is_exact", output_field=models.BooleanField())


class Migration(migrations.Migration):
    dependencies = [("payments", "0014_released_by_order")]

    operations = [
        migrations.AddField(
            "paymentorder",
            "category",
            models.CharField(blank=True, db_default="", default="", help_text="What it is about, for the fee", max_length=60),
        ),
        migrations.RemoveConstraint("feeschedule", "seller_has_one_fee_schedule"),
        migrations.AddField(
            "feeschedule",
            "category",
            models.CharField(blank=True, db_default="", default="", help_text="As the shop writes it on its orders", max_length=60),
        ),
        migrations.AddField("feeschedule", "method", models.TextField(blank=True, choices=[("card", "Card")], db_default="", default="")),
        migrations.AddField(
            "feeschedule",
            "valid_from",
            models.DateField(blank=True, help_text="The first day; empty: from the beginning", null=True),
        ),
        migrations.AddField(
            "feeschedule",
            "valid_until",
            models.DateField(blank=True, help_text="The first day on which it is over; empty: for good", null=True),
        ),
        migrations.AddField(
            "feeschedule",
            "floor",
            djmoney.models.fields.MoneyField(**OPTIONAL, help_text="The least fee of an order; empty: none"),
        ),
        migrations.AddField(
            "feeschedule",
            "cap",
            djmoney.models.fields.MoneyField(**OPTIONAL, help_text="The largest fee of an order; empty: none"),
        ),
        migrations.AddField(
            "feeschedule",
            "used_at",
            models.DateTimeField(editable=False, help_text="When the first order was opened under it", null=True),
        ),
        migrations.AddIndex("feeschedule", models.Index(fields=["shop", "seller", "currency"], name="fee_schedule_by_shop")),
        *(
            migrations.AddConstraint("feeschedule", models.CheckConstraint(condition=condition, name=name))
            for condition, name in (
                (Q(floor__gte=0, cap__gte=0) & Q(cap__gte=F("floor")), "fee_floor_is_below_its_cap"),
                (Q(valid_from__lt=F("valid_until")), "fee_schedule_begins_before_it_ends"),
                (Q(method__in=["", "card"]), "fee_schedule_is_for_a_known_method"),
                (is_exact("floor"), "fee_schedule_floor_is_in_minor_units"),
                (is_exact("cap"), "fee_schedule_cap_is_in_minor_units"),
            )
        ),
        migrations.CreateModel(
            "FeeTier",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("currency", djmoney.models.fields.CurrencyField(choices=[], default=None, editable=False, max_length=3)),
                (
                    "schedule",
                    models.ForeignKey(
                        db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name="tiers", to="payments.feeschedule"
                    ),
                ),
                ("above", djmoney.models.fields.MoneyField(**AMOUNT)),
                ("basis_points", models.PositiveIntegerField(help_text="100 basis points are 1 %")),
                ("fixed", djmoney.models.fields.MoneyField(**AMOUNT)),
            ],
            options={
                "verbose_name": "fee tier",
                "verbose_name_plural": "fee tiers",
                "constraints": [
                    models.UniqueConstraint(fields=["schedule", "above"], name="fee_tier_begins_once"),
                    models.CheckConstraint(
                        condition=Q(above__gt=0, basis_points__lte=10_000, fixed__gte=0), name="fee_tier_is_between_nothing_and_all"
                    ),
                    models.CheckConstraint(condition=is_exact("above"), name="fee_tier_above_is_in_minor_units"),
                    models.CheckConstraint(condition=is_exact("fixed"), name="fee_tier_fixed_is_in_minor_units"),
                ],
            },
        ),
        migrations.RunSQL(SQL, migrations.RunSQL.noop),
    ]

from pathlib import Path

import django.db.models.deletion
import wallet.models
from django.db import migrations, models

SQL = Path(__file__).with_suffix(".sql").read_text()


class Migration(migrations.Migration):
    dependencies = [
        ("wallet", "0006_kinds_of_the_pay_out"),
    ]

    operations = [
        migrations.CreateModel(
            name="ReleaseTerms",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "days_after_payment",
                    models.PositiveSmallIntegerField(
                        blank=True,
                        default=14,
                        help_text="Days after the payment; empty: only what was delivered becomes available",
                        null=True,
                    ),
                ),
                ("days_after_delivery", models.PositiveSmallIntegerField(default=0, help_text="Days after the delivery")),
                (
                    "new_seller_days",
                    models.PositiveSmallIntegerField(default=0, help_text="Nothing before a seller has been here for so many days"),
                ),
                (
                    "reserve_basis_points",
                    models.PositiveIntegerField(
                        default=0, help_text="What is held back of each order for a while; 100 basis points are 1 %"
                    ),
                ),
                ("reserve_days", models.PositiveSmallIntegerField(default=0, help_text="For how many days it is held back")),
                (
                    "payable_means_reconciled",
                    models.BooleanField(default=False, help_text="Only what the PSP's settlement file has settled becomes available"),
                ),
                (
                    "seller",
                    models.ForeignKey(
                        blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name="release_terms", to="wallet.seller"
                    ),
                ),
                (
                    "shop",
                    models.ForeignKey(
                        db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name="release_terms", to="wallet.shop"
                    ),
                ),
            ],
            options={
                "verbose_name": "release terms",
                "verbose_name_plural": "release terms",
                "constraints": [
                    models.UniqueConstraint(fields=("shop", "seller"), name="seller_has_release_terms_once", nulls_distinct=False),
                    models.CheckConstraint(condition=models.Q(("reserve_basis_points__lte", 10000)), name="reserve_is_at_most_all"),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("days_after_delivery__lte", 3650),
                            ("days_after_payment__lte", 3650),
                            ("new_seller_days__lte", 3650),
                            ("reserve_days__lte", 3650),
                        ),
                        name="release_terms_end",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="SellerHold",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("public_id", models.TextField(default=wallet.models.new_hold_id, editable=False)),
                ("reason", models.CharField(max_length=200)),
                ("until", models.DateTimeField(blank=True, help_text="Empty: until it is lifted", null=True)),
                ("placed_by", models.TextField(editable=False)),
                ("placed_at", models.DateTimeField(editable=False)),
                ("lifted_by", models.TextField(db_default="", default="", editable=False)),
                ("lifted_at", models.DateTimeField(editable=False, null=True)),
                ("lift_reason", models.CharField(db_default="", default="", editable=False, max_length=200)),
                ("seller", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="holds", to="wallet.seller")),
            ],
            options={
                "verbose_name": "hold",
                "verbose_name_plural": "holds",
                "constraints": [
                    models.UniqueConstraint(fields=("public_id",), name="hold_has_one_public_id"),
                    models.CheckConstraint(
                        condition=models.Q(models.Q(("reason", ""), _negated=True), models.Q(("placed_by", ""), _negated=True)),
                        name="hold_has_its_reason_and_its_actor",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("until__isnull", True), ("until__gt", models.F("placed_at")), _connector="OR"),
                        name="hold_ends_after_it_begins",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("lift_reason", ""), ("lifted_at__isnull", True), ("lifted_by", "")),
                            models.Q(
                                ("lifted_at__isnull", False),
                                models.Q(("lifted_by", ""), _negated=True),
                                models.Q(("lift_reason", ""), _negated=True),
                            ),
                            _connector="OR",
                        ),
                        name="lifting_a_hold_has_its_reason_and_its_actor",
                    ),
                ],
            },
        ),
        migrations.RunSQL(SQL, migrations.RunSQL.noop),
    ]

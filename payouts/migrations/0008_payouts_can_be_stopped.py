from pathlib import Path

from django.db import migrations, models
from django.db.models import Q

SQL = Path(__file__).with_suffix(".sql").read_text()


class Migration(migrations.Migration):
    dependencies = [
        ("payouts", "0007_paid_again_after_it_came_back"),
    ]

    operations = [
        migrations.CreateModel(
            name="PayoutStop",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("reason", models.TextField(help_text="What was found")),
                ("placed_by", models.TextField()),
                ("placed_at", models.DateTimeField()),
                ("lifted_by", models.TextField(blank=True, db_default="", default="")),
                ("lifted_at", models.DateTimeField(null=True)),
                ("lift_reason", models.TextField(blank=True, db_default="", default="")),
            ],
            options={
                "verbose_name": "stop of all payouts",
                "verbose_name_plural": "stops of all payouts",
                "default_permissions": ("view",),
                "permissions": [("lift_payoutstop", "Can let payouts go on after they were stopped")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=["lifted_at"], condition=Q(lifted_at=None), name="payouts_are_stopped_once", nulls_distinct=False
                    ),
                    models.CheckConstraint(condition=~Q(reason="") & ~Q(placed_by=""), name="stop_of_payouts_says_why_and_by_whom"),
                    models.CheckConstraint(
                        condition=Q(lifted_at=None, lifted_by="", lift_reason="")
                        | Q(lifted_at__isnull=False) & ~Q(lifted_by="") & ~Q(lift_reason="") & ~Q(lifted_by=models.F("placed_by")),
                        name="stop_of_payouts_is_lifted_by_another_who_says_why",
                    ),
                ],
            },
        ),
        migrations.RunSQL(SQL, migrations.RunSQL.noop),
    ]

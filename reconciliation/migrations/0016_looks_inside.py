import django.db.models.deletion
from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [
        ("reconciliation", "0015_months_are_closed_by_two"),
    ]

    operations = [
        migrations.CreateModel(
            name="InsideLook",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("asked_by", models.TextField(blank=True, help_text="Empty: beat, each night")),
                ("reason", models.TextField(blank=True)),
                ("asked_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(null=True)),
                ("figures", models.JSONField(blank=True, default=list, help_text="Of both sides")),
                ("drift", models.JSONField(blank=True, default=list, help_text="What stops payouts")),
                (
                    "run",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="reconciliation.invariantrun",
                    ),
                ),
            ],
            options={
                "verbose_name": "look inside",
                "verbose_name_plural": "looks inside",
                "default_permissions": ("view",),
                "permissions": [("add_insidelook", "Can have the house looked into now")],
                "indexes": [models.Index(fields=["id"], condition=Q(ended_at=None), name="look_inside_to_be_made")],
                "constraints": [
                    models.CheckConstraint(condition=Q(asked_by="") | ~Q(reason=""), name="look_inside_that_was_asked_for_has_a_reason")
                ],
            },
        ),
    ]

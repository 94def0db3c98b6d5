from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [("sandbox", "0007_lines_that_wait")]

    operations = [
        migrations.CreateModel(
            name="SavedCard",
            fields=[
                ("token", models.CharField(max_length=48, primary_key=True, serialize=False)),
                ("customer", models.CharField(max_length=64)),
                ("card", models.CharField(max_length=48)),
                ("fingerprint", models.CharField(max_length=48)),
                ("exp_month", models.SmallIntegerField()),
                ("exp_year", models.SmallIntegerField()),
                ("created_at", models.DateTimeField()),
                ("forgotten_at", models.DateTimeField(null=True)),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        condition=Q(forgotten_at__isnull=True), fields=("customer", "fingerprint"), name="card_kept_once"
                    )
                ],
            },
        ),
        migrations.AddField("session", "customer", models.CharField(db_default="", default="", max_length=64)),
        migrations.AddField("session", "decides_at", models.DateTimeField(null=True)),
        migrations.AddField("session", "decides_to", models.CharField(db_default="", default="", max_length=16)),
        migrations.AddField("session", "failure_code", models.CharField(db_default="", default="", max_length=32)),
        migrations.AddField("session", "method", models.CharField(db_default="card", default="card", max_length=16)),
        migrations.AddField("session", "save_card", models.BooleanField(db_default=False, default=False)),
        migrations.AddField("session", "saved_card", models.CharField(db_default="", default="", max_length=48)),
        migrations.AddField("session", "short_code", models.CharField(max_length=16, null=True, unique=True)),
        migrations.AddIndex(
            "session", models.Index(condition=Q(decides_at__isnull=False), fields=["decides_at"], name="session_to_decide")
        ),
        migrations.AddIndex(
            "session", models.Index(condition=Q(short_code__isnull=False), fields=["created_at"], name="session_with_code")
        ),
    ]

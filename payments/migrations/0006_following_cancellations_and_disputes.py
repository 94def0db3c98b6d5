from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("payments", "0005_letters_that_settle_themselves")]

    operations = [
        migrations.CreateModel(
            "DisputeWatch",
            [
                ("psp", models.TextField(primary_key=True, serialize=False)),
                ("asked_until", models.DateTimeField()),
            ],
            options={"verbose_name_plural": "dispute watches"},
        ),
        migrations.AddIndex(
            "cancellation",
            models.Index(condition=models.Q(("status", "EXECUTING")), fields=["id"], name="cancellation_to_follow"),
        ),
    ]

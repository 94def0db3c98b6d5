from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("payments", "0004_every_transition_is_kept")]

    operations = [
        migrations.AlterField(
            "deadletter",
            "decision",
            models.TextField(
                blank=True,
                choices=[("redrive", "Try again"), ("fail", "Fail"), ("void", "Void and refund"), ("settled", "Settled meanwhile")],
                db_default="",
                default="",
            ),
        ),
    ]

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("payments", "0009_every_wish_is_remembered")]

    operations = [
        migrations.AddField(
            "refund",
            "deaths",
            models.PositiveIntegerField(
                db_default=0, default=0, help_text="How many claims in a row were not handed back, this one included"
            ),
        ),
    ]

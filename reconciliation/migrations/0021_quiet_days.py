from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("reconciliation", "0020_tolerances_are_made_by_two")]

    operations = [
        migrations.AddField(
            model_name="expectedfile",
            name="has_quiet_days",
            field=models.BooleanField(
                db_default=True, default=True, help_text="Whether there is one about days on which nothing of ours moved, too"
            ),
        ),
    ]

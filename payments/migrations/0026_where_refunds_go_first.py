from django.db import migrations, models


class Migration(migrations.Migration):
    """A column with a default that Postgres keeps, so that no row is written."""

    dependencies = [("payments", "0025_receipts_are_looked_at")]

    operations = [
        migrations.AddField(
            model_name="refund",
            name="goes_first_to",
            field=models.TextField(
                blank=True,
                db_default="",
                default="",
                help_text="Where it was asked to go first; empty: nobody asked, or before this was written",
            ),
        ),
    ]

from django.db import migrations, models


class Migration(migrations.Migration):
    """Columns with a default that Postgres keeps: no row is written.  What was opened before has neither, and asks PSPs as it did before."""

    dependencies = [("payments", "0023_receipts")]

    operations = [
        migrations.AddField(
            model_name="paymentevent",
            name="buyer_country",
            field=models.CharField(
                blank=True, db_default="", default="", help_text="Where the buyer is, says the shop; empty: not known", max_length=2
            ),
        ),
        migrations.AddField(
            model_name="paymentevent",
            name="statement_name",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="How statements name the shop, as it was when this was opened",
                max_length=22,
            ),
        ),
    ]

from django.db import migrations, models


class Migration(migrations.Migration):
    """Three columns with a default that Postgres keeps beside the table: no row is written."""

    dependencies = [
        ("payments", "0018_approved_by_a_second_person"),
    ]

    operations = [
        migrations.AddField(
            model_name="paymentevent",
            name="method",
            field=models.CharField(
                blank=True, db_default="", default="", help_text="How the buyer paid, as the PSP calls it", max_length=20
            ),
        ),
        migrations.AddField(
            model_name="paymentevent",
            name="card_funding",
            field=models.CharField(blank=True, db_default="", default="", help_text="Credit, debit or prepaid", max_length=10),
        ),
        migrations.AddField(
            model_name="paymentevent",
            name="card_country",
            field=models.CharField(blank=True, db_default="", default="", help_text="Where the card was issued", max_length=2),
        ),
    ]

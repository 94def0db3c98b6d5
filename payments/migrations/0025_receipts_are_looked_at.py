from django.db import migrations, models


class Migration(migrations.Migration):
    """A column with a default that Postgres keeps, so that no row is written; and the right to look at receipts."""

    dependencies = [("payments", "0024_told_at_intake")]

    operations = [
        migrations.AddField(
            model_name="receiptmail",
            name="error",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="Of what kind the last failure was: its words may hold the address",
                max_length=80,
            ),
        ),
        migrations.AlterModelOptions(
            name="receiptmail",
            options={
                "default_permissions": ("view",),
                "verbose_name": "receipt by e-mail",
                "verbose_name_plural": "receipts by e-mail",
            },
        ),
    ]

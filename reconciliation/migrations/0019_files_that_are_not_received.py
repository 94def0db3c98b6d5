from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("reconciliation", "0018_fees_of_disputes"),
    ]

    operations = [
        migrations.AddField(
            model_name="folderentry",
            name="error",
            field=models.TextField(blank=True, db_default="", default="", help_text="Why it could not be received"),
        ),
        migrations.AddField(
            model_name="folderentry",
            name="tries",
            field=models.PositiveIntegerField(db_default=0, default=0, help_text="In a row that failed"),
        ),
        migrations.AddField(
            model_name="folderentry",
            name="try_after",
            field=models.DateTimeField(help_text="Empty: it is not tried again as long as it looks the same", null=True),
        ),
    ]

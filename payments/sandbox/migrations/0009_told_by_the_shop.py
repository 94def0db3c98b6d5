from django.db import migrations, models


class Migration(migrations.Migration):
    """Columns with a default that Postgres keeps: no row is written."""

    dependencies = [("sandbox", "0008_methods")]

    operations = [
        migrations.AddField("charge", "statement_descriptor", models.CharField(db_default="", default="", max_length=22)),
        migrations.AddField("session", "country", models.CharField(db_default="", default="", max_length=2)),
    ]

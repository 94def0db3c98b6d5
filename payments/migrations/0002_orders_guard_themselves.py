"""What was agreed with the buyer never changes, what is final stays final, and changing rows have room for HOT updates."""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).with_suffix(".sql").read_text()


class Migration(migrations.Migration):
    dependencies = [("payments", "0001_initial")]
    operations = [migrations.RunSQL(SQL, migrations.RunSQL.noop)]

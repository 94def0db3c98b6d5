"""Every change of a status is kept by Postgres itself, and one that the state machines do not know is refused."""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).with_suffix(".sql").read_text()


class Migration(migrations.Migration):
    dependencies = [("payments", "0003_refunds_disputes_cancellations")]
    operations = [migrations.RunSQL(SQL, migrations.RunSQL.noop)]

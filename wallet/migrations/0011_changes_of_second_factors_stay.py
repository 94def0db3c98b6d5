from pathlib import Path

from django.db import migrations

SQL = Path(__file__).with_suffix(".sql").read_text()


class Migration(migrations.Migration):
    dependencies = [
        ("ledger", "0002_books_guard_themselves"),
        ("wallet", "0010_sellers_home"),
    ]

    operations = [migrations.RunSQL(SQL, migrations.RunSQL.noop)]

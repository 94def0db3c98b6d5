"""Wallet entries and messages only grow, and wallets have room for HOT updates."""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).with_suffix(".sql").read_text()


class Migration(migrations.Migration):
    dependencies = [("wallet", "0001_initial"), ("ledger", "0002_books_guard_themselves")]
    operations = [migrations.RunSQL(SQL, migrations.RunSQL.noop)]

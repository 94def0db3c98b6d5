"""The chain of hashes over the books, and the triggers that let it only grow."""

from pathlib import Path

import django.db.models.functions.datetime
from django.db import migrations, models

SQL = Path(__file__).with_suffix(".sql").read_text()


class Migration(migrations.Migration):

    dependencies = [
        ('ledger', '0003_new_kinds'),
    ]

    operations = [
        migrations.CreateModel(
            name='EntryDigest',
            fields=[
                ('entry_id', models.BigIntegerField(primary_key=True, serialize=False)),
                ('digest', models.BinaryField()),
            ],
        ),
        migrations.CreateModel(
            name='LedgerSeal',
            fields=[
                ('number', models.BigIntegerField(primary_key=True, serialize=False)),
                ('first_entry_id', models.BigIntegerField()),
                ('last_entry_id', models.BigIntegerField(unique=True)),
                ('entries', models.IntegerField()),
                ('previous_hash', models.TextField(blank=True)),
                ('hash', models.TextField()),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
            ],
        ),
        migrations.RunSQL(SQL, migrations.RunSQL.noop),
    ]

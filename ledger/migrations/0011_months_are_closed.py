from pathlib import Path

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

SQL = Path(__file__).with_suffix(".sql").read_text()
UNDO = """
DROP FUNCTION entry_must_lie_in_an_open_month() CASCADE;
DROP FUNCTION month_must_be_the_next() CASCADE;
DROP FUNCTION ledger_open_since();
"""


class Migration(migrations.Migration):

    dependencies = [
        ('ledger', '0010_approvals'),
    ]

    operations = [
        migrations.CreateModel(
            name='ClosedMonth',
            fields=[
                ('month', models.DateField(primary_key=True, serialize=False)),
                ('closed_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
            ],
            options={
                'verbose_name': 'closed month',
                'verbose_name_plural': 'closed months',
                'default_permissions': (),
            },
        ),
        migrations.CreateModel(
            name='ClosedTotal',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.TextField()),
                ('currency', models.CharField(max_length=3)),
                ('debits', models.DecimalField(decimal_places=4, max_digits=28)),
                ('credits', models.DecimalField(decimal_places=4, max_digits=28)),
                ('month', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='totals', to='ledger.closedmonth')),
            ],
            options={
                'verbose_name': 'total of a closed month',
                'verbose_name_plural': 'totals of closed months',
                'default_permissions': (),
                'constraints': [models.UniqueConstraint(fields=('month', 'kind', 'currency'), name='closed_month_has_one_total_per_kind')],
            },
        ),
        migrations.AddField(
            model_name='journalentry',
            name='occurred_at',
            field=models.DateTimeField(help_text='When it happened, if its month was closed by then', null=True),
        ),
        migrations.RunSQL(SQL, UNDO),
    ]

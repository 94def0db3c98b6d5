from pathlib import Path

import django.db.models.deletion
from django.db import migrations, models


SQL = Path(__file__).with_suffix(".sql").read_text()


class Migration(migrations.Migration):

    dependencies = [
        ('reconciliation', '0009_bank_matching'),
    ]

    operations = [
        migrations.AddField(
            model_name='settlementbatch',
            name='copy_of',
            field=models.ForeignKey(db_index=False, help_text='The same batch, compared from another file before', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='reconciliation.settlementbatch'),
        ),
        migrations.RunSQL(SQL, "DROP TRIGGER compared_batch_stays_a_copy ON reconciliation_settlementbatch"),
    ]

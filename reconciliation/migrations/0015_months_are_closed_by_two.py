from pathlib import Path

import django.db.models.deletion
import reconciliation.models
from django.db import migrations, models

SQL = Path(__file__).with_suffix(".sql").read_text()


class Migration(migrations.Migration):

    dependencies = [
        ('ledger', '0011_months_are_closed'),
        ('reconciliation', '0014_rights_are_written_down'),
    ]

    operations = [
        migrations.CreateModel(
            name='MonthClose',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('public_id', models.TextField(default=reconciliation.models.new_month_close_id, editable=False)),
                ('month', models.DateField(help_text='Its first day')),
                ('status', models.TextField(choices=[('PREPARED', 'Prepared, waits for a second person'), ('CLOSED', 'Closed'), ('CALLED_OFF', 'Called off')], default='PREPARED')),
                ('prepared_by', models.TextField()),
                ('prepared_at', models.DateTimeField()),
                ('memo', models.TextField()),
                ('decided_by', models.TextField(blank=True)),
                ('decided_at', models.DateTimeField(null=True)),
                ('reason', models.TextField(blank=True)),
                ('closed_month', models.OneToOneField(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='close', to='ledger.closedmonth')),
            ],
            options={
                'verbose_name': 'month close',
                'verbose_name_plural': 'month close',
                'permissions': [('prepare_close', 'Can prepare the close of a month'), ('approve_close', 'Can close a month that somebody else prepared')],
                'default_permissions': ('view',),
                'constraints': [
                    models.UniqueConstraint(fields=('public_id',), name='month_close_has_one_public_id'),
                    models.UniqueConstraint(condition=models.Q(('status', 'CALLED_OFF'), _negated=True), fields=('month',), name='month_is_closed_once'),
                    models.CheckConstraint(condition=models.Q(models.Q(('memo', ''), _negated=True), models.Q(('prepared_by', ''), _negated=True)), name='month_close_says_why_and_by_whom'),
                    models.CheckConstraint(condition=models.Q(models.Q(('status', 'CLOSED'), _negated=True), models.Q(('decided_by', models.F('prepared_by')), _negated=True), _connector='OR'), name='maker_does_not_close_the_month'),
                    models.CheckConstraint(condition=models.Q(models.Q(('decided_at', None), ('decided_by', ''), ('reason', ''), ('status', 'PREPARED')), models.Q(models.Q(('status', 'PREPARED'), _negated=True), ('decided_at__isnull', False), models.Q(('decided_by', ''), _negated=True), models.Q(('reason', ''), _negated=True)), _connector='OR'), name='month_close_is_decided_by_somebody_who_says_why'),
                    models.CheckConstraint(condition=models.Q(models.Q(('closed_month', models.F('month')), ('status', 'CLOSED')), models.Q(models.Q(('status', 'CLOSED'), _negated=True), ('closed_month', None)), _connector='OR'), name='closed_month_is_the_one_that_was_prepared'),
                ],
            },
        ),
        migrations.CreateModel(
            name='CloseEvidence',
            fields=[
                ('close', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, primary_key=True, related_name='evidence', serialize=False, to='reconciliation.monthclose')),
                ('document', models.BinaryField()),
                ('sha256', models.CharField(max_length=64)),
            ],
            options={
                'verbose_name': 'evidence of a month close',
                'verbose_name_plural': 'evidence of month closes',
                'default_permissions': (),
            },
        ),
        migrations.RunSQL(SQL, "DROP FUNCTION month_close_is_fixed() CASCADE"),
    ]

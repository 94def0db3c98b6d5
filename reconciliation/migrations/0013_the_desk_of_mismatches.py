from pathlib import Path

import django.db.models.deletion
from django.db import migrations, models

SQL = Path(__file__).with_suffix(".sql").read_text()


class Migration(migrations.Migration):

    dependencies = [
        ('reconciliation', '0012_at_the_bank'),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='mismatch',
            options={'permissions': [('propose_resolution', 'Can take a mismatch over, and propose how it is resolved'), ('approve_resolution', 'Can approve or reject how somebody else would resolve a mismatch'), ('annotate_mismatch', 'Can write notes on a mismatch, and attach files to it')], 'verbose_name': 'mismatch', 'verbose_name_plural': 'mismatches'},
        ),
        migrations.AddIndex(
            model_name='mismatch',
            index=models.Index(condition=models.Q(('resolved_at', None)), fields=['found_at'], name='open_mismatches_by_age'),
        ),
        migrations.CreateModel(
            name='MismatchNote',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('text', models.TextField()),
                ('written_by', models.TextField()),
                ('written_at', models.DateTimeField()),
                ('mismatch', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='notes', to='reconciliation.mismatch')),
            ],
            options={
                'verbose_name': 'note',
                'verbose_name_plural': 'notes',
                'default_permissions': (),
                'constraints': [models.CheckConstraint(condition=models.Q(models.Q(('text', ''), _negated=True), models.Q(('written_by', ''), _negated=True)), name='note_says_something_and_by_whom')],
            },
        ),
        migrations.CreateModel(
            name='MismatchAttachment',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=100)),
                ('media_type', models.TextField()),
                ('size', models.PositiveIntegerField(help_text='In bytes')),
                ('sha256', models.CharField(max_length=64)),
                ('content', models.BinaryField()),
                ('note', models.TextField(help_text='What it shows')),
                ('added_by', models.TextField()),
                ('added_at', models.DateTimeField()),
                ('mismatch', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='attachments', to='reconciliation.mismatch')),
            ],
            options={
                'verbose_name': 'attachment',
                'verbose_name_plural': 'attachments',
                'default_permissions': (),
                'constraints': [models.UniqueConstraint(fields=('mismatch', 'sha256'), name='file_is_attached_once'), models.CheckConstraint(condition=models.Q(models.Q(('name', ''), _negated=True), models.Q(('note', ''), _negated=True), models.Q(('added_by', ''), _negated=True)), name='attachment_says_what_it_is_and_by_whom')],
            },
        ),
        migrations.RunSQL(SQL, migrations.RunSQL.noop),
    ]

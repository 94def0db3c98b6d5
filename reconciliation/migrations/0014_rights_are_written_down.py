from pathlib import Path

import django.db.models.functions.datetime
from django.db import migrations, models

SQL = Path(__file__).with_suffix(".sql").read_text()

# The triggers are on tables that stay: without them taken off, no login could be changed any more
UNDO = """
DROP FUNCTION login_has_changed, login_keeps_its_name, role_is_given_or_taken, right_is_given_or_taken,
              memberships_change_row_by_row, rights_have_changed CASCADE
"""


class Migration(migrations.Migration):

    dependencies = [
        ('auth', '0012_alter_user_first_name_max_length'),
        ('reconciliation', '0013_the_desk_of_mismatches'),
    ]

    operations = [
        migrations.CreateModel(
            name='RightsTransition',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('login', models.TextField(help_text='By its name, which stays when the login goes')),
                ('what', models.TextField(choices=[('login', 'Login'), ('active', 'May log in'), ('staff', 'Staff'), ('superuser', 'Superuser'), ('role', 'Role'), ('right', 'Single right'), ('password', 'Password')])),
                ('before', models.TextField(blank=True)),
                ('after', models.TextField(blank=True)),
                ('actor', models.TextField(blank=True, help_text='Empty: the machine, or the login itself')),
                ('reason', models.TextField(blank=True)),
                ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
            ],
            options={
                'verbose_name': 'change of rights',
                'verbose_name_plural': 'changes of rights',
                'default_permissions': (),
                'indexes': [models.Index(fields=['login'], name='rights_transition_by_login')],
            },
        ),
        migrations.CreateModel(
            name='AuditTrail',
            fields=[
            ],
            options={
                'verbose_name': 'audit trail',
                'verbose_name_plural': 'audit trail',
                'default_permissions': ('view',),
                'proxy': True,
                'indexes': [],
                'constraints': [],
            },
            bases=('reconciliation.rightstransition',),
        ),
        migrations.RunSQL(SQL, UNDO),
    ]

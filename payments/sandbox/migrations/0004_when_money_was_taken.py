"""Charges that succeeded before say when: they never were pending, or not for long."""

from django.db import migrations

WHEN = "UPDATE sandbox_charge SET succeeded_at = created_at WHERE status = 'succeeded'"


class Migration(migrations.Migration):
    dependencies = [("sandbox", "0003_disputes_voids_faults_clock")]
    operations = [migrations.RunSQL(WHEN, migrations.RunSQL.noop)]

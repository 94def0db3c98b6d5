from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("reconciliation", "0020_tolerances_are_made_by_two")]

    operations: list[object] = []

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("reconciliation", "0011_lines_stay_as_they_were_read"),
    ]

    operations = []

from django.db import migrations, models

from ledger.indexes import BuildIndex


class Migration(migrations.Migration):
    atomic = False  # as building an index beside ongoing work demands

    dependencies = [
        ("reconciliation", "0016_looks_inside"),
    ]

    operations = [
        BuildIndex(
            model_name="mismatch",
            index=models.Index(fields=["subject"], name="mismatch_by_subject"),
        ),
    ]

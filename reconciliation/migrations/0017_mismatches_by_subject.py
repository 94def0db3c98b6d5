from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False  # as building an index beside ongoing work demands

    dependencies = [
        ("reconciliation", "0016_looks_inside"),
    ]

    operations = [
        AddIndexConcurrently(
            model_name="mismatch",
            index=models.Index(fields=["subject"], name="mismatch_by_subject"),
        ),
    ]

from django.contrib.postgres.operations import RemoveIndexConcurrently
from django.db import migrations, models
from django.db.models import Q

from ledger.indexes import BuildIndex


class Migration(migrations.Migration):
    atomic = False  # as building an index beside ongoing work demands

    dependencies = [
        ("reconciliation", "0017_mismatches_by_subject"),
    ]

    operations = [
        BuildIndex(
            model_name="stagedline",
            index=models.Index(fields=["file"], condition=Q(type__in=["dispute_fee", "Fee"]), name="fees_of_disputes_of_a_file"),
        ),
        RemoveIndexConcurrently(model_name="stagedline", name="dispute_fees_of_a_file"),
    ]

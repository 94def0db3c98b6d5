from django.db import migrations, models
from django.db.models import Q

from ledger.indexes import BuildIndex


class Migration(migrations.Migration):
    atomic = False  # as building an index beside ongoing work demands

    dependencies = [
        ("payouts", "0008_payouts_can_be_stopped"),
    ]

    operations = [
        BuildIndex(
            model_name="payout",
            index=models.Index(fields=["currency"], condition=Q(status__in=["WAITING", "EXECUTING"]), name="payout_in_transit"),
        ),
    ]

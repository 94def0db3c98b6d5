from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [("payouts", "0004_payment_files")]

    operations = [
        migrations.AddIndex(
            model_name="payout",
            index=models.Index(
                fields=["id"],
                condition=Q(status="WAITING") | Q(status="EXECUTING", next_attempt_at=None),
                name="payout_for_a_person",
            ),
        ),
    ]

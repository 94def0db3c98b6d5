from pathlib import Path

import django.db.models.deletion
from django.db import migrations, models
from django.db.models import Q

SQL = Path(__file__).with_suffix(".sql").read_text()
NOT_LATE = {"late_entry": None, "late_return_entry": None}
LATE = {"paid_entry": None, "return_entry__isnull": False, "late_entry__isnull": False}


class Migration(migrations.Migration):
    dependencies = [
        ("payouts", "0006_payments_that_no_answer_tells_of"),
        ("wallet", "0007_terms_of_release_and_holds"),
    ]

    operations = [
        migrations.AddField(
            model_name="paymentfileline",
            name="again_wallet_entry",
            field=models.ForeignKey(
                db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="wallet.walletentry"
            ),
        ),
        migrations.AddField(
            model_name="paymentfileline",
            name="again_return_wallet_entry",
            field=models.ForeignKey(
                db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="wallet.walletentry"
            ),
        ),
        migrations.AddConstraint(
            model_name="paymentfileline",
            constraint=models.CheckConstraint(
                condition=Q(again_wallet_entry=None, again_return_wallet_entry=None)
                | Q(again_entry__isnull=False, again_wallet_entry__isnull=False, again_return_entry=None, again_return_wallet_entry=None)
                | Q(again_wallet_entry__isnull=False, again_return_entry__isnull=False, again_return_wallet_entry__isnull=False),
                name="payment_file_line_is_in_books_and_wallet",
            ),
        ),
        migrations.RemoveConstraint(model_name="payout", name="payout_has_its_entries"),
        migrations.AddConstraint(
            model_name="payout",
            constraint=models.CheckConstraint(
                condition=Q(status__in=["WAITING", "EXECUTING"], paid_entry=None, return_entry=None, **NOT_LATE)
                | Q(status="SUCCESS", paid_entry__isnull=False, return_entry=None, **NOT_LATE)
                | Q(status="SUCCESS", **LATE, late_return_entry=None)
                | Q(status__in=["SUCCESS", "RETURNED"], paid_entry__isnull=False, return_entry__isnull=False, **NOT_LATE)
                | Q(status__in=["SUCCESS", "RETURNED"], **LATE, late_return_entry__isnull=False)
                | Q(status__in=["FAILED", "CANCELLED"], paid_entry=None, return_entry__isnull=False, **NOT_LATE),
                name="payout_has_its_entries",
            ),
        ),
        migrations.RunSQL(SQL, migrations.RunSQL.noop),
    ]

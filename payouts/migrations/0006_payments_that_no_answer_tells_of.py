from pathlib import Path

import django.db.models.deletion
from django.db import migrations, models
from django.db.models import F, Q

SQL = Path(__file__).with_suffix(".sql").read_text()


class Migration(migrations.Migration):
    dependencies = [
        ("ledger", "0001_initial"),
        ("payouts", "0005_payouts_for_a_person"),
    ]

    operations = [
        migrations.AddField(
            model_name="paymentfile",
            name="finished_by",
            field=models.TextField(
                blank=True, db_default="", default="", help_text="Who gave it its hash, after a crash somebody else"
            ),
        ),
        migrations.AddField(
            model_name="paymentfileline",
            name="freed_by",
            field=models.TextField(
                db_default="", default="", help_text="Who saw in the bank's statement that it never left; empty: it was dropped otherwise"
            ),
        ),
        migrations.AddField(
            model_name="paymentfileline",
            name="again_entry",
            field=models.ForeignKey(
                db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="ledger.journalentry"
            ),
        ),
        migrations.AddField(
            model_name="paymentfileline",
            name="again_return_entry",
            field=models.ForeignKey(
                db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="ledger.journalentry"
            ),
        ),
        migrations.RemoveConstraint(model_name="paymentfile", name="maker_does_not_approve_the_file"),
        migrations.AddConstraint(
            model_name="paymentfile",
            constraint=models.CheckConstraint(
                condition=Q(approved_by="") | ~Q(approved_by=F("created_by")) & ~Q(approved_by=F("finished_by")),
                name="maker_does_not_approve_the_file",
            ),
        ),
        migrations.AddConstraint(
            model_name="paymentfileline",
            constraint=models.CheckConstraint(
                condition=Q(freed_by="") | Q(dropped_at__isnull=False), name="payment_file_line_is_freed_when_dropped"
            ),
        ),
        migrations.AddConstraint(
            model_name="paymentfileline",
            constraint=models.CheckConstraint(
                condition=Q(again_return_entry=None) | Q(again_entry__isnull=False), name="payment_file_line_came_back_when_paid_again"
            ),
        ),
        migrations.RunSQL(SQL, migrations.RunSQL.noop),
    ]

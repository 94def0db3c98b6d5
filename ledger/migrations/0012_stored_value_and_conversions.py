from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("ledger", "0011_months_are_closed"),
    ]

    operations = [
        migrations.AlterField(
            model_name="journalentry",
            name="kind",
            field=models.TextField(
                choices=[
                    ("sale", "Sale"),
                    ("refund", "Refund"),
                    ("refund_reversal", "Refund that came back"),
                    ("late_charge", "Late charge"),
                    ("dispute", "Dispute opened"),
                    ("dispute_closed", "Dispute closed"),
                    ("release", "Delivered: now available"),
                    ("reserve_release", "Reserve set free"),
                    ("payout", "Payout"),
                    ("payout_paid", "Payout arrived"),
                    ("payout_return", "Payout that came back"),
                    ("fee_invoice", "Tax of a fee invoice"),
                    ("settlement", "Settlement batch of a PSP"),
                    ("bank_statement", "Bank statement"),
                    ("resolution", "Mismatch explained"),
                    ("manual", "Manual entry"),
                    ("write_off", "Write-off"),
                    ("stored_value", "Gift card or top-up bought"),
                    ("gift_card_grant", "Gift card granted"),
                    ("breakage", "Gift card expired"),
                    ("conversion", "Currency conversion"),
                ]
            ),
        ),
    ]

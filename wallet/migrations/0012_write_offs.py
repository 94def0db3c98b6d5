from django.db import migrations, models

KINDS = [
    ("sale", "Sale"),
    ("refund", "Refund"),
    ("refund_reversal", "Refund that came back"),
    ("dispute", "Dispute opened"),
    ("dispute_closed", "Dispute closed"),
    ("release", "Delivered: now available"),
    ("reserve_release", "Reserve set free"),
    ("payout", "Payout"),
    ("payout_return", "Payout that came back"),
    ("write_off", "Written off"),
]


class Migration(migrations.Migration):
    dependencies = [
        ("wallet", "0011_changes_of_second_factors_stay"),
    ]

    operations = [
        migrations.AlterField(model_name="feeinvoiceline", name="kind", field=models.TextField(choices=KINDS)),
        migrations.AlterField(model_name="walletentry", name="kind", field=models.TextField(choices=KINDS)),
    ]

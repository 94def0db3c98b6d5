from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('ledger', '0006_kinds_of_the_pay_out'),
    ]

    operations = [
        migrations.AlterField(
            model_name='journalentry',
            name='kind',
            field=models.TextField(choices=[('sale', 'Sale'), ('refund', 'Refund'), ('refund_reversal', 'Refund that came back'), ('late_charge', 'Late charge'), ('dispute', 'Dispute opened'), ('dispute_closed', 'Dispute closed'), ('release', 'Delivered: now available'), ('reserve_release', 'Reserve set free'), ('payout', 'Payout'), ('payout_paid', 'Payout arrived'), ('payout_return', 'Payout that came back'), ('fee_invoice', 'Tax of a fee invoice'), ('manual', 'Manual entry')]),
        ),
    ]

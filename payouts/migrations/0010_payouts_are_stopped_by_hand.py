from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("payouts", "0009_payouts_in_transit"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="payoutstop",
            options={
                "verbose_name": "stop of all payouts",
                "verbose_name_plural": "stops of all payouts",
                "default_permissions": ("view",),
                "permissions": [
                    ("add_payoutstop", "Can stop all payouts"),
                    ("lift_payoutstop", "Can let payouts go on after they were stopped"),
                ],
            },
        ),
    ]

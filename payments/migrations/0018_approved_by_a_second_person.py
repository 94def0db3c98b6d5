from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("payments", "0017_found_by_psp_reference"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="refund",
            options={
                "permissions": [("approve_refund", "Can approve or reject a refund that somebody else proposes")],
                "verbose_name": "refund",
                "verbose_name_plural": "refunds",
            },
        ),
        migrations.AlterModelOptions(
            name="deadletter",
            options={
                "permissions": [("approve_deadletter", "Can approve or reject what somebody else would decide about a dead letter")],
                "verbose_name": "dead letter",
                "verbose_name_plural": "dead letters",
            },
        ),
        migrations.AlterModelOptions(
            name="feeschedule",
            options={
                "permissions": [("approve_feeschedule", "Can approve or reject a change of fee schedules that somebody else proposes")],
                "verbose_name": "fee schedule",
                "verbose_name_plural": "fee schedules",
            },
        ),
    ]

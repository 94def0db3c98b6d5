from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("reconciliation", "0002_accepted_heads"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="acceptedhead",
            options={"verbose_name": "accepted head", "verbose_name_plural": "accepted heads"},
        ),
        migrations.AlterModelOptions(
            name="invariantrun",
            options={"verbose_name": "invariant run", "verbose_name_plural": "invariant runs"},
        ),
        migrations.AlterModelOptions(
            name="queueheartbeat",
            options={"verbose_name": "queue heartbeat", "verbose_name_plural": "queue heartbeats"},
        ),
    ]

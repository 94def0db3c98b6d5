from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("sandbox", "0006_closed_days")]

    operations = [
        migrations.AddField(model_name="settlementline", name="waits_until", field=models.DateField(null=True)),
    ]

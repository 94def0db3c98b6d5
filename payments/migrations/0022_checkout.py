from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("payments", "0021_methods")]

    operations: list[object] = []

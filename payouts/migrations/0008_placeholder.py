from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("payouts", "0007_paid_again_after_it_came_back"),
    ]

    operations = []

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("ledger", "0004_seals"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="account",
            options={"verbose_name": "account", "verbose_name_plural": "accounts"},
        ),
        migrations.AlterModelOptions(
            name="journalentry",
            options={"verbose_name": "journal entry", "verbose_name_plural": "journal entries"},
        ),
    ]

"""Who thaws what a lost dispute froze; and what somebody gave away lately is found without reading every gift card."""

from django.db import migrations, models

from ledger.indexes import BuildIndex


class Migration(migrations.Migration):
    atomic = False  # as building an index beside ongoing work demands

    dependencies = [("wallet", "0016_gift_cards")]

    operations = [
        migrations.AlterModelOptions(
            name="storedvalue",
            options={
                "permissions": [
                    ("propose_thaw", "Can propose to let go what a lost dispute froze"),
                    ("approve_thaw", "Can approve or reject what somebody else would let go after a lost dispute"),
                ],
                "verbose_name": "stored value",
                "verbose_name_plural": "stored values",
            },
        ),
        BuildIndex(
            model_name="giftcard",
            index=models.Index(condition=models.Q(("origin", "granted")), fields=["issued_by", "created_at"], name="gift_card_by_giver"),
        ),
    ]

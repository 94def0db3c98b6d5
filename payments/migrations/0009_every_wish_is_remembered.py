from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("payments", "0008_disputes_of_a_charge")]

    operations = [
        migrations.AddField(
            "paymentorder",
            "confirmed_before",
            models.JSONField(blank=True, db_default=[], default=list, help_text="What started it before that"),
        ),
        migrations.RemoveConstraint("cancellation", "order_is_cancelled_once"),
        migrations.AddConstraint(
            "cancellation",
            models.UniqueConstraint(
                condition=~models.Q(status="FAILED") & ~models.Q(outcome="refunded"),
                fields=["order"],
                name="order_is_cancelled_once",
            ),
        ),
    ]

import django.db.models.deletion
from django.db import migrations, models

# Who follows the outbox for receipts begins with what is told from now on: nobody gets a receipt of last year's payments
BEGIN = """
INSERT INTO wallet_relayposition (name, message_id)
SELECT 'receipts', max(id) FROM wallet_outboxmessage HAVING max(id) IS NOT NULL
ON CONFLICT (name) DO NOTHING
"""


class Migration(migrations.Migration):
    dependencies = [("payments", "0022_checkout"), ("wallet", "0015_branding")]

    operations = [
        migrations.CreateModel(
            name="ReceiptMail",
            fields=[
                (
                    "event",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="receipt_mail",
                        serialize=False,
                        to="payments.paymentevent",
                    ),
                ),
                ("address", models.EmailField(max_length=254)),
                ("noted_at", models.DateTimeField()),
                ("tries", models.PositiveIntegerField(db_default=0, default=0)),
                (
                    "next_attempt_at",
                    models.DateTimeField(help_text="Empty: it was sent, or given up", null=True),
                ),
                ("sent_at", models.DateTimeField(null=True)),
            ],
            options={
                "verbose_name": "receipt by e-mail",
                "verbose_name_plural": "receipts by e-mail",
                "default_permissions": (),
                "indexes": [
                    models.Index(
                        condition=models.Q(("next_attempt_at__isnull", False)), fields=["next_attempt_at"], name="receipt_mail_by_time"
                    )
                ],
            },
        ),
        migrations.RunSQL(BEGIN, migrations.RunSQL.noop),
    ]

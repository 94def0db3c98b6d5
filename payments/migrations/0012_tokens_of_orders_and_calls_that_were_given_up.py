from django.db import migrations, models

# Only what can still be charged gets its token: what executes, and what failed and whose checkout is open.
KEEP_TOKENS = """
UPDATE payments_paymentorder AS payment SET payment_token = due.payment_token
FROM payments_dueorder AS due WHERE due.order_id = payment.id AND due.payment_token <> '';
UPDATE payments_paymentorder AS payment SET payment_token = event.payment_token
FROM payments_paymentevent AS event
WHERE event.id = payment.event_id AND payment.status = 'FAILED' AND NOT event.is_payment_done AND event.payment_token <> ''
"""

DATE_ORPHANS = "UPDATE payments_pspattempt SET given_up_at = ask_again_at WHERE ask_again_at IS NOT NULL"


class Migration(migrations.Migration):
    dependencies = [("payments", "0011_calls_that_nobody_waits_for")]

    operations = [
        migrations.AddField(
            "paymentorder",
            "payment_token",
            models.TextField(blank=True, db_default="", default="", help_text="The PSP's token that it was started with last"),
        ),
        migrations.AddField(
            "pspattempt",
            "given_up_at",
            models.DateTimeField(help_text="Since when nobody waits for it, although it is unresolved", null=True),
        ),
        migrations.RunSQL(KEEP_TOKENS, migrations.RunSQL.noop),
        migrations.RemoveField("paymentevent", "payment_token"),
        migrations.RunSQL(DATE_ORPHANS, migrations.RunSQL.noop),
    ]

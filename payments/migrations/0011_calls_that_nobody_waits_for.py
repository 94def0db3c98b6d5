from django.db import migrations, models

# Calls that were left open when their order or refund was given up: nobody waits for them, so they are asked for.  Those of a refund were
# written down as declined then, although nobody knew.
ASK_FOR_ORPHANS = """
UPDATE payments_pspattempt AS attempt SET ask_again_at = now()
WHERE attempt.status IN ('SENDING', 'UNKNOWN', 'PENDING') AND attempt.created_at > now() - interval '30 days'
  AND (attempt.operation = 'charge' AND NOT EXISTS (
           SELECT FROM payments_dueorder AS due WHERE due.order_id = attempt.order_id AND due.psp_key = attempt.psp_key)
       OR attempt.operation = 'refund' AND EXISTS (
           SELECT FROM payments_refund AS refund WHERE refund.id = attempt.refund_id AND refund.status = 'FAILED'));
UPDATE payments_pspattempt AS attempt SET status = 'UNKNOWN', finished_at = NULL, ask_again_at = now()
WHERE attempt.operation = 'refund' AND attempt.status = 'DECLINED' AND attempt.error_code = 'given_up'
  AND attempt.created_at > now() - interval '30 days'
  AND EXISTS (SELECT FROM payments_refund AS refund WHERE refund.id = attempt.refund_id AND refund.status = 'FAILED')
"""


class Migration(migrations.Migration):
    dependencies = [("payments", "0010_deaths_of_refunds")]

    operations = [
        migrations.AddField(
            "pspattempt",
            "ask_again_at",
            models.DateTimeField(help_text="When the PSP is asked what became of it, if it was given up unresolved", null=True),
        ),
        migrations.RunSQL(ASK_FOR_ORPHANS, migrations.RunSQL.noop),
        migrations.AddIndex(
            "pspattempt",
            models.Index(condition=models.Q(("ask_again_at__isnull", False)), fields=["ask_again_at"], name="psp_attempt_to_ask_for"),
        ),
    ]

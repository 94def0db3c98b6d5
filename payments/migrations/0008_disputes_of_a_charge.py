import djmoney.models.fields
from django.db import migrations, models

# What is disputed was kept by its order alone; the PSP's webhooks of the dispute name the charge.  Where none is kept, it is guessed: of an
# order that was paid it is the charge that paid it, unless nothing was held and a charge came too late as well; of one that was not paid,
# the charge that came too late.
NAME_THE_CHARGES = """
WITH told AS MATERIALIZED (
    SELECT psp, body->'data'->'object'->>'id' AS psp_reference, max(body->'data'->'object'->>'charge') AS charge
    FROM payments_pspevent WHERE type LIKE 'dispute.%' GROUP BY 1, 2
)
UPDATE payments_dispute AS dispute SET charge = coalesce(
    (SELECT charge FROM told WHERE (told.psp, told.psp_reference) = (dispute.psp, dispute.psp_reference)),
    CASE WHEN payment.status = 'SUCCESS' AND (dispute.held > 0 OR late.psp_reference IS NULL) THEN paid.psp_reference ELSE late.psp_reference END,
    dispute.psp_reference)
FROM payments_paymentorder AS payment
LEFT JOIN LATERAL (SELECT psp_reference FROM payments_latecharge WHERE order_id = payment.id ORDER BY id LIMIT 1) AS late ON true
LEFT JOIN LATERAL (
    SELECT psp_reference FROM payments_pspattempt AS attempt
    WHERE attempt.order_id = payment.id AND operation = 'charge' AND status = 'SUCCEEDED'
      AND psp_reference NOT IN (SELECT psp_reference FROM payments_latecharge WHERE order_id = payment.id)
    ORDER BY id LIMIT 1
) AS paid ON true
WHERE payment.id = dispute.order_id
"""


def amount_column(model: str, name: str, *, help_text: str) -> migrations.SeparateDatabaseAndState:
    """Add an amount in the row's own currency, of which the rows that stand have nothing."""
    table = f"payments_{model}"
    field = djmoney.models.fields.MoneyField(
        currency_choices=(), currency_field_name="currency", decimal_places=4, max_digits=24, help_text=help_text
    )
    return migrations.SeparateDatabaseAndState(
        database_operations=[
            migrations.RunSQL(
                f"ALTER TABLE {table} ADD COLUMN {name} numeric(24, 4) NOT NULL DEFAULT 0", f"ALTER TABLE {table} DROP COLUMN {name}"
            )
        ],
        state_operations=[migrations.AddField(model, name, field)],
    )


class Migration(migrations.Migration):
    dependencies = [("payments", "0007_a_late_charge_may_be_given_back_again")]

    operations = [
        migrations.AddField(
            "dispute",
            "charge",
            models.TextField(db_default="", default="", help_text="The PSP's id of the charge that is disputed"),
        ),
        migrations.AddField(
            "dispute",
            "fee_policy",
            models.TextField(
                blank=True,
                choices=[
                    ("pro_rata", "Its share of the fee"),
                    ("full", "All that is left of the fee"),
                    ("keep", "Nothing: the seller bears the fee"),
                ],
                db_default="",
                default="",
                help_text="How our fee on what was lost was given back; empty: it is not decided, or was before this was kept",
            ),
        ),
        migrations.RunSQL(NAME_THE_CHARGES, migrations.RunSQL.noop),
        migrations.RemoveConstraint("dispute", "order_has_one_open_dispute"),
        amount_column("latecharge", "taken_back", help_text="What of it the buyer's bank took back for good in a dispute"),
        migrations.AddConstraint(
            "latecharge",
            models.CheckConstraint(
                condition=models.Q(("taken_back__gte", 0), ("taken_back__lte", models.F("amount"))),
                name="no_more_of_a_late_charge_is_taken_back_than_came",
            ),
        ),
        amount_column("refund", "borne", help_text="What of it the platform bears: the buyer had got it otherwise"),
        migrations.RemoveConstraint("refund", "refund_fee_and_net_make_the_amount"),
        migrations.AddConstraint(
            "refund",
            models.CheckConstraint(
                condition=models.Q(("amount", models.F("fee") + models.F("net") + models.F("borne")), ("borne__gte", 0)),
                name="refund_fee_net_and_borne_make_the_amount",
            ),
        ),
    ]

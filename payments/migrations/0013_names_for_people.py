from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("payments", "0012_tokens_of_orders_and_calls_that_were_given_up"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="cancellation",
            options={"verbose_name": "cancellation", "verbose_name_plural": "cancellations"},
        ),
        migrations.AlterModelOptions(
            name="circuitbreaker",
            options={"verbose_name": "circuit breaker", "verbose_name_plural": "circuit breakers"},
        ),
        migrations.AlterModelOptions(
            name="deadletter",
            options={"verbose_name": "dead letter", "verbose_name_plural": "dead letters"},
        ),
        migrations.AlterModelOptions(
            name="dispute",
            options={"verbose_name": "dispute", "verbose_name_plural": "disputes"},
        ),
        migrations.AlterModelOptions(
            name="dueorder",
            options={"verbose_name": "due order", "verbose_name_plural": "due orders"},
        ),
        migrations.AlterModelOptions(
            name="feeschedule",
            options={"verbose_name": "fee schedule", "verbose_name_plural": "fee schedules"},
        ),
        migrations.AlterModelOptions(
            name="latecharge",
            options={"verbose_name": "late charge", "verbose_name_plural": "late charges"},
        ),
        migrations.AlterModelOptions(
            name="paymentevent",
            options={"verbose_name": "payment event", "verbose_name_plural": "payment events"},
        ),
        migrations.AlterModelOptions(
            name="paymentorder",
            options={"verbose_name": "payment order", "verbose_name_plural": "payment orders"},
        ),
        migrations.AlterModelOptions(
            name="pspattempt",
            options={"verbose_name": "PSP attempt", "verbose_name_plural": "PSP attempts"},
        ),
        migrations.AlterModelOptions(
            name="pspevent",
            options={"verbose_name": "PSP event", "verbose_name_plural": "PSP events"},
        ),
        migrations.AlterModelOptions(
            name="refund",
            options={"verbose_name": "refund", "verbose_name_plural": "refunds"},
        ),
        migrations.AlterModelOptions(
            name="retrypolicy",
            options={"verbose_name": "retry policy", "verbose_name_plural": "retry policies"},
        ),
        migrations.AlterField(
            model_name="deadletter",
            name="reason",
            field=models.TextField(
                choices=[
                    ("tries_exhausted", "No try got through"),
                    ("unknown_too_long", "No answer for 30 days"),
                    ("worker_died", "Workers died over it"),
                    ("cannot_be_booked", "The answer cannot be booked"),
                    ("late_charge_not_given_back", "A buyer's money is still with us"),
                ]
            ),
        ),
    ]

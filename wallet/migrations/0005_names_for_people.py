from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("wallet", "0004_outgoing_webhooks"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="apikey",
            options={"verbose_name": "API key", "verbose_name_plural": "API keys"},
        ),
        migrations.AlterModelOptions(
            name="buyer",
            options={"verbose_name": "buyer", "verbose_name_plural": "buyers"},
        ),
        migrations.AlterModelOptions(
            name="deliveryattempt",
            options={"verbose_name": "delivery attempt", "verbose_name_plural": "delivery attempts"},
        ),
        migrations.AlterModelOptions(
            name="idempotencyrecord",
            options={"verbose_name": "idempotency record", "verbose_name_plural": "idempotency records"},
        ),
        migrations.AlterModelOptions(
            name="outboxmessage",
            options={"verbose_name": "outbox message", "verbose_name_plural": "outbox messages"},
        ),
        migrations.AlterModelOptions(
            name="seller",
            options={"verbose_name": "seller", "verbose_name_plural": "sellers"},
        ),
        migrations.AlterModelOptions(
            name="shop",
            options={"verbose_name": "shop", "verbose_name_plural": "shops"},
        ),
        migrations.AlterModelOptions(
            name="wallet",
            options={"verbose_name": "wallet", "verbose_name_plural": "wallets"},
        ),
        migrations.AlterModelOptions(
            name="walletentry",
            options={"verbose_name": "wallet entry", "verbose_name_plural": "wallet entries"},
        ),
        migrations.AlterModelOptions(
            name="webhookdelivery",
            options={"verbose_name": "webhook delivery", "verbose_name_plural": "webhook deliveries"},
        ),
        migrations.AlterModelOptions(
            name="webhookendpoint",
            options={"verbose_name": "webhook endpoint", "verbose_name_plural": "webhook endpoints"},
        ),
    ]

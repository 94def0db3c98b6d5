import django.core.validators
import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    """Columns of a small table, each with a default that Postgres keeps: no row is written."""

    dependencies = [("wallet", "0014_exchange_rates")]

    operations = [
        migrations.AddField(
            model_name="shop",
            name="accent",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="Colour of its buttons and links on the payment page, such as #2a50b0",
                max_length=7,
            ),
        ),
        migrations.AddField(
            model_name="shop",
            name="logo",
            field=models.TextField(db_default="", default="", editable=False, help_text="Digest of the logo that its pages show"),
        ),
        migrations.AddField(
            model_name="shop",
            name="statement_name",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="How card statements name it; empty: its name in capitals",
                max_length=22,
                validators=[
                    django.core.validators.RegexValidator("^[A-Za-z0-9 .&-]+$", "Letters from A to Z, digits, blanks and . - & only.")
                ],
            ),
        ),
        migrations.AddField(
            model_name="shop",
            name="support_email",
            field=models.EmailField(blank=True, db_default="", default="", help_text="Where its buyers can ask", max_length=254),
        ),
        migrations.AddField(
            model_name="shop",
            name="sends_receipts",
            field=models.BooleanField(
                db_default=True,
                default=True,
                help_text="By e-mail to whoever paid, if the shop gave an address",
                verbose_name="sends receipts",
            ),
        ),
        migrations.AddConstraint(
            model_name="shop",
            constraint=models.CheckConstraint(
                condition=models.Q(("accent", ""), ("accent__regex", "^#[0-9a-f]{6}$"), _connector="OR"), name="shop_accent_is_a_colour"
            ),
        ),
        migrations.CreateModel(
            name="ShopLogo",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("digest", models.TextField()),
                ("content", models.BinaryField()),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                (
                    "shop",
                    models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name="logos", to="wallet.shop"),
                ),
            ],
            options={
                "verbose_name": "logo of a shop",
                "verbose_name_plural": "logos of shops",
                "default_permissions": (),
                "constraints": [models.UniqueConstraint(fields=("shop", "digest"), name="a_logo_is_kept_once")],
            },
        ),
    ]

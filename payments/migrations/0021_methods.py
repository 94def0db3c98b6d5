import django.db.models.deletion
import django.db.models.functions.datetime
import djmoney.models.fields
from django.db import migrations, models

import payments.models


class Migration(migrations.Migration):
    dependencies = [
        ("payments", "0020_tenders"),
        ("wallet", "0013_stored_value"),
    ]

    operations = [
        migrations.AddField(
            model_name="paymentevent",
            name="buyer_signed_in",
            field=models.BooleanField(
                db_default=False, default=False, help_text="The shop vouches for who pays: their wallet and saved cards are offered"
            ),
        ),
        migrations.AddField(
            model_name="paymentevent",
            name="chosen_method",
            field=models.CharField(
                blank=True, db_default="", default="", help_text="How the buyer wants to pay, as the page shows it", max_length=20
            ),
        ),
        migrations.CreateModel(
            name="SavedCard",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("public_id", models.TextField(default=payments.models.new_saved_card_id, editable=False)),
                ("psp", models.TextField()),
                ("token", models.TextField()),
                ("brand", models.CharField(max_length=20)),
                ("last4", models.CharField(max_length=4)),
                ("exp_month", models.PositiveSmallIntegerField()),
                ("exp_year", models.PositiveSmallIntegerField()),
                ("funding", models.CharField(blank=True, max_length=10)),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                (
                    "forget_at",
                    models.DateTimeField(help_text="When the PSP is asked to forget it; empty: the buyer wants it kept", null=True),
                ),
                ("forgotten_at", models.DateTimeField(null=True)),
                ("buyer", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="saved_cards", to="wallet.buyer")),
            ],
            options={
                "verbose_name": "saved card",
                "verbose_name_plural": "saved cards",
            },
        ),
        migrations.CreateModel(
            name="CheckoutSession",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("psp", models.TextField()),
                ("session", models.TextField()),
                ("method", models.CharField(max_length=20)),
                ("currency", djmoney.models.fields.CurrencyField(choices=[], default=None, editable=False, max_length=3)),
                (
                    "amount",
                    djmoney.models.fields.MoneyField(currency_choices=(), currency_field_name="currency", decimal_places=4, max_digits=24),
                ),
                (
                    "status",
                    models.TextField(
                        choices=[
                            ("open", "Open"),
                            ("requires_action", "The buyer's bank asks"),
                            ("in_review", "In review"),
                            ("complete", "Approved"),
                            ("failed", "Failed"),
                            ("expired", "Expired"),
                            ("confirmed", "Confirmed"),
                            ("unused", "Approved, and not used"),
                        ],
                        default="open",
                    ),
                ),
                ("failure_code", models.CharField(blank=True, max_length=60)),
                ("code_text", models.TextField(blank=True, help_text="What its QR code says")),
                ("schedule", models.JSONField(blank=True, default=list, help_text="What the buyer pays later, and when")),
                (
                    "look_at",
                    models.DateTimeField(help_text="When the PSP is asked how it stands; empty: it is not asked by itself", null=True),
                ),
                ("expires_at", models.DateTimeField(null=True)),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                (
                    "event",
                    models.ForeignKey(
                        db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name="sessions", to="payments.paymentevent"
                    ),
                ),
                (
                    "saved_card",
                    models.ForeignKey(
                        db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="payments.savedcard"
                    ),
                ),
            ],
            options={
                "verbose_name": "checkout session",
                "verbose_name_plural": "checkout sessions",
            },
        ),
        migrations.AddIndex(
            model_name="savedcard",
            index=models.Index(
                condition=models.Q(("forget_at__isnull", False), ("forgotten_at__isnull", True)),
                fields=["forget_at"],
                name="saved_card_to_forget",
            ),
        ),
        migrations.AddConstraint(
            model_name="savedcard",
            constraint=models.UniqueConstraint(fields=("public_id",), name="saved_card_has_one_public_id"),
        ),
        migrations.AddConstraint(
            model_name="savedcard",
            constraint=models.UniqueConstraint(fields=("psp", "token"), name="saved_card_is_kept_once"),
        ),
        migrations.AddConstraint(
            model_name="savedcard",
            constraint=models.CheckConstraint(
                condition=models.Q(("exp_month__gte", 1), ("exp_month__lte", 12)), name="saved_card_ends_in_a_month"
            ),
        ),
        migrations.AddConstraint(
            model_name="savedcard",
            constraint=models.CheckConstraint(
                condition=models.Q(("forgotten_at__isnull", True), ("forget_at__isnull", False), _connector="OR"),
                name="a_card_is_forgotten_because_its_buyer_wants_it",
            ),
        ),
        migrations.AddIndex(
            model_name="checkoutsession",
            index=models.Index(fields=["event", "id"], name="checkout_session_by_event"),
        ),
        migrations.AddIndex(
            model_name="checkoutsession",
            index=models.Index(condition=models.Q(("look_at__isnull", False)), fields=["look_at"], name="checkout_session_to_look_at"),
        ),
        migrations.AddConstraint(
            model_name="checkoutsession",
            constraint=models.UniqueConstraint(fields=("psp", "session"), name="checkout_session_is_kept_once"),
        ),
        migrations.AddConstraint(
            model_name="checkoutsession",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("look_at__isnull", True), models.Q(("status__in", ["confirmed", "unused"]), _negated=True), _connector="OR"
                ),
                name="what_is_over_is_not_looked_at",
            ),
        ),
    ]

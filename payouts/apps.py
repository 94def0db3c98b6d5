"""Pay-out: from the seller's available balance to the seller's bank."""

from django.apps import AppConfig


class PayoutsConfig(AppConfig):
    name = "payouts"
    verbose_name = "Payouts"

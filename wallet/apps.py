"""Whom we owe, and what we tell them; and the admin's door, which needs to know of second factors."""

from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps
from django.utils.translation import gettext_lazy as _


class WalletConfig(AppConfig):
    name = "wallet"
    verbose_name = _("Wallets")


class DeskConfig(admin_apps.AdminConfig):
    """Django's admin with our site in it.  Settings name it; it is not the wallet's own."""

    default = False
    default_site = "wallet.admin_site.Desk"

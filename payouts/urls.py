"""Addresses of pay-out: the seller's payouts and bank details, and where those who pay out report."""

from django.urls import path

from payouts import bank_account_views, conversion_views, views, webhooks

urlpatterns = [
    path("seller/payouts", views.payouts, name="seller-payouts"),
    path("seller/payouts/new", views.ask, name="seller-payout-request"),
    path("seller/payouts/<slug:public_id>", views.payout, name="seller-payout"),
    path("seller/payouts/<slug:public_id>/cancel", views.cancel, name="seller-payout-cancel"),
    path("seller/currencies", conversion_views.currencies, name="seller-convert"),
    path("seller/currencies/payout", conversion_views.choose, name="seller-payout-currency"),
    path("seller/conversions/<slug:public_id>", conversion_views.conversion, name="seller-conversion"),
    path("seller/balance", views.why, name="seller-why"),
    path("seller/bank-accounts", bank_account_views.bank_accounts_page, name="seller-bank-accounts"),
    path("seller/bank-accounts/<str:currency>", bank_account_views.change, name="seller-bank-account"),
    path("webhooks/payouts/<str:provider>", webhooks.receive, name="payout-webhook"),
]

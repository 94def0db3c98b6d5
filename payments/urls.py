"""Addresses of pay-in: the buyer's payment page, the seller's page of an order, and where PSPs report."""

from django.urls import path

from payments import receipt_views, views, webhooks
from payments.checkout import cards, code, pages, paying, stored_value

urlpatterns = [
    path("checkout/<slug:token>", pages.show, name="checkout"),
    path("checkout/<slug:token>/status", pages.status, name="checkout-status"),
    path("checkout/<slug:token>/session", paying.open_session, name="checkout-session"),
    path("checkout/<slug:token>/hosted", paying.open_hosted, name="checkout-hosted"),
    path("checkout/<slug:token>/return", paying.come_back, name="checkout-return"),
    path("checkout/<slug:token>/complete", paying.complete, name="checkout-complete"),
    path("checkout/<slug:token>/gift-card", stored_value.use_gift_card, name="checkout-gift-card"),
    path("checkout/<slug:token>/gift-card/remove", stored_value.remove_gift_card, name="checkout-gift-card-remove"),
    path("checkout/<slug:token>/wallet", stored_value.use_wallet, name="checkout-wallet"),
    path("checkout/<slug:token>/card/forget", cards.forget, name="checkout-card-forget"),
    path("checkout/<slug:token>/qr", code.code, name="checkout-qr"),
    path("checkout/<slug:token>/receipt", receipt_views.page, name="checkout-receipt"),
    path("checkout/<slug:token>/receipt.pdf", receipt_views.pdf, name="checkout-receipt-pdf"),
    path("seller/orders/<slug:public_id>", views.order, name="seller-order"),
    path("webhooks/psp/<str:psp>", webhooks.receive, name="psp-webhook"),
]

"""Addresses of pay-in: the buyer's payment page, the seller's page of an order, and where PSPs report."""

from django.urls import path

from payments import checkout, views, webhooks

urlpatterns = [
    path("checkout/<slug:token>", checkout.show, name="checkout"),
    path("checkout/<slug:token>/session", checkout.open_session, name="checkout-session"),
    path("checkout/<slug:token>/hosted", checkout.open_hosted, name="checkout-hosted"),
    path("checkout/<slug:token>/return", checkout.come_back, name="checkout-return"),
    path("checkout/<slug:token>/complete", checkout.complete, name="checkout-complete"),
    path("checkout/<slug:token>/status", checkout.status, name="checkout-status"),
    path("seller/orders/<slug:public_id>", views.order, name="seller-order"),
    path("webhooks/psp/<str:psp>", webhooks.receive, name="psp-webhook"),
]

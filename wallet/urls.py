"""Addresses of the seller's pages.  The page of an order is payments'."""

from django.urls import path
from django.views.i18n import set_language

from wallet import views

urlpatterns = [
    path("seller/", views.home, name="seller-home"),
    path("seller/movements", views.movements, name="seller-movements"),
    path("seller/movements.csv", views.movements_csv, name="seller-movements-csv"),
    path("seller/switch", views.switch, name="seller-switch"),
    path("seller/login", views.Login.as_view(), name="seller-login"),
    path("seller/logout", views.Logout.as_view(), name="seller-logout"),
    path("seller/language", set_language, name="seller-language"),
]

"""Addresses of the seller's pages, and of a shop's brand.  The page of an order is payments'."""

from django.urls import path
from django.views.i18n import set_language

from wallet import brand_views, home_views, login_views, statement_views, views

urlpatterns = [
    path("brand/<slug:shop>/<slug:digest>.css", brand_views.style, name="brand-style"),
    path("brand/<slug:shop>/<slug:digest>.webp", brand_views.logo, name="brand-logo"),
    path("seller/", home_views.show, name="seller-home"),
    path("seller/notices/dismiss", home_views.dismiss, name="seller-notice-dismiss"),
    path("seller/movements", views.movements, name="seller-movements"),
    path("seller/movements.csv", views.movements_csv, name="seller-movements-csv"),
    path("seller/documents", statement_views.documents, name="seller-documents"),
    path("seller/documents/<str:currency>/<str:period>", statement_views.statement, name="seller-statement"),
    path("seller/documents/<str:currency>/<str:period>/<str:form>", statement_views.statement_file, name="seller-statement-file"),
    path("seller/invoices/<str:number>/<str:form>", statement_views.invoice_file, name="seller-invoice-file"),
    path("seller/switch", views.switch, name="seller-switch"),
    path("seller/login", login_views.Login.as_view(), name="seller-login"),
    path("seller/login/code", login_views.login_code, name="seller-login-code"),
    path("seller/logout", login_views.Logout.as_view(), name="seller-logout"),
    path("seller/confirm", login_views.confirm, name="seller-confirm"),
    path("seller/second-factor", login_views.overview, name="seller-second-factor"),
    path("seller/second-factor/set-up", login_views.set_up, name="seller-second-factor-set-up"),
    path("seller/second-factor/recovery-codes", login_views.renew, name="seller-second-factor-renew"),
    path("seller/second-factor/off", login_views.switch_off, name="seller-second-factor-off"),
    path("seller/language", set_language, name="seller-language"),
]

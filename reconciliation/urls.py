"""Finance's pages that are no table's own: beside Django's admin, and behind its door."""

from django.contrib import admin
from django.urls import path

from reconciliation import explain_admin, path_admin

urlpatterns = [
    path("paths/", admin.site.admin_view(path_admin.find), name="payment_find"),
    path("paths/<slug:public_id>/", admin.site.admin_view(path_admin.show), name="payment_path"),
    path("explain/account/<int:pk>/", admin.site.admin_view(explain_admin.account), name="explain_account"),
    path("explain/kind/<slug:kind>/<slug:currency>/", admin.site.admin_view(explain_admin.kind), name="explain_kind"),
    path("explain/wallet/<int:pk>/", admin.site.admin_view(explain_admin.wallet), name="explain_wallet"),
    path("explain/invoice/<int:pk>/", admin.site.admin_view(explain_admin.invoice), name="explain_invoice"),
    path("explain/figure/<slug:name>/", admin.site.admin_view(explain_admin.figure), name="explain_figure"),
]

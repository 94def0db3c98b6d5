"""The admin's door: a login with a second factor is asked for its code, and where settings demand one, nobody comes in without.

Django takes it for its `admin.site` (wallet/apps.py).
"""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache

from wallet import second_factor, step_up
from wallet.login_views import StaffDoor


class Desk(admin.AdminSite):
    """The admin, open to staff whose session has proved the second factor of its login."""

    def has_permission(self, request: HttpRequest) -> bool:
        return super().has_permission(request) and step_up.opens_admin(request)

    @method_decorator(never_cache)
    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        onward = step_up.next_path(request, otherwise="admin:index")
        if request.method == "GET" and super().has_permission(request):
            if self.has_permission(request):
                return HttpResponseRedirect(reverse("admin:index", current_app=self.name))
            missing = "seller-confirm" if second_factor.of(request.user) else "seller-second-factor-set-up"
            return HttpResponseRedirect(step_up.with_next(missing, onward))
        context = self.each_context(request) | {
            "title": _("Log in"),
            "subtitle": None,
            "app_path": request.get_full_path(),
            "username": request.user.get_username(),
            step_up.NEXT: onward,
        }
        return StaffDoor.as_view(extra_context=context | (extra_context or {}))(request)  # type: ignore[return-value]

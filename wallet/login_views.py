"""The door of sellers and staff, and what belongs to a login: its second factor, and confirming once more before money is moved.

Every wrong password and every wrong code counts (logins.py), here as at the door.  A secret that is being set up stays in the session that
shows it; recovery codes are on the page that answers their making, once, and nowhere else.
"""

from datetime import datetime
from typing import Any, cast

from django import forms
from django.contrib.auth import views as auth
from django.contrib.auth.decorators import login_required
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from ledger.sealed import CannotOpen
from wallet import logins, second_factor, step_up, views
from wallet.logins import REFUSED, TOO_MANY, SellerLogin, StaffLogin
from wallet.models import SecondFactor
from wallet.second_factor import AlreadySetUp

SETTING_UP = "second_factor_being_set_up"  # in the session: the secret, sealed
WRONG_CODE = _("That code is not right, or was used already. Type the one that the app shows now.")
WRONG_RECOVERY_CODE = _("That is none of your recovery codes, or was used already.")
WRONG_PASSWORD = _("That password is not right. Capitals count.")
MISSING_CODE = _("Type the six digits that the app shows.")

secret_fields = sensitive_post_parameters("password", "code", "recovery_code")


class Door(auth.LoginView):
    """A login: with a second factor it goes on to the code, without one it is done.  Too many wrong tries are answered with 429."""

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        user, now = form.get_user(), timezone.now()
        if second_factor.of(user) is None:
            step_up.enter(self.request, user, factor=None, now=now)
            return HttpResponseRedirect(self.get_success_url())
        step_up.open_half(self.request, user, now=now)
        return HttpResponseRedirect(step_up.with_next("seller-login-code", self.get_success_url()))

    def form_invalid(self, form: AuthenticationForm) -> HttpResponse:
        response = super().form_invalid(form)
        if form.has_error("__all__", code=REFUSED):
            response.status_code = 429
        return response


class Login(Door):
    """The sellers' door."""

    authentication_form = SellerLogin
    template_name = "dashboard/login.html"
    redirect_authenticated_user = True


class StaffDoor(Door):
    """The admin's door."""

    authentication_form = StaffLogin
    template_name = "admin/login.html"
    next_page = "admin:index"


class Logout(auth.LogoutView):
    """Logging out: by POST only, so that no link can do it."""

    http_method_names = ["post"]


class CodeForm(forms.Form):
    """The code of the app, or instead of it a recovery code, each taken by asking for it: a form that is valid has used up its code."""

    code = forms.CharField(required=False, max_length=20)
    recovery_code = forms.CharField(required=False, max_length=40)

    def __init__(self, *args: Any, request: HttpRequest, user: User, now: datetime, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.request, self.user, self.now = request, user, now
        self.factor: SecondFactor | None = None

    def clean(self) -> dict[str, Any]:
        if logins.is_refused(self.request, self.user.get_username()):
            raise ValidationError(TOO_MANY, code=REFUSED)
        cleaned = super().clean() or {}
        if self.errors:
            return cleaned
        if cleaned["recovery_code"]:
            self.factor = second_factor.take_recovery_code(self.user, cleaned["recovery_code"], now=self.now)
            self.require(self.factor, field="recovery_code", otherwise=WRONG_RECOVERY_CODE)
        elif cleaned["code"]:
            self.factor = second_factor.take(self.user, cleaned["code"], now=self.now)
            self.require(self.factor, field="code", otherwise=WRONG_CODE)
        else:
            self.add_error("code", MISSING_CODE)
        return cleaned

    def require(self, what: object, *, field: str, otherwise: Any) -> None:
        """Count a wrong try, and say so under its field, unless it was right."""
        if not what:
            logins.count_failure(self.request, self.user.get_username())
            self.add_error(field, otherwise)

    @property
    def status(self) -> int:
        return 429 if self.has_error("__all__", code=REFUSED) else 200


class ConfirmForm(CodeForm):
    """The password once more, and the code where there is a second factor.  A code is not used up by a wrong password."""

    password = forms.CharField(strip=False, max_length=4096)

    def clean(self) -> dict[str, Any]:
        username = self.user.get_username()
        if self.errors:
            return self.cleaned_data
        if logins.is_refused(self.request, username):
            raise ValidationError(TOO_MANY, code=REFUSED)
        self.require(self.user.check_password(self.cleaned_data["password"]), field="password", otherwise=WRONG_PASSWORD)
        return super().clean() if not self.errors and second_factor.of(self.user) else self.cleaned_data


class SetUpForm(forms.Form):
    """The first code, which proves that the app has the secret."""

    code = forms.CharField(max_length=20, error_messages={"required": MISSING_CODE})


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@secret_fields
def login_code(request: HttpRequest) -> HttpResponse:
    """Ask whoever gave the right password for the code, and let them in."""
    now = timezone.now()
    user, onward = step_up.waiting(request, now=now), step_up.next_path(request, otherwise="seller-home")
    if user is None:
        return HttpResponseRedirect(step_up.with_next("seller-login", onward))
    form = CodeForm(posted(request), request=request, user=user, now=now)
    if form.is_valid():
        step_up.enter(request, user, factor=form.factor, now=now)
        return HttpResponseRedirect(onward)
    return render(request, "dashboard/login_code.html", {"form": form, "next": onward}, status=form.status)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@secret_fields
@login_required
def confirm(request: HttpRequest) -> HttpResponse:
    """Ask for password and code once more, and go on with what needs them."""
    user, now = person(request), timezone.now()
    onward = step_up.next_path(request, otherwise="seller-second-factor")
    form = ConfirmForm(posted(request), request=request, user=user, now=now)
    if form.is_valid():
        step_up.confirm(request, factor=form.factor, now=now)
        return HttpResponseRedirect(onward)
    context = about_login(request) | {"form": form, "next": onward, "factor": second_factor.of(user)}
    return render(request, "dashboard/login_confirm.html", context, status=form.status)


@require_safe
@never_cache
@login_required
def overview(request: HttpRequest) -> HttpResponse:
    """Say whether the login has a second factor, since when, and how many recovery codes are left."""
    factor = second_factor.of(request.user)
    left = second_factor.recovery_codes_left(factor) if factor else 0
    return render(request, "dashboard/second_factor.html", about_login(request) | {"factor": factor, "left": left})


@require_http_methods(["GET", "HEAD", "POST"])
@secret_fields
@step_up.fresh
def set_up(request: HttpRequest) -> HttpResponse:
    """Show the secret, as a picture and as text, until a code of it comes back; then show the recovery codes, once."""
    user, now = person(request), timezone.now()
    onward = step_up.next_path(request, otherwise="seller-second-factor")
    if second_factor.of(user) is not None:
        return HttpResponseRedirect(onward)
    sealed, secret = secret_of(request, user)
    form = SetUpForm(posted(request))
    if form.is_valid():
        try:
            done = second_factor.set_up(user, sealed=sealed, code=form.cleaned_data["code"], now=now)
        except AlreadySetUp:  # in another tab, a moment ago
            return HttpResponseRedirect(onward)
        if done is not None:
            del request.session[SETTING_UP]
            step_up.confirm(request, factor=done.factor, now=now)
            return codes_page(request, done.recovery_codes, onward)
        form.add_error("code", WRONG_CODE)
    shown = {"picture": second_factor.picture_of(secret, user), "secret": in_groups(secret)}
    context = about_login(request) | shown | {"form": form, "next": onward}
    return render(request, "dashboard/second_factor_set_up.html", context)


@require_POST
@step_up.fresh
def renew(request: HttpRequest) -> HttpResponse:
    """Make new recovery codes and show them, once."""
    factor = second_factor.of(request.user)
    if factor is None:
        return redirect("seller-second-factor")
    codes = second_factor.renew_recovery_codes(factor, now=timezone.now())
    return codes_page(request, codes, step_up.next_path(request, otherwise="seller-second-factor"))


@require_POST
@step_up.fresh
def switch_off(request: HttpRequest) -> HttpResponse:
    """Take the second factor off the login."""
    user, now = person(request), timezone.now()
    second_factor.switch_off(user, now=now)
    step_up.confirm(request, factor=None, now=now)
    return redirect("seller-second-factor")


def codes_page(request: HttpRequest, codes: list[str], onward: str) -> HttpResponse:
    return render(request, "dashboard/second_factor_codes.html", about_login(request) | {"codes": codes, "next": onward})


def about_login(request: HttpRequest) -> dict[str, Any]:
    """Return what the shell of every page about the login shows: the way around, for who acts for a seller."""
    return {"desk": views.desk_of(request), "here": "login"}


def secret_of(request: HttpRequest, user: User) -> tuple[str, str]:
    """Return the secret that this session is setting up, sealed and open; a new one if there is none yet."""
    sealed: str = request.session.get(SETTING_UP, "")
    try:
        return sealed, second_factor.secret_in(sealed, user)
    except CannotOpen:  # there is none yet, or somebody else was logged in here before
        sealed = request.session[SETTING_UP] = second_factor.new_sealed_secret(user)
    return sealed, second_factor.secret_in(sealed, user)


def in_groups(secret: str) -> str:
    return " ".join(secret[start : start + 4] for start in range(0, len(secret), 4))


def person(request: HttpRequest) -> User:
    """Return whoever is logged in, for views behind a login."""
    return cast(User, request.user)


def posted(request: HttpRequest) -> QueryDict | None:
    return request.POST if request.method == "POST" else None

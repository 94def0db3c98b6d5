"""Outgoing webhooks in the admin: endpoints with how they stand, deliveries with every try, and what may be done by hand.

A secret is on the page that answers its making, once, and nowhere else: not in a message, a log or a cookie.
"""

from collections.abc import Iterable
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from ledger import clock
from ledger.admin import NOTHING, ROWS_ON_A_PAGE, LookOnly, Rows, link, number_in, reference_of, time_column, whole_id
from ledger.errors import DomainError
from ledger.templatetags.written import moment
from ledger.titles import Entitled
from wallet.models import DeliveryAttempt, OutboxMessage, WebhookDelivery, WebhookEndpoint
from wallet.notifications import addresses, endpoints
from wallet.notifications.endpoints import EndpointDisabled


class EndpointForm(forms.ModelForm):  # type: ignore[type-arg]
    """An endpoint to add; its topics are written one a line."""

    url = forms.CharField(
        label=_("Address"), max_length=addresses.LONGEST_URL, widget=forms.URLInput, help_text=_("https, on the public internet")
    )
    topics = forms.CharField(
        label=_("Topics"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=_("One a line, such as payment.paid or payment_order.*; none for all"),
    )

    class Meta:
        model = WebhookEndpoint
        fields = ("shop", "url", "description", "topics")

    def clean_topics(self) -> list[str]:
        topics: list[str] = self.cleaned_data["topics"].split()
        refuse_as_a_form_does(lambda: endpoints.require_topics(topics))
        return topics

    def clean_url(self) -> str:
        url: str = self.cleaned_data["url"]
        refuse_as_a_form_does(lambda: addresses.checked(url))
        if shop := self.cleaned_data.get("shop"):
            refuse_as_a_form_does(lambda: endpoints.require_room(shop, url))
        return url


def refuse_as_a_form_does(check: Any) -> None:
    try:
        check()
    except DomainError as refusal:
        raise ValidationError(refusal.detail) from refusal


class EnabledFilter(admin.SimpleListFilter):
    title = _("state")
    parameter_name = "enabled"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return [("yes", _("Enabled")), ("no", _("Disabled"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(is_enabled=self.value() == "yes") if self.value() in ("yes", "no") else queryset


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(Entitled, admin.ModelAdmin):  # type: ignore[type-arg]
    form = EndpointForm
    list_display = (
        "url",
        "shop",
        "wanted",
        "state",
        time_column("failing_since", _("failing since")),
        time_column("created_at", _("added")),
    )
    list_select_related = ("shop",)
    list_filter = ("shop", EnabledFilter)
    list_per_page = ROWS_ON_A_PAGE
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    search_fields = ("public_id__exact", "url__startswith")
    ordering = ("-pk",)
    fields: ClassVar[Any] = (
        "public_id",
        "shop",
        "url",
        "description",
        "wanted",
        "state",
        time_column("failing_since", _("failing since")),
        time_column("created_at", _("added")),
        "deliveries",
    )
    actions = ("enable", "disable", "ping", "rotate")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: WebhookEndpoint | None = None) -> bool:
        return obj is None and super().has_change_permission(request)  # the list's actions; the shop itself changes the rest over REST

    def get_fields(self, request: HttpRequest, obj: WebhookEndpoint | None = None) -> Any:
        return self.fields if obj else EndpointForm.Meta.fields

    def get_readonly_fields(self, request: HttpRequest, obj: WebhookEndpoint | None = None) -> Any:
        return self.fields if obj else ()

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None) -> HttpResponse:
        one_way = {"show_save_and_add_another": False, "show_save_and_continue": False}
        return super().add_view(request, form_url, one_way | (extra_context or {}))

    def save_model(self, request: HttpRequest, obj: WebhookEndpoint, form: Any, change: bool) -> None:
        asked = form.cleaned_data
        made, secret = endpoints.open_endpoint(obj.shop, url=asked["url"], description=asked["description"], topics=asked["topics"])
        obj.__dict__ |= {"pk": made.pk, "id": made.pk, "public_id": made.public_id, "created_at": made.created_at, "secret": secret}

    def response_add(self, request: HttpRequest, obj: WebhookEndpoint, post_url_continue: str | None = None) -> HttpResponse:
        return self.show_once(request, obj, obj.__dict__.pop("secret"))

    def show_once(self, request: HttpRequest, endpoint: WebhookEndpoint, secret: str) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("New secret"),
            "endpoint": endpoint,
            "secret": secret,
            "opts": self.opts,
        }
        response = TemplateResponse(request, "admin/wallet/webhookendpoint/made.html", context)
        response["Cache-Control"] = "no-store"
        return response

    @admin.action(description=_("Enable: what waits is sent at once"), permissions=["change"])
    def enable(self, request: HttpRequest, chosen: QuerySet[WebhookEndpoint]) -> None:
        self.switch(request, chosen, is_enabled=True)

    @admin.action(description=_("Disable"), permissions=["change"])
    def disable(self, request: HttpRequest, chosen: QuerySet[WebhookEndpoint]) -> None:
        self.switch(request, chosen, is_enabled=False)

    def switch(self, request: HttpRequest, chosen: QuerySet[WebhookEndpoint], *, is_enabled: bool) -> None:
        for endpoint in chosen:
            endpoints.change(endpoint, {"is_enabled": is_enabled}, now=clock.now())
            self.log_change(request, endpoint, gettext("Enabled") if is_enabled else gettext("Disabled"))
        self.message_user(request, gettext("Done."), messages.SUCCESS)

    @admin.action(description=_("Send a ping"), permissions=["change"])
    def ping(self, request: HttpRequest, chosen: QuerySet[WebhookEndpoint]) -> None:
        for endpoint in chosen:
            try:
                endpoints.ping(endpoint, now=clock.now())
            except EndpointDisabled as refusal:
                self.message_user(request, refusal.detail, messages.ERROR)
            else:
                self.message_user(request, gettext("A ping is on its way to %s.") % endpoint, messages.SUCCESS)

    @admin.action(description=_("Change the secret; the old one stays valid for 24 hours"), permissions=["change"])
    def rotate(self, request: HttpRequest, chosen: QuerySet[WebhookEndpoint]) -> HttpResponse | None:
        endpoint, *others = chosen
        if others:
            self.message_user(request, gettext("Choose one endpoint: its new secret is shown once."), messages.ERROR)
            return None
        secret = endpoints.rotate(endpoint, now=clock.now())
        self.log_change(request, endpoint, gettext("Secret changed"))
        return self.show_once(request, endpoint, secret)

    @admin.display(description=_("topics"))
    def wanted(self, endpoint: WebhookEndpoint) -> str:
        return ", ".join(endpoint.topics) or gettext("all")

    @admin.display(description=_("deliveries"))
    def deliveries(self, endpoint: WebhookEndpoint) -> SafeString:
        rows = reverse("admin:wallet_webhookdelivery_changelist")
        return format_html('<a href="{}?q={}">{}</a>', rows, endpoint.public_id, gettext("All deliveries to this endpoint"))

    @admin.display(description=_("state"))
    def state(self, endpoint: WebhookEndpoint) -> str:
        if endpoint.is_enabled:
            return gettext("enabled")
        said = endpoint.get_disabled_reason_display()
        return format_html("{} {}: {}", gettext("disabled"), time_column("disabled_at", "")(endpoint), said)


class AttemptRows(Rows):
    model = DeliveryAttempt
    fields = readonly_fields = ("number", time_column("at", _("time")), "duration_ms", "status", "error")


def waits_for_endpoint(delivery: WebhookDelivery) -> bool:
    """Is it still to be sent, but not before somebody enables its endpoint?"""
    return delivery.status == WebhookDelivery.Status.PENDING and not delivery.endpoint.is_enabled


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(LookOnly):
    list_display = (
        whole_id,
        "topic",
        "about",
        "endpoint_link",
        "standing",
        "tries",
        "answer",
        "next_try",
        time_column("delivered_at", _("delivered")),
    )
    list_select_related = ("message", "endpoint")
    list_filter = ("status", "endpoint")
    search_help_text = _("A topic such as payment.paid, the id of an event (evt_…), of an endpoint (we_…), or of a delivery (whd_12)")
    fields = (
        whole_id,
        "event_link",
        "topic",
        "about",
        "endpoint_link",
        "standing",
        "tries",
        "answer",
        "next_try",
        time_column("delivered_at", _("delivered")),
    )
    readonly_fields = fields
    inlines = (AttemptRows,)
    actions = ("send_again",)  # type: ignore[assignment]

    def sought(self, term: str) -> Q:
        if term.startswith("whd_"):
            return Q(pk=number_in(term))
        return Q(message__public_id=term) | Q(message__topic=term) | Q(endpoint__public_id=term)

    def has_operate_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("wallet.change_webhookdelivery")

    @admin.action(description=_("Send again"), permissions=["operate"])
    def send_again(self, request: HttpRequest, chosen: QuerySet[WebhookDelivery]) -> None:
        found = list(chosen.select_related("message", "endpoint"))
        for delivery in found:
            endpoints.resend_to(delivery.endpoint, delivery.message, now=clock.now())
        done = ngettext("%(count)s delivery is due again.", "%(count)s deliveries are due again.", len(found))
        self.message_user(request, done % {"count": len(found)}, messages.SUCCESS)

    @admin.display(description=_("status"))
    def standing(self, delivery: WebhookDelivery) -> Any:
        return _("Waits: the endpoint is disabled") if waits_for_endpoint(delivery) else delivery.get_status_display()

    @admin.display(description=_("next try"))
    def next_try(self, delivery: WebhookDelivery) -> Any:
        if waits_for_endpoint(delivery):
            return _("when the endpoint is enabled")
        return moment(delivery.next_attempt_at) if delivery.next_attempt_at else NOTHING

    @admin.display(description=_("topic"))
    def topic(self, delivery: WebhookDelivery) -> str:
        return delivery.message.topic

    @admin.display(description=_("about"))
    def about(self, delivery: WebhookDelivery) -> SafeString:
        return reference_of(delivery.message.about)

    @admin.display(description=_("event"))
    def event_link(self, delivery: WebhookDelivery) -> SafeString | str:
        return link(OutboxMessage, delivery.message_id, delivery.message.public_id)

    @admin.display(description=_("endpoint"))
    def endpoint_link(self, delivery: WebhookDelivery) -> SafeString | str:
        return link(WebhookEndpoint, delivery.endpoint_id, delivery.endpoint)

    @admin.display(description=_("last answer"))
    def answer(self, delivery: WebhookDelivery) -> str:
        return " ".join(str(part) for part in (delivery.last_status, delivery.last_error) if part) or NOTHING

"""Every address of the REST API, in one table.  The apps bring the views; here they get what all of them share: a request id, headers,
English errors, and, for what moves money, the Idempotency-Key.
"""

from collections.abc import Callable
from typing import Any

from django.http import Http404
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path, re_path, register_converter
from django.utils import translation
from rest_framework.exceptions import APIException
from rest_framework.request import Request

from config.api import documents
from config.api.idempotency import once
from config.api.schema import ApiSchema
from ledger import api as ledger
from ledger.endpoint import Endpoint
from ledger.ids import new_id
from ledger.wire import forbidden_in
from payments import api as payments
from payouts import api as payouts
from payouts import bank_account_api as bank_accounts
from payouts import conversion_api as conversions
from payouts import vault
from reconciliation import api as reconciliation
from wallet import api as wallet
from wallet import gift_card_api as gift_cards
from wallet import rates_api as rates
from wallet import statement_api as statements
from wallet import webhook_api as webhooks

View = Callable[..., HttpResponseBase]


class AsWritten:
    """An id that is passed on as it is written; what does not look like one is no address at all."""

    def to_python(self, value: str) -> str:
        return value

    def to_url(self, value: str) -> str:
        return value


class PaymentId(AsWritten):
    regex = "pay_[0-9a-f]{32}"


class OrderId(AsWritten):
    regex = "ord_[0-9a-f]{32}"


class RefundId(AsWritten):
    regex = "re_[0-9a-f]{32}"


class CancellationId(AsWritten):
    regex = "can_[0-9a-f]{32}"


class DisputeId(AsWritten):
    regex = "dsp_[0-9a-f]{32}"


class LateChargeId(AsWritten):
    regex = "late_[0-9a-f]{32}"


class PayoutId(AsWritten):
    regex = "po_[0-9a-f]{32}"


class ConversionId(AsWritten):
    regex = "cnv_[0-9a-f]{32}"


class SellerId(AsWritten):
    regex = "sel_[0-9a-f]{32}"


class GiftCardId(AsWritten):
    regex = "gc_[0-9a-f]{32}"


class BuyerReference(AsWritten):
    """A shop's own word for a buyer: any text, slashes too, without characters that cannot be seen."""

    regex = ".{1,120}"

    def to_python(self, value: str) -> str:
        reference = value.strip()
        if not reference or forbidden_in(reference):
            raise ValueError("no reference")
        return reference


class Currency(AsWritten):
    """Three letters, also those of no currency: the view says so."""

    regex = "[A-Za-z]{3}"


class AccountCode(AsWritten):
    """A code of the chart, such as psp_receivable:sandbox."""

    regex = "[a-z_]{1,40}(?::[A-Za-z0-9_-]{1,60})?"


class Period(AsWritten):
    """A month."""

    regex = "[0-9]{4}-[0-9]{2}"


class InvoiceName(AsWritten):
    """An invoice's number or id."""

    regex = "(?:(?:INV|CN)-[0-9]{4}-[0-9]{6,9}|inv_[0-9a-f]{32})"


class EventId(AsWritten):
    regex = "evt_[0-9a-f]{32}"


class EndpointId(AsWritten):
    regex = "we_[0-9a-f]{32}"


class SettlementFileId(AsWritten):
    regex = "sf_[0-9a-f]{32}"


class EntryId:
    """je_ and a number."""

    regex = "je_[0-9]{1,18}"

    def to_python(self, value: str) -> int:
        return int(value.removeprefix("je_"))

    def to_url(self, value: int) -> str:
        return f"je_{value}"


register_converter(PaymentId, "payment_id")
register_converter(OrderId, "order_id")
register_converter(RefundId, "refund_id")
register_converter(CancellationId, "cancellation_id")
register_converter(DisputeId, "dispute_id")
register_converter(LateChargeId, "late_charge_id")
register_converter(PayoutId, "payout_id")
register_converter(ConversionId, "conversion_id")
register_converter(SellerId, "seller_id")
register_converter(GiftCardId, "gift_card_id")
register_converter(BuyerReference, "buyer_reference")
register_converter(Currency, "currency")
register_converter(Period, "period")
register_converter(InvoiceName, "invoice_name")
register_converter(EventId, "event_id")
register_converter(EndpointId, "endpoint_id")
register_converter(SettlementFileId, "settlement_file_id")
register_converter(EntryId, "entry_id")
register_converter(AccountCode, "account_code")


class LengthRequired(APIException):
    status_code = 411
    default_code = "length_required"
    default_detail = "The body was sent in chunks. Send it with its Content-Length."


class Served(Endpoint):
    """What every endpoint has in common once it is served."""

    schema = ApiSchema()

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        with translation.override("en"):
            return super().dispatch(request, *args, **kwargs)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if "HTTP_TRANSFER_ENCODING" in request.META and not request.META.get("CONTENT_LENGTH"):
            raise LengthRequired

    def initialize_request(self, request: Any, *args: Any, **kwargs: Any) -> Request:
        ours = super().initialize_request(request, *args, **kwargs)
        ours.request_id = new_id("req")  # type: ignore[attr-defined]
        return ours

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        response["Request-Id"] = request.request_id  # type: ignore[attr-defined]
        response["Cache-Control"] = "no-store"
        if rate := getattr(request, "rate_limit", None):
            for header, value in zip(("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"), rate, strict=True):
                response[header] = str(value)
        return response


class NoSuchAddress(Endpoint):
    """Every address under /v1/ that is none: the caller's key is looked at first, as everywhere."""

    def locate(self, request: Request, **kwargs: Any) -> None:
        raise Http404


def serve(view: type[Endpoint], **methods: Any) -> View:
    """Give the view what every endpoint has."""
    served: type[Served] = type(view.__name__, (Served, view), {"__module__": view.__module__, "__doc__": view.__doc__, **methods})
    return served.as_view()


def money(view: Any) -> View:
    """Serve a view whose POST moves money, or makes something that money will hang on: it needs an Idempotency-Key."""
    return serve(view, post=once(view.post), idempotency_key="required")


def keyed(view: Any) -> View:
    """Serve a view whose POST takes an Idempotency-Key and can do without."""
    return serve(view, post=once(view.post, key_is_required=False), idempotency_key="optional")


def private(view: Any) -> View:
    """Serve a view whose PUT takes what nobody may find out, and needs an Idempotency-Key: of the request a keyed digest is kept."""
    return serve(view, put=once(view.put, digest=vault.fingerprint), idempotency_key="required")


V1: list[URLPattern] = [
    path("payments", money(payments.Payments)),
    path("payments/event", money(payments.Payments)),
    path("payments/<payment_id:payment>", serve(payments.OnePayment)),
    path("payments/<payment_id:payment>/cancel", money(payments.PaymentCancellation)),
    path("orders/<order_id:order>", money(payments.OneOrder)),
    path("orders/<order_id:order>/refunds", money(payments.OrderRefunds)),
    path("orders/<order_id:order>/cancel", money(payments.OrderCancellation)),
    path("orders/<order_id:order>/deliver", money(payments.OrderDelivery)),
    path("orders/<order_id:order>/stop_retries", money(payments.StoppedRetries)),
    path("refunds", serve(payments.Refunds)),
    path("refunds/<refund_id:refund>", serve(payments.OneRefund)),
    path("cancellations/<cancellation_id:cancellation>", serve(payments.OneCancellation)),
    path("disputes", serve(payments.Disputes)),
    path("disputes/<dispute_id:dispute>", serve(payments.OneDispute)),
    path("late_charges", serve(payments.LateCharges)),
    path("late_charges/<late_charge_id:late_charge>", serve(payments.OneLateCharge)),
    path("sellers", keyed(wallet.Sellers)),
    path("sellers/<seller_id:seller>", serve(wallet.OneSeller)),
    path("sellers/<seller_id:seller>/bank_accounts", serve(bank_accounts.SellerBankAccounts)),
    path("sellers/<seller_id:seller>/bank_accounts/<currency:currency>", private(bank_accounts.SellerBankAccount)),
    path("sellers/<seller_id:seller>/payable", serve(payouts.Payable)),
    path("payouts", money(payouts.Payouts)),
    path("payouts/<payout_id:payout>", serve(payouts.OnePayout)),
    path("payouts/<payout_id:payout>/cancel", money(payouts.PayoutCancellation)),
    path("payouts/<payout_id:payout>/entries", serve(payouts.PayoutEntries)),
    path("sellers/<seller_id:seller>/statements", serve(statements.Statements)),
    path("sellers/<seller_id:seller>/statements/<period:period>", serve(statements.OneStatement)),
    path("sellers/<seller_id:seller>/invoices", serve(statements.FeeInvoices)),
    path("invoices", serve(statements.AllFeeInvoices)),
    path("invoices/<invoice_name:invoice>", serve(statements.OneFeeInvoice)),
    path("wallet", money(wallet.Wallets)),
    path("wallet/<seller_id:seller>/entries", serve(wallet.WalletEntries)),
    path("wallet/<seller_id:seller>/conversions", money(conversions.Conversions)),
    path("wallet/<seller_id:seller>/conversions/quote", serve(conversions.ConversionQuote)),
    path("conversions/<conversion_id:conversion>", serve(conversions.OneConversion)),
    path("rates", serve(rates.Rates)),
    path("gift_cards", money(payments.GiftCards)),
    path("gift_cards/balance", serve(gift_cards.GiftCardBalance)),
    path("gift_cards/<gift_card_id:gift_card>", serve(gift_cards.OneGiftCard)),
    path("gift_cards/<gift_card_id:gift_card>/code", serve(gift_cards.GiftCardCode)),
    path("gift_cards/<gift_card_id:gift_card>/entries", serve(gift_cards.GiftCardEntries)),
    path("buyers/<buyer_reference:buyer>/wallet", serve(gift_cards.BuyerWallet)),
    path("buyers/<buyer_reference:buyer>/wallet/entries", serve(gift_cards.BuyerWalletEntries)),
    path("buyers/<buyer_reference:buyer>/wallet/top_ups", money(payments.TopUps)),
    path("events", serve(wallet.Events)),
    path("events/<event_id:event>", serve(wallet.OneEvent)),
    path("events/<event_id:event>/resend", keyed(webhooks.Resend)),
    path("webhook_endpoints", serve(webhooks.Endpoints)),
    path("webhook_endpoints/<endpoint_id:endpoint>", serve(webhooks.OneEndpoint)),
    path("webhook_endpoints/<endpoint_id:endpoint>/rotate_secret", serve(webhooks.RotateSecret)),
    path("webhook_endpoints/<endpoint_id:endpoint>/deliveries", serve(webhooks.Deliveries)),
    path("webhook_endpoints/<endpoint_id:endpoint>/test", keyed(webhooks.Ping)),
    path("ledger", money(ledger.Ledger)),
    path("ledger/accounts", serve(ledger.Accounts)),
    path("ledger/accounts/<account_code:account>/balance", serve(ledger.Balance)),
    path("ledger/accounts/<account_code:account>/statement", serve(ledger.Statement)),
    path("ledger/entries", serve(ledger.Entries)),
    path("ledger/entries/<entry_id:entry>", serve(ledger.Entry)),
    path("settlement_files", serve(reconciliation.SettlementFiles)),
    path("settlement_files/<settlement_file_id:settlement_file>", serve(reconciliation.OneSettlementFile)),
]

urlpatterns = [
    *V1,
    path("openapi.json", documents.openapi, name="openapi"),
    re_path("", serve(NoSuchAddress)),
]

"""Errors as RFC 9457 problem details, and the one table that says which code has which HTTP status.

Every DomainError has a line here (a test looks), and so has every code that the wire itself gives.  /docs shows the table.
"""

import json
import logging
import math
from collections.abc import Iterator, Mapping
from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.views import defaults
from rest_framework import exceptions
from rest_framework.exceptions import APIException, ErrorDetail, ValidationError
from rest_framework.response import Response

from config.api.parsers import FieldPath, below
from ledger.errors import DomainError
from ledger.ids import new_id

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
MOST_SHOWN = 50

# code: (status, what it means and what to do)
PROBLEMS: dict[str, tuple[int, str]] = {
    # The request as such
    "bad_request": (400, "The request cannot be read: its host, its address or its headers."),
    "not_json": (400, "The body is not JSON. The detail says where."),
    "too_deep": (400, "The body is nested deeper than anything we ask for."),
    "duplicate_key": (400, "An object has the same key twice."),
    "forbidden_character": (400, "A string holds a control character, a sign that reorders text, or half a character."),
    "required": (400, "A field is missing, or the whole body."),
    "null": (400, "A field is null. Leave it out instead."),
    "blank": (400, "A field is empty."),
    "unknown_field": (400, "There is no such field or parameter. Nothing is ignored, so that a typing mistake is noticed."),
    "given_twice": (400, "A query parameter is given twice."),
    "wrong_type": (400, "A field is of another type than we ask for."),
    "must_be_a_string": (400, "An amount is a JSON number. Send a string: a number may lose digits on its way."),
    "too_long": (400, "A string or a list is longer than it may be."),
    "too_short": (400, "A string is shorter than it may be."),
    "too_many": (400, "There are more entries than there may be."),
    "too_large": (400, "A number is larger than it may be."),
    "too_small": (400, "A number is smaller than it may be."),
    "empty": (400, "A list is empty."),
    "invalid_choice": (400, "A field is none of the words we know. The detail lists them."),
    "not_an_email": (400, "This is not an e-mail address."),
    "unknown_country": (400, "This is not a country. Send two capital letters of ISO 3166."),
    "not_a_locale": (400, "This is not a language tag of BCP 47."),
    "metadata_name": (400, "A name in metadata has 1 to 40 visible characters."),
    "wrong_delivery_time": (400, "The delivery lies in the future, or before the payment, or has no time zone. The detail says which."),
    "out_of_range": (400, "A moment lies outside of what can be booked."),
    "not_later": (400, "The end of a time is not later than its beginning."),
    "invalid_cursor": (400, "The cursor is not one of ours. Begin again without it."),
    "invalid_idempotency_key": (400, "The Idempotency-Key is missing, or is not 1 to 255 printable ASCII characters."),
    "api_key_missing": (401, "There is no API key."),
    "api_key_invalid": (401, "The API key is not known."),
    "api_key_revoked": (401, "The API key was revoked."),
    "scope_missing": (403, "The API key lacks the scope that the detail names."),
    "not_found": (404, "There is no such thing in your shop."),
    "method_not_allowed": (405, "This address does not know the method. The Allow header lists those it knows."),
    "not_acceptable": (406, "We answer in application/json only."),
    "length_required": (411, "The body was sent in chunks. Send it with its Content-Length."),
    "body_too_large": (413, "A body is one megabyte at most."),
    "unsupported_media_type": (415, "A body is sent as application/json, in UTF-8."),
    "throttled": (429, "Too many requests with this API key. Wait for as long as Retry-After says."),
    "internal_error": (500, "Our mistake. Nothing is known to be wrong with the request; ask us with the request id."),
    "temporarily_unavailable": (503, "The database cannot be reached right now. Ask again: with the same key, nothing happens twice."),
    # Idempotency
    "idempotency_key_in_flight": (409, "The first request with this key is still being worked on. Ask again."),
    "idempotency_key_reused": (422, "The key was used for another request. Use a new key for each."),
    # Money
    "unknown_currency": (400, "This is not a currency in use. Send three letters of ISO 4217."),
    "not_an_amount": (400, "The amount is not plain decimal digits."),
    "finer_than_minor_unit": (400, "The amount has more decimals than its currency counts in. Nothing is rounded for you."),
    "amount_not_positive": (400, "The amount is zero or less."),
    "amount_too_large": (400, "The amount, or the sum of the amounts, is too large."),
    # Payments
    "invalid_checkout": (400, "The checkout has no orders or too many, or an amount that cannot be."),
    "mixed_currencies": (400, "All amounts of a checkout are in one currency."),
    "currency_withdrawn": (400, "The currency is no longer money: nothing new is paid in it. The detail says what took its place."),
    "unknown_seller": (400, "There is no such seller in your shop."),
    "return_url_not_allowed": (400, "Buyers may be sent back to your shop's own origins only."),
    "checkout_conflict": (409, "The checkout_id was used before, for other terms. The field says which differ."),
    "order_reference_used": (409, "The order reference was used before. Each is used once."),
    "checkout_expired": (409, "The payment can no longer be paid. Open a new one."),
    "nothing_to_pay": (409, "Nothing of the payment is left to pay."),
    "order_cancelled": (409, "The order is cancelled, or about to be: it cannot be paid any more."),
    "amount_changed": (409, "The buyer confirmed another amount than is to pay now."),
    "too_many_tries": (409, "The payment was tried too often. Open a new one."),
    "checkout_moved": (409, "The payment was confirmed meanwhile. Read it again."),
    "unfit_logo": (400, "The file is no picture that can be a logo."),
    "no_receipt": (409, "Nothing of the payment is paid, so that there is no receipt of it."),
    "card_not_confirmed": (409, "The PSP says that the buyer's card is not confirmed."),
    "not_refundable": (409, "The order is not paid, less of it is left to refund, or a dispute is open. The detail says which."),
    "refund_too_late": (409, "The way in which the order was paid gives nothing back any more. The detail names the last day."),
    "refund_conflict": (409, "The reference or key of this refund was used before, for other terms. The field says which differ."),
    "not_deliverable": (409, "The order is not paid, or was given back in full."),
    "hold_refused": (409, "The hold has no reason, ends in the past, or is over already. The detail says which."),
    "not_cancellable": (409, "Nothing of the order is left to cancel, or a dispute holds it."),
    "already_decided": (409, "It was decided or finished meanwhile. Read it again."),
    "not_to_rescue": (409, "It is not tried again any more, or only the PSP can tell how it ends. The detail says which."),
    "reason_missing": (400, "The decision needs a reason."),
    "result_refused": (400, "The result that the buyer brought is not ours, not whole, or too old. Read the payment itself."),
    "not_bookable": (409, "What the payment service provider says does not fit what is booked."),
    "unknown_psp": (409, "The payment service provider is not configured."),
    "unknown_method": (400, "There is no such way to pay. The detail names those there are."),
    "unknown_saved_card": (404, "The buyer has no such saved card."),
    "wallet_not_offered": (409, "There is no money in the buyer's wallet that can be used for this payment."),
    "too_many_gift_cards": (409, "The payment uses as many gift cards as it may."),
    "method_not_possible": (409, "This amount, currency or country cannot be paid in this way. Choose another."),
    "illegal_transition": (409, "The order cannot go from its status to the one asked for."),
    # Payouts
    "not_payable": (409, "Nothing, or less than you ask for, can be paid out. The detail says how much can."),
    "no_bank_account": (409, "The seller has no bank account for the currency."),
    "bank_account_not_verified": (409, "The seller's bank account is not verified yet."),
    "bank_account_on_hold": (409, "The seller's bank account was changed lately. The detail says from when on it is paid out to."),
    "seller_on_hold": (409, "Payouts to the seller are on hold. The detail says until when."),
    "payouts_paused": (409, "Nothing is paid out to anybody at present: figures are being checked. Ask again later."),
    "lift_refused": (409, "Payouts go on only once a look found nothing, and with a reason. The detail says which is missing."),
    "payout_conflict": (409, "The reference or key of this payout was used before, for other terms. The field says which differ."),
    "maker_may_not_approve": (409, "Whoever asked for a payout, made a run, or proposed something, does not decide it."),
    "unknown_payout_provider": (409, "Nobody is configured who would pay out."),
    # Wallets
    "nothing_owed": (409, "The seller owes less than this: what is pending and held back counts for it."),
    "unknown_wallet": (409, "The seller has no wallet in this currency."),
    "seller_reference_used": (409, "The seller reference is another seller's."),
    "unknown_event": (400, "There is no such event in your shop."),
    "unknown_scope": (400, "There is no such scope."),
    # Currencies
    "no_rate": (409, "There is no exchange rate for the currency. The platform sets one, or nothing is converted."),
    "stale_rate": (409, "The last exchange rate for the currency is too old. Ask again once there is a new one."),
    "same_currency": (400, "Both currencies are the same."),
    "not_convertible": (409, "Less than you ask for can be converted, or so little that nothing would come out. The detail says which."),
    "conversion_conflict": (409, "The key of this conversion was used before, for other terms. The field says which differ."),
    "quote_changed": (409, "By the rate of now the conversion gives another amount than you expect. The detail says which."),
    "unreadable_rates": (400, "The file is none of the European Central Bank's reference rates. The detail says the line."),
    "rate_refused": (409, "A rate lies ahead, was given otherwise before, or is too far from the one before it. The detail says which."),
    # Bank accounts
    "bank_details_refused": (400, "These cannot be the details of a bank account. The detail says what to do; it repeats no number."),
    "unknown_bank_account": (400, "There is no such bank account."),
    "bank_account_replaced": (409, "The bank account of the payout was replaced since it was asked for. Reject it, and ask anew."),
    "maker_may_not_verify": (409, "Who gave the details of a bank account cannot verify them."),
    # Statements and invoices
    "unknown_period": (400, "The period is not a month. Write one such as 2026-10."),
    "period_not_over": (409, "The period is not over yet. Ask again some minutes after it is."),
    "no_statement": (404, "There is no statement of this month: nothing had moved in the currency by then, or the month lies ahead."),
    "invoice_not_correctable": (409, "The correction has no reason, or the document takes another back, or was taken back itself."),
    # Closing a month
    "month_not_ready": (409, "Something that a month must fulfil before it is closed does not hold. The detail says what."),
    "not_the_next_month": (409, "Months are closed one after the other, once they are over."),
    "books_are_busy": (409, "The books are written to for long just now, or a month is closed. Try again in a minute."),
    # At the desks
    "approval_needed": (
        409,
        "It is more than one person, or one key, may do alone. Staff propose it in the admin, where a second one approves it.",
    ),
    "approval_expired": (409, "It waited for a second person for too long. Propose it anew."),
    "only_the_maker_withdraws": (409, "Only whoever proposed it takes it back. Others reject it."),
    "nothing_to_thaw": (409, "It is frozen otherwise than when this was proposed, or something else is left on it. The detail says which."),
    "not_possible": (409, "It was possible when the page was shown, and is not any more."),
    "not_for_a_bank_file": (409, "A transfer, or the account that pays, holds something that no bank would take."),
    "unreadable_answer": (400, "The file is no pain.002, or one that no bank would send."),
    "unknown_payment_file": (400, "The answer is about no payment file of ours."),
    "answer_does_not_fit": (409, "The answer is about a file of another size, or about one that never left."),
    "nothing_to_file": (409, "No payout waits for a file in this currency."),
    "no_account_to_pay_from": (409, "No account of ours, from which this currency is paid, is configured."),
    "cannot_make_file": (409, "The payment file cannot be made. The detail says why."),
    "file_conflict": (409, "The payment file was decided, fetched or answered before, or is not ready for that."),
    "second_factor_already_set_up": (409, "A second factor is set up already."),
    "maker_may_not_reset": (409, "Nobody resets a second factor for themselves."),
    # Gift cards and buyers' wallets
    "sold_or_granted": (400, "A gift card is either given away, with a reason, or sold. Send one of both."),
    "gift_card_conflict": (409, "The reference or key of this gift card was used before, for other terms. The field says which differ."),
    "unknown_gift_card": (400, "There is no gift card with this code. Wrong and unknown codes get the same answer."),
    "gift_card_expired": (409, "The gift card has expired. The detail says when."),
    "gift_card_empty": (409, "Nothing is left on the gift card, or it is not paid yet, or all of it is held by another payment."),
    "gift_card_frozen": (409, "The gift card cannot be used at present."),
    "gift_card_other_currency": (409, "The gift card is in another currency than the payment."),
    "too_many_codes_tried": (429, "Too many wrong codes were tried. Wait for as long as Retry-After says."),
    "takes_no_stored_value": (409, "A gift card or top-up cannot be paid with a gift card or from a wallet."),
    "stored_value_too_low": (409, "Less is left on the gift card or in the wallet than this takes."),
    # Webhooks
    "webhook_url_refused": (400, "The URL cannot be called: no https, no name that can be found, or not on the public internet."),
    "not_a_topic": (400, "This is no topic of an event, nor the beginning of topics with a star. The detail lists them."),
    "webhook_endpoint_exists": (409, "Another webhook endpoint of your shop has this URL."),
    "too_many_webhook_endpoints": (409, "Your shop has as many webhook endpoints as it may have."),
    "webhook_endpoint_disabled": (409, "The webhook endpoint is disabled. Enable it first."),
    "event_sent_nowhere": (409, "The event was sent to no endpoint. Name one."),
    "unknown_webhook_endpoint": (400, "There is no such webhook endpoint in your shop."),
    # The books
    "entry_does_not_balance": (400, "Debits and credits of the entry differ in a currency."),
    "unknown_account": (400, "There is no such account, or it is not open in this currency."),
    "suspense_account_refused": (400, "What stands in suspense is over mismatches and leaves it when one is resolved."),
    "wallet_account_refused": (400, "The account is part of a wallet and moves only together with it."),
    "reference_reserved": (400, "The reference looks like an id of ours."),
    "reference_already_posted": (409, "The reference was posted before, as another entry."),
    "statement_too_long": (400, "The statement would have too many lines. Ask for a shorter time."),
    # Files of PSPs and banks
    "unknown_source": (400, "Files are not taken from this PSP or bank. The detail says from whom."),
    "file_of_another_kind": (400, "Settlement files come from PSPs and statements from banks. The detail says what this is."),
    "file_empty": (400, "The file has no bytes."),
    "file_too_large": (413, "A file has 200 MB at most. Ask for it in parts."),
    "file_of_another_source": (409, "The same bytes were received before, as the file of another PSP or bank."),
    "file_not_refused": (409, "Only a refused file is read again."),
    "attachment_refused": (400, "The file cannot be attached. The detail says why."),
    "unknown_owner": (400, "A mismatch is looked into by somebody of the staff who may propose how it is resolved."),
}

# What Django REST framework calls them: what we call them.
OUR_WORD = {
    "invalid": "wrong_type",
    "not_a_list": "wrong_type",
    "not_a_dict": "wrong_type",
    "max_length": "too_long",
    "min_length": "too_short",
    "max_value": "too_large",
    "min_value": "too_small",
    "null_characters_not_allowed": "forbidden_character",
    "surrogate_characters_not_allowed": "forbidden_character",
    "parse_error": "not_json",
    "not_authenticated": "api_key_missing",
    "authentication_failed": "api_key_invalid",
    "permission_denied": "scope_missing",
}


def problem(error: Exception, context: Mapping[str, Any]) -> Response:
    """Answer any exception of an API view: REST framework's EXCEPTION_HANDLER."""
    request_id = getattr(context.get("request"), "request_id", "") or new_id("req")
    found, headers = list(complaints(error)), headers_of(error)
    if not found:
        if isinstance(error, (OperationalError, InterfaceError)):
            logger.warning("%s: the database: %s", request_id, error)
            found, headers = [("", "temporarily_unavailable", PROBLEMS["temporarily_unavailable"][1])], {"Retry-After": "1"}
        else:
            logger.exception("%s: an API view failed", request_id, exc_info=error)
            found = [("", "internal_error", PROBLEMS["internal_error"][1])]
    return Response(body(found, request_id=request_id), status=PROBLEMS[found[0][1]][0], headers=headers, content_type=MEDIA_TYPE)


def complaints(error: Exception) -> Iterator[tuple[str, str, str]]:
    """Yield (field, code, detail) for each thing that is wrong; nothing for an exception that nobody foresaw."""
    if isinstance(error, DomainError) and error.code in PROBLEMS:
        yield error.field, error.code, error.detail
    elif isinstance(error, ValidationError):
        yield from flattened(error.detail, path="")
    elif isinstance(error, (Http404, exceptions.NotFound)):
        yield "", "not_found", "There is no such thing in your shop, or no such address."
    elif isinstance(error, PermissionDenied):
        yield "", "scope_missing", "This is not allowed."
    elif isinstance(error, APIException):
        detail = error.detail if isinstance(error.detail, ErrorDetail) else ErrorDetail(str(error), code="internal_error")
        yield "", known_code(detail), str(detail)


def flattened(detail: Any, *, path: str) -> Iterator[tuple[str, str, str]]:
    """Yield what a serializer found, each under its path: payment_orders[1].amount.currency."""
    if isinstance(detail, ErrorDetail):
        yield path, known_code(detail), str(detail)
    elif isinstance(detail, dict):
        for name, inner in detail.items():
            yield from flattened(inner, path=step(path, name))
    else:
        for index, inner in enumerate(detail):
            yield from flattened(inner, path=path if isinstance(inner, ErrorDetail) else f"{path}[{index}]")


def step(path: str, name: str | int) -> str:
    if isinstance(name, int):
        return f"{path}[{name}]"
    if isinstance(name, FieldPath):
        return name
    return path if name in ("", "non_field_errors") else below(path, name)


def known_code(detail: ErrorDetail) -> str:
    code = OUR_WORD.get(detail.code or "", detail.code or "")
    return code if code in PROBLEMS else "wrong_type"


def body(found: list[tuple[str, str, str]], *, request_id: str) -> dict[str, Any]:
    field, code, detail = found[0]
    answer: dict[str, Any] = {
        "type": f"{settings.PUBLIC_URL}/docs#error-{code}",
        "title": code.replace("_", " ").capitalize().replace("Api ", "API "),
        "status": PROBLEMS[code][0],
        "detail": detail,
        "code": code,
    }
    if field:
        answer["field"] = field
    if len(found) > 1:
        answer["errors"] = [{"field": field, "code": code, "detail": detail} for field, code, detail in found[:MOST_SHOWN]]
    return answer | {"request_id": request_id}


def headers_of(error: Exception) -> dict[str, str]:
    headers = {}
    if isinstance(error, DomainError) and error.code == "idempotency_key_in_flight":
        headers["Retry-After"] = "1"
    if wait := getattr(error, "wait", None):
        headers["Retry-After"] = str(math.ceil(wait))
    if auth_header := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = auth_header
    return headers


# Django's own handlers (config/urls.py): what fails outside of any API view.


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return plain_problem("not_found") if asks_the_api(request) else defaults.page_not_found(request, exception)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return plain_problem("bad_request") if asks_the_api(request) else defaults.bad_request(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    return plain_problem("internal_error") if asks_the_api(request) else defaults.server_error(request)


def asks_the_api(request: HttpRequest) -> bool:
    return f"{request.path}/".startswith("/v1/")


def plain_problem(code: str) -> HttpResponse:
    status, meaning = PROBLEMS[code]
    answer = body([("", code, meaning)], request_id=new_id("req"))
    return HttpResponse(json.dumps(answer), status=status, content_type=MEDIA_TYPE)

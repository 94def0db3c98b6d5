"""The admin: everything about money can be found and looked at, and nothing of it can be changed by anybody."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import connection, models, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from ledger import approvals, entry_approvals
from ledger.admin import LookOnly
from ledger.models import Account, Approval, JournalEntry
from ledger.money import exact
from payments import cancellations, confirmation, dead_letters, disputes, intake, refunds, settlement
from payments.confirmation import Confirmed
from payments.models import (
    Cancellation,
    CheckoutSession,
    CircuitBreaker,
    DeadLetter,
    Dispute,
    DueOrder,
    FeeSchedule,
    LateCharge,
    PaymentEvent,
    PaymentOrder,
    PspAttempt,
    PspEvent,
    ReceiptMail,
    Refund,
    RetryPolicy,
    SavedCard,
)
from payments.psp.protocol import DisputeNotice
from payments.settlement import Capture
from tests import logins
from tests.factories import basket, draft, new_sellers, new_shop, stored_value_of
from wallet import api_keys, gift_cards, holds
from wallet.gift_cards import NewGiftCard
from wallet.models import (
    ApiKey,
    Buyer,
    Conversion,
    ExchangeRate,
    FeeInvoice,
    GiftCard,
    IdempotencyRecord,
    OutboxMessage,
    ReleaseTerms,
    SecondFactor,
    SecondFactorChange,
    Seller,
    SellerHold,
    Shop,
    StoredValue,
    TaxRate,
    Wallet,
    WalletEntry,
    WebhookDelivery,
    WebhookEndpoint,
)
from wallet.notifications import endpoints

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 21, 14, 5, tzinfo=UTC)
PASSWORD = "as-long-as-it-is-calm"
MONEY = [
    PaymentEvent, PaymentOrder, PspAttempt, PspEvent, Refund, DueOrder, JournalEntry, Account, Wallet, WalletEntry, OutboxMessage,
    IdempotencyRecord, Buyer, WebhookDelivery, Cancellation, Dispute, LateCharge, DeadLetter, CircuitBreaker, SecondFactor, SecondFactorChange,
    Approval, StoredValue, GiftCard, CheckoutSession, SavedCard, ReceiptMail,
]  # fmt: skip
KEPT = [Shop, Seller, ApiKey, FeeSchedule, ReleaseTerms, SellerHold, WebhookEndpoint, RetryPolicy]
ELSEWHERE = [FeeInvoice, TaxRate, Conversion, ExchangeRate]  # test_statements.py, test_exchange_rates.py
NO_TIERS = {f"tiers-{name}_FORMS": "0" for name in ("TOTAL", "INITIAL", "MIN_NUM", "MAX_NUM")}
SMALL = (Buyer, IdempotencyRecord, Account, Wallet, CircuitBreaker, SecondFactor, SecondFactorChange)


@pytest.fixture
def staff() -> Client:
    """Return a browser in which a superuser is logged in, who may do whatever anybody may."""
    cache.clear()
    browser = Client(headers={"accept-language": "en"})
    browser.force_login(User.objects.create_superuser("finance", password=PASSWORD))
    return browser


@pytest.fixture
def ada() -> Seller:
    return new_sellers(new_shop(), "Ada's Books")[0]


def sell(seller: Seller, *amounts: str) -> list[PaymentOrder]:
    """Let a buyer pay these orders of the seller, in one basket, by a card that is saved; the PSP tells of the first by webhook too."""
    event, _is_new = intake.open_event(seller.shop, basket([seller], *amounts), now=NOW)
    shown = {"brand": "visa", "last4": "4242", "exp_month": 3, "exp_year": 2031}
    card = SavedCard.objects.create(buyer=event.buyer, psp="sandbox", token=f"card_{event.pk}", **shown)
    session = CheckoutSession(event=event, psp="sandbox", session=f"cs_of_{event.pk}", method="card", saved_card=card, code_text="EMV-CODE")
    session.amount = event.amount
    session.save()
    ReceiptMail.objects.create(event=event, address="rosa.martin@example.com", noted_at=NOW, error="SMTPException")
    orders = confirmation.confirm(event.pk, Confirmed("cs_1", "tok_1", event.amount, "visa", "4242"), now=NOW)
    attempts = [PspAttempt.objects.create(order=order, number=1, psp="sandbox", psp_key=order.public_id) for order in orders]
    for order in orders:
        told = {"data": {"object": {"id": "ch_1", "key": order.public_id}}}
        PspEvent.objects.create(psp="sandbox", event_id=f"evt_{order.pk}", type="charge.succeeded", body=told, status="applied")
    settlement.settle(
        [Capture(a.order_id, a.pk, a.psp_key, f"ch_{a.pk}", order.amount, NOW) for order, a in zip(orders, attempts, strict=True)]
    )
    for order in orders:
        order.refresh_from_db()
    return orders


@pytest.fixture
def rows(ada: Seller) -> Callable[[type[models.Model]], Any]:
    """Fill every table, and return whatever row of a table."""
    [order, other] = sell(ada, "100.00", "20.00")
    refund = refunds.request_refund(order.pk, amount=exact("30.00", "EUR"), reason="Damaged", now=NOW)
    settlement.settle_refund(refund.pk, psp_reference="re_1", refunded_at=NOW)
    event, _is_new = intake.open_event(ada.shop, basket([ada], "5.00"), now=NOW)
    confirmation.confirm(event.pk, Confirmed("cs_2", "tok_2", event.amount), now=NOW)
    [charge] = PspAttempt.objects.filter(order__amount=20).values_list("psp_reference", flat=True)
    disputed, late = exact("20.00", "EUR"), LateCharge(order=order, psp="sandbox", psp_key="k", psp_reference="ch_late", charged_at=NOW)
    notice = DisputeNotice(
        "dp_1", other.public_id, other.public_id, charge, "open", disputed, exact("15.00", "EUR"), disputed * 0, "fraudulent", NOW, NOW, NOW
    )
    disputes.open_dispute(notice, psp="sandbox")
    late.amount, late.taken_back, late.journal_entry = exact("1.00", "EUR"), disputed * 0, JournalEntry.objects.all()[0]
    late.save()
    with transaction.atomic():
        dead_letters.bury(event.orders.get().pk, reason=dead_letters.UNKNOWN_TOO_LONG, detail="30 days")
    CircuitBreaker.objects.create(psp="sandbox", operation="charge", opened_at=NOW, open_until=NOW)
    RetryPolicy.objects.create(psp="sandbox", operation="charge", strategy="exponential_backoff")
    called_off, _is_new = intake.open_event(ada.shop, basket([ada], "6.00"), now=NOW)
    cancellations.cancel_event(called_off.pk, reason="Changed my mind", once="", requested_by="staff:finance", now=NOW)
    endpoint, _secret = endpoints.open_endpoint(ada.shop, url="http://127.0.0.1:9/webhooks")
    endpoints.ping(endpoint, now=NOW)
    IdempotencyRecord.objects.create(shop=ada.shop, route="POST /v1/payments", key="k-1", fingerprint="f", claimed_until=NOW, status=201)
    api_keys.issue(ada.shop, name="back end", scopes=["payments:read"], mode="test")
    schedule = FeeSchedule(shop=ada.shop, basis_points=500)
    schedule.fixed = exact("0.25", "EUR")
    schedule.save()
    ReleaseTerms.objects.create(shop=ada.shop)
    holds.place(ada.pk, reason="Under review", until=None, actor="staff:finance", now=NOW)
    logins.new_factor(User.objects.create_user("ada"))
    stored_value_of(ada.shop, "80.00", buyer=order.event.buyer)
    gift_cards.grant(ada.shop, NewGiftCard(exact("50.00", "EUR")), reason="A vase", by="staff:finance", now=NOW)
    approvals.propose(entry_approvals.proposal_of(draft("fee-1", memo="A fee"), evidence=""), actor="staff:ana", now=NOW)
    return lambda model: model._default_manager.order_by("pk").first()


def listed(model: type[models.Model]) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def page_of(row: models.Model) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])


def words(html: bytes) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html.decode().replace("\xa0", " "))).replace("&#x27;", "'")


# --- Looking --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [*MONEY, *KEPT])
def test_every_table_has_a_list_and_every_row_a_page(model: type[models.Model], staff: Client, rows: Callable[..., Any]) -> None:
    for path in (listed(model), page_of(rows(model))):
        answer = staff.get(path)
        assert answer.status_code == 200
        assert not re.search(rb"<style|\sstyle=|<script(?![^>]*\ssrc=)", answer.content)


@pytest.mark.parametrize("model", [model for model in MONEY if model not in SMALL])
def test_a_list_costs_the_same_however_long_and_never_counts_the_table(
    model: type[models.Model], staff: Client, ada: Seller, rows: Callable[..., Any]
) -> None:
    with CaptureQueriesContext(connection) as few:
        staff.get(listed(model))
    sell(ada, *["7.00"] * 12)
    with CaptureQueriesContext(connection) as many:
        staff.get(listed(model))
    assert len(few) == len(many)
    assert not [query for query in many.captured_queries if "COUNT(" in query["sql"]]


def test_a_list_ends_at_a_thousand_and_says_so(staff: Client, ada: Seller) -> None:
    Buyer.objects.bulk_create(Buyer(shop=ada.shop, reference=f"buyer-{number}") for number in range(1010))
    answer = staff.get(listed(Buyer), {"p": 20})
    assert "The first 1,000. Search or filter to see others." in words(answer.content)
    assert answer.context["cl"].result_count == 1000


@pytest.mark.parametrize("sought", ["own id", "reference", "checkout id", "payment id", "journal entry", "seller"])
def test_an_order_is_found_by_whatever_names_it(sought: str, staff: Client, ada: Seller, rows: Callable[..., Any]) -> None:
    order = PaymentOrder.objects.exclude(journal_entry=None).order_by("pk")[0]
    PaymentOrder.objects.filter(pk=order.pk).update(reference="NW-1")
    term = {
        "own id": order.public_id,
        "reference": "NW-1",
        "checkout id": order.event.checkout_id,
        "payment id": order.event.public_id,
        "journal entry": f"je_{order.journal_entry_id}",
        "seller": "ada's",
    }[sought]
    assert order in staff.get(listed(PaymentOrder), {"q": term}).context["cl"].result_list
    assert not staff.get(listed(PaymentOrder), {"q": f"{term}-not"}).context["cl"].result_list


def test_everything_else_is_found_by_its_id(staff: Client, ada: Seller, rows: Callable[..., Any]) -> None:
    for model, term in [
        (PaymentEvent, PaymentOrder.objects.all()[0].public_id),
        (PspAttempt, PspAttempt.objects.all()[0].psp_key),
        (PspEvent, PspEvent.objects.all()[0].event_id),
        (Refund, Refund.objects.get().public_id),
        (JournalEntry, Refund.objects.get().public_id),
        (Dispute, Dispute.objects.get().public_id),
        (Dispute, "dp_1"),
        (Cancellation, Cancellation.objects.get().public_id),
        (LateCharge, "ch_late"),
        (DeadLetter, DeadLetter.objects.get().order.public_id),
        (CircuitBreaker, "sandbox"),
        (WalletEntry, f"wen_{WalletEntry.objects.all()[0].pk}"),
        (Wallet, ada.public_id),
        (OutboxMessage, OutboxMessage.objects.all()[0].public_id),
        (OutboxMessage, Refund.objects.get().public_id),
        (Account, "seller_pending"),
        (Buyer, "rosa"),
        (IdempotencyRecord, "k-1"),
        (DueOrder, DueOrder.objects.get().psp_key),
        (CheckoutSession, CheckoutSession.objects.all()[0].session),
        (CheckoutSession, CheckoutSession.objects.all()[0].event.checkout_id),
        (SavedCard, SavedCard.objects.all()[0].public_id),
        (SavedCard, SavedCard.objects.all()[0].buyer.reference),
        (ReceiptMail, PaymentOrder.objects.all()[0].public_id),
    ]:
        assert staff.get(listed(model), {"q": term}).context["cl"].result_list, (model, term)
        assert not staff.get(listed(model), {"q": "no such thing"}).context["cl"].result_list


def test_the_past_hour_and_a_currency_are_filters(staff: Client, rows: Callable[..., Any]) -> None:
    assert staff.get(listed(PaymentOrder), {"past_hours": "1", "currency": "EUR"}).context["cl"].result_count == 4
    assert staff.get(listed(PaymentOrder), {"past_hours": "a", "currency": "JPY"}).context["cl"].result_count == 0


def test_a_payments_page_is_a_time_line_from_checkout_to_message(staff: Client, rows: Callable[..., Any]) -> None:
    seen = words(staff.get(page_of(rows(PaymentEvent))).content)
    happened = ("Opened", "Confirmed by the buyer", "Sent to the PSP", "Booked", "Refund asked for")
    places = [seen.index(what) for what in happened]
    assert places == sorted(places)
    for what in (
        "Succeeded ch_",
        "Wallet moved 90.00 EUR",
        "Wallet moved −27.00 EUR",
        "Message to the shop payment.paid",
    ):
        assert what in seen
    assert "Webhook charge.succeeded: applied" in seen
    assert "refund.succeeded re_" in seen


def test_a_payment_leads_to_its_sessions_and_its_receipt_and_they_lead_back(staff: Client, rows: Callable[..., Any]) -> None:
    session, mail = rows(CheckoutSession), rows(ReceiptMail)
    for address in (page_of(session.event), reverse("payment_path", args=[session.event.public_id])):
        shown = staff.get(address).content.decode()
        assert f'href="{page_of(session)}"' in shown
        assert f'href="{page_of(mail)}"' in shown
    for row in (session, mail):
        shown = staff.get(page_of(row)).content.decode()
        assert f'href="{page_of(session.event)}"' in shown
        assert f"?q={session.event.public_id}" in shown


def test_neither_a_token_nor_what_a_code_says_nor_an_address_is_shown(staff: Client, rows: Callable[..., Any]) -> None:
    card, session, mail = rows(SavedCard), rows(CheckoutSession), rows(ReceiptMail)
    for row in (card, session, mail):
        for page in (staff.get(listed(type(row))), staff.get(page_of(row)), staff.get(page_of(session.event))):
            for secret in (card.token, session.code_text, mail.address):
                assert secret not in page.content.decode()
    assert "Visa •••• 4242" in words(staff.get(page_of(card)).content)
    assert "ro…\N{WORD JOINER}@example.com" in words(staff.get(page_of(mail)).content)


@pytest.mark.parametrize(
    ("model", "terms", "state"),
    [
        (SavedCard, {"forget_at": NOW}, "to_be_forgotten"),
        (SavedCard, {"forget_at": NOW, "forgotten_at": NOW}, "forgotten"),
        (SavedCard, {}, "kept"),
        (ReceiptMail, {"next_attempt_at": NOW}, "waits"),
        (ReceiptMail, {"sent_at": NOW}, "sent"),
        (ReceiptMail, {}, "given_up"),
    ],
)
def test_a_list_is_filtered_by_how_its_rows_stand(
    model: type[models.Model], terms: dict[str, Any], state: str, staff: Client, rows: Callable[..., Any]
) -> None:
    model._default_manager.update(**terms)
    choices = {"kept", "to_be_forgotten", "forgotten"} if model is SavedCard else {"waits", "sent", "given_up"}
    found = {choice for choice in choices if staff.get(listed(model), {"state": choice}).context["cl"].result_count}
    assert found == {state}


def test_an_order_leads_to_its_payment_seller_entries_and_attempts(staff: Client, rows: Callable[..., Any]) -> None:
    order = rows(PaymentOrder)
    html = staff.get(page_of(order)).content.decode()
    for row in (
        order.event,
        order.seller,
        order.journal_entry,
        order.wallet_entry,
        order.attempts.get(),
        order.refunds.get(),
    ):
        assert f'href="{page_of(row)}"' in html


def test_an_entry_shows_its_postings_and_leads_back_to_its_order(staff: Client, rows: Callable[..., Any]) -> None:
    order = rows(PaymentOrder)
    html = staff.get(page_of(order.journal_entry)).content
    assert "psp_receivable:sandbox 100.00 EUR" in words(html)
    assert f"?q={order.public_id}" in html.decode()
    dispute = Dispute.objects.get()
    assert f"payments/dispute/?q={dispute.public_id}" in staff.get(page_of(dispute.journal_entry)).content.decode()
    assert order in staff.get(f"{listed(PaymentOrder)}?q={order.public_id}").context["cl"].result_list


def test_an_account_shows_its_balance_of_now(staff: Client, rows: Callable[..., Any]) -> None:
    account = Account.objects.get(code="psp_receivable:sandbox", currency="EUR")
    assert "Balance now: 55.00 EUR" in words(staff.get(page_of(account)).content)


def test_the_first_page_says_what_waits_and_what_stands(staff: Client, rows: Callable[..., Any]) -> None:
    PspEvent.objects.create(
        psp="sandbox",
        event_id="evt_odd",
        type="dispute.opened",
        body={},
        status="parked",
        reason="nothing is done with it",
    )
    seen = words(staff.get("/admin/").content)
    assert "1 messages from the PSP set aside in the past seven days" in seen
    assert "1 dead letters to decide" in seen
    assert "1 disputes open" in seen
    assert "1 late charges not noted" in seen
    assert "1 kinds of call to a PSP stopped for now, after failures" in seen
    assert "1 orders being charged" in seen
    assert "55.00 EUR to come from the PSP (sandbox)" in seen


def test_what_is_overdue_or_unknown_leads_to_its_own_rows(staff: Client, rows: Callable[..., Any]) -> None:
    due = rows(DueOrder)
    attempt = PspAttempt.objects.create(order=due.order, number=1, psp="sandbox", psp_key=due.psp_key, status="UNKNOWN")
    seen = staff.get("/admin/").content.decode()
    for address in (f"{listed(DueOrder)}?waits=overdue", f"{listed(PspAttempt)}?outcome_is=unknown"):
        assert f'href="{address}"' in seen
        assert list(staff.get(address).context["cl"].result_list) == []
    long_ago = timezone.now() - timedelta(minutes=6)
    DueOrder.objects.filter(pk=due.pk).update(next_attempt_at=long_ago)
    PspAttempt.objects.filter(pk=attempt.pk).update(created_at=long_ago)
    assert list(staff.get(f"{listed(DueOrder)}?waits=overdue").context["cl"].result_list) == [due]
    assert list(staff.get(f"{listed(PspAttempt)}?outcome_is=unknown").context["cl"].result_list) == [attempt]


def test_the_desk_reads_german_to_germans(staff: Client, rows: Callable[..., Any]) -> None:
    german, letter = {"accept-language": "de"}, rows(DeadLetter)
    seen = words(staff.get(page_of(letter), headers=german).content)
    for what in ("Liegen gebliebener Fall", "Grund: 30 Tage keine Antwort", "Entscheidung: –", "Nicht begonnen → In Ausführung"):
        assert what in seen, what
    assert "Liegen gebliebene Fälle" in words(staff.get("/admin/", headers=german).content)


def test_each_cell_of_a_list_knows_the_title_of_its_column(staff: Client, rows: Callable[..., Any]) -> None:
    row = rows(PspAttempt)
    assert re.search(
        rf'<t[dh] data-title="Our key at the PSP" class="field-psp_key">.*{row.psp_key}', staff.get(listed(PspAttempt)).content.decode()
    )


# --- Changing nothing -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MONEY)
def test_not_even_a_superuser_adds_changes_or_deletes_anything_about_money(
    model: type[models.Model], staff: Client, rows: Callable[..., Any]
) -> None:
    row = rows(model)
    before = model._default_manager.filter(pk=row.pk).values().get()
    page, forged = page_of(row), {"status": "SUCCESS", "amount_0": "1", "amount_1": "EUR", "name": "x", "_save": "Save"}
    assert staff.post(page, forged).status_code == 403
    assert staff.post(page.replace("/change/", "/delete/"), {"post": "yes"}).status_code == 403
    assert staff.post(f"{listed(model)}add/", forged).status_code == 403
    assert staff.get(f"{listed(model)}add/").status_code == 403
    staff.post(listed(model), {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"})
    assert model._default_manager.filter(pk=row.pk).values().get() == before


def test_every_table_about_money_is_one_of_those() -> None:
    ours = {model for model in admin.site._registry if model._meta.app_label in ("ledger", "wallet", "payments")} - set(ELSEWHERE)
    looked_at = {model for model in ours if isinstance(admin.site._registry[model], LookOnly)}
    assert looked_at == set(MONEY)
    assert ours - looked_at == set(KEPT)


@pytest.mark.parametrize("model", [Shop, Seller, ApiKey])
def test_nobody_deletes_what_money_hangs_on(model: type[models.Model], staff: Client, rows: Callable[..., Any]) -> None:
    page = page_of(rows(model))
    assert staff.post(page.replace("/change/", "/delete/"), {"post": "yes"}).status_code == 403


def test_who_is_not_staff_does_not_come_in_and_who_guesses_is_refused(client: Client) -> None:
    cache.clear()
    User.objects.create_user("ada", password=PASSWORD)
    User.objects.create_superuser("finance", password=PASSWORD)
    assert client.post("/admin/login/", {"username": "ada", "password": PASSWORD}).status_code == 200
    for _guess in range(10):
        client.post("/admin/login/", {"username": "finance", "password": "no"})
    answer = client.post("/admin/login/", {"username": "finance", "password": PASSWORD}, headers={"accept-language": "en"})
    assert "Too many wrong tries." in words(answer.content)


# --- Keys and fees --------------------------------------------------------------------------------------------------


def test_a_new_key_is_shown_once_and_opens_the_door(staff: Client, ada: Seller) -> None:
    terms = {"shop": ada.shop_id, "name": "back end", "scopes": ["payments:read", "wallet:read"]}
    made = staff.post("/admin/wallet/apikey/add/", terms)
    [token] = re.findall(r'value="(ob_test_[^"]+)"', made.content.decode())
    key = api_keys.find(token)
    assert key is not None
    assert (key.shop, key.name, key.scopes) == (ada.shop, "back end", ["payments:read", "wallet:read"])
    assert "no-store" in made.headers["Cache-Control"]
    assert ApiKey.objects.count() == 1
    for path in (listed(ApiKey), page_of(key), "/admin/"):
        html = staff.get(path).content.decode()
        assert token not in html
        assert key.sha256 not in html
    assert token not in str(made.cookies)


def test_a_key_without_scopes_is_not_made(staff: Client, ada: Seller) -> None:
    answer = staff.post("/admin/wallet/apikey/add/", {"shop": ada.shop_id, "name": "back end"})
    assert "This field is required." in words(answer.content)
    assert not ApiKey.objects.exists()


def test_keys_are_revoked_from_the_list_and_never_edited(staff: Client, ada: Seller) -> None:
    key, _token = api_keys.issue(ada.shop, name="back end", scopes=["payments:read"], mode="test")
    assert staff.post(page_of(key), {"name": "mine", "scopes": ["ledger:write"]}).status_code == 403
    staff.post(listed(ApiKey), {"action": "revoke", "_selected_action": [key.pk]})
    key.refresh_from_db()
    assert key.revoked_at is not None
    assert "revoked" in words(staff.get(page_of(key)).content)


@pytest.mark.parametrize(
    ("terms", "complaint"),
    [
        ({"in_currency": "JPY", "fixed_part": "0.5"}, "JPY is finer than"),
        ({"in_currency": "EUR", "fixed_part": "-1"}, "greater than or equal to 0"),
        ({"in_currency": "XXX", "fixed_part": "0"}, "not one of the available choices"),
        ({"in_currency": "EUR", "fixed_part": "0", "seller": "other"}, "belongs to another shop"),
        ({"in_currency": "EUR", "fixed_part": "0", "basis_points": "10001"}, "less than or equal to 10000"),
    ],
)
def test_a_fee_that_cannot_be_is_refused_under_its_field(terms: dict[str, str], complaint: str, staff: Client, ada: Seller) -> None:
    [other] = new_sellers(new_shop("Southwind"), "Bolt Bikes")
    said = {"shop": ada.shop_id, "basis_points": "250", **terms, **NO_TIERS}
    said = said | ({"seller": other.pk} if "seller" in terms else {})
    answer = staff.post("/admin/payments/feeschedule/add/", said)
    assert complaint in words(answer.content)
    assert not FeeSchedule.objects.exists()


def test_a_fee_schedule_is_kept_once_for_each_currency_and_can_be_changed(staff: Client, ada: Seller) -> None:
    said = {"shop": ada.shop_id, "seller": ada.pk, "basis_points": "250", "in_currency": "EUR", "fixed_part": "0.25", **NO_TIERS}
    said["note"] = "Agreed"
    assert staff.post("/admin/payments/feeschedule/add/", said).status_code == 302
    approvals.approve(Approval.objects.get().pk, actor="staff:checker", reason="As agreed", now=NOW)
    assert "change that one" in words(staff.post("/admin/payments/feeschedule/add/", said).content)
    schedule = FeeSchedule.objects.get()
    assert schedule.fixed == exact("0.25", "EUR")
    assert 'value="0.25"' in staff.get(page_of(schedule)).content.decode()
    assert staff.post(page_of(schedule), said | {"fixed_part": "0.30"}).status_code == 302
    approvals.approve(Approval.objects.latest("pk").pk, actor="staff:checker", reason="As agreed", now=NOW)
    schedule.refresh_from_db()
    assert schedule.fixed == exact("0.30", "EUR")


@pytest.mark.parametrize("origin", ["shop.example", "https://shop.example/path", "javascript:alert(1)", "https://"])
def test_a_shop_names_the_origins_it_may_send_buyers_back_to(origin: str, staff: Client, ada: Seller) -> None:
    said = {
        "name": "Northwind",
        "fee_basis_points": "900",
        "refund_fee_policy": "keep",
        "return_origins": "https://a.example\nhttp://127.0.0.1:9000",
    }
    assert staff.post(page_of(ada.shop), said).status_code == 302
    ada.shop.refresh_from_db()
    assert ada.shop.return_origins == ["https://a.example", "http://127.0.0.1:9000"]
    assert ada.shop.fee_basis_points == 1000, "another fee takes two people, and a fee schedule"
    assert ada.shop.refund_fee_policy == "keep"
    assert "is not an origin" in words(staff.post(page_of(ada.shop), said | {"return_origins": origin}).content)
    assert staff.post(page_of(ada.shop), said | {"return_origins": ""}).status_code == 302


def test_a_seller_is_connected_to_a_login_and_stays_with_its_shop(staff: Client, ada: Seller) -> None:
    elsewhere = new_shop("Southwind")
    user = User.objects.create_user("ada")
    inline = {f"wallets-{name}": "0" for name in ("TOTAL_FORMS", "INITIAL_FORMS", "MIN_NUM_FORMS", "MAX_NUM_FORMS")}
    said = {"name": "Ada & Co.", "reference": "", "users": [user.pk], "shop": elsewhere.pk, **inline}
    assert staff.post(page_of(ada), said).status_code == 302
    ada.refresh_from_db()
    assert (ada.name, list(ada.users.all()), ada.shop.name) == ("Ada & Co.", [user], "Northwind")

"""Receipts: an e-mail for each payment that is done, once; a page to print and a PDF; and nothing before anything is paid."""

import io
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from babel import Locale
from django.conf import settings
from django.core import mail
from django.core.mail import EmailMultiAlternatives
from django.core.mail.backends.locmem import EmailBackend
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pypdf import PdfReader

from payments import confirmation, executor, receipts, sessions
from payments.checkout.opening import LANGUAGE_COOKIE
from payments.intake import NewOrder
from payments.management import buyer
from payments.models import PaymentEvent, ReceiptMail
from tests.factories import eur
from tests.fixtures_money import DECLINED, VISA, Oracle, session_for
from wallet.buyer_wallets import TopUp
from wallet.models import Buyer, Seller, Shop

Open = Callable[..., PaymentEvent]
Pay = Callable[..., PaymentEvent]
NO_BREAK = "\u00a0"


@pytest.fixture
def paid(open_payment: Open, pay: Pay) -> PaymentEvent:
    event = open_payment("24.90", "89.00")
    Buyer.objects.update(name="Rosa Martín", email="rosa@example.com")
    return pay(event)


def send_all() -> None:
    now = timezone.now()
    while receipts.take_note(now=now):
        pass
    while receipts.send_due(now=now):
        pass


def words(text: object) -> str:
    return " ".join(str(text).replace(NO_BREAK, " ").split())


def test_a_payment_that_is_done_is_told_to_its_buyer_once(paid: PaymentEvent, oracle: Oracle) -> None:
    for _time in range(3):
        send_all()
    [letter] = mail.outbox
    assert (letter.to, words(letter.subject)) == (["rosa@example.com"], "Test: Receipt: 113.90 EUR to Northwind")
    said = words(str(letter.body))
    for part in (
        "Thank you. You paid 113.90 EUR to Northwind.",
        "Ada: 24.90 EUR",
        "Visa",
        "ending 4242: 113.90 EUR",
        "NORTHWIND (Bolt): 89.00 EUR",
    ):
        assert part in said
    assert paid.token in said
    assert isinstance(letter, EmailMultiAlternatives)
    [(content, kind)] = letter.alternatives
    html = str(content)
    assert kind == "text/html"
    assert "Rosa Martín" in html
    assert "http" not in html.replace(
        f"{settings.PUBLIC_URL}/checkout/{paid.token}", ""
    )  # no foreign host, no picture that tells on its reader
    assert ReceiptMail.objects.get().sent_at is not None


def test_each_part_is_said_to_be_paid_as_it_was_and_never_as_a_try_that_failed(open_payment: Open, pay: Pay, oracle: Oracle) -> None:
    event = open_payment("24.90", "89.00")
    first = event.orders.order_by("id")[0]
    token = session_for(first.amount, VISA, nonce=first.public_id).payment_token
    confirmation.confirm_order(first.pk, payment_token=token, once="by the shop", now=timezone.now())
    executor.execute_due_orders(now=timezone.now())
    pay(event, DECLINED)
    assert ways_said(event) == [("Card", "24.90 EUR")]
    now = timezone.now()
    buyer.approve(sessions.open_session(event, language="en", now=now, method="qr").session.hosted_url)
    assert sessions.look(now=now + timedelta(minutes=1)) == 1
    executor.execute_due_orders(now=now + timedelta(minutes=2))
    assert ways_said(event) == [("Card", "24.90 EUR"), ("QR code", "89.00 EUR")]


def test_what_is_bought_on_credit_is_no_charge_of_the_shops_and_says_what_is_owed_and_when(
    client: Client, open_payment: Open, oracle: Oracle
) -> None:
    event = open_payment("60.00", "30.00")
    Buyer.objects.update(email="rosa@example.com")
    now = timezone.now()
    session = sessions.open_session(event, language="en", now=now, method="pay_later").session
    buyer.approve(session.hosted_url, person="ada@approved.example")
    assert sessions.look(now=now + timedelta(minutes=1)) == 1
    executor.execute_due_orders(now=now + timedelta(minutes=2))
    send_all()
    [letter] = mail.outbox
    assert isinstance(letter, EmailMultiAlternatives)
    paths = ("checkout", "checkout-receipt", "checkout-receipt-pdf")
    page, printed, pdf = (client.get(reverse(path, args=[event.token])).content for path in paths)
    paper = PdfReader(io.BytesIO(pdf)).pages[0].extract_text()
    owed = "Pay later: you pay Sandbox Payments in instalments. Your statement shows those instead of a charge from NORTHWIND."
    for said in (letter.body, letter.alternatives[0][0], page.decode(), printed.decode(), paper):
        assert owed in words(said)
        assert words(said).count("30.00 EUR") == 3 + 1, "three instalments, and what the second seller got"
        assert "NORTHWIND (" not in words(said)
        assert "gift cards and your balance" not in words(said)
    loaded = receipts.with_all(PaymentEvent.objects.filter(pk=event.pk)).get()
    one_of_two = list(loaded.orders.all())[:1]
    assert receipts.instalments_of(loaded, one_of_two, Locale("en")) == [], "what was agreed was for more than became paid"


def test_what_the_shop_itself_sells_says_its_name_once(client: Client, open_payment: Open, pay: Pay, oracle: Oracle) -> None:
    event = open_payment(orders=[NewOrder("", eur("30.00"), fills=TopUp("EUR"))])
    Buyer.objects.update(email="rosa@example.com")
    pay(event)
    send_all()
    [letter] = mail.outbox
    assert "NORTHWIND: 30.00 EUR" in words(letter.body)
    page = client.get(reverse("checkout", args=[event.token]))
    assert [(line.name, line.seller) for line in page.context["statement_lines"]] == [("NORTHWIND", "")]


def ways_said(event: PaymentEvent) -> list[tuple[str, str]]:
    receipt = receipts.receipt_of(receipts.with_all(PaymentEvent.objects.filter(pk=event.pk)).get())
    return [(line.label, words(line.amount)) for line in receipt.paid_with]


def test_nobody_is_written_to_without_an_address_or_if_the_shop_sends_none(open_payment: Open, pay: Pay) -> None:
    pay(open_payment("5.00"))
    send_all()
    Buyer.objects.update(email="rosa@example.com")
    Shop.objects.update(sends_receipts=False)
    pay(open_payment("6.00"))
    send_all()
    assert mail.outbox == []
    assert not ReceiptMail.objects.exists()


def test_what_was_declined_has_no_receipt(client: Client, open_payment: Open, pay: Pay) -> None:
    event = open_payment("5.00")
    Buyer.objects.update(email="rosa@example.com")
    pay(event, DECLINED)
    send_all()
    assert mail.outbox == []
    for name in ("checkout-receipt", "checkout-receipt-pdf"):
        assert client.get(reverse(name, args=[event.token]))["Location"] == reverse("checkout", args=[event.token])


def test_a_mail_server_that_is_away_is_asked_again_and_given_up_after_three_days(
    paid: PaymentEvent, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_args: Any) -> int:
        raise ConnectionRefusedError("rosa@example.com is not here")

    now = timezone.now()
    receipts.take_note(now=now)
    with monkeypatch.context() as patch:
        patch.setattr(EmailBackend, "send_messages", refuse)
        assert receipts.send_due(now=now) == 1
        assert receipts.send_due(now=now) == 0
        row = ReceiptMail.objects.get()
        assert (row.next_attempt_at, row.error) == (now + timedelta(seconds=60), "ConnectionRefusedError")
    assert receipts.send_due(now=now + timedelta(seconds=61)) == 1
    assert len(mail.outbox) == 1
    assert ReceiptMail.objects.get().error == ""
    ReceiptMail.objects.update(sent_at=None, next_attempt_at=now, tries=9)
    with monkeypatch.context() as patch:
        patch.setattr(EmailBackend, "send_messages", refuse)
        receipts.send_due(now=now + timedelta(hours=73))
    assert ReceiptMail.objects.get().next_attempt_at is None
    assert "rosa" not in caplog.text


def test_the_mail_speaks_the_buyers_language(open_payment: Open, pay: Pay) -> None:
    event = open_payment("1000.00", locale="de-DE")
    Buyer.objects.update(email="rosa@example.com")
    pay(event)
    send_all()
    assert "1.000,00 EUR" in words(mail.outbox[0].subject)


def test_the_receipt_can_be_printed_and_kept(client: Client, shop: Shop, open_payment: Open, pay: Pay) -> None:
    shop.statement_name = "NW BOOKS"
    shop.save()
    paid = pay(open_payment("24.90", "89.00"))
    Buyer.objects.update(name="Rosa Martín")
    page = client.get(reverse("checkout-receipt", args=[paid.token]))
    assert page["Cache-Control"] == "no-store"
    for part in ("Receipt", "Rosa Martín", paid.checkout_id, "NW BOOKS", "Test: no real money moved"):
        assert part in page.content.decode()
    answer = client.get(reverse("checkout-receipt-pdf", args=[paid.token]))
    assert (answer["Content-Type"], answer["Cache-Control"]) == ("application/pdf", "no-store")
    said = words(" ".join(sheet.extract_text() for sheet in PdfReader(io.BytesIO(answer.content)).pages))
    for part in ("Receipt", "113.90 EUR", "NW BOOKS (Ada)", "Rosa Martín", "Test: no real money moved"):
        assert part in said


def test_the_receipt_on_paper_speaks_the_buyers_language_and_writes_names_in_their_own_letters(
    client: Client, paid: PaymentEvent, caplog: pytest.LogCaptureFixture
) -> None:
    """The words of the page, in the language's own letters; a missing glyph would be told in the log."""
    Seller.objects.filter(name="Ada").update(name="東京書店")
    Seller.objects.filter(name="Bolt").update(name="مكتبة القاهرة")
    own = {
        "en": ("Receipt", "Paid to", "Order number"),
        "fr": ("Reçu", "Payé à", "Numéro de commande"),
        "ar": ("إيصال", "المدفوع له", "رقم الطلب"),
        "ja": ("領収書", "お支払い先", "注文番号"),
    }
    for language, its in own.items():
        client.cookies[LANGUAGE_COOKIE] = language
        answer = client.get(reverse("checkout-receipt-pdf", args=[paid.token]))
        document = PdfReader(io.BytesIO(answer.content))
        said = words(" ".join(sheet.extract_text() for sheet in document.pages))
        without_spaces = said.replace(" ", "").replace("\0", "")  # pypdf sees some between Japanese letters
        for part in (*its, "東京書店", "مكتبة القاهرة", "113,90EUR" if language == "fr" else "113.90EUR", "1/1"):
            assert part.replace(" ", "") in without_spaces, (language, part)
        assert language == "en" or "Receipt" not in said
        assert (str(document.root_object["/Lang"]), len(answer.content) < 200_000) == (language, True)
    assert "missing" not in caplog.text


def test_an_address_is_masked_on_the_page(paid: PaymentEvent) -> None:
    paid.buyer.refresh_from_db()
    assert receipts.mailed_to(paid) == f"ro…{receipts.WORD_JOINER}@example.com", "held together on a narrow screen"

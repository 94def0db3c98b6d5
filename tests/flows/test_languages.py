"""The buyer's six languages over HTTP: page, menu, errors and receipt; and the pages of sellers and staff, which know two of them."""

import re
from collections.abc import Callable

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from payments import receipts
from payments.models import PaymentEvent, ReceiptMail

Open = Callable[..., PaymentEvent]
Pay = Callable[[PaymentEvent], PaymentEvent]

TITLES = {
    "en": "Pay 1,284.50 EUR – Northwind",
    "de": "1.284,50 EUR bezahlen – Northwind",
    "fr": "Payer 1 284,50 EUR – Northwind",
    "es": "Pagar 1.284,50 EUR – Northwind",
    "ar": "ادفع \u20661,284.50 EUR\u2069 – Northwind",
    "ja": "1,284.50 EURを支払う – Northwind",
}


def title_of(content: bytes) -> str:
    found = re.search("<title>(.*?)</title>", content.decode())
    return found[1].replace("\u00a0", " ").replace("\u202f", " ") if found else ""


def address(event: PaymentEvent) -> str:
    return reverse("checkout", args=[event.token])


@pytest.mark.parametrize(
    ("tag", "language"), [("en-GB", "en"), ("de-AT", "de"), ("fr-CA", "fr"), ("es-MX", "es"), ("ar-EG", "ar"), ("ja", "ja")]
)
def test_the_page_is_in_the_language_of_the_payment(tag: str, language: str, client: Client, open_payment: Open) -> None:
    event = open_payment("1284.50", locale=tag)
    page = client.get(address(event), headers={"accept-language": "ko"})
    assert page["Content-Language"] == language
    assert f'<html lang="{language}" dir="{"rtl" if language == "ar" else "ltr"}">' in page.content.decode()
    if tag != "es-MX":  # which writes 1,284.50
        assert title_of(page.content) == TITLES[language]


def test_the_menu_has_each_language_by_its_own_name_and_what_is_chosen_stays(client: Client, open_payment: Open) -> None:
    event = open_payment("1284.50", locale="en")
    for language, title in TITLES.items():
        page = client.get(address(event), {"lang": language})
        assert re.findall(r'hreflang="(\w+)"', page.content.decode()) == list(TITLES)
        assert title_of(page.content) == title
        assert title_of(client.get(address(event)).content) == title


def test_links_that_lead_nowhere_and_pages_that_are_too_old_say_so_in_the_browsers_language(open_payment: Open) -> None:
    buyer = Client(enforce_csrf_checks=True, headers={"accept-language": "fr-CA,fr;q=0.9"})
    unknown = buyer.get("/checkout/nosuchlink")
    assert (unknown.status_code, title_of(unknown.content)) == (404, "Lien inconnu")
    assert '<html lang="fr" dir="ltr">' in unknown.content.decode()
    stale = buyer.post(f"{address(open_payment())}/complete")
    assert (stale.status_code, title_of(stale.content)) == (403, "Page ouverte trop longtemps")
    nothing = buyer.get(f"{address(open_payment())}/nosuchpage")
    assert (nothing.status_code, title_of(nothing.content)) == (404, "Page introuvable")


@pytest.mark.parametrize("path", ["/seller/login", "/admin/login/"])
def test_pages_of_sellers_and_staff_are_whole_in_english_or_german(path: str, db: None) -> None:
    for asked, language in (("fr-FR,fr", "en"), ("ar", "en"), ("ja,de;q=0.5", "de")):
        page = Client().get(path, headers={"accept-language": asked}).content.decode()
        assert re.search(r'<html lang="(\w+)"[^>]*dir="ltr"', page).group(1) == language  # type: ignore[union-attr]
        assert re.findall(r'name="language" value="(\w+)"', page) in ([], list(settings.UI_LANGUAGES))


def test_a_seller_cannot_choose_a_language_of_buyers_alone(db: None) -> None:
    seller = Client(headers={"accept-language": "fr"})
    seller.post("/seller/language", {"language": "fr", "next": "/seller/login"})
    assert '<html lang="en"' in seller.get("/seller/login").content.decode()


@pytest.mark.parametrize(
    ("tag", "subject", "direction"),
    [("ar-EG", "اختبار: إيصال من Northwind: \u2066100.00 EUR\u2069", "rtl"), ("ja", "【テスト】領収書：Northwind、100.00 EUR", "ltr")],
)
def test_the_receipt_is_mailed_in_the_buyers_language(
    tag: str, subject: str, direction: str, open_payment: Open, pay: Pay, books_hold: None
) -> None:
    event = pay(open_payment("100.00", locale=tag))
    mail = receipts.message_of(ReceiptMail(event=event, address="rosa@example.com", noted_at=timezone.now()))
    assert mail.subject.replace("\u00a0", " ") == subject
    html = str(mail.alternatives[0][0])
    assert f'<html lang="{tag[:2]}" dir="{direction}">' in html

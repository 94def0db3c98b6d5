"""Finance's desk in a real browser: what waits for a person, on a phone and on a desk, without a word in the console."""

from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import transaction
from django.utils import timezone
from playwright.sync_api import Page, expect

from ledger import approvals
from ledger.models import Approval
from ledger.money import exact
from payments import confirmation, dead_letters, disputes, intake, refunds, settlement
from payments.confirmation import Confirmed
from payments.models import (
    CheckoutSession,
    DeadLetter,
    Dispute,
    FeeSchedule,
    FeeTier,
    PaymentEvent,
    PaymentOrder,
    PspAttempt,
    ReceiptMail,
    Refund,
    SavedCard,
)
from payments.psp.protocol import DisputeNotice
from payments.settlement import Capture
from payouts import bank_accounts, files, requests, scheduling, stops
from payouts.bank_accounts import NewBankAccount
from payouts.calendars import Calendar
from payouts.choice import Which
from payouts.models import BankAccount, PaymentFile, PayoutRun, PayoutSchedule
from reconciliation import inside
from tests.factories import PAID_AT_ONCE, basket, make_available, new_bank_account, new_sellers, new_shop
from wallet import gift_cards, months, stored_value
from wallet.gift_cards import NewGiftCard
from wallet.models import Seller

pytestmark = pytest.mark.browser
PASSWORD = "as-long-as-it-is-calm"
# Looked at once fonts are there and two frames are drawn: a page that was just made wider is not laid out yet
TOO_WIDE = """
    document.fonts.ready.then(() => new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)))).then(() =>
        [document.documentElement, ...document.querySelectorAll(".results, .rows-table, .readonly, fieldset")]
            .filter(part => part.scrollWidth > part.clientWidth).map(part => part.className || part.tagName))
"""
# Ids are drawn by chance, and some are wider than others
WIDEST_IDS = """
    () => document.querySelectorAll(".short").forEach(id => { id.textContent = id.textContent.replace(/….*/, "…00000000") })
"""
NOW = datetime(2026, 11, 21, 14, 5, tzinfo=UTC)


@pytest.fixture
def letter(site: str) -> DeadLetter:
    """Return a dead letter, beside a paid order with a refund and a dispute of another."""
    cache.clear()
    User.objects.create_superuser("finance", password=PASSWORD)
    [seller] = new_sellers(new_shop(), "Königlich-Bayerische Manufaktur für handbemaltes Porzellan eK")
    paid, disputed = sell(seller, "100.00", "24.90")
    refund = refunds.request_refund(paid.pk, amount=exact("30.00", "EUR"), reason="Damaged", now=NOW)
    settlement.settle_refund(refund.pk, psp_reference="re_1", refunded_at=NOW)
    charge, nothing = f"ch_{disputed.attempts.get().pk}", exact("0", "EUR")
    said = (disputed.public_id, disputed.public_id, charge, "open", disputed.amount, nothing, nothing, "fraudulent", NOW, NOW, NOW)
    disputes.open_dispute(DisputeNotice("dp_1", *said), psp="sandbox")
    event, _is_new = intake.open_event(seller.shop, basket([seller], "987654321012.34"), now=NOW)
    [stuck] = confirmation.confirm(event.pk, Confirmed("cs_2", "tok_2", event.amount), now=NOW)
    PspAttempt.objects.create(
        order=stuck, number=1, psp="sandbox", psp_key=stuck.public_id, status="UNKNOWN", error_code="read_timeout", error_message="15 s"
    )
    with transaction.atomic():
        dead_letters.bury(stuck.pk, reason=dead_letters.UNKNOWN_TOO_LONG, detail="the PSP gave no answer since Oct 22, 2026")
    return DeadLetter.objects.get()


def sell(seller: Seller, *amounts: str) -> list[PaymentOrder]:
    event, _is_new = intake.open_event(seller.shop, basket([seller], *amounts), now=NOW)
    orders = confirmation.confirm(event.pk, Confirmed("cs_1", "tok_1", event.amount), now=NOW)
    attempts = [PspAttempt.objects.create(order=order, number=1, psp="sandbox", psp_key=order.public_id) for order in orders]
    settlement.settle(
        [Capture(a.order_id, a.pk, a.psp_key, f"ch_{a.pk}", order.amount, NOW) for order, a in zip(orders, attempts, strict=True)]
    )
    return orders


def lost_dispute_of(order: PaymentOrder) -> Dispute:
    charge, nothing = f"ch_{order.attempts.get(operation='charge').pk}", exact("0", "EUR")
    said = (order.public_id, order.public_id, charge, "lost", order.amount, nothing, order.amount, "fraudulent", NOW, NOW, NOW)
    return disputes.close_dispute(DisputeNotice("dp_2", *said), psp="sandbox")


def session_of(event: PaymentEvent) -> CheckoutSession:
    """Return a session of the payment, by a card that is saved; the receipt could not be sent."""
    shown = {"brand": "mastercard", "last4": "4444", "exp_month": 3, "exp_year": 2031, "funding": "debit"}
    card = SavedCard.objects.create(buyer=event.buyer, psp="sandbox", token="card_1", **shown)
    session = CheckoutSession(event=event, psp="sandbox", session=f"cs_{'0' * 60}", method="pay_later", saved_card=card, status="unused")
    session.failure_code, session.schedule = "paid_otherwise", [{"due": "2026-12-21", "amount": "329218107004.11", "currency": "EUR"}]
    session.amount = exact("987654321012.34", "EUR")
    session.save()
    address = "wilhelmine.von-und-zu-hohenschwangau@porzellanmanufaktur.example"
    ReceiptMail.objects.create(event=event, address=address, noted_at=NOW, error="SMTPRecipientsRefused", tries=9)
    return session


def log_in(page: Page, site: str) -> None:
    page.goto(f"{site}/admin/login/")
    page.locator("#id_username").fill("finance")
    page.locator("#id_password").fill(PASSWORD)
    page.locator("input[type=submit]").click()
    expect(page.get_by_role("heading", name="Today")).to_be_visible()


@pytest.mark.parametrize("width", [390, 1280])
def test_every_page_of_the_desk_fits_and_breaks_no_content_security_policy(width: int, site: str, letter: DeadLetter, page: Page) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    log_in(page, site)
    inside.ask(asked_by="staff:finance", reason="Before the month is closed", now=timezone.now())
    look = inside.look(now=timezone.now(), at=timezone.now()) or pytest.fail("nobody looked")
    stop, _is_new = stops.place(reason="INV-03: a wallet is off", placed_by="watch", now=timezone.now())
    paid = PaymentOrder.objects.order_by("pk")[0]
    session = session_of(paid.event)
    wanted = NewGiftCard(exact("987654321012.34", "EUR"), reference="goodwill-for-the-porcelain-that-came-broken-on-friday")
    card, _is_new = gift_cards.grant(paid.shop, wanted, reason="The vase came broken", by="staff:finance", now=NOW)
    stored_value.freeze(card.value_id, because=lost_dispute_of(paid).public_id, now=NOW)
    for path in (
        "",
        "payments/deadletter/",
        f"payments/deadletter/{letter.pk}/change/",
        f"payments/deadletter/{letter.pk}/void/",
        f"payments/paymentorder/{paid.pk}/change/",
        f"payments/paymentorder/{paid.pk}/refund/",
        f"payments/paymentevent/{paid.event_id}/change/",
        f"payments/refund/{Refund.objects.get().pk}/change/",
        "payments/checkoutsession/",
        f"payments/checkoutsession/{session.pk}/change/",
        "payments/savedcard/",
        f"payments/savedcard/{session.saved_card_id}/change/",
        "payments/receiptmail/",
        f"payments/receiptmail/{session.event_id}/change/",
        "payments/dispute/",
        f"payments/dispute/{Dispute.objects.get(status='open').pk}/change/",
        "payments/retrypolicy/add/",
        "reconciliation/figures/",
        "reconciliation/audittrail/",
        "auth/user/",
        "auth/user/add/",
        "auth/group/",
        "reconciliation/banklinematch/",
        "reconciliation/tolerancerule/add/",
        "reconciliation/monthclose/",
        f"reconciliation/monthclose/of/{months.of(timezone.now()).previous}/",
        "reconciliation/insidelook/ask/",
        f"reconciliation/insidelook/{look.pk}/change/",
        "payouts/payoutstop/",
        "payouts/payoutstop/place/",
        f"payouts/payoutstop/{stop.pk}/lift/",
        "wallet/giftcard/",
        "wallet/giftcard/grant/",
        f"wallet/giftcard/{card.pk}/change/",
        f"wallet/giftcard/{card.pk}/freeze/",
        f"wallet/giftcard/{card.pk}/thaw_lost/",
        "wallet/storedvalue/",
    ):
        page.goto(f"{site}/admin/{path}")
        expect(page.locator("#content h1")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0, path


@pytest.fixture
def run(site: str) -> PayoutRun:
    """Return a payout run of large amounts that waits for approval, beside a payment file, an account to verify and fees with a tier."""
    cache.clear()
    User.objects.create_superuser("finance", password=PASSWORD)
    now, shop = timezone.now(), new_shop("Königlich-Bayerischer Marktplatz für Handgemachtes")
    ada, dora, cleo = new_sellers(shop, "Königlich-Bayerische Manufaktur für handbemaltes Porzellan eK", "Dora", "Cleo")
    for seller in (ada, dora):
        new_bank_account(seller)
        make_available(seller, exact("987654321012.34", "EUR"))
    bank_accounts.add(cleo, NewBankAccount("EUR", holder="Cleo GmbH", iban=PAID_AT_ONCE), by="user:cleo", now=now)
    terms = {"shop": shop, "minimum": exact("0", "EUR"), "keep_back": exact("0", "EUR"), "in_force_since": now - timedelta(days=60)}
    PayoutSchedule(approval_limit=1, **terms).save()
    PayoutSchedule(seller=dora, provider=files.PROVIDER, interval="on_request", **terms).save()
    requests.request_payout(dora, amount=exact("20.00", "EUR"), now=now, requested_by="user:dora")
    files.make("EUR", execute_on=now.date(), made_by="staff:ana", now=now)
    fees = FeeSchedule(shop=shop, basis_points=500)
    fees.fixed = exact("0.25", "EUR")
    fees.save()
    FeeTier(schedule=fees, above=exact("1000.00", "EUR"), basis_points=300, fixed=exact("0", "EUR")).save()
    return scheduling.run(Which(shop.pk, "EUR", Calendar(), "2026-10"), now=now, made_by="staff:ana")[0]


def test_every_page_about_payouts_fits_a_phone_and_a_desk(site: str, run: PayoutRun, page: Page) -> None:
    log_in(page, site)
    file, account = PaymentFile.objects.get(), BankAccount.objects.get(verified_at=None)
    for path in (
        "payouts/payout/",
        f"payouts/payout/{run.payouts.get().pk}/change/",
        "payouts/payoutrun/",
        f"payouts/payoutrun/{run.pk}/change/",
        "payouts/payoutrun/rehearsal/",
        "payouts/paymentfile/",
        f"payouts/paymentfile/{file.pk}/change/",
        "payouts/payoutschedule/",
        f"payouts/bankaccount/{account.pk}/verify/",
        f"payments/feeschedule/{FeeSchedule.objects.get().pk}/change/",
    ):
        page.goto(f"{site}/admin/{path}")
        page.evaluate(WIDEST_IDS)
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate(TOO_WIDE) == [], (path, width)


@pytest.mark.parametrize("width", [390, 1280])
def test_an_entry_is_proposed_and_its_pages_fit(width: int, site: str, page: Page) -> None:
    cache.clear()
    User.objects.create_superuser("finance", password=PASSWORD)
    page.set_viewport_size({"width": width, "height": 900})
    log_in(page, site)
    page.goto(f"{site}/admin/ledger/approval/")
    page.get_by_role("link", name="Propose a journal entry").click()
    page.get_by_label("Why").fill("What the PSP charged for October, and what its settlement files do not have")
    for number, (account, side) in enumerate((("psp_fees", "debit"), ("operating_bank", "credit"))):
        page.locator(f"#id_form-{number}-account").fill(account)
        page.locator(f"#id_form-{number}-{side}").fill("987654321012.34")
    page.get_by_role("button", name="Show what it does").click()
    assert page.evaluate(TOO_WIDE) == []
    page.get_by_role("button", name="Propose it").click()
    expect(page.get_by_text("Proposed. Somebody else must approve it")).to_be_visible()
    assert page.evaluate(TOO_WIDE) == []
    Approval.objects.get()
    page.goto(f"{site}/admin/ledger/approval/")
    assert page.evaluate(TOO_WIDE) == []


def test_a_letter_is_decided_with_a_reason(site: str, letter: DeadLetter, page: Page) -> None:
    log_in(page, site)
    page.get_by_role("link", name="dead letters to decide").click()
    page.locator("#result_list a").first.click()
    page.get_by_role("link", name="Fail", exact=True).click()
    page.get_by_role("button", name="Fail").click()
    expect(page.get_by_text("Nothing was done.")).to_be_visible()
    page.get_by_label("Why").fill("The PSP's support says that it was never charged, ticket 4711")
    page.get_by_role("button", name="Fail").click()
    expect(page.get_by_text("Proposed. Somebody else must approve it")).to_be_visible()
    expect(page.get_by_text("staff:finance").first).to_be_visible()
    expect(page.get_by_role("link", name="Withdraw")).to_be_visible()
    expect(page.get_by_role("link", name="Approve", exact=True)).to_have_count(0)
    approvals.approve(Approval.objects.get().pk, actor="staff:bea", reason="I asked them too", now=timezone.now())
    page.get_by_role("link", name=letter.public_id).click()
    page.locator("#result_list a").first.click()
    expect(page.get_by_text("staff:bea").first).to_be_visible()
    letter.refresh_from_db()
    assert (letter.decision, letter.decided_by) == ("fail", "staff:bea")

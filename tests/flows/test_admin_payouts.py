"""Payouts in the admin: schedules that can be kept, runs that are rehearsed, made and approved, and payouts that say what became of them."""

import csv
import html
import io
import re
from datetime import time, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from ledger import clock
from ledger.admin import LookOnly
from ledger.money import zero
from payouts import bank_accounts, calendars, requests, scheduling, settlement
from payouts.bank_accounts import NewBankAccount
from payouts.calendars import Calendar
from payouts.models import Payout, PayoutCurrency, PayoutRun, PayoutSchedule
from payouts.states import PayoutStatus, RunStatus
from tests.factories import PAID_AT_ONCE, eur, make_available, new_bank_account, new_sellers, new_shop
from tests.flows.test_admin import listed, page_of, words
from wallet.models import Seller, Shop, Wallet

pytestmark = pytest.mark.django_db
NOTE = {"note": "As agreed on the phone"}
REHEARSAL = "admin:payouts_payoutrun_rehearsal"


def staff(name: str = "ana") -> Client:
    cache.clear()
    browser = Client(headers={"accept-language": "en"})
    browser.force_login(User.objects.create_superuser(name))
    return browser


@pytest.fixture
def shop() -> Shop:
    opened = new_shop()
    Shop.objects.filter(pk=opened.pk).update(created_at=clock.now() - timedelta(days=90))
    return opened


@pytest.fixture
def ada(shop: Shop) -> Seller:
    [seller] = new_sellers(shop, "Ada's Books")
    make_available(seller, eur("120.00"))
    new_bank_account(seller)
    return seller


def keep(browser: Client, shop: Shop, **terms: str) -> Any:
    said = {
        "shop": str(shop.pk), "seller": "", "in_currency": "EUR", "interval": "monthly", "weekday": "1", "month_day": "1", "cut_off": "00:00",
        "zone": "UTC", "holidays": "", "least": "0", "kept": "0", "limit": "", "provider": "",
    }  # fmt: skip
    return browser.post(reverse("admin:payouts_payoutschedule_add"), said | terms)


def test_a_schedule_is_kept_and_says_when_it_pays_next(shop: Shop) -> None:
    browser = staff()
    answer = keep(
        browser, shop, zone="Europe/Berlin", holidays="DE", least="25.00", kept="5", limit="10000", month_day="15", cut_off="18:00"
    )
    assert answer.status_code == 302, words(answer.content)
    kept = PayoutSchedule.objects.get()
    assert (kept.minimum, kept.keep_back, kept.approval_limit) == (eur("25"), eur("5"), Decimal(10_000))
    assert calendars.of(kept) == Calendar(month_day=15, cut_off=time(18), zone="Europe/Berlin", holidays="DE")
    assert "all others" in words(browser.get(listed(PayoutSchedule)).content)
    assert 'value="10000.00"' in browser.get(page_of(kept)).content.decode()


def test_a_schedule_that_cannot_be_is_refused_under_each_of_its_fields(shop: Shop) -> None:
    wrong = {
        "zone": "Europe/Berln",
        "holidays": "XX",
        "month_day": "32",
        "weekday": "8",
        "least": "0.001",
        "kept": "-1",
        "provider": "paypall",
    }
    errors = keep(staff(), shop, **wrong).context["adminform"].form.errors
    complaints = {
        "zone": "There is no such time zone",
        "holidays": "Select a valid choice",
        "month_day": "less than or equal to 31",
        "weekday": "Select a valid choice",
        "least": "finer than EUR counts",
        "kept": "greater than or equal to 0",
        "provider": "Nobody named",
    }
    assert errors.keys() == complaints.keys()
    for field, complaint in complaints.items():
        assert complaint in " ".join(errors[field]), field
    assert not PayoutSchedule.objects.exists()


def test_another_minimum_leaves_the_calendar_in_force_and_another_day_begins_a_new_one(shop: Shop) -> None:
    browser = staff()
    keep(browser, shop)
    long_ago = clock.now() - timedelta(days=60)
    PayoutSchedule.objects.update(in_force_since=long_ago)
    kept = PayoutSchedule.objects.get()
    said = browser.get(page_of(kept)).context["adminform"].form.initial
    for change, is_new in (({"least": "7"}, False), ({"month_day": "2"}, True)):
        answer = browser.post(page_of(kept), {**said, "seller": "", "limit": "", "cut_off": "00:00", **change})
        assert answer.status_code == 302, words(answer.content)
        kept.refresh_from_db()
        assert (kept.in_force_since != long_ago) is is_new


def test_a_run_is_rehearsed_then_made_and_approved_by_somebody_else(shop: Shop, ada: Seller) -> None:
    ana, bo = staff("ana"), staff("bo")
    keep(ana, shop, limit="100")
    by = f"{shop.pk} EUR monthly 1 00:00:00 UTC -"
    assert reverse(REHEARSAL) in ana.get(listed(PayoutRun)).content.decode()
    seen = words(ana.post(reverse(REHEARSAL), {"by": by}).content)
    for what in ("120.00 EUR", "Waiting for approval", "payouts_in_transit"):
        assert what in seen, what
    assert (PayoutRun.objects.count(), Wallet.objects.get(seller=ada).available) == (0, eur("120.00"))
    lines = list(csv.DictReader(io.StringIO(b"".join(ana.get(reverse(REHEARSAL), {"by": by, "list": "csv"})).decode())))
    assert [(line["seller"], line["paid"], line["why_not"]) for line in lines] == [(ada.public_id, "120.00", "")]

    ana.post(reverse(REHEARSAL), {"by": by, "make": "1"})
    made = PayoutRun.objects.get()
    assert (made.status, made.made_by) == (RunStatus.WAITING, "staff:ana")
    assert "was run already" in words(ana.post(reverse(REHEARSAL), {"by": by}).content)
    approval = reverse("admin:payouts_payoutrun_approve", args=[made.pk])
    assert "somebody else must decide" in words(ana.post(approval, NOTE).content)
    assert bo.post(approval, NOTE).status_code == 302
    seen = words(bo.get(page_of(made)).content)
    assert "Every month, day 1, 00:00 UTC" in seen
    assert "Waiting for approval → Approved" in seen and "staff:bo: As agreed on the phone" in seen
    assert Payout.objects.get().status == PayoutStatus.EXECUTING


def test_a_payouts_page_tells_its_story_and_offers_what_may_be_done(shop: Shop, ada: Seller) -> None:
    bo = staff("bo")
    keep(bo, shop, seller=str(ada.pk), limit="100")
    assert scheduling.run_due(now=clock.now()) == 1
    payout = Payout.objects.get()
    page = bo.get(page_of(payout))
    seen = words(page.content)
    for what in ("Made by a payout run", "Booked Payout 120.00 EUR", "Wallet moved −120.00 EUR", "Message to the shop payout.created"):
        assert what in seen, what
    assert {deed.name for deed, _address in page.context["deeds"]} == {"approve", "reject"}
    for term in (payout.public_id, payout.run.public_id, "ada's", ada.public_id):  # type: ignore[union-attr]
        assert list(bo.get(listed(Payout), {"q": term}).context["cl"].result_list) == [payout], term
    assert list(bo.get(listed(Payout), {"waits": "approval"}).context["cl"].result_list) == [payout]
    bo.post(reverse("admin:payouts_payout_reject", args=[payout.pk]), NOTE)
    payout.refresh_from_db()
    assert (payout.status, payout.decided_by) == (PayoutStatus.CANCELLED, "staff:bo")
    assert Wallet.objects.get(seller=ada).available == eur("120.00")
    assert "Waiting for approval → Cancelled" in words(bo.get(page_of(payout)).content)


def test_a_payout_of_a_run_that_waits_is_not_approved_by_itself(shop: Shop, ada: Seller) -> None:
    keep(staff("ana"), shop, limit="100")
    PayoutSchedule.objects.update(in_force_since=clock.now() - timedelta(days=60))
    assert scheduling.run_due(now=clock.now()) == 1
    payout = Payout.objects.get()
    clerk = User.objects.create_user("clerk", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename__in=["view_payout", "change_payout"]))
    browser = Client(headers={"accept-language": "en"})
    browser.force_login(clerk)
    for deed in ("approve", "reject"):
        answer = browser.post(reverse(f"admin:payouts_payout_{deed}", args=[payout.pk]), NOTE, follow=True)
        assert "the run as a whole" in words(answer.content)
    payout.refresh_from_db()
    assert payout.status == PayoutStatus.WAITING


def test_the_first_page_counts_what_waits_for_finance_and_each_figure_opens_its_rows(shop: Shop, ada: Seller) -> None:
    browser, now = staff(), clock.now()
    keep(browser, shop, seller=str(ada.pk), limit="100")
    scheduling.run_due(now=now)
    bolt, cleo = new_sellers(shop, "Bolt", "Cleo")
    bank_accounts.add(cleo, NewBankAccount("EUR", holder="Cleo GmbH", iban=PAID_AT_ONCE), by="user:cleo", now=now)
    new_bank_account(bolt)
    make_available(bolt, eur("20.00"))
    returned, stopped, _on_its_way = (requests.request_payout(bolt, amount=eur(amount), now=now) for amount in ("5.00", "6.00", "7.00"))
    settlement.settle_payout(returned.pk, provider_reference="b_1", paid_at=now)
    settlement.return_payout(returned.pk, provider_reference="b_1", code="account_closed", returned_at=now)
    Payout.objects.filter(pk=stopped.pk).update(next_attempt_at=None, failure_message="The bank cannot be asked")
    tiles = re.findall(
        r'href="([^"]+)"><span class="tile-count">.*?(\d+)</span> ([^<]+)</a>', browser.get(reverse("admin:index")).content.decode()
    )
    counted = {what: int(count) for address, count, what in tiles if "/payouts/" in address}
    assert counted == {
        "payouts to approve": 1,
        "payout runs to approve": 0,
        "payment files to approve": 0,
        "bank accounts to verify": 1,
        "payouts that the machine gave up": 1,
        "payouts failed or sent back in the past seven days": 1,
        "payouts on their way to the bank": 1,
        "payment files approved, and not answered by the bank yet": 0,
    }
    for address, count, what in tiles:
        assert len(browser.get(html.unescape(address)).context["cl"].result_list) == int(count), what


def test_nobody_changes_what_was_paid() -> None:
    ours = {model for model in admin.site._registry if model._meta.app_label == "payouts"}
    assert {model for model in ours if not isinstance(admin.site._registry[model], LookOnly)} == {PayoutCurrency, PayoutSchedule}


def test_who_may_only_look_neither_rehearses_nor_approves(shop: Shop, ada: Seller) -> None:
    PayoutSchedule.objects.create(shop=shop, minimum=zero("EUR"), keep_back=zero("EUR"), approval_limit=1, in_force_since=shop.created_at)
    PayoutSchedule.objects.update(in_force_since=clock.now() - timedelta(days=60))
    scheduling.run_due(now=clock.now())
    auditor = User.objects.create_user("auditor", is_staff=True)
    auditor.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    browser = Client()
    browser.force_login(auditor)
    made = PayoutRun.objects.get()
    assert browser.get(page_of(made)).status_code == 200
    assert browser.post(reverse("admin:payouts_payoutrun_approve", args=[made.pk]), NOTE).status_code == 403
    assert browser.post(reverse(REHEARSAL), {}).status_code == 403
    assert PayoutRun.objects.get().status == RunStatus.WAITING


def test_the_command_rehearses_lists_and_runs(shop: Shop, ada: Seller, tmp_path: Any) -> None:
    said, file = io.StringIO(), tmp_path / "all.csv"
    call_command("payout_run", shop.public_id, "EUR", "--by=ana", "--rehearse", f"--list={file}", stdout=said)
    assert "1 payouts" in said.getvalue()
    assert ada.public_id in file.read_text()
    assert not PayoutRun.objects.exists()
    call_command("payout_run", shop.public_id, "EUR", "--by=ana", stdout=said)
    assert PayoutRun.objects.get().made_by == "shell:ana"
    call_command("payout_run", shop.public_id, "EUR", "--by=bo", stdout=said)
    assert "was run already" in said.getvalue()
    with pytest.raises(CommandError, match="no period"):
        call_command("payout_run", shop.public_id, "EUR", "2026-13", "--by=ana")

"""Deliveries, terms and holds in the admin: each is said with its reason, and kept with the name of who said it."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from payments.models import PaymentOrder
from tests.factories import new_sellers, new_shop
from tests.flows.test_releases import paid
from wallet import holds
from wallet.models import ReleaseTerms, Seller, SellerHold

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff() -> Client:
    cache.clear()
    browser = Client(headers={"accept-language": "en"})
    browser.force_login(User.objects.create_superuser("finance", password="as-long-as-it-is-calm"))
    return browser


@pytest.fixture
def ada() -> Seller:
    return new_sellers(new_shop(), "Ada's Books")[0]


def test_an_order_is_marked_as_delivered_with_a_note_and_its_payment_tells_it(staff: Client, ada: Seller) -> None:
    order = paid(ada, "100.00")
    page = reverse("admin:payments_paymentorder_change", args=[order.pk])
    assert "Mark as delivered" in staff.get(page).content.decode()
    staff.post(reverse("admin:payments_paymentorder_deliver", args=[order.pk]), {"note": "Signed for by Grace"})
    order = PaymentOrder.objects.get(pk=order.pk)
    assert (order.delivered_at is not None, order.delivered_by, order.delivery_note) == (True, "staff:finance", "Signed for by Grace")
    assert "Mark as delivered" not in staff.get(page).content.decode()
    assert "Signed for by Grace" in staff.get(reverse("admin:payments_paymentevent_change", args=[order.event_id])).content.decode()


def test_a_hold_is_placed_and_lifted_each_with_its_reason(staff: Client, ada: Seller) -> None:
    staff.post(reverse("admin:wallet_sellerhold_add"), {"seller": ada.pk, "reason": "Under review"})
    hold = SellerHold.objects.get()
    assert (hold.reason, hold.placed_by) == ("Under review", "staff:finance")
    page = reverse("admin:wallet_sellerhold_change", args=[hold.pk])
    assert "Why it is lifted" in staff.get(page).content.decode()
    staff.post(page, {"why": ""})
    assert holds.active([ada.pk], timezone.now()) == {ada.pk: hold}
    staff.post(page, {"why": "All is well"})
    hold.refresh_from_db()
    assert (hold.lift_reason, hold.lifted_by) == ("All is well", "staff:finance")
    assert staff.post(page, {"why": "Again"}).status_code == 403
    assert "All is well" in staff.get(page).content.decode()


def test_terms_that_make_no_sense_are_refused_by_the_field(staff: Client, ada: Seller) -> None:
    plain = {"shop": ada.shop_id, "days_after_payment": 14, "days_after_delivery": 0, "new_seller_days": 0}
    for wrong in (
        {"reserve_basis_points": 500, "reserve_days": 0},
        {"reserve_basis_points": 10_001, "reserve_days": 1},
        {"reserve_basis_points": 0, "reserve_days": 0, "seller": new_sellers(new_shop("Southwind"), "Zoe")[0].pk},
    ):
        assert staff.post(reverse("admin:wallet_releaseterms_add"), plain | wrong).status_code == 200
    assert not ReleaseTerms.objects.exists()
    for _twice in range(2):
        staff.post(reverse("admin:wallet_releaseterms_add"), plain | {"reserve_basis_points": 500, "reserve_days": 30})
    assert ReleaseTerms.objects.count() == 1


def test_nothing_can_be_made_to_wait_for_files_that_nobody_reads_yet(staff: Client, ada: Seller) -> None:
    numbers = {"days_after_payment": 14, "days_after_delivery": 0, "new_seller_days": 0, "reserve_basis_points": 0, "reserve_days": 0}
    said = {"shop": ada.shop_id, "payable_means_reconciled": "on", **numbers}
    answer = staff.post(reverse("admin:wallet_releaseterms_add"), said)
    assert "nothing would ever become available" in answer.content.decode()
    assert not ReleaseTerms.objects.exists()


def test_a_hold_that_ends_in_the_past_is_refused(staff: Client, ada: Seller) -> None:
    ended = timezone.now() - timedelta(days=1)
    said = {"seller": ada.pk, "reason": "Late", "until_0": ended.date().isoformat(), "until_1": "12:00:00"}
    answer = staff.post(reverse("admin:wallet_sellerhold_add"), said)
    assert "The end of a hold lies in the future." in answer.content.decode()
    assert not SellerHold.objects.exists()

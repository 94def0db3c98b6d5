"""Fee schedules as staff keep them: what cannot be is refused under its field, and what was used is to be ended, not to be changed."""

from datetime import date, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.test import Client
from django.utils import timezone

from ledger import approvals
from ledger.errors import DomainError
from ledger.models import Approval
from ledger.money import exact
from payments import fee_schedules
from payments.models import FeeSchedule
from tests.factories import eur, new_sellers, new_shop
from tests.flows.test_admin import words
from wallet.models import Seller

pytestmark = pytest.mark.django_db
ADD = "/admin/payments/feeschedule/add/"


@pytest.fixture
def staff() -> Client:
    browser = Client(headers={"accept-language": "en"})
    browser.force_login(User.objects.create_superuser("finance"))
    return browser


@pytest.fixture
def ada() -> Seller:
    return new_sellers(new_shop(), "Ada's Books")[0]


def said(ada: Seller, *tiers: tuple[str, int, str], **terms: Any) -> dict[str, Any]:
    """Return what the page of a schedule sends: ten per cent in euros, these tiers, and whatever else is told."""
    form = {"shop": ada.shop_id, "basis_points": "1000", "in_currency": "EUR", "fixed_part": "0", "note": "Agreed in May", **terms}
    form |= {"tiers-TOTAL_FORMS": len(tiers), "tiers-INITIAL_FORMS": 0}
    for number, (above, points, fixed) in enumerate(tiers):
        form |= {f"tiers-{number}-above_part": above, f"tiers-{number}-basis_points": points, f"tiers-{number}-fixed_part": fixed}
    return form


def approved(answer: Any) -> str:
    """Let a second person approve what was proposed; return what that one reads then."""
    approval = Approval.objects.latest("pk")
    assert answer.status_code == 302, words(answer.content)
    assert answer["Location"] == f"/admin/ledger/approval/{approval.pk}/change/"
    browser = Client(headers={"accept-language": "en"})
    browser.force_login(User.objects.get_or_create(username="checker", is_staff=True, is_superuser=True)[0])
    seen = browser.get(f"/admin/ledger/approval/{approval.pk}/approve/")
    assert seen.status_code == 200
    done = browser.post(f"/admin/ledger/approval/{approval.pk}/approve/", {"note": "As agreed"}, follow=True)
    return words(seen.content) + words(done.content)


def page_of(schedule: FeeSchedule) -> str:
    return f"/admin/payments/feeschedule/{schedule.pk}/change/"


def use(schedule: FeeSchedule, ada: Seller) -> None:
    """Let the first order be opened under the schedule."""
    fee_schedules.terms_of(ada.shop, [(ada.pk, "")], currency="EUR", method="card", now=timezone.now())
    schedule.refresh_from_db()
    assert schedule.used_at is not None


def test_a_schedule_is_added_with_its_tiers_and_shows_what_orders_pay(staff: Client, ada: Seller) -> None:
    terms = {"category": " books ", "method": "card", "valid_from": "2026-01-01", "floor_part": "0.50", "cap_part": "30"}
    answer = staff.post(ADD, said(ada, ("100", 500, "1"), ("50", 700, "0"), **terms))
    assert FeeSchedule.objects.count() == 0
    shown = approved(answer)
    for what in ("Adds a fee schedule", "Agreed in May", "staff:finance", "above 50.00 EUR: 700 + 0.00 EUR", "Approved, and done."):
        assert what in shown, what
    [schedule] = FeeSchedule.objects.all()
    assert (schedule.category, schedule.method, schedule.valid_from, schedule.valid_until) == ("books", "card", date(2026, 1, 1), None)
    assert (schedule.floor, schedule.cap) == (eur("0.50"), eur("30.00"))
    assert [(tier.above, tier.basis_points, tier.fixed) for tier in schedule.tiers.order_by("above")] == [
        (eur("50.00"), 700, eur("0.00")),
        (eur("100.00"), 500, eur("1.00")),
    ]
    shown = staff.get(page_of(schedule)).content.decode().replace("\N{NO-BREAK SPACE}", " ")
    for example in ("1.00 EUR: 0.50 EUR", "10.00 EUR: 1.00 EUR", "100.00 EUR: 8.50 EUR", "1,000.00 EUR: 30.00 EUR"):
        assert example in shown


@pytest.mark.parametrize(
    ("field", "terms", "complaint"),
    [
        ("cap_part", {"floor_part": "2", "cap_part": "1"}, "less than the least"),
        ("floor_part", {"floor_part": "0.001"}, "EUR is finer than"),
        ("valid_until", {"valid_from": "2026-02-01", "valid_until": "2026-02-01"}, "ends after its first day"),
        ("method", {"method": "iban"}, "not one of the available choices"),
        ("category", {"category": "x" * 61}, "at most 60"),
        ("valid_from", {"category": "books", "valid_from": "2026-01-31"}, "end that one before"),
    ],
)
def test_what_cannot_be_is_refused_under_its_field(field: str, terms: dict[str, str], complaint: str, staff: Client, ada: Seller) -> None:
    standing = said(ada, category="books", valid_from="2026-01-01", valid_until="2026-02-01")
    approved(staff.post(ADD, standing))
    answer = staff.post(ADD, said(ada, **terms))
    assert complaint in " ".join(answer.context["adminform"].form.errors[field])
    assert FeeSchedule.objects.count() == 1


@pytest.mark.parametrize(
    ("tiers", "complaint"),
    [
        ([("50", 1, "0"), ("50.00", 2, "0")], "Another tier begins here."),
        ([("0", 1, "0")], "A tier begins above an amount"),
        ([("50", 10_001, "0")], "less than or equal to 10000"),
        ([("50.001", 1, "0")], "EUR is finer than"),
    ],
)
def test_a_tier_that_cannot_be_is_refused(tiers: list[tuple[str, int, str]], complaint: str, staff: Client, ada: Seller) -> None:
    assert complaint in staff.post(ADD, said(ada, *tiers)).content.decode()
    assert not FeeSchedule.objects.exists()


def test_a_schedule_that_was_used_is_ended_and_another_begins_on_that_day(staff: Client, ada: Seller) -> None:
    approved(staff.post(ADD, said(ada, ("50", 500, "0"))))
    [schedule] = FeeSchedule.objects.all()
    use(schedule, ada)
    today = timezone.now().date()
    forged = said(ada, basis_points="1", valid_until=str(today + timedelta(days=1)))
    shown = approved(staff.post(page_of(schedule), forged | {"tiers-INITIAL_FORMS": 1, "tiers-TOTAL_FORMS": 1}))
    assert "Changes a fee schedule" in shown
    schedule.refresh_from_db()
    assert (schedule.basis_points, schedule.valid_until, schedule.tiers.get().basis_points) == (1000, today + timedelta(days=1), 500)
    yesterday = staff.post(page_of(schedule), forged | {"valid_until": str(today - timedelta(days=1))})
    assert "ends today at the earliest" in yesterday.content.decode()
    approved(staff.post(ADD, said(ada, valid_from=str(today + timedelta(days=1)))))
    assert "another fee schedule" in staff.post(page_of(schedule), forged | {"valid_until": ""}).content.decode()
    assert staff.post(f"/admin/payments/feeschedule/{schedule.pk}/delete/", {"post": "yes"}).status_code == 403


def test_a_schedule_that_was_used_and_is_over_is_to_look_at(staff: Client, ada: Seller) -> None:
    schedule = FeeSchedule.objects.create(shop=ada.shop, basis_points=250, fixed=exact("0.25", "EUR"))
    use(schedule, ada)
    FeeSchedule.objects.filter(pk=schedule.pk).update(valid_until=timezone.now().date())
    assert "0.25" in staff.get(page_of(schedule)).content.decode()
    assert staff.post(page_of(schedule), said(ada, valid_until="")).status_code == 403


def test_one_that_is_used_while_it_is_changed_stays_as_it_was(staff: Client, ada: Seller, monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = FeeSchedule.objects.create(shop=ada.shop, basis_points=250, fixed=exact("0.25", "EUR"))

    def use_meanwhile(*_schedule: FeeSchedule, **_days: date | None) -> QuerySet[FeeSchedule]:
        use(schedule, ada)
        return FeeSchedule.objects.none()

    monkeypatch.setattr("payments.admin.fee_schedules.others_in_the_way", use_meanwhile)
    answer = staff.post(page_of(schedule), said(ada))
    assert (answer.status_code, answer["Location"]) == (302, page_of(schedule))
    assert "in this very moment" in staff.get(page_of(schedule)).content.decode()
    schedule.refresh_from_db()
    assert schedule.basis_points == 250


def test_sec_29_a_change_of_fees_takes_two_people_and_is_not_made_of_what_was_changed_since(staff: Client, ada: Seller) -> None:
    schedule = FeeSchedule.objects.create(shop=ada.shop, basis_points=250, fixed=exact("0.25", "EUR"))
    for _press in range(2):
        assert staff.post(page_of(schedule), said(ada, ("50", 500, "0"))).status_code == 302
    approval = Approval.objects.get()
    assert staff.post(f"/admin/ledger/approval/{approval.pk}/approve/", {"note": "Mine"}).status_code == 403
    shown = words(staff.get(f"/admin/ledger/approval/{approval.pk}/change/").content)
    assert "Basis points 250 → 1000" in shown
    FeeSchedule.objects.filter(pk=schedule.pk).update(basis_points=300)
    with pytest.raises(DomainError, match="was changed since"):
        approvals.approve(approval.pk, actor="staff:checker", reason="As agreed", now=timezone.now())
    schedule.refresh_from_db()
    assert (schedule.basis_points, schedule.tiers.count(), Approval.objects.get().status) == (300, 0, "WAITING")
    approvals.reject(approval.pk, actor="staff:checker", reason="Changed meanwhile", now=timezone.now())
    approved(staff.post(page_of(schedule), said(ada, ("50", 500, "0"))))
    schedule.refresh_from_db()
    assert (schedule.basis_points, schedule.tiers.get().basis_points) == (1000, 500)


def test_what_nobody_used_is_taken_away_and_what_was_used_since_stays(staff: Client, ada: Seller) -> None:
    first, other = (FeeSchedule.objects.create(shop=ada.shop, basis_points=250, fixed=exact("0.25", code)) for code in ("EUR", "USD"))
    assert "Takes a fee schedule away" in approved(staff.post(page_of(other), said(ada, is_removed="on")))
    assert not FeeSchedule.objects.filter(pk=other.pk).exists()
    staff.post(page_of(first), said(ada, is_removed="on"))
    use(first, ada)
    with pytest.raises(DomainError, match="was used in this very moment"):
        approvals.approve(Approval.objects.latest("pk").pk, actor="staff:checker", reason="Old", now=timezone.now())
    assert FeeSchedule.objects.filter(pk=first.pk).exists()

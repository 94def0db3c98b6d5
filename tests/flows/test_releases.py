"""From pending to available: by delivery or by days, with reserves and new sellers, and across refunds and disputes in any order."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from ledger.ids import new_id
from ledger.models import JournalEntry
from payments import confirmation, disputes, intake, refunds, releases, settlement
from payments.confirmation import Confirmed
from payments.models import DueRelease, PaymentOrder, PspAttempt, Refund, Reserve
from payments.psp.protocol import DisputeNotice
from payments.releases import NotDeliverable, WrongDeliveryTime
from payments.settlement import Capture
from reconciliation import invariants
from tests.factories import basket, eur, new_sellers, new_shop
from wallet import holds
from wallet.holds import HoldRefused
from wallet.models import OutboxMessage, ReleaseTerms, Seller, Wallet, WalletEntry

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
NOW = timezone.now().replace(microsecond=0)


@pytest.fixture
def ada() -> Iterator[Seller]:
    """A seller; at the end of the test every invariant holds that says anything about a house whose clock was moved."""
    yield new_sellers(new_shop(), "Ada's Books")[0]
    assert [violation for violation in invariants.violations() if not violation.invariant.startswith("INV-20")] == []


@pytest.fixture
def sell(ada: Seller) -> Callable[..., PaymentOrder]:
    return lambda amount="100.00", seller=ada: paid(seller, amount)


def paid(seller: Seller, amount: str) -> PaymentOrder:
    """Let a buyer pay an order of the seller; our fee is a tenth."""
    event, _is_new = intake.open_event(seller.shop, basket([seller], amount), now=NOW)
    [order] = confirmation.confirm(event.pk, Confirmed("cs_1", "tok_1", event.amount), now=NOW)
    attempt = PspAttempt.objects.create(order=order, number=1, psp="sandbox", psp_key=order.due.psp_key)
    settlement.settle([Capture(order.pk, attempt.pk, attempt.psp_key, f"ch_{attempt.pk}", order.amount, NOW)])
    order.refresh_from_db()
    return order


def agree(seller: Seller, *, own: bool = True, **said: object) -> None:
    ReleaseTerms.objects.create(shop=seller.shop, seller=seller if own else None, **said)


def deliver(order: PaymentOrder, at: datetime = NOW) -> PaymentOrder:
    return releases.deliver(order.pk, at=at, actor="api:test", now=max(at, NOW))


def figures(seller: Seller) -> tuple[str, str, str]:
    """Return what the seller has: pending, available, reserved."""
    wallet = Wallet.objects.get(seller=seller)
    pending, available, reserved = (f"{part.amount:.2f}" for part in (wallet.pending, wallet.available, wallet.reserved))
    return pending, available, reserved


def due_at(order: PaymentOrder) -> datetime | None:
    return DueRelease.objects.get(order=order).due_at


def give_back(order: PaymentOrder, amount: str, *, fee_policy: str = "") -> Refund:
    refund = refunds.request_refund(order.pk, amount=eur(amount), reason="", now=NOW, fee_policy=fee_policy)
    settlement.settle_refund(refund.pk, psp_reference=new_id("re"), refunded_at=NOW)
    return refund


def dispute(order: PaymentOrder, status: str = "open", lost: str = "0.00", name: str = "dp_1") -> None:
    charge = PspAttempt.objects.get(order=order, operation="charge").psp_reference
    said = (order.amount, eur("0.00"), eur(lost), "fraudulent", NOW, NOW, NOW + DAY)
    disputes.record(DisputeNotice(name, order.public_id, order.public_id, charge, status, *said), psp="sandbox")


# --- When -----------------------------------------------------------------------------------------------------------


def test_what_was_delivered_becomes_available_once_and_everybody_is_told(ada: Seller, sell: Callable[..., PaymentOrder]) -> None:
    order, other = sell(), sell("10.00")
    assert figures(ada) == ("99.00", "0.00", "0.00")
    deliver(order)
    assert [releases.release_due(now=NOW) for _twice in range(2)] == [1, 0]
    assert figures(ada) == ("9.00", "90.00", "0.00")
    order.refresh_from_db()
    assert (order.unreleased, order.released_at, order.delivered_by) == (eur("0.00"), NOW, "api:test")
    entry = JournalEntry.objects.get(reference=f"{order.public_id}:release")
    movement = WalletEntry.objects.get(kind="release")
    assert (movement.net, movement.available, movement.source, movement.journal_entry_id) == (
        eur("0.00"),
        eur("90.00"),
        order.public_id,
        entry.pk,
    )
    told = OutboxMessage.objects.filter(about=order.public_id).order_by("id").values_list("topic", "sequence")
    assert list(told)[1:] == [("payment_order.delivered", 2), ("payment_order.released", 3)]
    assert DueRelease.objects.get().order == other


def test_the_first_word_of_a_delivery_counts(sell: Callable[..., PaymentOrder]) -> None:
    order = sell()
    first = deliver(order, NOW + timedelta(hours=1))
    again = deliver(order, NOW + timedelta(hours=9))
    assert again.delivered_at == first.delivered_at == due_at(order)
    releases.release_due(now=NOW + DAY)
    assert deliver(order, NOW + 2 * DAY).delivered_at == first.delivered_at
    assert OutboxMessage.objects.filter(topic="payment_order.delivered").count() == 1


def test_what_was_paid_long_enough_ago_becomes_available_although_nobody_says_it_was_delivered(
    ada: Seller, sell: Callable[..., PaymentOrder]
) -> None:
    order = sell()
    assert due_at(order) == NOW + 14 * DAY
    assert releases.release_due(now=NOW + 14 * DAY - timedelta(seconds=1)) == 0
    assert releases.release_due(now=NOW + 14 * DAY) == 1
    assert figures(ada) == ("0.00", "90.00", "0.00")


@pytest.mark.parametrize(
    ("general", "own", "paid_days", "delivered_days"),
    [
        ({"days_after_payment": 7}, None, 7, 0),
        ({"days_after_payment": 7}, {"days_after_payment": 3, "days_after_delivery": 2}, 3, 2),
        ({"days_after_payment": 7}, {"days_after_payment": None}, None, 0),
        (None, {"days_after_delivery": 30}, 14, 30),
        ({"days_after_payment": 1, "new_seller_days": 60}, None, 60, 60),
        ({"new_seller_days": 60}, {"days_after_payment": 90, "days_after_delivery": 61}, 90, 61),
    ],
    ids=["the shop's", "its own", "only by delivery", "after delivery", "a new seller", "its own, no new seller any more"],
)
def test_the_terms_of_the_seller_and_then_of_the_shop_say_when(
    ada: Seller,
    sell: Callable[..., PaymentOrder],
    general: dict[str, int | None] | None,
    own: dict[str, int | None] | None,
    paid_days: int | None,
    delivered_days: int,
) -> None:
    Seller.objects.update(created_at=NOW)
    for said, is_own in ((general, False), (own, True)):
        if said is not None:
            agree(ada, own=is_own, **said)
    order = sell()
    assert due_at(order) == (None if paid_days is None else NOW + paid_days * DAY)
    deliver(order)
    assert due_at(order) == NOW + delivered_days * DAY


def test_terms_without_a_word_are_those_of_a_house_without_terms(ada: Seller, sell: Callable[..., PaymentOrder]) -> None:
    before = sell()
    agree(ada)
    assert due_at(sell()) == due_at(before)


def test_the_terms_of_another_shop_or_seller_say_nothing(ada: Seller, sell: Callable[..., PaymentOrder]) -> None:
    agree(new_sellers(ada.shop, "Bolt")[0], days_after_payment=1)
    agree(new_sellers(new_shop("Southwind"), "Zoe")[0], own=False, days_after_payment=2)
    assert due_at(sell()) == NOW + 14 * DAY


def test_only_what_the_psps_file_has_settled_becomes_available_where_a_shop_has_it_so(
    ada: Seller, sell: Callable[..., PaymentOrder]
) -> None:
    agree(ada, payable_means_reconciled=True)
    order, later = sell(), sell("10.00")
    deliver(order)
    assert releases.release_due(now=NOW) == 1
    assert (figures(ada), due_at(order)) == (("99.00", "0.00", "0.00"), NOW + DAY)
    assert releases.mark_settled([order.pk, later.pk], NOW) == 2
    assert releases.mark_settled([order.pk, later.pk], NOW + DAY) == 0
    releases.release_due(now=NOW)
    assert figures(ada) == ("9.00", "90.00", "0.00")
    assert due_at(later) == NOW + 14 * DAY, "what was not due does not become due by it"


# --- What cannot be delivered ---------------------------------------------------------------------------------------


def test_what_is_not_paid_or_was_given_back_cannot_be_delivered(ada: Seller, sell: Callable[..., PaymentOrder]) -> None:
    event, _is_new = intake.open_event(ada.shop, basket([ada], "10.00"), now=NOW)
    order = sell()
    give_back(order, "100.00")
    for each, why in ((event.orders.get(), "not paid"), (order, "in full")):
        with pytest.raises(NotDeliverable, match=why):
            deliver(each)


@pytest.mark.parametrize(
    ("at", "why"),
    [(NOW + DAY, "future"), (NOW - DAY, "before"), (datetime(2026, 11, 24, 8, 12), "zone")],  # noqa: DTZ001
    ids=["ahead", "before the payment", "naive"],
)
def test_a_delivery_at_an_impossible_time_is_refused(sell: Callable[..., PaymentOrder], at: datetime, why: str) -> None:
    order = sell()
    with pytest.raises(WrongDeliveryTime, match=why) as refusal:
        releases.deliver(order.pk, at=at, actor="api:test", now=NOW)
    assert refusal.value.field == "delivered_at"
    assert due_at(order) == NOW + 14 * DAY


# --- Reserves and many at once --------------------------------------------------------------------------------------


def test_a_part_stays_reserved_until_its_time_has_come(ada: Seller, sell: Callable[..., PaymentOrder]) -> None:
    agree(ada, reserve_basis_points=1000, reserve_days=30)
    order = deliver(sell("24.90"))
    releases.release_due(now=NOW)
    assert figures(ada) == ("0.00", "20.17", "2.24")
    assert invariants.violations() == []
    assert [releases.free_due_reserves(now=NOW + days * DAY) for days in (29, 30, 31)] == [0, 1, 0]
    assert figures(ada) == ("0.00", "22.41", "0.00")
    reserve = Reserve.objects.get(order=order)
    assert reserve.release_entry is not None
    assert (reserve.amount, reserve.release_entry.reference) == (eur("2.24"), f"{order.public_id}:reserve_release")


def test_a_refund_while_a_part_is_reserved_takes_what_is_available_and_leaves_the_reserve(
    ada: Seller, sell: Callable[..., PaymentOrder]
) -> None:
    agree(ada, reserve_basis_points=2000, reserve_days=30)
    order = deliver(sell())
    releases.release_due(now=NOW)
    give_back(order, "100.00")
    assert figures(ada) == ("0.00", "-18.00", "18.00")
    releases.free_due_reserves(now=NOW + 30 * DAY)
    assert figures(ada) == ("0.00", "0.00", "0.00")


def test_many_are_released_by_as_many_statements_as_one(ada: Seller, sell: Callable[..., PaymentOrder]) -> None:
    agree(ada, reserve_basis_points=1000, reserve_days=1)
    counts = []
    for orders in (1, 4):
        for _order in range(orders):
            deliver(sell("10.00"))
        with CaptureQueriesContext(connection) as statements:
            assert releases.release_due(now=NOW) == orders
        counts.append(len(statements))
    assert counts[0] == counts[1]
    assert releases.free_due_reserves(now=NOW + DAY) == 5


def test_a_sweep_takes_no_more_than_its_limit_and_the_oldest_first(ada: Seller, sell: Callable[..., PaymentOrder]) -> None:
    [*_others] = [deliver(sell("10.00"), NOW + hours * timedelta(hours=1)) for hours in (3, 1, 2)]
    assert releases.release_due(now=NOW + DAY, limit=2) == 2
    assert DueRelease.objects.get().due_at == NOW + timedelta(hours=3)
    assert figures(ada) == ("9.00", "18.00", "0.00")


# --- Across refunds and disputes ------------------------------------------------------------------------------------


def test_a_refund_takes_from_its_own_order_and_leaves_what_is_pending_of_others(ada: Seller, sell: Callable[..., PaymentOrder]) -> None:
    order, other = sell(), sell()
    give_back(order, "100.00", fee_policy="keep")
    other.refresh_from_db()
    assert (figures(ada), other.unreleased) == (("90.00", "-10.00", "0.00"), eur("90.00"))


def test_what_was_given_back_before_the_release_is_not_released_and_what_comes_after_it_is_owed(
    ada: Seller, sell: Callable[..., PaymentOrder]
) -> None:
    order = deliver(sell())
    give_back(order, "40.00")
    releases.release_due(now=NOW)
    assert figures(ada) == ("0.00", "54.00", "0.00")
    give_back(order, "60.00")
    assert figures(ada) == ("0.00", "0.00", "0.00")


def test_what_goes_back_to_the_buyer_is_not_released_while_its_refund_is_under_way(ada: Seller, sell: Callable[..., PaymentOrder]) -> None:
    order = deliver(sell())
    refund = refunds.request_refund(order.pk, amount=eur("40.00"), reason="", now=NOW)
    assert releases.release_due(now=NOW) == 1
    assert (figures(ada), releases.release_due(now=NOW)) == (("90.00", "0.00", "0.00"), 0)
    settlement.settle_refund(refund.pk, psp_reference=new_id("re"), refunded_at=NOW)
    releases.release_due(now=NOW + timedelta(hours=1))
    assert figures(ada) == ("0.00", "54.00", "0.00")


def test_a_refund_of_a_part_that_does_not_end_holds_the_order_up_for_three_days_and_one_of_all_until_it_ends(
    ada: Seller, sell: Callable[..., PaymentOrder]
) -> None:
    part, whole = deliver(sell()), deliver(sell())
    refunds.request_refund(part.pk, amount=eur("0.01"), reason="", now=NOW)
    refunds.request_refund(whole.pk, amount=None, reason="", now=NOW)
    for days in (0, 2, 4):
        releases.release_due(now=NOW + days * DAY)
        assert figures(ada) == (("180.00", "0.00", "0.00") if days < 3 else ("90.00", "90.00", "0.00"))


def test_of_an_order_that_was_given_back_as_a_whole_nothing_is_released_and_no_entry_is_made(
    ada: Seller, sell: Callable[..., PaymentOrder]
) -> None:
    order = sell()
    give_back(order, "100.00")
    assert releases.release_due(now=NOW + 14 * DAY) == 1
    order.refresh_from_db()
    assert order.released_at is not None
    assert not JournalEntry.objects.filter(kind="release").exists()
    assert figures(ada) == ("0.00", "0.00", "0.00")


@pytest.mark.parametrize(("is_released", "seller"), [(False, ("90.00", "0.00", "0.00")), (True, ("0.00", "90.00", "0.00"))])
def test_bug_39_a_refund_that_comes_back_is_pending_again_or_available_if_its_order_was_released_meanwhile(
    ada: Seller, sell: Callable[..., PaymentOrder], is_released: bool, seller: tuple[str, str, str]
) -> None:
    order = deliver(sell())
    refund = give_back(order, "40.00")
    if is_released:
        releases.release_due(now=NOW)
    settlement.reverse_refund(refund.pk, code="refund_failed", at=NOW)
    assert figures(ada) == seller


@pytest.mark.parametrize(
    ("story", "seller"),
    [
        ("open won", ("90.00", "0.00", "0.00")),
        ("open partial", ("67.50", "0.00", "0.00")),
        ("open lost", ("0.00", "0.00", "0.00")),
        ("open release won", ("0.00", "90.00", "0.00")),
        ("open release partial", ("0.00", "67.50", "0.00")),
        ("open release lost", ("0.00", "0.00", "0.00")),
        ("release open won", ("0.00", "90.00", "0.00")),
        ("release open partial", ("0.00", "67.50", "0.00")),
        ("release open lost", ("0.00", "0.00", "0.00")),
        ("open won release", ("0.00", "90.00", "0.00")),
    ],
)
def test_bug_40_a_dispute_moves_what_is_pending_while_the_order_is_not_released_and_then_what_is_available(
    ada: Seller, sell: Callable[..., PaymentOrder], story: str, seller: tuple[str, str, str]
) -> None:
    order = deliver(sell())
    for step in story.split():
        match step:
            case "release":
                releases.release_due(now=NOW)
            case "open":
                dispute(order)
                assert figures(ada)[2] == "100.00"
            case decided:
                dispute(order, decided, {"won": "0.00", "partial": "25.00", "lost": "100.00"}[decided])
    assert figures(ada) == seller


def test_what_a_refund_brings_back_fills_up_first_what_a_dispute_took_beyond_the_order(
    ada: Seller, sell: Callable[..., PaymentOrder]
) -> None:
    order = sell()
    refund = give_back(order, "50.00")
    dispute(order)
    assert figures(ada) == ("0.00", "-5.00", "50.00")
    settlement.reverse_refund(refund.pk, code="refund_failed", at=NOW)
    assert figures(ada) == ("40.00", "0.00", "50.00")
    dispute(order, "won")
    assert figures(ada) == ("90.00", "0.00", "0.00")


# --- Holds ----------------------------------------------------------------------------------------------------------


def test_a_hold_is_active_until_it_ends_or_is_lifted_and_keeps_who_and_why(ada: Seller) -> None:
    [bolt] = new_sellers(ada.shop, "Bolt")
    short = holds.place(ada.pk, reason="Bank details changed", until=NOW + DAY, actor="machine", now=NOW)
    long = holds.place(ada.pk, reason="Under review", until=None, actor="staff:eva", now=NOW)
    assert holds.active([ada.pk, bolt.pk], NOW) == {ada.pk: long}
    holds.lift(long.pk, reason="All is well", actor="staff:tom", now=NOW + timedelta(hours=1))
    assert [holds.active([ada.pk], NOW + hours * timedelta(hours=1)) for hours in (2, 24)] == [{ada.pk: short}, {}]
    long.refresh_from_db()
    assert (long.reason, long.placed_by, long.lift_reason, long.lifted_by) == ("Under review", "staff:eva", "All is well", "staff:tom")


def test_a_hold_without_a_reason_or_an_end_ahead_is_refused_and_none_is_lifted_twice(ada: Seller) -> None:
    with pytest.raises(HoldRefused, match="reason"):
        holds.place(ada.pk, reason=" ", until=None, actor="staff:eva", now=NOW)
    with pytest.raises(HoldRefused, match="future"):
        holds.place(ada.pk, reason="Review", until=NOW, actor="staff:eva", now=NOW)
    hold = holds.place(ada.pk, reason="Review", until=None, actor="staff:eva", now=NOW)
    holds.lift(hold.pk, reason="Done", actor="staff:eva", now=NOW)
    with pytest.raises(HoldRefused, match="over"):
        holds.lift(hold.pk, reason="Done", actor="staff:eva", now=NOW)

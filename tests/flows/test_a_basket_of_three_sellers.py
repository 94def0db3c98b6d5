"""One buyer, one confirmation, three sellers: what the whole house says when it is over."""

from collections.abc import Callable
from datetime import timedelta

from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from ledger import chart, queries
from ledger.models import JournalEntry
from payments import claims, confirmation, executor, sessions, settlement
from payments.models import DueOrder, OpenCheckout, PaymentEvent, PaymentOrder, PspAttempt
from payments.psp import registry
from tests.factories import FEES, RECEIVABLE, eur
from tests.fixtures_money import Oracle, captures_of, card_given, charge_and_keep_the_answer, confirm_card, statuses
from wallet.models import OutboxMessage, Seller, Wallet, WalletEntry

Open = Callable[..., PaymentEvent]


def test_one_confirmation_pays_three_sellers(open_payment: Open, pay: Open, sellers: list[Seller], oracle: Oracle) -> None:
    event = pay(open_payment("24.90", "89.00", "14.50"))
    assert (event.status, event.is_payment_done) == ("paid", True)
    assert statuses(event) == ["SUCCESS", "SUCCESS", "SUCCESS"]
    assert oracle.charged() == sorted(order.public_id for order in event.orders.all())
    assert [str(wallet.pending.amount) for wallet in Wallet.objects.order_by("seller")] == [
        "22.4100",
        "80.1000",
        "13.0500",
    ]
    assert queries.balance_of(RECEIVABLE, currency="EUR") == eur("128.40")
    assert queries.balance_of(FEES, currency="EUR") == eur("12.84")
    assert [queries.balance_of(chart.seller_pending(seller.id), currency="EUR") for seller in sellers] == [
        eur("22.41"),
        eur("80.10"),
        eur("13.05"),
    ]


def test_everything_about_a_paid_order_appears_together(open_payment: Open, pay: Open) -> None:
    event = pay(open_payment("10.00"))
    [order], [entry], [movement] = event.orders.all(), JournalEntry.objects.all(), WalletEntry.objects.all()
    assert (entry.kind, entry.reference) == ("sale", order.public_id)
    assert [(posting.account.code, posting.amount) for posting in entry.postings.order_by("line")] == [
        (RECEIVABLE, eur("10.00")),
        (chart.seller_pending(order.seller_id), eur("-9.00")),
        (FEES, eur("-1.00")),
    ]
    assert (movement.gross, movement.fee, movement.net) == (eur("10.00"), eur("1.00"), eur("9.00"))
    assert (order.ledger_updated, order.wallet_updated) == (True, True)
    assert sorted(OutboxMessage.objects.values_list("topic", "about")) == [
        ("payment.paid", event.public_id),
        ("payment_order.succeeded", order.public_id),
    ]
    assert not DueOrder.objects.exists()
    assert not OpenCheckout.objects.exists()


def test_the_entry_takes_effect_when_the_psp_charged_not_when_we_wrote_it(open_payment: Open, pay: Open, oracle: Oracle) -> None:
    pay(open_payment("10.00"))
    [row], [entry] = oracle.rows("charge.succeeded"), JournalEntry.objects.all()
    assert entry.effective_at.isoformat().replace("+00:00", "Z") == row["at"]
    assert entry.booked_at > entry.effective_at


def test_two_orders_of_one_seller_move_one_wallet_twice(open_payment: Open, pay: Open, sellers: list[Seller]) -> None:
    pay(open_payment("10.00", "20.00", sellers=sellers[:1]))
    [wallet] = Wallet.objects.all()
    assert wallet.pending == eur("27.00")
    assert sorted(entry.net for entry in wallet.entries.all()) == [eur("9.00"), eur("18.00")]


def test_a_key_is_stored_before_anything_is_sent(open_payment: Open, oracle: Oracle) -> None:
    event = open_payment("10.00")
    confirm_card(event)
    works = claims.claim_due(now=timezone.now(), limit=10)
    [attempt], [order] = PspAttempt.objects.all(), event.orders.all()
    assert (attempt.status, attempt.psp_key) == ("SENDING", order.public_id)
    assert not oracle.rows("charge.succeeded")
    for answered in executor.call_all(works):
        executor.hand_over(answered, now=timezone.now())
    assert oracle.charged() == [order.public_id]


def test_bug_04_confirming_the_same_session_again_changes_nothing(open_payment: Open, oracle: Oracle) -> None:
    event = open_payment("10.00", "20.00")
    confirmed = card_given(event)
    started = [len(confirmation.confirm(event.pk, confirmed, now=timezone.now())) for _click in range(3)]
    executor.execute_due_orders(now=timezone.now())
    started.append(len(confirmation.confirm(event.pk, confirmed, now=timezone.now())))
    assert started == [2, 0, 0, 0]
    assert len(oracle.charged()) == 2


def test_the_page_path_pays_without_believing_the_browser(open_payment: Open, oracle: Oracle) -> None:
    event = open_payment("10.00")
    session = sessions.open_session(event, language="en", now=timezone.now()).session
    event.refresh_from_db()
    assert registry.psp_named("sandbox").session(session.id).status == "open"
    assert PaymentOrder.objects.filter(status="EXECUTING").count() == 0
    assert executor.execute_due_orders(now=timezone.now() + timedelta(days=1)) == 0
    assert oracle.rows("charge.succeeded") == []


def test_a_batch_of_any_size_settles_in_ten_statements(open_payment: Open) -> None:
    used = []
    for amounts in (["1.00"], ["1.00"] * 10, ["1.00"] * 60):
        captures = captures_of(charge_and_keep_the_answer(open_payment(*amounts)))
        with CaptureQueriesContext(connection) as statements:
            settled = settlement.settle(captures)
        assert len(settled) == len(amounts)
        used.append(len(statements))
    assert used == [10, 10, 10]

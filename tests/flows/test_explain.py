"""Explain this cent: whatever stands anywhere is the sum of its rows, at every level, to the last minor unit; and a page that is wrong says so."""

import csv
import io
import random
import re
from collections import defaultdict
from collections.abc import Iterator
from datetime import date, timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from djmoney.money import Money

from ledger import chart, journal, queries, snapshots
from ledger.journal import Draft
from ledger.models import Account, BalanceSnapshot, JournalEntry, Posting
from ledger.money import exact, zero
from reconciliation import explain, explain_questions, invariants, reports
from reconciliation.explain import Leaf, Narrowed, Question
from tests.factories import NOON, eur
from tests.flows.test_admin import words
from tests.flows.test_payment_path import browser_of, travelled
from wallet import invoices, months
from wallet.models import FeeInvoice, Seller, Shop, Wallet, WalletEntry

pytestmark = pytest.mark.django_db
CODES = [
    chart.psp_receivable("sandbox"), chart.fee_revenue(), chart.psp_fees(), chart.operating_bank(), chart.bank_in_transit(),
    chart.tax_payable(), chart.suspense(),
]  # fmt: skip
CURRENCIES = {"EUR": "0.01", "JPY": "1", "KWD": "0.001"}


def book(chance: random.Random, count: int) -> None:
    """Post entries of several legs, in three currencies, on days of two months, twice the same account in some."""
    drafts = []
    for number in range(count):
        currency, unit = chance.choice(list(CURRENCIES.items()))
        amounts = [exact(unit, currency) * chance.randint(1, 10**6) for _leg in range(chance.randint(1, 4))]
        whole = sum(amounts[1:], start=amounts[0])
        kind = chance.choice([JournalEntry.Kind.MANUAL, JournalEntry.Kind.SETTLEMENT, JournalEntry.Kind.RESOLUTION])
        at = NOON - timedelta(minutes=chance.randint(0, 5 * 24 * 60))
        sides = [[(chance.choice(CODES), amount) for amount in amounts], [(chance.choice(CODES), whole)]]
        debits, credits = chance.sample(sides, 2)
        drafts.append(Draft(kind, f"random-{chance.random()}-{number}", at, debits, credits))
    with transaction.atomic():
        for currency in CURRENCIES:
            journal.open_accounts(CODES, currency=currency)
        journal.post(drafts)


def leaves_of(question: Question, narrowed: Narrowed = explain.ALL) -> Iterator[Leaf]:
    """Go from the figure down all levels and through all pages, each of which adds up; yield the rows at the end."""
    by = next((name for name in question.levels if not getattr(narrowed, name)), "")
    if by:
        level = explain.summed(question, by, narrowed)
        assert level.adds_up
        for line in level.lines:
            below = list(leaves_of(question, Narrowed(**{name: getattr(narrowed, name) for name in explain.KEYS} | {by: line.key})))
            assert len(below) == line.count
            for place, figure in enumerate(line.sums):
                assert sum((leaf.figures[place] for leaf in below), 0 * figure) == figure
            yield from below
        return
    page = explain.leaves(question, narrowed, limit=7)
    while True:
        assert page.adds_up
        assert page.before.count + len(page.rows) + page.after.count == page.total.count
        yield from page.rows
        if page.next is None:
            return
        page = explain.leaves(question, narrowed, page.next, limit=7)


@pytest.mark.parametrize("seed", [1, 2])
def test_every_balance_of_any_books_is_the_sum_of_its_entries_now_and_on_any_day(seed: int) -> None:
    chance = random.Random(seed)
    book(chance, 20)
    snapshots.take()
    book(chance, 20)
    assert BalanceSnapshot.objects.exists()
    day = (NOON - timedelta(days=chance.randint(1, 4))).date()
    of_kinds: dict[tuple[str, str], Money] = defaultdict(lambda: Money(0, "EUR"))
    for account in Account.objects.all():
        leaves = list(leaves_of(explain_questions.of_account(account)))
        assert len({(leaf.id, leaf.line) for leaf in leaves}) == Posting.objects.filter(account=account).count()
        stands = queries.balance_of(account.code, currency=account.currency)
        assert sum((leaf.figures[2] for leaf in leaves), 0 * stands) == stands
        on_the_day = explain.summed(explain_questions.of_account(account, last_day=day), "kind")
        assert on_the_day.adds_up
        assert on_the_day.total.sums[2] == queries.balance_of(
            account.code, currency=account.currency, as_of=reports.midnight(day + timedelta(days=1))
        )
        key = chart.kind_of(account.code), account.currency
        of_kinds[key] = stands + (of_kinds[key] if key in of_kinds else 0 * stands)
    for line in queries.trial_balance():
        currency = line.balance.currency.code
        page = explain.leaves(explain_questions.of_kind(line.kind, currency))
        assert list(page.total.sums) == [line.debits, line.credits, line.balance]
        assert page.adds_up
        assert of_kinds[line.kind, currency] == line.balance


def test_every_wallet_and_every_account_of_a_payment_that_went_all_the_way_is_explained() -> None:
    travelled()
    for wallet in Wallet.objects.all():
        leaves = list(leaves_of(explain_questions.of_wallet(wallet)))
        for place, figure in enumerate((wallet.pending, wallet.available, wallet.reserved)):
            assert sum((leaf.figures[place] for leaf in leaves), 0 * figure) == figure
    for account in Account.objects.all():
        assert len(list(leaves_of(explain_questions.of_account(account)))) == Posting.objects.filter(account=account).count()
    assert invariants.violations() == []


def test_an_invoices_lines_are_the_fees_of_its_movements_and_a_credit_note_takes_them_back(staff: Client) -> None:
    travelled()
    shop, month = Shop.objects.get(), months.of(timezone.now())
    over = month.until + timedelta(hours=1)
    assert invoices.issue_month(shop, month, now=over, by="staff:ana") == 4
    for invoice in FeeInvoice.objects.all():
        assert sum((leaf.figures[0] for leaf in leaves_of(explain_questions.of_invoice(invoice))), eur("0")) == invoice.gross
    refunded = FeeInvoice.objects.get(seller=Seller.objects.order_by("pk")[1])
    assert {line.key: line.sums[0] for line in explain.summed(explain_questions.of_invoice(refunded), "kind").lines} == {
        line.kind: line.gross for line in refunded.lines.all()
    }
    address = reverse("explain_invoice", args=[refunded.pk])
    assert address in staff.get(reverse("admin:wallet_feeinvoice_change", args=[refunded.pk])).content.decode()
    assert "Fees given back with refunds" in words(staff.get(address).content)
    assert staff.get(address, {"kind": "nothing"}).status_code == 200
    taken_back = invoices.correct(refunded.pk, reason="Wrong address", by="staff:ana", now=over).taken_back_by
    assert explain.summed(explain_questions.of_invoice(taken_back), "kind").adds_up
    assert {leaf.figures[0] for leaf in leaves_of(explain_questions.of_invoice(taken_back))} == {eur("-2.00"), eur("0.50")}


@pytest.fixture
def staff() -> Client:
    return browser_of(User.objects.create_superuser("finance"))


def test_one_gets_from_a_balance_to_the_order_and_its_path_by_clicking(staff: Client) -> None:
    event = travelled()
    account = Account.objects.get(code=chart.fee_revenue())
    page = staff.get(reverse("admin:ledger_account_change", args=[account.pk])).content.decode()
    address = reverse("explain_account", args=[account.pk])
    assert address in page
    assert "come to exactly these figures" in words(staff.get(address).content)
    today = f"{timezone.now():%Y-%m-%d}"
    for chosen in ("?kind=sale", f"&month={today[:7]}", f"&day={today}"):
        page = staff.get(address).content.decode()
        [following] = {found for found in re.findall(r'href="(\?[^"]+)"', page.replace("&amp;", "&")) if found.endswith(chosen)}
        address = f"{reverse('explain_account', args=[account.pk])}{following}"
    page = staff.get(address).content.decode()
    order = event.orders.order_by("pk")[0]
    assert reverse("admin:ledger_journalentry_change", args=[order.journal_entry_id]) in page
    assert f"{reverse('payment_find')}?q={order.public_id}" in page
    wallet = Wallet.objects.get(seller=order.seller)
    assert (
        reverse("explain_wallet", args=[wallet.pk]) in staff.get(reverse("admin:wallet_wallet_change", args=[wallet.pk])).content.decode()
    )


def test_pages_follow_each_other_by_keys_and_say_what_stands_before_and_after() -> None:
    book(random.Random(3), 300)
    account = Account.objects.get(code=chart.suspense(), currency="EUR")
    question = explain_questions.of_account(account)
    whole = explain.summed(question, "kind")
    narrowed = Narrowed(kind=max(whole.lines, key=lambda line: line.count).key)
    first = explain.leaves(question, narrowed, limit=5)
    second = explain.leaves(question, narrowed, first.next or (0, 0), limit=5)
    assert [leaf.id for leaf in first.rows] < [leaf.id for leaf in second.rows]
    assert second.before.count == 5
    assert [sum((leaf.figures[place] for leaf in first.rows), eur("0")) for place in range(3)] == list(second.before.sums)


def test_the_file_has_all_rows_in_pages_and_no_formula(staff: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explain, "IN_A_FILE", 4)
    with transaction.atomic():
        journal.open_accounts([chart.suspense(), chart.operating_bank()], currency="EUR")
        sides = [(chart.operating_bank(), eur("1.00"))], [(chart.suspense(), eur("1.00"))]
        journal.post([Draft(JournalEntry.Kind.MANUAL, f'=HYPERLINK("x{number}")', NOON, *sides) for number in range(10)])
    account = Account.objects.get(code=chart.suspense())
    answer = staff.get(reverse("explain_account", args=[account.pk]), {"csv": "1"})
    assert answer["Content-Disposition"] == 'attachment; filename="suspense-in-EUR.csv"'
    head, *rows = list(csv.reader(io.StringIO(answer.getvalue().decode())))
    assert head == ["row", "kind", "at", "about", "debits", "credits", "balance", "currency"]
    assert len(rows) == 10
    assert {row[3][:2] for row in rows} == {"'="}
    assert {tuple(row[4:]) for row in rows} == {("0.00", "1.00", "1.00", "EUR")}


def test_what_does_not_add_up_is_said_loudly(staff: Client) -> None:
    travelled()
    account = Account.objects.get(code=chart.fee_revenue())
    BalanceSnapshot.objects.create(account=account, through_entry_id=JournalEntry.objects.latest("pk").pk, balance="-7.49")
    address = reverse("explain_account", args=[account.pk])
    said = words(staff.get(address).content)
    assert "This does not add up. Balance: the rows come to 7.50 EUR, and the figure says 7.49 EUR." in said
    assert "come to exactly" not in said
    assert "come to exactly" in words(staff.get(address, {"until": f"{timezone.now():%Y-%m-%d}"}).content)


def test_an_address_that_none_of_ours_has_is_refused_kindly_and_rights_are_asked_for(staff: Client) -> None:
    with transaction.atomic():
        journal.open_accounts([chart.suspense()], currency="EUR")
    account = Account.objects.get(code=chart.suspense())
    address = reverse("explain_account", args=[account.pk])
    for wrong in (
        {"since": "yesterday"},
        {"until": "9999-12-31"},
        {"day": "2026-02-30"},
        {"after": "1"},
        {"kind": "a b"},
        {"month": "2026-99\0"},
    ):
        assert staff.get(address, wrong).status_code == 200, wrong
    assert "Enter a valid date" in words(staff.get(address, {"since": "yesterday"}).content)
    assert staff.get(address, {"kind": "sale", "month": "2026-99"}).status_code == 200
    figure = reverse("explain_figure", args=["ageing"])
    days = {"since": "2026-11-01", "until": "2026-11-02", "currency": "EUR"}
    assert staff.get(figure, days | {"group": "2"}).status_code == 200
    for missing in (
        reverse("explain_account", args=[0]),
        reverse("explain_kind", args=["nothing", "EUR"]),
        reverse("explain_kind", args=["suspense", "XYZ"]),
        reverse("explain_wallet", args=[0]),
        reverse("explain_invoice", args=[0]),
        reverse("explain_figure", args=["profit"]),
        figure,
        f"{figure}?since=2026-11-01&until=2026-11-02&currency=EUR&group=7",
        f"{reverse('explain_figure', args=['declines'])}?since=2026-11-01&until=2026-11-02&currency=EUR&group=lost_card&by=country",
    ):
        assert staff.get(missing).status_code == 404, missing
    user = User.objects.create_user("mia", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename="view_figures"))
    closed = (address, reverse("explain_kind", args=["suspense", "EUR"]), reverse("explain_wallet", args=[1]), figure)
    assert [browser_of(user).get(each, days).status_code for each in closed] == [403] * 4
    assert Client().get(address).status_code == 302
    assert staff.post(address).status_code == 405


def test_a_page_costs_the_same_however_many_rows_there_are(staff: Client) -> None:
    book(random.Random(4), 20)
    address = reverse("explain_kind", args=["suspense", "EUR"])
    staff.get(address)
    with CaptureQueriesContext(connection) as few:
        staff.get(address)
    book(random.Random(5), 200)
    with CaptureQueriesContext(connection) as many:
        staff.get(address)
    assert len(few) == len(many)


def test_a_movement_of_another_day_is_not_counted_in() -> None:
    travelled()
    [wallet] = Wallet.objects.filter(seller=Seller.objects.order_by("pk")[0])
    question = explain_questions.of_wallet(wallet)
    assert explain.summed(question, "day", Narrowed(kind=WalletEntry.Kind.SALE, month="2020-01")).total.count == 0
    account = Account.objects.get(code=chart.fee_revenue())
    assert explain.summed(explain_questions.of_account(account, last_day=date(2020, 1, 1)), "kind").total.sums[2] == zero("EUR")

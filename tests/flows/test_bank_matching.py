"""Bank statements against our books: what a PSP paid in has arrived, payouts have gone, and whatever nobody explains stands in suspense."""

import io
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, InternalError, connection, transaction
from django.test import Client
from django.utils import timezone

from ledger import chart, journal, queries
from ledger.models import JournalEntry, Posting
from payments.models import PaymentEvent
from payouts import executor, files, requests
from payouts import settlement as payouts
from payouts.models import Payout, PayoutSchedule
from reconciliation import bank_matching, ingestion, invariants, matching, sandbox_files
from reconciliation.models import BankLineMatch, ComparedStatement, Mismatch, SettlementBatch, SourceFile
from tests.bank_statements import mt940
from tests.factories import PAID_AT_ONCE, eur, make_available, new_bank_account, new_sellers, new_shop
from tests.fixtures_services import SandboxCompany
from tests.settlement_files import batch_of
from wallet.models import Shop

NOW = datetime(2037, 11, 22, 6, 0, tzinfo=UTC)
BATCH = "sb-20371120-eur"


def staged(body: bytes, *, source: str = "sandbox_bank", received_by: str = "folder") -> SourceFile:
    file, _is_new = ingestion.receive(io.BytesIO(body), "file", source=source, received_by=received_by, now=NOW)
    file = ingestion.stage(file.pk, now=NOW)
    assert file.error == ""
    return file


def booked_by(body: bytes, *, received_by: str = "folder") -> ComparedStatement:
    """Receive, stage and compare a statement; return what came of it."""
    file = staged(body, received_by=received_by)
    assert bank_matching.match_waiting(now=NOW) == 1
    return ComparedStatement.objects.get(statement__file=file)


def settled(amount: str = "98.35", *, name: str = BATCH, currency: str = "EUR") -> SettlementBatch:
    """Have a batch compared by which the PSP has paid us so much; of the fee line that it is of, nothing is in suspense."""
    body = batch_of(("fee", f"fee_{name}", "", "0.00", f"-{amount}"), batch=name, currency=currency)
    file = staged(body, source="sandbox")
    matching.match_waiting(now=NOW)
    return SettlementBatch.objects.get(file=file)


def ordered(amount: str = "30.00", *, provider: str = "") -> Payout:
    """Order a payout of a seller who has 100.00; it executes."""
    [seller] = new_sellers(new_shop(), "Ada")
    if provider:
        PayoutSchedule.objects.create(shop=seller.shop, provider=provider, minimum=eur("0.00"), keep_back=eur("0.00"))
    new_bank_account(seller, PAID_AT_ONCE)
    make_available(seller, eur("100.00"))
    return requests.request_payout(seller, amount=eur(amount), currency="", now=NOW, requested_by="user:ada")


def paid(amount: str = "30.00") -> Payout:
    """Give a payout that our books took off our bank account."""
    payout = ordered(amount)
    payouts.settle_payout(payout.pk, provider_reference="po_bank", paid_at=NOW)
    return payout


def legs(compared: ComparedStatement) -> dict[str, str]:
    found = Posting.objects.filter(entry=compared.journal_entry_id).select_related("account")
    return {leg.account.code: f"{leg.amount.amount:.2f}" for leg in found}


def found() -> list[tuple[str, str, str]]:
    return [(one.kind, one.subject, f"{one.suspended:.2f}") for one in Mismatch.objects.filter(line=None).order_by("bank_line")]


@pytest.fixture
def sandbox(own_sandbox: SandboxCompany) -> SandboxCompany:
    return own_sandbox


@pytest.fixture
def rolled_back(db: None) -> Iterator[None]:
    """End a test, before it is rolled back, with every invariant holding."""
    yield
    assert invariants.violations() == []


def in_transit() -> Decimal:
    return queries.balance_of(chart.bank_in_transit(), currency="EUR").amount


# --- What agrees ----------------------------------------------------------------------------------------------------


def test_what_the_sandbox_paid_in_and_paid_out_is_on_its_statement_in_every_form(
    open_payment: Callable[..., PaymentEvent], pay: Callable[..., PaymentEvent], shop: Shop, sandbox: SandboxCompany
) -> None:
    for _twice in range(2):
        sandbox.client.post("/control/end_day").raise_for_status()
    pay(open_payment("100.00"))
    [seller] = new_sellers(shop, "Dora")
    new_bank_account(seller, PAID_AT_ONCE)
    make_available(seller, eur("100.00"))
    payout = requests.request_payout(seller, amount=eur("30.00"), currency="", now=timezone.now(), requested_by="user:ada")
    executor.execute_due_payouts(now=timezone.now())
    for _twice in range(2):
        sandbox.client.post("/control/end_day").raise_for_status()
    now = timezone.now()
    sandbox_files.fetch(now=now)
    while ingestion.stage_waiting(now=now):
        pass
    matching.match_waiting(now=now)
    assert bank_matching.match_waiting(now=now) > 0
    gone = BankLineMatch.objects.get(payout=payout)
    assert (gone.kind, gone.number, gone.line.amount) == ("payout", 1, Decimal("-30.00"))
    batch = SettlementBatch.objects.get(matches__order__event__orders__amount=100, matches__order__seller__shop=shop)
    came = BankLineMatch.objects.get(batch=batch)
    assert (came.kind, came.line.amount) == ("settlement", batch.paid_out)
    entry = ComparedStatement.objects.get(statement=came.line.statement).journal_entry
    assert entry is not None
    last = sandbox.client.get("/v1/bank_statements", params={"limit": 1000}).json()["data"][-1]
    again = sandbox.client.get(f"/v1/bank_statements/{last['id']}", params={"format": "mt940"}).content
    before = JournalEntry.objects.count()
    compared = booked_by(again, received_by=ingestion.FROM_THE_SANDBOX)
    assert (compared.again, compared.mismatched, compared.journal_entry_id) == (compared.lines, 0, None)
    assert JournalEntry.objects.count() == before


def test_a_batch_that_arrives_is_on_the_bank_account_and_a_payout_is_there_already(rolled_back: None) -> None:
    batch, payout = settled(), paid()
    compared = booked_by(
        mt940(("98.35", "BK1", "", f"Sandbox Payments settlement batch {BATCH}."), ("-30.00", "BK2", payout.public_id, "Payout"))
    )
    assert (compared.lines, compared.matched, compared.mismatched, in_transit()) == (2, 2, 0, Decimal(0))
    assert legs(compared) == {"operating_bank": "98.35", "bank_in_transit": "-98.35"}
    assert (compared.paid_in, compared.suspended) == (batch.paid_out, Decimal(0))
    entry = JournalEntry.objects.get(reference=compared.public_id)
    assert (entry.pk, entry.kind, f"{entry.effective_at:%Y-%m-%d}") == (compared.journal_entry_id, "bank_statement", "2037-11-21")
    assert bank_matching.match(compared.pk, now=NOW + timedelta(days=1)).matched_at == NOW


def test_a_payout_that_came_back_is_found_by_its_id_as_sepa_writes_it(rolled_back: None) -> None:
    payout = paid()
    payouts.return_payout(payout.pk, provider_reference="po_bank", code="account_closed", returned_at=NOW)
    written = payout.public_id.replace("_", "-")
    compared = booked_by(mt940(("-30.00", "BK1", written, "Payout"), ("30.00", "BK2", written, "Returned")))
    assert (compared.matched, compared.mismatched, compared.journal_entry_id) == (2, 0, None)
    assert list(BankLineMatch.objects.order_by("line").values_list("kind", "payout")) == [
        ("payout", payout.pk), ("payout_return", payout.pk),
    ]  # fmt: skip


def test_a_payout_of_a_payment_file_is_found_before_the_bank_has_answered(rolled_back: None) -> None:
    by_file, by_api = ordered(provider=files.PROVIDER), ordered()
    booked_by(mt940(("-30.00", "BK1", by_file.public_id, ""), ("-30.00", "BK2", by_api.public_id, "")))
    assert BankLineMatch.objects.get().payout_id == by_file.pk
    assert found() == [("missing_here", by_api.public_id, "-30.00")]


def test_a_line_that_another_statement_brought_counts_once_and_one_that_is_booked_twice_twice(rolled_back: None) -> None:
    settled()
    twice = ("-1.00", "BK2", "", "Fee")
    first = booked_by(mt940(("98.35", "BK1", BATCH, "Settlement"), twice, twice))
    again = booked_by(mt940(("98.35", "BK1", BATCH, "The same in another form"), twice, twice, twice, number=2))
    assert (first.again, first.mismatched, again.again, again.mismatched) == (0, 2, 3, 1)
    assert legs(again) == {"operating_bank": "-1.00", "suspense": "1.00"}


def test_lines_without_a_reference_count_once_where_the_whole_statement_comes_again(rolled_back: None) -> None:
    first = booked_by(mt940(("5.00", "", "", "Somebody")))
    again = booked_by(mt940(("5.00", "", "", "Somebody, in other words")))
    other = booked_by(mt940(("5.00", "", "", "Somebody"), opening="5.00", day="371122", number=2))
    assert [one.again for one in (first, again, other)] == [0, 1, 0]


# --- What does not --------------------------------------------------------------------------------------------------


def test_what_the_bank_books_and_our_books_do_not_know_stands_in_suspense(rolled_back: None) -> None:
    settled("98.35")
    other = settled("50.00", name="sb-20371121-eur")
    dollars = settled("20.00", name="sb-20371120-usd", currency="USD")
    payout, more = paid(), paid("10.00")
    compared = booked_by(
        mt940(
            ("98.34", "BK1", BATCH, "A cent too little"),
            ("-30.01", "BK2", payout.public_id, "A cent too much"),
            ("-30.00", "BK3", payout.public_id, "Twice"),
            ("10.00", "BK4", more.public_id, "Returned, and not here"),
            ("20.00", "BK5", "sb-20371120-usd", "In another currency"),
            ("7.00", "BK6", "", "Somebody"),
            ("50.00", "BK7", BATCH, "By the name of another batch"),
        )
    )
    first = SettlementBatch.objects.get(name=BATCH)
    assert found() == [
        ("amount", first.public_id, "98.34"),
        ("amount", payout.public_id, "-0.01"),
        ("duplicate", payout.public_id, "-30.00"),
        ("missing_here", more.public_id, "10.00"),
        ("currency", dollars.public_id, "20.00"),
        ("missing_here", "", "7.00"),
        ("wrong_batch", first.public_id, "50.00"),
    ]
    assert (compared.mismatched, legs(compared)) == (7, {"operating_bank": "155.33", "suspense": "-155.33"})
    assert in_transit() == Decimal("148.35")
    later = booked_by(mt940(("98.35", "BK8", other.name, "The wrong name"), day="371122", opening="125.33", number=2))
    assert found()[-1:] == [("wrong_batch", other.public_id, "98.35")]
    assert later.mismatched == 1


def test_a_batch_with_a_short_name_is_not_found_by_chance(rolled_back: None) -> None:
    settled("98.35", name="12")
    compared = booked_by(mt940(("7.00", "BK1", "", "Invoice 12"), ("98.35", "BK2", "", "TX4711 batch 12, Northwind")))
    assert (compared.matched, found()) == (1, [("missing_here", "", "7.00")])


def test_a_report_within_the_day_is_read_and_not_compared(rolled_back: None) -> None:
    report = ":20:R\r\n:25:AT341904300234573299\r\n:28C:1/1\r\n:34F:EUR0,00\r\n:13D:2611211200+0000\r\n"
    line = ":61:2611211121C5,00NTRFNONREF//BK1\r\n:86:166?20SVWZ+Somebody\r\n:90C:1EUR5,00\r\n-\r\n"
    file = staged((report + line).encode())
    assert (file.format, bank_matching.match_waiting(now=NOW)) == ("mt942", 0)


def test_no_statement_is_compared_while_a_settlement_file_waits_to_be_read(rolled_back: None) -> None:
    staged(mt940(("98.35", "BK1", BATCH, "")))
    body = batch_of(("fee", "fee_1", "", "0.00", "-98.35"))
    file, _is_new = ingestion.receive(io.BytesIO(body), "sb.csv", source="sandbox", received_by="folder", now=NOW)
    assert bank_matching.match_waiting(now=NOW) == 0
    ingestion.stage(file.pk, now=NOW)
    assert (matching.match_waiting(now=NOW), bank_matching.match_waiting(now=NOW), found()) == (1, 1, [])


def test_a_statement_that_does_not_open_where_the_one_before_closed_says_so(rolled_back: None, admin_client: Client) -> None:
    booked_by(mt940(("5.00", "BK1", "", "Somebody")))
    fits = booked_by(mt940(("6.00", "BK2", "", "Somebody"), opening="5.00", day="371122", number=2))
    gap = booked_by(mt940(("7.00", "BK4", "", "Somebody"), opening="31.00", day="371124", number=4))
    said = {one.pk: bank_matching.gap_before(one.statement) for one in (fits, gap)}
    assert said == {fits.pk: None, gap.pk: (fits.statement.closed_on, Decimal("11.00"))}
    words = "It opens with 31.00\u00a0EUR, and the one of 2037-11-22 closed with 11.00\u00a0EUR."
    for place, sought in (
        (f"bankstatement/{gap.pk}/change/", [words, gap.public_id]),
        (f"sourcefile/{gap.statement.file_id}/change/", [words]),
        (f"bankstatement/?q={gap.public_id}", [f"bankstatement/{gap.pk}/change/"]),
        (f"mismatch/{Mismatch.objects.latest('pk').pk}/change/", ["BK4"]),
    ):
        page = admin_client.get(f"/admin/reconciliation/{place}", headers={"accept-language": "en"}).content.decode()
        assert [each for each in sought if each not in page] == [], place
    booked_by(mt940(("20.00", "BK3", "", "Somebody"), opening="11.00", day="371123", number=3))
    assert bank_matching.gap_before(gap.statement) is None, "the missing one has come"


# --- All of it or nothing -------------------------------------------------------------------------------------------


def test_cp_40_whoever_dies_between_matching_a_statement_and_posting_leaves_nothing(
    rolled_back: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def die(*_drafts: Any) -> None:
        raise Killed

    settled()
    with monkeypatch.context() as patch:
        patch.setattr(journal, "post", die)
        with pytest.raises(Killed):
            booked_by(mt940(("98.35", "BK1", BATCH, "")))
    assert (ComparedStatement.objects.count(), BankLineMatch.objects.count(), in_transit()) == (0, 0, Decimal("98.35"))
    assert [bank_matching.match_waiting(now=NOW) for _twice in range(2)] == [1, 0]
    assert (BankLineMatch.objects.count(), in_transit()) == (1, Decimal(0))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE reconciliation_comparedstatement SET suspended = suspended + 0.01",
        "DELETE FROM reconciliation_banklinematch",
        "UPDATE reconciliation_mismatch SET bank_line_id = bank_line_id + 1",
    ],
)
def test_postgres_keeps_what_was_compared_of_a_statement_as_it_is(rolled_back: None, statement: str) -> None:
    settled()
    booked_by(mt940(("98.35", "BK1", BATCH, ""), ("5.00", "BK2", "", "Somebody")))
    with pytest.raises((IntegrityError, InternalError)), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)

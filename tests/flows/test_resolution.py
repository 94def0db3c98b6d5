"""A mismatch is resolved by two people: one proposes what explains it, another one approves, and suspense is down by it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import IntegrityError, InternalError, connection, transaction
from django.test import Client

from ledger import chart, clock, manual, queries
from ledger.approvals import AlreadyDecided, MakerMayNotApprove
from ledger.errors import DomainError
from ledger.models import Account, JournalEntry, Posting
from payments import confirmation, intake, settlement
from payments.confirmation import Confirmed
from payments.models import PaymentOrder, PspAttempt
from payments.settlement import Capture
from reconciliation import explain, explain_questions, invariants, matching, recognition, reports, resolution
from reconciliation.causes import Cause, cause_of
from reconciliation.explain import ALL
from reconciliation.models import ExpectedFee, Mismatch, MismatchTransition, Proposal
from reconciliation.reports import Asked
from tests.bank_statements import mt940
from tests.factories import basket, eur, new_sellers, new_shop
from tests.fixtures_money import all_at_once, errors_in
from tests.flows.test_admin import page_of, words
from tests.flows.test_bank_matching import BATCH, booked_by, settled
from tests.flows.test_matching import charged, sell, settle, settle_file
from tests.settlement_files import batch_of

NOW = datetime(2037, 11, 20, 12, 15, tzinfo=UTC)
ADA, BEA = "staff:ada", "staff:bea"


@pytest.fixture
def orders(db: None) -> Iterator[list[PaymentOrder]]:
    """Give three orders of 10.00, 20.00 and 30.00 EUR that the PSP has charged; the invariants hold in the end."""
    yield sell("10.00", "20.00", "30.00")
    assert invariants.violations() == []


@pytest.fixture
def twice(orders: list[PaymentOrder]) -> Mismatch:
    """Give a charge of 10.00, less 0.30, that the PSP settled twice."""
    settle(charged(orders[0]), charged(orders[0]))
    return Mismatch.objects.get()


@pytest.fixture
def missing(orders: list[PaymentOrder]) -> Mismatch:
    """Give the charge of 20.00 that no file has, though another one of a week later has come: nothing is in suspense."""
    [later] = sell("7.00", at=NOW + timedelta(days=9))
    settle(charged(orders[0]), charged(orders[2]))
    settle(charged(later), batch="sb-20371129-eur", day="2037-11-29")
    assert matching.find_missing(now=NOW + timedelta(days=30)) == 1
    return Mismatch.objects.get()


def propose(mismatch: Mismatch, account: str = "psp_receivable:sandbox", *, actor: str = ADA) -> Proposal:
    return resolution.propose(mismatch.pk, account, "The PSP settled it twice", actor=actor, now=NOW)


def approve(proposal: Proposal, *, actor: str = BEA) -> Proposal:
    return resolution.approve(proposal.pk, actor=actor, reason="I saw it too", now=NOW)


def in_suspense() -> Decimal:
    return queries.balance_of(chart.suspense(), currency="EUR").amount


def booked(proposal: Proposal) -> dict[str, str]:
    """Return the legs of the proposal's entry: debits above zero."""
    legs = Posting.objects.filter(entry=proposal.journal_entry_id).select_related("account")
    return {leg.account.code: f"{leg.amount.amount:.2f}" for leg in legs}


def test_what_is_approved_leaves_suspense_by_one_entry_and_all_of_it_is_written_down(twice: Mismatch) -> None:
    resolution.take_over(twice.pk, actor=ADA, reason="Mine")
    proposal = propose(twice)
    assert (in_suspense(), JournalEntry.objects.filter(kind="resolution").count()) == (Decimal("9.70"), 0)
    proposal = approve(proposal)
    assert booked(proposal) == {"suspense": "9.70", "psp_fees": "0.30", "psp_receivable:sandbox": "-10.00"}
    entry = JournalEntry.objects.get(kind="resolution")
    assert (entry.pk, entry.reference, entry.memo) == (proposal.journal_entry_id, twice.public_id, "The PSP settled it twice")
    twice.refresh_from_db()
    assert (in_suspense(), twice.resolved_at, twice.owner) == (Decimal(0), NOW, ADA)
    told = MismatchTransition.objects.filter(mismatch=twice).order_by("pk")
    assert [(one.what, one.before, one.after, one.actor, one.reason) for one in told] == [
        ("owner", "", ADA, ADA, "Mine"),
        ("proposal", "", "WAITING", ADA, "The PSP settled it twice"),
        ("proposal", "WAITING", "APPROVED", BEA, "I saw it too"),
        ("mismatch", "open", "resolved", BEA, "I saw it too"),
    ]
    with pytest.raises(AlreadyDecided):
        approve(proposal, actor="staff:cleo")
    with pytest.raises(AlreadyDecided):
        propose(twice)


def test_the_fee_in_what_is_resolved_is_counted_as_its_psps(twice: Mismatch) -> None:
    approve(propose(twice))
    asked = Asked(NOW.date(), NOW.date(), "EUR")
    assert [(one.psp, one.entries, one.fees) for one in reports.psp_fees(asked)] == [("sandbox", 2, eur("0.60"))]
    account = Account.objects.get(code=chart.psp_fees(), currency="EUR")
    level = explain.summed(explain_questions.of_psp_fees(account, "sandbox", asked), "day", ALL)
    assert (level.total.count, level.total.sums[-1], level.adds_up) == (2, eur("0.60"), True)
    assert explain.summed(explain_questions.of_psp_fees(account, "", asked), "day", ALL).total.count == 0


@pytest.mark.parametrize("actor", [ADA, "user:ada"])
def test_sec_29_who_proposed_neither_approves_nor_rejects_and_postgres_refuses_it_too(twice: Mismatch, actor: str) -> None:
    proposal = propose(twice)
    for decide in (resolution.approve, resolution.reject):
        with pytest.raises(MakerMayNotApprove):
            decide(proposal.pk, actor=actor, reason="It is right", now=NOW)
    with pytest.raises(IntegrityError, match="maker_does_not_approve_the_proposal"), transaction.atomic():
        Proposal.objects.update(status="REJECTED", decided_by=ADA, decided_at=NOW, reason="It is right")
    assert in_suspense() == Decimal("9.70")


def test_what_is_rejected_stays_in_suspense_and_is_proposed_anew(twice: Mismatch) -> None:
    first = propose(twice, "operating_bank")
    with pytest.raises(AlreadyDecided):
        propose(twice)
    resolution.reject(first.pk, actor=BEA, reason="Not our bank", now=NOW)
    with pytest.raises(AlreadyDecided):
        approve(first, actor="staff:cleo")
    assert in_suspense() == Decimal("9.70")
    approve(propose(twice, "psp_fees"))
    assert in_suspense() == 0


def test_each_mismatch_comes_with_the_entry_that_would_explain_it_where_one_can_be_told(orders: list[PaymentOrder]) -> None:
    ExpectedFee.objects.create(psp="sandbox", currency="EUR", basis_points=0, fixed=Decimal("0.30"))
    first, second, third = orders
    settle(charged(first, fee="0.31"), charged(second, "20.01"), charged(second, "20.01"), ("charge", "ch_x", "", "5.00", "0.00"))
    assert PaymentOrder.objects.get(pk=second.pk).settled_at is None
    settle(charged(third), charged(third), batch="sb-20371121-eur", day="2037-11-21")
    drafts = [(one, resolution.draft_of(one, now=NOW)) for one in Mismatch.objects.order_by("pk")]
    assert [
        (one.kind, cause_of(one), draft and sorted(f"{code} {money.amount:.2f}" for code, money in draft.debits)) for one, draft in drafts
    ] == [
        ("fee", Cause.BY_HAND, ["psp_fees 0.01"]),
        ("amount", Cause.BY_HAND, ["psp_fees 0.30", "suspense 19.71"]),
        ("duplicate", Cause.BY_HAND, ["psp_fees 0.30", "suspense 19.71"]),
        ("missing_here", Cause.UNKNOWN, None),
        ("duplicate", Cause.BY_HAND, ["psp_fees 0.30", "suspense 29.70"]),
    ]
    for one, draft in drafts:
        approve(propose(one, resolution.suggested_account(one) if draft else "owed_to_buyers"))
    assert in_suspense() == 0
    assert not PaymentOrder.objects.filter(settled_at=None).exists(), "the PSP has paid for each of them"


@pytest.mark.parametrize("gross", ["0.01", "-10.00", "9.99"])
def test_an_order_for_which_the_psp_paid_too_little_waits_for_the_next_file(orders: list[PaymentOrder], gross: str) -> None:
    settle(charged(orders[0], gross, fee="0.00"))
    approve(propose(Mismatch.objects.get()))
    orders[0].refresh_from_db()
    assert (orders[0].settled_at, in_suspense()) == (None, Decimal(0))
    settle(charged(orders[0]), batch="sb-20371121-eur", day="2037-11-21")
    orders[0].refresh_from_db()
    assert orders[0].settled_at is not None


def test_a_batch_that_came_again_leaves_the_books_as_they_were_once_it_is_resolved(orders: list[PaymentOrder]) -> None:
    body = batch_of(charged(orders[0]), charged(orders[1], "20.01"), ("fee", "", "", "0.00", "1.10"))
    settle_file(body)
    approve(propose(Mismatch.objects.get()))
    codes = chart.psp_fees(), chart.bank_in_transit(), chart.psp_receivable("sandbox")
    before = [queries.balance_of(code, currency="EUR") for code in codes]
    settle_file(body + b"\n")
    for mismatch in Mismatch.objects.filter(resolved_at=None):
        approve(propose(mismatch, resolution.suggested_account(mismatch)))
    assert in_suspense() == 0
    assert [queries.balance_of(code, currency="EUR") for code in codes] == before


def charged_after_its_file(gross: str) -> PaymentOrder:
    """Give an order of 40.00 whose charge a file had, less 0.30, before our books knew of it."""
    sellers = new_sellers(new_shop(), "Bob")
    event, _is_new = intake.open_event(sellers[0].shop, basket(sellers, "40.00"), now=NOW)
    [order] = confirmation.confirm(event.pk, Confirmed("cs_2", "tok_2", event.amount), now=NOW)
    attempt = PspAttempt.objects.create(order=order, number=1, psp="sandbox", psp_key=order.public_id)
    assert settle(("charge", "ch_q", order.public_id, gross, "0.30")).mismatched == 1
    assert recognition.resolve_known(now=NOW) == 0, "nobody knows it yet"
    settlement.settle([Capture(order.pk, attempt.pk, attempt.psp_key, "ch_q", order.amount, NOW)])
    return PaymentOrder.objects.get(pk=order.pk)


def test_a_charge_that_our_books_know_after_its_file_resolves_itself_and_its_order_is_settled(orders: list[PaymentOrder]) -> None:
    order = charged_after_its_file("40.00")
    owed = queries.balance_of(chart.psp_receivable("sandbox"), currency="EUR").amount
    mismatch = Mismatch.objects.get()
    proposal = propose(mismatch)
    assert [recognition.resolve_known(now=NOW) for _twice in range(2)] == [1, 0]
    for row in (mismatch, order, proposal):
        row.refresh_from_db()
    assert (mismatch.kind, mismatch.resolved_at, order.settled_at, proposal.status) == ("late", NOW, NOW, "WITHDRAWN")
    entry = JournalEntry.objects.get(kind="resolution")
    legs = Posting.objects.filter(entry=entry).values_list("account__code", "amount")
    assert (entry.reference, {code: f"{amount:.2f}" for code, amount in legs}) == (
        mismatch.public_id, {"suspense": "39.70", "psp_fees": "0.30", "psp_receivable:sandbox": "-40.00"},
    )  # fmt: skip
    assert in_suspense() == 0
    assert owed - queries.balance_of(chart.psp_receivable("sandbox"), currency="EUR").amount == 40
    again = settle(charged(order), batch="sb-20371121-eur", day="2037-11-21")
    assert [one.kind for one in again.mismatches.all()] == ["duplicate"]


def test_a_charge_that_our_books_know_otherwise_is_left_to_people_who_settle_its_order(orders: list[PaymentOrder]) -> None:
    order = charged_after_its_file("40.01")
    assert recognition.resolve_known(now=NOW) == 0
    approve(propose(Mismatch.objects.get()))
    order.refresh_from_db()
    assert order.settled_at == NOW


def test_what_the_bank_paid_in_too_little_is_taken_off_what_is_on_its_way(db: None) -> None:
    settled("98.35")
    booked_by(mt940(("98.34", "BK1", BATCH, "A cent too little"), ("7.00", "BK2", "", "Somebody")))
    too_little, unknown = Mismatch.objects.order_by("bank_line")
    assert [resolution.suggested_account(one) for one in (too_little, unknown)] == ["bank_in_transit", ""]
    with pytest.raises(DomainError, match="cannot explain"):
        propose(too_little, "psp_receivable:sandbox")
    assert booked(approve(propose(too_little, "bank_in_transit"))) == {"suspense": "98.34", "bank_in_transit": "-98.34"}
    assert in_suspense() == 7
    assert queries.balance_of(chart.bank_in_transit(), currency="EUR").amount == Decimal("0.01")
    assert invariants.violations() == []


def test_sellers_accounts_and_whatever_else_cannot_explain_it_are_refused(twice: Mismatch) -> None:
    others = ("", "cash", "disputed:sandbox", "payouts_in_transit", "psp_receivable:other", "psp_fees:x")
    refused = dict.fromkeys(others, "unknown_account") | {"suspense": "suspense_account_refused"}
    refused |= dict.fromkeys(("seller_available:1", "seller_reserved:1"), "wallet_account_refused")
    for account, code in refused.items():
        with pytest.raises(DomainError) as refusal:
            propose(twice, account)
        assert (refusal.value.code, refusal.value.field) == (code, "account")
    assert not Proposal.objects.exists()


def test_no_account_is_offered_that_would_be_refused(twice: Mismatch) -> None:
    offered = resolution.accounts_for(twice)
    assert {"psp_receivable:sandbox", "psp_fees", "fx_position"} <= set(offered)
    for account in offered:
        manual.require_bookable(account)


def test_nothing_is_decided_without_a_reason_nor_about_what_does_not_exist(twice: Mismatch) -> None:
    proposal = propose(twice)
    for call, code in (
        (partial(resolution.propose, twice.pk, "psp_fees", "  ", actor=ADA, now=NOW), "reason_missing"),
        (partial(resolution.approve, proposal.pk, actor=BEA, reason="", now=NOW), "reason_missing"),
        (partial(resolution.take_over, twice.pk, actor=BEA, reason=" "), "reason_missing"),
        (partial(resolution.propose, 0, "psp_fees", "Why", actor=ADA, now=NOW), "not_found"),
        (partial(resolution.approve, 0, actor=BEA, reason="Why", now=NOW), "not_found"),
    ):
        with pytest.raises(DomainError) as refused:
            call()
        assert refused.value.code == code


def test_where_nothing_stands_in_suspense_it_is_closed_without_an_entry(missing: Mismatch) -> None:
    with pytest.raises(DomainError, match="nothing in suspense"):
        propose(missing, "psp_fees")
    proposal = approve(propose(missing, ""))
    missing.refresh_from_db()
    assert (proposal.journal_entry_id, missing.resolved_at) == (None, NOW)
    order = PaymentOrder.objects.get(public_id=missing.subject)
    assert settle(charged(order), batch="sb-20371130-eur", day="2037-11-30").mismatched == 0
    missing.refresh_from_db()
    assert (missing.kind, missing.resolved_at) == ("missing_there", NOW)


def test_what_the_next_file_explains_withdraws_what_was_proposed(missing: Mismatch) -> None:
    proposal = propose(missing, "")
    settle(charged(PaymentOrder.objects.get(public_id=missing.subject)), batch="sb-20371130-eur", day="2037-11-30")
    proposal.refresh_from_db()
    missing.refresh_from_db()
    assert (proposal.status, proposal.decided_by, missing.kind) == ("WITHDRAWN", "", "late")
    with pytest.raises(AlreadyDecided):
        approve(proposal)


def test_postgres_keeps_who_proposed_what_and_what_became_of_it(twice: Mismatch) -> None:
    propose(twice)
    for statement in (
        "UPDATE reconciliation_proposal SET account = 'fee_revenue'",
        "UPDATE reconciliation_proposal SET made_by = 'staff:bea'",
        "UPDATE reconciliation_proposal SET status = 'APPROVED', decided_by = 'staff:bea', decided_at = now(), reason = 'No entry'",
        "DELETE FROM reconciliation_proposal",
        "INSERT INTO reconciliation_proposal (mismatch_id, status, account, memo, made_by, made_at, decided_by, reason) "
        "SELECT mismatch_id, status, account, memo, made_by, made_at, '', '' FROM reconciliation_proposal",
        "UPDATE reconciliation_mismatchtransition SET actor = 'staff:bea'",
        "DELETE FROM reconciliation_mismatchtransition",
    ):
        with pytest.raises((IntegrityError, InternalError)), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)


@pytest.mark.race
def test_sec_29_of_two_who_approve_and_one_who_rejects_at_once_one_does(real_db: None) -> None:
    orders = sell("10.00")
    settle(charged(orders[0]), charged(orders[0]))
    mismatch = Mismatch.objects.get()
    proposal = propose(mismatch)
    answers = all_at_once(
        partial(approve, proposal, actor="staff:bea"),
        partial(approve, proposal, actor="staff:cleo"),
        partial(resolution.reject, proposal.pk, actor="staff:dora", reason="No", now=NOW),
    )
    assert [type(error) for error in errors_in(answers)] == [AlreadyDecided] * 2
    proposal.refresh_from_db()
    is_approved = proposal.status == "APPROVED"
    assert in_suspense() == (0 if is_approved else Decimal("9.70"))
    assert JournalEntry.objects.filter(kind="resolution").count() == int(is_approved)
    assert invariants.violations() == []


# --- In the admin ---------------------------------------------------------------------------------------------------


def staff(name: str, *permissions: str) -> Client:
    user = User.objects.create_user(name, password="-", is_staff=True)
    user.user_permissions.set(
        Permission.objects.filter(codename__in=["view_mismatch", "view_proposal", "view_mismatchtransition", *permissions])
    )
    browser = Client(headers={"accept-language": "en"})
    browser.force_login(user)
    return browser


def deed(mismatch: Mismatch, name: str) -> str:
    return page_of(mismatch).replace("/change/", f"/{name}/")


def test_finance_resolves_a_mismatch_at_the_desk(twice: Mismatch) -> None:
    ada, bea = staff("ada", "propose_resolution", "approve_resolution"), staff("bea", "approve_resolution")
    assert ada.post(deed(twice, "take_over"), {"note": "Mine"}).status_code == 302
    assert "psp_receivable:sandbox" in words(ada.get(deed(twice, "propose")).content)
    asked: dict[str, Any] = {"account": "psp_receivable:sandbox", "note": "Settled twice"}
    assert "Select a valid choice" in words(ada.post(deed(twice, "propose"), asked | {"account": "seller_available:1"}).content)
    assert bea.post(deed(twice, "propose"), asked).status_code == 403
    assert ada.post(deed(twice, "propose"), asked).status_code == 302
    decision: dict[str, Any] = {"proposal": Proposal.objects.get().pk, "note": "Right"}
    assert "Somebody else must decide it" in words(ada.post(deed(twice, "approve"), decision).content)
    shown = words(bea.get(deed(twice, "approve")).content)
    assert "staff:ada" in shown
    assert "-10.00" not in shown
    assert "10.00" in shown
    assert "not a proposal for this mismatch" in words(bea.post(deed(twice, "approve"), decision | {"proposal": 0}).content)
    assert bea.post(deed(twice, "approve"), decision).status_code == 302
    page = words(bea.get(page_of(twice)).content)
    assert all(said in page for said in ("Settled twice", "staff:bea", "Approved"))
    assert bea.post(page_of(twice), {"kind": "late"}).status_code == 403
    assert in_suspense() == 0


def test_the_queue_shows_what_is_asked_for(twice: Mismatch) -> None:
    ada = staff("ada", "propose_resolution")
    resolution.take_over(twice.pk, actor=ADA, reason="Mine")
    propose(twice)
    for asked, is_found in {
        "state=open": True,
        "state=proposed": True,
        "state=resolved": False,
        "in_suspense=yes": True,
        "in_suspense=no": False,
        "owned_by=me": True,
        "owned_by=nobody": False,
        "older_than_days=30": clock.now() - twice.found_at > timedelta(days=30),
        "older_than_days=soon": True,
        "kind__exact=duplicate": True,
    }.items():
        page = ada.get(f"/admin/reconciliation/mismatch/?{asked}").content.decode()
        assert (twice.public_id in page) is is_found, asked

"""What takes two people: one proposes, another one approves, and it is done in the commit that approves it, or not at all."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import DatabaseError, connection, transaction
from django.test import Client

from ledger import approvals, chart, clock, entry_approvals, journal, queries
from ledger.approvals import (
    AlreadyDecided,
    ApprovalExpired,
    MakerMayNotApprove,
    OnlyTheMakerWithdraws,
    ReasonMissing,
)
from ledger.errors import DomainError
from ledger.journal import Draft
from ledger.models import Approval, ApprovalTransition, JournalEntry
from reconciliation import invariants
from tests.factories import eur, make_available, new_sellers, new_shop
from tests.fixtures_money import all_at_once, errors_in
from tests.flows.test_admin import page_of, words
from wallet import balances, tasks
from wallet.balances import Change
from wallet.models import Wallet, WalletEntry

NOW = datetime(2026, 11, 20, 12, 15, tzinfo=UTC)
ADA, BEA = "staff:ada", "staff:bea"
ENTRY_PAGE = "/admin/ledger/approval/entry/"


@pytest.fixture
def books(db: None) -> Iterator[None]:
    yield
    assert invariants.violations() == []


def fee(reference: str = "fee-1", amount: str = "12.50", debit: str = "psp_fees") -> Draft:
    """Return a manual entry: an invoice of the PSP, paid from our bank."""
    return Draft("manual", reference, NOW, [(debit, eur(amount))], [("operating_bank", eur(amount))], memo="PSP fee of October")


def proposed(draft: Draft | None = None, *, actor: str = ADA, now: datetime = NOW) -> Approval:
    return approvals.propose(entry_approvals.proposal_of(draft or fee(), evidence="invoice 4711"), actor=actor, now=now)


def approve(approval: Approval, *, actor: str = BEA, now: datetime = NOW) -> Approval:
    return approvals.approve(approval.pk, actor=actor, reason="I saw the invoice", now=now)


def fees() -> Decimal:
    return queries.balance_of("psp_fees", currency="EUR").amount


def in_books() -> tuple[int, int]:
    """Return how many whole euros of fees, and how many entries, are booked."""
    return int(fees()), JournalEntry.objects.count()


def told(approval: Approval) -> list[tuple[str, str, str, str]]:
    changes = ApprovalTransition.objects.filter(approval=approval).order_by("pk")
    return [(change.before, change.after, change.actor, change.reason) for change in changes]


def test_what_is_approved_is_posted_in_the_same_commit_and_each_step_is_written_down(books: None) -> None:
    approval = proposed()
    assert (in_books(), list(approvals.waiting())) == ((0, 0), [approval])
    approval = approve(approval)
    entry = JournalEntry.objects.get()
    assert (approval.journal_entry_id, approval.result, entry.reference) == (entry.pk, entry.public_id, "fee-1")
    assert (entry.memo, entry.effective_at, fees()) == ("PSP fee of October (invoice 4711)", NOW, Decimal("12.50"))
    assert told(approval) == [
        ("", "WAITING", ADA, "PSP fee of October"),
        ("WAITING", "APPROVED", BEA, "I saw the invoice"),
    ]
    assert not approvals.waiting().exists()
    for decide in (approvals.approve, approvals.reject, approvals.withdraw):
        with pytest.raises(AlreadyDecided, match="approved by staff:bea"):
            decide(approval.pk, actor="staff:cleo", reason="Again", now=NOW)
    assert fees() == Decimal("12.50")


@pytest.mark.parametrize("actor", [ADA, "user:ada"])
def test_sec_29_who_proposed_neither_approves_nor_rejects_and_postgres_refuses_it_too(books: None, actor: str) -> None:
    approval = proposed()
    for decide in (approvals.approve, approvals.reject):
        with pytest.raises(MakerMayNotApprove):
            decide(approval.pk, actor=actor, reason="It is right", now=NOW)
    decided = {"decided_by": actor, "decided_at": NOW, "reason": "It is right"}
    for status, result in (("APPROVED", "je_1"), ("REJECTED", "")):
        with pytest.raises(DatabaseError, match="maker_does_not_decide_the_approval"), transaction.atomic():
            Approval.objects.filter(pk=approval.pk).update(status=status, result=result, **decided)
    assert fees() == 0


def test_what_is_rejected_or_withdrawn_is_not_done_and_only_the_maker_withdraws(books: None) -> None:
    rejected = approvals.reject(proposed().pk, actor=BEA, reason="Paid already", now=NOW)
    again = proposed()
    with pytest.raises(OnlyTheMakerWithdraws):
        approvals.withdraw(again.pk, actor=BEA, reason="No", now=NOW)
    with pytest.raises(DatabaseError, match="maker_alone_withdraws"), transaction.atomic():
        Approval.objects.filter(pk=again.pk).update(status="WITHDRAWN", decided_by=BEA, decided_at=NOW, reason="No")
    approvals.withdraw(again.pk, actor=ADA, reason="A typing mistake", now=NOW)
    assert told(rejected)[-1] == ("WAITING", "REJECTED", BEA, "Paid already")
    assert told(again)[-1] == ("WAITING", "WITHDRAWN", ADA, "A typing mistake")
    assert in_books() == (0, 0)


def test_what_cannot_be_done_is_not_proposed_and_nothing_of_its_rehearsal_stays(books: None) -> None:
    unbalanced = Draft("manual", "odd", NOW, [("psp_fees", eur("1.00"))], [("operating_bank", eur("2.00"))], memo="Odd")
    for draft, code in (
        (fee(debit="seller_available:1"), "wallet_account_refused"),
        (fee(debit="suspense"), "suspense_account_refused"),
        (fee(debit="psp_receivable:nobody"), "unknown_account"),
        (fee(debit="payouts_in_transit"), "unknown_account"),
        (fee(debit="disputed:sandbox"), "unknown_account"),
        (fee("ord_" + "a" * 32), "reference_reserved"),
        (unbalanced, "entry_does_not_balance"),
    ):
        with pytest.raises(DomainError) as refusal:
            proposed(draft)
        assert refusal.value.code == code
    with pytest.raises(ReasonMissing):
        approvals.propose(approvals.Proposal("entry", "x", {}, "  "), actor=ADA, now=NOW)
    assert not Approval.objects.exists()
    proposed()
    assert (JournalEntry.objects.count(), queries.trial_balance()) == (0, [])


def test_the_same_proposal_is_one_and_another_about_the_same_waits_for_its_turn(books: None) -> None:
    first = proposed()
    assert proposed() == first
    for draft, actor in ((fee(amount="12.51"), ADA), (fee(), BEA)):
        with pytest.raises(AlreadyDecided, match="waits already"):
            proposed(draft, actor=actor)
    assert Approval.objects.count() == 1


def test_what_the_world_does_not_allow_any_more_waits_and_nothing_of_it_is_done(books: None) -> None:
    approval = proposed()
    with transaction.atomic():
        journal.open_accounts(["psp_fees", "operating_bank"], currency="EUR")
        journal.post([fee()])
    with pytest.raises(DomainError, match="fee-1 is posted already"):
        approve(approval)
    approval.refresh_from_db()
    assert (approval.status, approval.decided_by, fees()) == ("WAITING", "", Decimal("12.50"))
    approvals.reject(approval.pk, actor=BEA, reason="Somebody was quicker", now=NOW)


def test_what_waited_for_too_long_is_proposed_anew(books: None) -> None:
    approval, late = proposed(), NOW + timedelta(days=14)
    with pytest.raises(ApprovalExpired):
        approve(approval, now=late)
    other = proposed(fee("fee-2"), now=late)
    assert (proposed(now=late) != approval, approvals.close_expired(now=late), approvals.waiting().first()) == (True, 0, other)
    assert approvals.close_expired(now=late + timedelta(days=14)) == 2
    assert told(approval)[-1] == ("WAITING", "EXPIRED", "", "")
    assert fees() == 0


def test_beat_closes_what_waited_for_too_long(books: None) -> None:
    old, new = proposed(now=clock.now() - timedelta(days=14)), proposed(fee("fee-2"), now=clock.now())
    tasks.close_expired_approvals()
    old.refresh_from_db()
    assert (old.status, list(approvals.waiting())) == ("EXPIRED", [new])


def test_pg_what_an_approval_says_stays_and_no_step_is_taken_back(books: None) -> None:
    approval = approve(proposed())
    waits = proposed(fee("fee-2"))
    changes: tuple[dict[str, Any], ...] = (
        {"terms": {}},
        {"memo": "Other"},
        {"made_by": "staff:cleo"},
        {"kind": "refund"},
        {"expires_at": NOW + timedelta(days=99)},
    )
    for change in changes:
        with pytest.raises(DatabaseError, match="what it says stays"), transaction.atomic():
            Approval.objects.filter(pk=waits.pk).update(**change)
    with pytest.raises(DatabaseError, match="what it says stays"), transaction.atomic():
        Approval.objects.filter(pk=approval.pk).update(status="WAITING", decided_by="", decided_at=None, reason="", result="")
    for table in ("ledger_approval", "ledger_approvaltransition"):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"DELETE FROM {table}")


@pytest.mark.race
def test_two_who_approve_and_one_who_rejects_at_once_are_one_decision_and_one_entry(real_db: None) -> None:
    for number in range(4):
        approval = proposed(fee(f"fee-{number}"))
        decided = all_at_once(
            partial(approve, approval),
            partial(approve, approval, actor="staff:cleo"),
            partial(approve, approval),
            partial(approvals.reject, approval.pk, actor="staff:dora", reason="No", now=NOW),
        )
        assert {type(error) for error in errors_in(decided)} == {AlreadyDecided}
        assert len(errors_in(decided)) == 3
        approval.refresh_from_db()
        assert JournalEntry.objects.filter(reference=f"fee-{number}").count() == (approval.status == "APPROVED")
    assert invariants.violations() == []


@pytest.mark.race
def test_two_who_propose_about_the_same_at_once_make_one_proposal(real_db: None) -> None:
    answers = all_at_once(*[proposed] * 4, partial(proposed, actor=BEA))
    assert Approval.objects.count() == 1
    assert {type(error) for error in errors_in(answers)} <= {AlreadyDecided}


# --- On the desk ----------------------------------------------------------------------------------------------------


def person(name: str, *permissions: str) -> Client:
    """Return a browser of somebody who may do these things and no others."""
    user = User.objects.create_user(name, is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=["view_approval", "view_journalentry", *permissions]))
    browser = Client(headers={"accept-language": "en"})
    browser.force_login(user)
    return browser


def said(*legs: tuple[str, str, str], **others: str) -> dict[str, str]:
    """Return what somebody fills in for an entry: each leg an account, a debit and a credit."""
    form = {"on": "2026-11-20", "reference": "fee-1", "evidence": "invoice 4711", "note": "PSP fee of October", **others}
    form |= {"form-TOTAL_FORMS": str(len(legs) + 2), "form-INITIAL_FORMS": "0"}
    for number, (account, debit, credit) in enumerate((*legs, ("", "", ""), ("", "", ""))):
        form |= {f"form-{number}-account": account, f"form-{number}-currency": "EUR"}
        form |= {f"form-{number}-debit": debit, f"form-{number}-credit": credit}
    return form


FEE = (("psp_fees", "12.50", ""), ("operating_bank", "", "12.50"))


def deed(approval: Approval, name: str) -> str:
    return page_of(approval).replace("change", name)


def test_an_entry_is_shown_proposed_and_approved_at_the_desk(books: None) -> None:
    ada, bea = person("ada", "propose_entry"), person("bea", "approve_entry")
    shown = words(ada.post(ENTRY_PAGE, said(*FEE, show="1")).content)
    assert "psp_fees 12.50 EUR – 0.00 EUR 12.50 EUR" in shown
    assert not Approval.objects.exists()
    answer = ada.post(ENTRY_PAGE, said(*FEE, propose="1"), follow=True)
    approval = Approval.objects.get()
    assert "Proposed. Somebody else must approve it" in words(answer.content)
    assert f'href="{deed(approval, "withdraw")}"' in answer.content.decode()
    seen = words(bea.get(deed(approval, "approve")).content)
    for what in ("staff:ada", "PSP fee of October", "invoice 4711", "operating_bank – 12.50 EUR 0.00 EUR −12.50 EUR"):
        assert what in seen, what
    assert list(bea.get("/admin/ledger/approval/?state=for_me").context["cl"].result_list) == [approval]
    done = bea.post(deed(approval, "approve"), {"note": "I saw the invoice"}, follow=True)
    assert "Approved, and done." in words(done.content)
    assert f'href="{page_of(JournalEntry.objects.get())}"' in done.content.decode()
    assert (fees(), JournalEntry.objects.get().effective_at) == (Decimal("12.50"), datetime(2026, 11, 20, tzinfo=UTC))
    again = bea.post(deed(approval, "approve"), {"note": "I saw the invoice"})
    assert "approved by staff:bea already" in words(again.content)
    assert list(bea.get("/admin/ledger/approval/?state=waiting").context["cl"].result_list) == []


def test_sec_nobody_does_at_the_desk_what_he_has_no_right_to(books: None) -> None:
    ada, bea = person("ada", "propose_entry", "approve_entry"), person("bea", "approve_entry")
    reader, stranger = person("reader"), person("stranger")
    stranger_user = User.objects.get(username="stranger")
    stranger_user.user_permissions.set(Permission.objects.filter(codename="view_approval"))
    for browser in (bea, reader, stranger):
        assert browser.post(ENTRY_PAGE, said(*FEE, propose="1")).status_code == 403
    ada.post(ENTRY_PAGE, said(*FEE, propose="1"))
    approval = Approval.objects.get()
    for browser, name, status in (
        (ada, "approve", 403), (ada, "reject", 403), (bea, "withdraw", 403), (reader, "approve", 403), (stranger, "approve", 404),
    ):  # fmt: skip
        assert browser.get(deed(approval, name)).status_code == status, name
        assert browser.post(deed(approval, name), {"note": "Yes"}).status_code == status, name
    assert deed(approval, "approve") not in ada.get(page_of(approval)).content.decode()
    assert stranger.get(page_of(approval)).status_code == 302
    for asked in ("", "?of_kind=entry", "?of_kind=%00"):
        assert list(stranger.get(f"/admin/ledger/approval/{asked}").context["cl"].result_list) == []
    assert bea.post(deed(approval, "approve"), {"note": "  "}).status_code == 200
    approval.refresh_from_db()
    assert (approval.status, in_books()) == ("WAITING", (0, 0))


@pytest.mark.parametrize(
    ("legs", "others", "complaint"),
    [
        ((("psp_fees", "12.50", ""), ("operating_bank", "", "12.49")), {}, "debits exceed credits by 0.01 EUR"),
        ((("psp_fees", "12.50", "1"), ("operating_bank", "", "12.50")), {}, "an amount on one side"),
        ((("psp_fees", "0.001", ""), ("operating_bank", "", "0.001")), {}, "is finer than EUR counts"),
        ((("psp_fees", "-1", ""), ("operating_bank", "", "-1")), {}, "must be more than zero"),
        ((("cash", "1", ""), ("operating_bank", "", "1")), {}, "is not an account of the chart"),
        ((("seller_pending:1", "1", ""), ("operating_bank", "", "1")), {}, "part of a seller's wallet"),
        ((("psp_fees", "", ""),), {}, "an amount on one side"),
        ((), {}, "it moves nothing"),
        (FEE, {"on": "2999-01-01"}, "Nothing is booked before its day"),
        (FEE, {"note": ""}, "This field is required"),
    ],
)
def test_an_entry_that_cannot_be_is_refused_where_it_is_wrong(books: None, legs: Any, others: dict[str, str], complaint: str) -> None:
    answer = person("ada", "propose_entry").post(ENTRY_PAGE, said(*legs, propose="1", **others))
    assert complaint in words(answer.content).replace("&#x27;", "'")
    assert not Approval.objects.exists()


def test_more_legs_are_asked_for_and_what_was_filled_in_stays(books: None) -> None:
    ada = person("ada", "propose_entry")
    assert words(ada.get(ENTRY_PAGE).content).count("Debit") > 0
    page = ada.post(ENTRY_PAGE, said(*FEE, more="1"))
    assert len(page.context["legs"].forms) == 8
    assert 'value="12.50"' in page.content.decode()
    assert "Nothing was done" not in words(page.content)


# --- Write-offs -----------------------------------------------------------------------------------------------------


def in_debt(owed: str) -> Wallet:
    """Give a wallet that is so much below zero, after a refund of what was paid out before."""
    [seller] = new_sellers(new_shop(), "Bob")
    make_available(seller, eur("0.01"))
    taken, nothing = eur(owed) + eur("0.01"), eur("0.00")
    with transaction.atomic():
        given = Draft("manual", "refund-1", NOW, [(chart.seller_available(seller.pk), taken)], [("operating_bank", taken)])
        [entry] = journal.post([given])
        balances.change([Change(seller.pk, entry, "refund", "refund-1", -taken, nothing, nothing, available=-taken, reserved=nothing)])
    return Wallet.objects.get(seller=seller)


def test_what_a_seller_will_not_pay_is_our_loss_once_two_people_say_so(books: None) -> None:
    wallet = in_debt("30.00")
    ada, bea = (person(name, "view_wallet", right) for name, right in (("ada", "propose_write_off"), ("bea", "approve_write_off")))
    page = f"/admin/wallet/wallet/{wallet.pk}/write_off/"
    assert "all that is owed: 30.00 EUR" in words(ada.get(page).content)
    assert bea.get(page).status_code == 403
    assert "cannot be written off" in words(ada.post(page, {"part": "30.01", "note": "Gone"}).content)
    ada.post(page, {"part": "", "note": "The seller is bankrupt"})
    approval = Approval.objects.get()
    seen = words(bea.get(deed(approval, "approve")).content)
    for what in ("Bob", "bankrupt", "write_offs 30.00 EUR – 0.00 EUR 30.00 EUR", "seller_available"):
        assert what in seen, what
    assert "Approved, and done." in words(bea.post(deed(approval, "approve"), {"note": "So says the court"}, follow=True).content)
    wallet.refresh_from_db()
    movement, entry = WalletEntry.objects.latest("pk"), JournalEntry.objects.latest("pk")
    assert (wallet.available, queries.balance_of("write_offs", currency="EUR")) == (eur("0.00"), eur("30.00"))
    assert (movement.kind, movement.source, entry.kind, entry.memo) == (
        "write_off",
        approval.public_id,
        "write_off",
        "The seller is bankrupt",
    )
    assert page not in ada.get(page_of(wallet)).content.decode()
    seller = Client(headers={"accept-language": "en"})
    wallet.seller.users.add(owner := User.objects.create_user("bob"))
    seller.force_login(owner)
    shown = seller.get("/seller/movements").content
    assert ("30.00 EUR is not owed by you any more" in words(shown), approval.public_id.encode() in shown) == (True, True)
    assert f'href="/seller/orders/{approval.public_id}"' not in shown.decode()


def test_what_is_not_owed_any_more_is_not_written_off(books: None) -> None:
    wallet = in_debt("30.00")
    terms = {"wallet": wallet.pk, "amount": "30.00", "currency": "EUR"}
    approval = approvals.propose(approvals.Proposal("write_off", "wallet", terms, "Bankrupt"), actor=ADA, now=NOW)
    make_available(wallet.seller, eur("10.00"))
    with pytest.raises(DomainError, match=r"owes 20.00 EUR"):
        approve(approval)
    wallet.refresh_from_db()
    assert (wallet.available, approvals.waiting().get()) == (eur("-20.00"), approval)

"""Tolerances: how much a bank may keep of what a PSP pays, by rows that finance makes and ends; without one, nothing."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import IntegrityError, InternalError, connection, transaction
from django.test import Client

from ledger import chart, queries
from ledger.models import Approval, Posting
from reconciliation import bank_recognition, invariants, not_at_the_bank, tolerances
from reconciliation.models import BankLineMatch, ToleranceChange, ToleranceRule
from reconciliation.tolerances import ToleranceHasEnded
from tests.bank_statements import mt940
from tests.flows.test_admin import words
from tests.flows.test_bank_matching import BATCH, NOW, booked_by, found, in_transit, legs, settled
from tests.flows.test_not_at_the_bank import settled_on

ADA = "staff:ada"


@pytest.fixture(autouse=True)
def rolled_back(db: None) -> Iterator[None]:
    """End a test, before it is rolled back, with every invariant holding, and suspense at what open mismatches are over."""
    yield
    assert invariants.violations() == []


def tolerate(amount: str = "0.50", *, made_at: datetime = NOW, **terms: Any) -> ToleranceRule:
    said = {"currency": "EUR", "psp": "", "days": 3, "valid_from": date(2037, 11, 1)} | terms
    rule = ToleranceRule(amount=Decimal(amount), **said)
    return tolerances.make(rule, made_by=ADA, actor="staff:bea", reason="The bank's price list", now=made_at)


def short_by(amount: str, name: str = BATCH, *, reference: str = "BK1") -> list[tuple[str, str, str]]:
    """Have a payment of 98.35 booked that is short by so much; return the mismatches."""
    booked_by(mt940((str(Decimal("98.35") - Decimal(amount)), reference, "", name)))
    return found()


def test_what_the_bank_kept_within_the_tolerance_is_a_charge_and_the_batch_has_arrived() -> None:
    settled()
    rule = tolerate()
    compared = booked_by(mt940(("97.85", "BK1", "", BATCH), ("5.00", "BK2", "", "Somebody")))
    assert legs(compared) == {"operating_bank": "102.85", "bank_charges": "0.50", "bank_in_transit": "-98.35", "suspense": "-5.00"}
    assert (compared.paid_in, compared.charges, compared.suspended) == (Decimal("98.35"), Decimal("0.50"), Decimal(5))
    match = BankLineMatch.objects.get()
    assert (match.kind, match.short_by, match.rule, in_transit()) == ("settlement", Decimal("0.50"), rule, Decimal(0))
    assert queries.balance_of(chart.bank_charges(), currency="EUR").amount == Decimal("0.50")


@pytest.mark.parametrize(
    ("kept", "terms"),
    [
        ("0.51", {}),
        ("-0.01", {}),
        ("0.50", {"currency": "USD"}),
        ("0.50", {"psp": "other"}),
        ("0.50", {"valid_from": date(2037, 11, 22)}),
        ("0.50", {"valid_until": date(2037, 11, 20)}),
    ],
)
def test_nothing_may_be_missing_beyond_the_tolerance_nor_on_other_days_nor_of_another_psp(kept: str, terms: dict[str, Any]) -> None:
    batch = settled()
    tolerate(**terms)
    assert short_by(kept) == [("amount", batch.public_id, f"{Decimal('98.35') - Decimal(kept):.2f}")]
    assert not BankLineMatch.objects.exists()


def test_a_rule_of_the_psps_own_comes_before_one_for_all_and_the_latest_before_those_that_it_follows() -> None:
    batch = settled()
    tolerate("5.00")
    tolerate("5.00", psp="sandbox")
    tolerate("0.10", psp="sandbox", valid_from=date(2037, 11, 10))
    assert short_by("0.50") == [("amount", batch.public_id, "97.85")]


def test_a_payment_that_took_too_long_is_not_within_the_tolerance() -> None:
    batch = settled_on("2037-11-13")
    tolerate(days=4)
    assert short_by("0.01", batch.name) == [("amount", batch.public_id, "98.34")], "November 19 was the fourth bank day"


@pytest.mark.parametrize(
    ("ordered", "days", "due"), [("2037-11-20", 1, "2037-11-23"), ("2037-12-23", 2, "2037-12-28"), ("2037-11-21", 0, "2037-11-21")]
)
def test_days_are_bank_days(ordered: str, days: int, due: str) -> None:
    first, last = date.fromisoformat(ordered), date.fromisoformat(due)
    assert tolerances.due_day(first, days) == last
    assert tolerances.first_day_in_time(last, days) <= first <= tolerances.last_day_due(last, days)


def test_a_payment_that_is_exact_and_one_that_is_short_of_the_same_batch_are_the_batch_and_a_second_payment() -> None:
    batch = settled()
    tolerate()
    compared = booked_by(mt940(("98.30", "BK1", "", BATCH), ("98.35", "BK2", "", BATCH)))
    assert (compared.charges, found()) == (Decimal(0), [("duplicate", batch.public_id, "98.30")])


def test_a_short_payment_that_came_before_its_file_is_explained_with_what_the_bank_kept() -> None:
    tolerate()
    assert short_by("0.35") == [("missing_here", "", "98.00")]
    settled()
    assert bank_recognition.resolve_known(now=NOW) == 1
    posted = Posting.objects.filter(entry__kind="resolution").values_list("account__code", "amount")
    assert dict(posted) == {"suspense": 98, "bank_charges": Decimal("0.35"), "bank_in_transit": Decimal("-98.35")}
    assert (in_transit(), not_at_the_bank.find(now=NOW)) == (Decimal(0), 0)


def test_a_rule_that_was_made_after_a_line_became_a_mismatch_does_not_explain_it() -> None:
    batch = settled()
    assert short_by("50.00") == [("amount", batch.public_id, "48.35")]
    tolerate("1000.00", made_at=NOW + timedelta(minutes=1))
    assert (bank_recognition.resolve_known(now=NOW + timedelta(hours=1)), in_transit()) == (0, Decimal("98.35"))


# --- Who makes and ends them ------------------------------------------------------------------------------------------


def test_a_rule_is_ended_once_and_its_making_and_end_are_written_down() -> None:
    rule = tolerate()
    tolerances.end(rule.pk, last_day=date(2037, 11, 30), actor="staff:bea", reason="Another bank")
    for last_day in (date(2037, 11, 30), date(2037, 10, 31)):
        with pytest.raises(ToleranceHasEnded):
            tolerances.end(rule.pk, last_day=last_day, actor="staff:bea", reason="Once more")
    told = ToleranceChange.objects.order_by("pk").values_list("before", "after", "actor", "reason")
    assert list(told) == [("", "", "staff:bea", "The bank's price list"), ("", "2037-11-30", "staff:bea", "Another bank")]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE reconciliation_tolerancerule SET amount = 1000",
        "UPDATE reconciliation_tolerancerule SET made_by = 'staff:bea'",
        "DELETE FROM reconciliation_tolerancerule",
        "DELETE FROM reconciliation_tolerancechange",
        "UPDATE reconciliation_tolerancerule SET valid_until = '2020-01-01'",
    ],
)
def test_postgres_keeps_a_rule_as_it_was_made(statement: str) -> None:
    tolerate()
    with pytest.raises((IntegrityError, InternalError)), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


def browser_of(name: str, *permissions: str) -> Client:
    user = User.objects.create_user(name, password="-", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    browser = Client(headers={"accept-language": "en"})
    browser.force_login(user)
    return browser


def address_of(deed: str) -> str:
    """Return where one decides so about what was proposed last."""
    return f"/admin/ledger/approval/{Approval.objects.latest('pk').pk}/{deed}/"


def decided(browser: Client, deed: str = "approve") -> int:
    """Let somebody decide about what was proposed last; return how that was answered: 302 if it is done."""
    return browser.post(address_of(deed), {"note": "I have read it"}).status_code


def test_sec_29_a_tolerance_takes_two_at_the_desk_and_finance_sees_what_it_allowed() -> None:
    looks = (
        *("view_tolerancerule", "view_tolerancechange", "view_banklinematch", "view_stagedbankline", "view_settlementbatch"),
        *("view_approval", "view_approvaltransition"),
    )
    viewer, checker = browser_of("vera", *looks), browser_of("bea", "approve_tolerancerule", *looks)
    maker = browser_of("ada", "add_tolerancerule", "change_tolerancerule", "approve_tolerancerule", *looks)
    asked = {"currency": "EUR", "psp": "sandbox", "amount": "0.50", "days": "3", "valid_from": "2037-11-01", "note": "By contract"}
    add = "/admin/reconciliation/tolerancerule/add/"
    assert [browser.get(add).status_code for browser in (viewer, checker, maker)] == [403, 403, 200]
    assert viewer.post(add, asked).status_code == 403
    for wrong in ({"amount": "0.505"}, {"amount": "-1"}, {"valid_until": "2037-10-01"}, {"note": ""}):
        assert maker.post(add, asked | wrong).status_code == 200, wrong
    assert [maker.post(add, asked | twice).status_code for twice in ({}, {"amount": "0.5"})] == [302, 302]
    assert (Approval.objects.count(), ToleranceRule.objects.count()) == (1, 0)
    seen = words(checker.get(address_of("approve")).content)
    assert [said in seen for said in ("Adds a tolerance", "0.50 EUR", "Nov 1, 2037", "By contract")] == [True] * 4, seen
    assert [decided(browser) for browser in (viewer, maker, checker)] == [403, 403, 302]
    [rule], change = ToleranceRule.objects.all(), ToleranceChange.objects.get()
    assert (rule.made_by, rule.amount, rule.psp, rule.valid_until) == (ADA, Decimal("0.50"), "sandbox", None)
    assert (change.actor, "By contract (staff:ada, apr_" in change.reason) == ("staff:bea", True)
    batch = settled()
    assert short_by("0.35") == []
    listed = viewer.get("/admin/reconciliation/banklinematch/?tolerated=yes").content.decode()
    assert (batch.name in listed, "0.35" in listed) == (True, True)
    match = BankLineMatch.objects.get()
    assert str(rule) in viewer.get(f"/admin/reconciliation/banklinematch/{match.pk}/change/").content.decode()
    assert (
        f"banklinematch/?q={match.line_id}" in viewer.get(f"/admin/reconciliation/stagedbankline/{match.line_id}/change/").content.decode()
    )
    page = f"/admin/reconciliation/tolerancerule/{rule.pk}/"
    assert "End it" in maker.get(f"{page}change/").content.decode()
    assert "End it" not in viewer.get(f"{page}change/").content.decode()
    ended = {"last_day": "2099-12-31", "note": "Another bank"}
    assert maker.post(f"{page}end/", ended | {"last_day": "2037-10-31"}).status_code == 200, "it would end before it began"
    assert [browser.post(f"{page}end/", ended).status_code for browser in (viewer, checker, maker)] == [403, 403, 302]
    tolerate("7.77", psp="sandbox", valid_from=date(2037, 10, 1))
    seen = words(checker.get(address_of("approve")).content)
    assert ("Ends a tolerance PSP sandbox" in seen, "7.77" in seen) == (True, True), "the wider one would hold again"
    assert decided(checker, "reject") == 302
    assert maker.post(f"{page}end/", ended).status_code == 302
    rule.refresh_from_db()
    assert (rule.valid_until, decided(checker)) == (None, 302)
    rule.refresh_from_db()
    assert rule.valid_until == date(2099, 12, 31)
    assert "Another bank" in viewer.get(f"{page}change/").content.decode()
    assert maker.post(f"/admin/reconciliation/tolerancerule/{rule.pk}/delete/", {"post": "yes"}).status_code == 403

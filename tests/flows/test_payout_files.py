"""Payment files: what waits goes into one, once; a second person approves it; the bank's answer pays, fails or frees its payouts."""

import re
import stat
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
import sepaxml
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from lxml import etree

from ledger import transitions
from ledger.approvals import MakerMayNotApprove
from ledger.errors import DomainError
from ledger.queries import balance_of
from payouts import bank_accounts, executor, file_answers, file_outcomes, file_returns, files, pain001, requests, timeline, vault
from payouts.bank_accounts import NewBankAccount
from payouts.file_answers import AnswerDoesNotFit, Applied, UnknownFile
from payouts.file_outcomes import Seen
from payouts.models import BankAccount, PaymentFile, PaymentFileAnswer, PaymentFileLine, Payout, PayoutSchedule, PayoutTransition
from payouts.states import FileStatus
from reconciliation import invariants
from tests.factories import PAID_AT_ONCE, RETURNED_LATER, eur, make_available, new_bank_account, new_sellers, new_shop
from wallet import holds
from wallet.models import Seller, Shop, Wallet

pytestmark = pytest.mark.django_db
NOW = timezone.now()
TODAY = NOW.date()
EARLIER, LATER = NOW - timedelta(days=10), NOW + timedelta(days=10)  # no bank is closed for so long


@pytest.fixture
def shop() -> Shop:
    """Give a shop whose payouts go to our bank by file."""
    shop = new_shop()
    schedule = PayoutSchedule(shop=shop, provider=files.PROVIDER, minimum=eur("0.00"), keep_back=eur("0.00"))
    schedule.save()
    return shop


@pytest.fixture
def payouts(shop: Shop) -> list[Payout]:
    """Give three payouts that wait for a file: 10.01, 10.02 and 10.03 EUR."""
    return [payout_to(seller, f"10.0{number}") for number, seller in enumerate(new_sellers(shop, "Ada", "Bolt", "Çelik"), start=1)]


def payout_to(seller: Seller, amount: str) -> Payout:
    new_bank_account(seller, PAID_AT_ONCE)
    make_available(seller, eur("50.00"))
    return requests.request_payout(seller, amount=eur(amount), currency="", now=NOW, reference=f"P-{amount}")


def make(on: date = TODAY, now: datetime = NOW, **terms: str) -> PaymentFile:
    return files.make("EUR", execute_on=on, made_by="staff:ada", now=now, **terms)


def fetched(file: PaymentFile | None = None, now: datetime = NOW) -> PaymentFile:
    file = file or make()
    files.approve(file.pk, actor="staff:ben", reason="compared with the list", now=now)
    return files.fetch(file.pk, actor="staff:ben", now=now)


def body_of(file: PaymentFile) -> bytes:
    return b"".join(files.stream(file))


def answer(file: PaymentFile, *transfers: str, group: str = "", batch: str = "", about: str = "", head: str = "") -> bytes:
    """Write what the bank says of the file: statuses, each with what stands beside it, of the group, the batch and transfers."""
    return f"""<?xml version="1.0"?>
<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pain.002.001.10"><CstmrPmtStsRpt>
<GrpHdr><MsgId>BANK-{len(transfers)}</MsgId><CreDtTm>2026-11-02T12:00:00Z</CreDtTm></GrpHdr>
<OrgnlGrpInfAndSts><OrgnlMsgId>{about or file.message_id}</OrgnlMsgId>{head}{group}</OrgnlGrpInfAndSts>
<OrgnlPmtInfAndSts><OrgnlPmtInfId>{pain001.batch_id(file.message_id, 1)}</OrgnlPmtInfId>{batch}
{chr(10).join(transfers)}
</OrgnlPmtInfAndSts></CstmrPmtStsRpt></Document>""".encode()


def of(payout: Payout | str, status: str, reason: str = "", amount: str = "") -> str:
    end_to_end = payout if isinstance(payout, str) else pain001.end_to_end_id(payout.public_id)
    why = f"<StsRsnInf><Rsn><Cd>{reason}</Cd></Rsn></StsRsnInf>" if reason else ""
    of_what = f'<OrgnlTxRef><Amt><InstdAmt Ccy="EUR">{amount}</InstdAmt></Amt></OrgnlTxRef>' if amount else ""
    said = f"<TxSts>{status}</TxSts>" if status else ""
    return f"<TxInfAndSts><OrgnlEndToEndId>{end_to_end}</OrgnlEndToEndId>{said}{why}{of_what}</TxInfAndSts>"


def because(*reasons: str) -> str:
    return "".join(f"<StsRsnInf><Rsn><Cd>{reason}</Cd></Rsn></StsRsnInf>" for reason in reasons)


def apply(body: bytes) -> Applied:
    return file_answers.apply([body], actor="staff:ben", now=NOW)


def spoil(account: BankAccount) -> None:
    """Let the account's details not open any more, as if somebody had changed its row by hand."""
    BankAccount.objects.filter(pk=account.pk).update(sealed=account.sealed[:-6] + "AAAAAA")


def statuses(payouts: list[Payout]) -> list[str]:
    return [Payout.objects.get(pk=payout.pk).status for payout in payouts]


def available(payout: Payout) -> str:
    return str(Wallet.objects.get(seller=payout.seller_id).available.amount.normalize())


# --- Made once, approved by another, always the same --------------------------------------------------------------------


def test_the_executor_leaves_what_waits_for_a_file_pending_and_never_given_up(payouts: list[Payout]) -> None:
    assert [executor.execute_due_payouts(now=NOW) for _payout in (*payouts, None)] == [1, 1, 1, 0]
    assert executor.execute_due_payouts(now=NOW + timedelta(days=2)) == 1
    assert statuses(payouts) == ["EXECUTING"] * 3
    assert make().count == 3


@pytest.mark.parametrize("version", sorted(pain001.DIALECTS))
def test_what_waits_goes_into_one_file_that_the_schema_accepts(payouts: list[Payout], version: str) -> None:
    file = fetched(make(version=version))
    body = body_of(file)
    found = etree.fromstring(body)
    etree.XMLSchema(etree.parse(Path(sepaxml.__file__).parent / "schemas" / f"{version}.xsd")).assertValid(found)
    assert (file.count, file.total) == (3, eur("30.06"))
    ends = [pain001.public_id_of(element.text or "") for element in found.iterfind(".//{*}EndToEndId")]
    assert ends == [payout.public_id for payout in payouts]
    assert [element.text for element in found.iterfind(".//{*}Cdtr/{*}Nm")] == ["Ada GmbH", "Bolt GmbH", "Celik GmbH"]
    assert next(element.text for element in found.iterfind(".//{*}Ustrd")) == "Northwind payout P-10.01"
    assert PAID_AT_ONCE.encode() in body
    assert body == body_of(file)


def test_a_payout_is_in_one_file_and_the_next_has_only_what_came_since(shop: Shop, payouts: list[Payout]) -> None:
    first = make()
    with pytest.raises(DomainError, match="No payout in EUR waits"):
        make()
    [dora] = new_sellers(shop, "Dora")
    later = payout_to(dora, "7.00")
    with pytest.raises(IntegrityError, match="is complete"), transaction.atomic():
        PaymentFileLine.objects.create(file=first, number=9, payout=later, text="")
    second = make()
    assert [line.payout_id for line in second.lines.all()] == [later.pk]
    with pytest.raises(IntegrityError, match="payout_is_in_one_payment_file"), transaction.atomic():
        PaymentFileLine.objects.create(file=first, number=9, payout=later, text="")


def test_payouts_to_a_seller_on_hold_wait_for_another_file(payouts: list[Payout]) -> None:
    holds.place(payouts[1].seller_id, reason="looked into", until=None, actor="staff:ada", now=NOW)
    assert [line.payout_id for line in make().lines.order_by("number")] == [payouts[0].pk, payouts[2].pk]


def test_a_file_that_was_begun_before_a_crash_is_gone_on_with(payouts: list[Payout], monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(files, "finish", lambda *_file, **_now: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            make()
    begun = PaymentFile.objects.get()
    with pytest.raises(DomainError, match="is not finished"):
        files.approve(begun.pk, actor="staff:ben", reason="", now=NOW)
    file = make(on=TODAY + timedelta(days=3))
    assert (file.pk, file.execute_on, file.count) == (begun.pk, TODAY, 3)
    assert PaymentFile.objects.count() == 1


def test_the_bytes_of_a_file_are_made_once_to_make_it(payouts: list[Payout], monkeypatch: pytest.MonkeyPatch) -> None:
    made, written = [], files.written

    def counted(file: PaymentFile) -> Iterator[bytes]:
        made.append(file.count)
        return written(file)

    monkeypatch.setattr(files, "written", counted)
    assert (make().count, made) == (3, [3])


def test_a_payout_that_no_bank_takes_fails_and_the_others_are_paid(shop: Shop, payouts: list[Payout]) -> None:
    [dora] = new_sellers(shop, "Dora")
    bank_accounts.add_vouched(dora, NewBankAccount("EUR", holder="ฯ", iban=PAID_AT_ONCE), by="api:test", now=NOW)
    make_available(dora, eur("50.00"))
    failing = requests.request_payout(dora, amount=eur("7.00"), now=NOW)
    file = make()
    assert (file.count, file.total) == (3, eur("30.06"))
    failed = Payout.objects.get(pk=failing.pk)
    assert failed.status == "FAILED" and failed.public_id in failed.failure_message
    assert available(failed) == "5E+1"
    assert body_of(fetched(file)).count(b"<CdtTrfTxInf>") == 3
    body = answer(file, of(failed, "ACSC"), group="<GrpSts>ACSC</GrpSts>")
    applied = apply(body)
    assert [problem.what for problem in applied.problems] == ["We sent no such transfer in this file."]
    assert statuses([failing, *payouts]) == ["FAILED", "SUCCESS", "SUCCESS", "SUCCESS"]


def test_a_payout_whose_account_cannot_be_read_waits_for_a_person_and_hinders_no_other(payouts: list[Payout]) -> None:
    account = payouts[0].bank_account
    spoil(account)
    file = make()
    assert [line.payout_id for line in file.lines.filter(dropped_at=None)] == [payouts[1].pk, payouts[2].pk]
    left = Payout.objects.get(pk=payouts[0].pk)
    assert (left.status, left.next_attempt_at, left.failure_message) == ("EXECUTING", None, files.UNREADABLE_ACCOUNT)
    assert "was changed by hand" in file.lines.get(payout=left).dropped_why
    assert executor.execute_due_payouts(now=NOW) == 1  # another one: nobody works on this
    with pytest.raises(DomainError, match="No payout in EUR waits"):
        make()
    BankAccount.objects.filter(pk=account.pk).update(sealed=account.sealed)
    requests.ask_again(left.pk, actor="staff:ben", reason="Taken from the backup", now=NOW)
    assert [line.payout_id for line in make().lines.all()] == [left.pk]


def test_a_hold_that_is_placed_after_a_file_was_made_stops_the_file(payouts: list[Payout]) -> None:
    held = payouts[1]
    unapproved, hold = make(), {"reason": "looked into", "until": None, "actor": "staff:ada", "now": NOW}
    first = holds.place(held.seller_id, **hold)  # type: ignore[arg-type]
    said = f"Their sellers are on hold: {held.public_id}. Put {unapproved.public_id} aside"
    with pytest.raises(DomainError, match=said):
        files.approve(unapproved.pk, actor="staff:ben", reason="seen", now=NOW)
    holds.lift(first.pk, reason="cleared", actor="staff:ada", now=NOW)
    files.approve(unapproved.pk, actor="staff:ben", reason="seen", now=NOW)
    holds.place(held.seller_id, **hold)  # type: ignore[arg-type]
    with pytest.raises(DomainError, match=said):
        files.fetch(unapproved.pk, actor="staff:ben", now=NOW)
    files.reject(unapproved.pk, actor="staff:ben", reason="a seller is on hold", now=NOW)
    assert [line.payout_id for line in fetched().lines.order_by("number")] == [payouts[0].pk, payouts[2].pk]


def test_an_account_that_is_replaced_after_a_file_was_made_stops_the_file_and_the_money_is_put_back(payouts: list[Payout]) -> None:
    ada = payouts[0]
    file = make()
    files.approve(file.pk, actor="staff:ben", reason="seen", now=NOW)
    new_bank_account(ada.seller, RETURNED_LATER)
    with pytest.raises(DomainError, match=f"Not to be paid any more: {ada.public_id}. Put {file.public_id} aside"):
        files.fetch(file.pk, actor="staff:ben", now=NOW)
    files.reject(file.pk, actor="staff:ben", reason="the account was replaced", now=NOW)
    while executor.execute_due_payouts(now=LATER):
        pass
    failed = Payout.objects.get(pk=ada.pk)
    assert (failed.status, failed.failure_code, available(ada)) == ("FAILED", "bank_account_replaced", "5E+1")
    assert fetched().count == 2


def test_whoever_finishes_a_file_that_somebody_else_began_may_not_approve_it(
    payouts: list[Payout], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(files, "finish", lambda *_file, **_now: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            make()
    file = files.make("EUR", execute_on=TODAY, made_by="staff:ben", now=NOW)
    for maker in ("staff:ada", "staff:ben", "shell:ben"):
        with pytest.raises(MakerMayNotApprove):
            files.approve(file.pk, actor=maker, reason="mine", now=NOW)
    with pytest.raises(IntegrityError, match="maker_does_not_approve_the_file"), transaction.atomic():
        PaymentFile.objects.filter(pk=file.pk).update(status="APPROVED", approved_by="staff:ben", approved_at=NOW)
    assert files.approve(file.pk, actor="staff:cleo", reason="seen", now=NOW).finished_by == "staff:ben"


def test_the_maker_may_not_approve_and_nobody_fetches_what_is_not_approved(payouts: list[Payout]) -> None:
    file = make()
    with pytest.raises(MakerMayNotApprove):
        files.approve(file.pk, actor="staff:ada", reason="mine", now=NOW)
    with pytest.raises(DomainError, match="somebody other than its maker must approve it first"):
        files.fetch(file.pk, actor="staff:ben", now=NOW)
    with pytest.raises(IntegrityError, match="maker_does_not_approve_the_file"), transaction.atomic():
        PaymentFile.objects.filter(pk=file.pk).update(status="APPROVED", approved_by="staff:ada", approved_at=NOW)
    fetched(file)
    kept = PayoutTransition.objects.get(kind="file", object_id=file.pk)
    assert (kept.before, kept.after, kept.actor, kept.reason) == ("MADE", "APPROVED", "staff:ben", "compared with the list")


def test_nobody_but_who_fetched_a_file_has_it_so_that_another_can_say_that_it_never_left(payouts: list[Payout]) -> None:
    file = fetched()
    with pytest.raises(DomainError, match="was fetched by staff:ben"):
        files.fetch(file.pk, actor="staff:cleo", now=NOW)
    assert files.fetch(file.pk, actor="shell:ben", now=NOW).downloaded_by == "staff:ben"
    ben, cleo = staff("ben", "download"), staff("cleo", "download")
    address = f"/admin/payouts/paymentfile/{file.pk}/download/"
    refused = cleo.get(address, follow=True)
    assert not refused.streaming and "was fetched by staff:ben" in refused.content.decode()
    assert b"".join(ben.get(address)) == body_of(file)


def test_a_file_that_was_not_fetched_may_be_put_aside_and_its_payouts_go_into_the_next(payouts: list[Payout]) -> None:
    aside = files.reject(make().pk, actor="staff:ben", reason="wrong day", now=NOW)
    assert aside.status == FileStatus.REJECTED
    again = fetched()
    assert again.count == 3 and again.message_id != aside.message_id
    with pytest.raises(DomainError, match="may be at the bank"):
        files.reject(again.pk, actor="staff:ben", reason="too late", now=NOW)


def test_no_file_repeats_an_id_of_another_but_the_one_by_which_the_statement_names_a_payout(payouts: list[Payout]) -> None:
    """A bank that remembers the ids of a file that it refused would take the next one for a duplicate."""

    def ids_in(file: PaymentFile) -> dict[str, list[str | None]]:
        found = etree.fromstring(body_of(file))
        return {name: [each.text for each in found.iterfind(f".//{{*}}{name}")] for name in ("InstrId", "UETR", "EndToEndId")}

    first = ids_in(refused := fetched())
    apply(answer(refused, group="<GrpSts>RJCT</GrpSts>"))
    second = ids_in(file := fetched())
    assert second["EndToEndId"] == first["EndToEndId"]
    assert len({*first["InstrId"], *second["InstrId"]}) == len({*first["UETR"], *second["UETR"]}) == 6
    by_instruction = f"<TxInfAndSts><OrgnlInstrId>{second['InstrId'][2]}</OrgnlInstrId><TxSts>ACSC</TxSts></TxInfAndSts>"
    of_another = by_instruction.replace(str(second["InstrId"][2]), str(first["InstrId"][1]))
    assert [problem.what for problem in apply(answer(file, by_instruction, of_another)).problems] == [
        "We sent no such transfer in this file."
    ]
    assert statuses(payouts) == ["EXECUTING", "EXECUTING", "SUCCESS"]


def test_a_file_that_makes_other_bytes_than_were_approved_is_not_fetched_and_may_be_put_aside(payouts: list[Payout]) -> None:
    file = make()
    files.approve(file.pk, actor="staff:ben", reason="seen", now=NOW)
    account = payouts[1].bank_account
    spoil(account)
    with pytest.raises(DomainError, match="does not make the bytes any more that were approved"):
        files.fetch(file.pk, actor="staff:ben", now=NOW)
    BankAccount.objects.filter(pk=account.pk).update(sealed=vault.seal({"iban": RETURNED_LATER}, owner=account.public_id))
    with pytest.raises(DomainError, match="does not make the bytes any more that were approved"):
        files.fetch(file.pk, actor="staff:ben", now=NOW)
    assert files.reject(file.pk, actor="staff:ben", reason="its rows were changed", now=NOW).downloaded_at is None
    BankAccount.objects.filter(pk=account.pk).update(sealed=account.sealed)
    assert fetched().count == 3


def test_what_a_file_says_of_an_accounts_bank_is_kept_from_change_by_postgres(payouts: list[Payout]) -> None:
    for change in ({"bic": "BOTKJPJT"}, {"bank_name": "Another"}):
        with pytest.raises(IntegrityError, match="cannot be changed, only replaced"), transaction.atomic():
            BankAccount.objects.filter(pk=payouts[0].bank_account_id).update(**change)


def test_bytes_that_are_not_those_that_were_approved_have_no_end(payouts: list[Payout]) -> None:
    file = fetched()
    with connection.cursor() as cursor:  # as whoever owns the database could
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE payouts_paymentfileline DISABLE TRIGGER payment_file_line_is_fixed")
    file.lines.filter(number=2).update(text="Something else")
    with pytest.raises(files.FileHasChanged):
        body_of(file)
    account = payouts[1].bank_account
    BankAccount.objects.filter(pk=account.pk).update(sealed=vault.seal({"iban": RETURNED_LATER}, owner=account.public_id))
    with pytest.raises(vault.CannotOpen):
        body_of(file)


def test_what_a_file_says_is_kept_from_change_by_postgres(payouts: list[Payout]) -> None:
    file = fetched()
    for change in ({"execute_on": TODAY + timedelta(days=1)}, {"sha256": "0" * 64}, {"count": 2}, {"approved_by": "staff:eve"}):
        with pytest.raises(IntegrityError, match="stays as it is"), transaction.atomic():
            PaymentFile.objects.filter(pk=file.pk).update(**change)
    with pytest.raises(IntegrityError, match="no line can be dropped"), transaction.atomic():
        file.lines.update(dropped_at=NOW)
    PaymentFile.objects.filter(pk=file.pk).update(status="ACCEPTED")
    with pytest.raises(IntegrityError, match="no such transition"), transaction.atomic():
        PaymentFile.objects.filter(pk=file.pk).update(status="APPROVED")


def test_sec_03_no_number_of_an_account_is_in_the_rows_of_a_file_or_in_what_is_asked_of_postgres(payouts: list[Payout]) -> None:
    with CaptureQueriesContext(connection) as asked:
        body_of(fetched())
    assert PAID_AT_ONCE not in " ".join(query["sql"] for query in asked)
    with connection.cursor() as cursor:
        cursor.execute("SELECT string_agg(file::text || line::text, ' ') FROM payouts_paymentfile AS file, payouts_paymentfileline AS line")
        [rows] = cursor.fetchone()
    assert PAID_AT_ONCE not in rows


@pytest.mark.parametrize(
    ("currency", "days", "version", "field"),
    [("USD", 0, "pain.001.001.09", "currency"), ("EUR", -1, "pain.001.001.09", "execute_on"), ("EUR", 0, "pain.001.001.02", "format")],
)
def test_a_file_that_cannot_be_is_refused_by_field(currency: str, days: int, version: str, field: str) -> None:
    with pytest.raises(DomainError) as refused:
        files.make(currency, execute_on=TODAY + timedelta(days=days), made_by="staff:ada", now=NOW, version=version)
    assert refused.value.field == field
    assert not PaymentFile.objects.exists()


# --- The bank's answer --------------------------------------------------------------------------------------------------


def test_the_banks_answer_pays_fails_and_leaves_open_and_twice_is_once(payouts: list[Payout]) -> None:
    ada, bolt, celik = payouts
    file = fetched()
    body = answer(file, of(ada, "ACSC", amount="10.01"), of(bolt, "RJCT", "AC04"), of(celik, "PDNG"), group="<GrpSts>PART</GrpSts>")
    for _time in range(2):
        applied = apply(body)
        assert (applied.counts, applied.problems) == ({"paid": 1, "refused": 1, "pending": 1, "free": 0}, ())
        assert statuses(payouts) == ["SUCCESS", "FAILED", "EXECUTING"]
        assert [available(payout) for payout in payouts] == ["39.99", "5E+1", "39.97"]
        assert applied.file.status == FileStatus.PARTLY
    failed = Payout.objects.get(pk=bolt.pk)
    assert (failed.failure_code, failed.failure_message) == ("account_closed", "The account is closed. Give another one. (AC04)")
    assert PaymentFileAnswer.objects.count() == 1
    assert apply(answer(file, of(celik, "ACSC"))).problems == ()
    assert statuses(payouts) == ["SUCCESS", "FAILED", "SUCCESS"]
    assert invariants.violations() == []


@pytest.mark.parametrize("group", ["ACSC", "ACCC"])
def test_a_file_that_is_settled_as_a_whole_pays_all_of_it(payouts: list[Payout], group: str) -> None:
    applied = apply(answer(fetched(), group=f"<GrpSts>{group}</GrpSts>"))
    assert (applied.counts["paid"], applied.file.status) == (3, FileStatus.ACCEPTED)
    assert statuses(payouts) == ["SUCCESS"] * 3


@pytest.mark.parametrize("status", ["RCVD", "ACTC", "ACCP", "ACSP", "PDNG"])
def test_what_the_bank_is_still_at_changes_no_payout(payouts: list[Payout], status: str) -> None:
    applied = apply(answer(fetched(), batch=f"<PmtInfSts>{status}</PmtInfSts>"))
    assert (applied.counts["pending"], applied.problems) == (3, ())
    assert statuses(payouts) == ["EXECUTING"] * 3


def test_older_news_does_not_take_back_what_was_paid(payouts: list[Payout]) -> None:
    file = fetched()
    apply(answer(file, group="<GrpSts>ACSC</GrpSts>"))
    assert apply(answer(file, group="<GrpSts>ACTC</GrpSts>")).problems == ()
    assert set(file.lines.values_list("bank_status", flat=True)) == {"ACSC"}
    assert statuses(payouts) == ["SUCCESS"] * 3


def test_a_file_that_is_refused_as_a_whole_fails_no_seller_and_goes_into_the_next_one(payouts: list[Payout]) -> None:
    file = fetched()
    why = "<StsRsnInf><Rsn><Cd>FF01</Cd></Rsn></StsRsnInf>"
    body = answer(file, of(payouts[0], "RJCT", "AC01"), group=f"<GrpSts>RJCT</GrpSts>{why}")
    applied = apply(body)
    assert applied.counts == {"paid": 0, "refused": 1, "pending": 0, "free": 2}
    assert (applied.file.status, applied.file.reason) == (FileStatus.REJECTED, "The bank cannot read the file. (FF01)")
    assert statuses(payouts) == ["FAILED", "EXECUTING", "EXECUTING"]
    with pytest.raises(DomainError, match="it is REJECTED"):
        files.fetch(file.pk, actor="staff:ben", now=NOW)
    again = fetched()
    assert apply(body).problems == ()
    assert [line.payout_id for line in again.lines.order_by("number")] == [payouts[1].pk, payouts[2].pk]
    assert again.lines.filter(dropped_at=None).count() == 2


def test_a_refusal_because_the_bank_had_it_before_frees_nothing(payouts: list[Payout]) -> None:
    """Whoever sends a file twice gets such an answer to the second; the first may well be paid."""
    file = fetched()
    why = "<StsRsnInf><Rsn><Cd>DU01</Cd></Rsn></StsRsnInf>"
    applied = apply(answer(file, of(payouts[0], "RJCT", "AM05"), group=f"<GrpSts>RJCT</GrpSts>{why}"))
    assert [problem.about for problem in applied.problems] == [payouts[0].public_id, file.public_id]
    assert statuses(payouts) == ["EXECUTING"] * 3
    assert file.lines.filter(dropped_at=None).count() == 3


@pytest.mark.parametrize(
    ("of_transfer", "of_batch", "of_file"),
    [
        ((), (), ("DU01",)),
        ((), ("FF01", "AM05"), ()),
        (("MS03", "AM05"), (), ()),
        (("DUPL",), (), ()),
        ((), ("NARR",), ("AM05",)),
        (("AC04",), (), ("AM05",)),
    ],
)
def test_a_duplicate_is_believed_wherever_the_bank_tells_of_it(
    payouts: list[Payout], of_transfer: tuple[str, ...], of_batch: tuple[str, ...], of_file: tuple[str, ...]
) -> None:
    file, refused = fetched(), "<TxSts>RJCT</TxSts>"
    transfers = [of(payout, "RJCT").replace(refused, refused + because(*of_transfer)) for payout in payouts]
    batch = f"<PmtInfSts>RJCT</PmtInfSts>{because(*of_batch)}"
    applied = apply(answer(file, *transfers, group=f"<GrpSts>RJCT</GrpSts>{because(*of_file)}", batch=batch))
    assert [problem.what for problem in applied.problems[:3]] == [file_answers.HAD_BEFORE] * 3
    assert statuses(payouts) == ["EXECUTING"] * 3
    assert [available(payout) for payout in payouts] == ["39.99", "39.98", "39.97"]


def test_a_second_answer_to_a_refused_file_fails_nothing_that_is_at_the_bank_in_the_next(payouts: list[Payout]) -> None:
    first = fetched()
    apply(answer(first, group="<GrpSts>RJCT</GrpSts>"))
    second = fetched()
    applied = apply(answer(first, *(of(payout, "RJCT", "FF01") for payout in payouts)))
    assert [problem.about for problem in applied.problems] == [payout.public_id for payout in payouts]
    assert f"it is at the bank in {second.public_id} now" in applied.problems[0].what
    assert statuses(payouts) == ["EXECUTING"] * 3
    assert apply(answer(second, group="<GrpSts>ACSC</GrpSts>")).problems == ()
    assert [available(payout) for payout in payouts] == ["39.99", "39.98", "39.97"]


def test_what_is_said_of_a_batch_that_is_not_ours_pays_nothing(payouts: list[Payout]) -> None:
    file = fetched()
    body = answer(file, *(of(payout, "") for payout in payouts), group="<GrpSts>ACCP</GrpSts>", batch="<PmtInfSts>ACSC</PmtInfSts>")
    applied = apply(body.replace(pain001.batch_id(file.message_id, 1).encode(), b"SOMEBODY-ELSES"))
    assert [problem.what for problem in applied.problems] == ["We sent no such batch in this file."]
    assert (applied.counts["pending"], statuses(payouts)) == (3, ["EXECUTING"] * 3)


def test_sec_03_what_the_bank_says_of_a_whole_file_is_kept_without_the_number_of_an_account(payouts: list[Payout]) -> None:
    file = fetched()
    why = f"<StsRsnInf><Rsn><Prtry>{PAID_AT_ONCE}</Prtry></Rsn><AddtlInf>Invalid IBAN {PAID_AT_ONCE}</AddtlInf></StsRsnInf>"
    apply(answer(file, group=f"<GrpSts>RJCT</GrpSts>{why}"))
    kept = PaymentFile.objects.get(pk=file.pk).reason
    assert kept == f"Invalid IBAN •••• {PAID_AT_ONCE[-4:]} (•••• {PAID_AT_ONCE[-4:]})"
    assert {*PaymentFileLine.objects.values_list("dropped_why", "bank_reason")} == {(kept, f"•••• {PAID_AT_ONCE[-4:]}")}


def test_what_makes_no_sense_is_reported_and_the_rest_is_applied(payouts: list[Payout]) -> None:
    ada, bolt, celik = payouts
    file = fetched()
    body = answer(
        file,
        of("po-0", "ACSC"),
        of(ada, "ACSC", amount="10.00"),
        of(bolt, "ACSC"),
        of(celik, "ACSC"),
        of(celik, "RJCT", "AC01"),
        of(celik, "ACSC"),
    )
    applied = apply(body)
    assert [(problem.about, problem.what) for problem in applied.problems] == [
        ("po-0", "We sent no such transfer in this file."),
        (ada.public_id, "The bank speaks of 10.00 EUR, and the payout is 10.01 EUR."),
        (celik.public_id, "The answer says both ACSC and RJCT of it."),
    ]
    assert [problem.line for problem in applied.problems] == [6, 7, 10]
    assert statuses(payouts) == ["EXECUTING", "SUCCESS", "EXECUTING"]
    assert PaymentFileAnswer.objects.get().problems[0]["about"] == "po-0"
    assert [problem.what for problem in apply(answer(file, of(bolt, "RJCT", "AC01"), of(ada, "WHAT"))).problems] == [
        "We do not know what the status 'WHAT' means for one transfer.",
        "The bank says RJCT now, and it is SUCCESS already.",
    ]
    assert statuses(payouts) == ["EXECUTING", "SUCCESS", "EXECUTING"]


@pytest.mark.parametrize(
    ("group", "batch", "what"),
    [
        ("ACSC", "RJCT", "ACSC and RJCT of the file"),
        ("PART", "RJCT", "PART and RJCT of the file"),
        ("HUH?", "", "do not know what the status 'HUH?'"),
    ],
)
def test_contradictions_about_the_whole_file_are_not_believed(payouts: list[Payout], group: str, batch: str, what: str) -> None:
    said = f"<PmtInfSts>{batch}</PmtInfSts>" if batch else ""
    applied = apply(answer(fetched(), group=f"<GrpSts>{group}</GrpSts>", batch=said))
    assert what in applied.problems[0].what
    assert statuses(payouts) == ["EXECUTING"] * 3 and applied.file.status == FileStatus.APPROVED


def test_what_is_paid_by_a_refused_file_is_booked_and_warned_of(payouts: list[Payout]) -> None:
    refused = fetched()
    apply(answer(refused, group="<GrpSts>RJCT</GrpSts>"))
    second = fetched()
    applied = apply(answer(refused, of(payouts[0], "ACSC")))
    [problem] = applied.problems
    assert problem.what == f"It was paid, and is in {second.public_id}, too. Call it back there, or it is paid twice."
    assert statuses(payouts) == ["SUCCESS", "EXECUTING", "EXECUTING"]


def test_what_a_refused_file_paid_after_all_stops_the_next_file_before_it_leaves(payouts: list[Payout]) -> None:
    refused = fetched()
    apply(answer(refused, group="<GrpSts>RJCT</GrpSts>"))
    unfetched = make()
    applied = apply(answer(refused, group="<GrpSts>ACSC</GrpSts>"))
    assert (applied.counts["paid"], len(applied.problems)) == (3, 3)
    assert applied.problems[0].what.startswith(f"It was paid, and is in {unfetched.public_id}, too. Put that file aside")
    assert statuses(payouts) == ["SUCCESS"] * 3
    with pytest.raises(DomainError, match=f"Not to be paid any more: {', '.join(payout.public_id for payout in payouts)}"):
        files.approve(unfetched.pk, actor="staff:ben", reason="seen", now=NOW)
    assert files.reject(unfetched.pk, actor="staff:ben", reason="paid already", now=NOW).status == FileStatus.REJECTED
    with pytest.raises(DomainError, match="No payout in EUR waits"):
        make()


def test_what_is_paid_meanwhile_stops_a_file_that_was_approved(payouts: list[Payout]) -> None:
    refused = fetched()
    apply(answer(refused, group="<GrpSts>RJCT</GrpSts>"))
    second = make()
    files.approve(second.pk, actor="staff:ben", reason="seen", now=NOW)
    apply(answer(refused, of(payouts[0], "ACSC")))
    with pytest.raises(DomainError, match=f"Not to be paid any more: {payouts[0].public_id}. Put"):
        files.fetch(second.pk, actor="staff:ben", now=NOW)


def test_what_two_files_paid_is_told_of(payouts: list[Payout]) -> None:
    refused = fetched()
    apply(answer(refused, group="<GrpSts>RJCT</GrpSts>"))
    second = fetched()
    assert apply(answer(second, group="<GrpSts>ACSC</GrpSts>")).problems == ()
    applied = apply(answer(refused, group="<GrpSts>ACSC</GrpSts>"))
    what = f"It was paid by another file, too: {second.message_id}. Ask the bank to call one of them back."
    assert [problem.what for problem in applied.problems] == [what] * 3
    assert statuses(payouts) == ["SUCCESS"] * 3


def test_what_two_files_paid_left_our_bank_twice_and_what_comes_back_first_is_nobodys_but_ours(payouts: list[Payout]) -> None:
    def on(code: str) -> str:
        return str(balance_of(code, currency="EUR").amount.normalize())

    before = balance_of("operating_bank", currency="EUR")
    first = fetched()
    apply(answer(first, group="<GrpSts>RJCT</GrpSts>"))
    apply(answer(fetched(), group="<GrpSts>ACSC</GrpSts>"))
    for _twice_is_once in range(2):
        apply(answer(first, group="<GrpSts>ACSC</GrpSts>"))
        assert (before - balance_of("operating_bank", currency="EUR"), on("paid_twice")) == (eur("60.12"), "30.06")
    ada, told = payouts[0], {"on": TODAY, "code": file_returns.NOT_SAID, "actor": "staff:cleo", "reason": "Called back", "now": NOW}
    file_returns.came_back(ada.pk, **told)  # type: ignore[arg-type]
    assert (statuses(payouts)[0], available(ada), on("paid_twice")) == ("SUCCESS", "39.99", "20.05")
    assert PayoutTransition.objects.get(kind="payout", object_id=ada.pk, before="SUCCESS").reason == "Called back"
    file_returns.came_back(ada.pk, **told)  # type: ignore[arg-type]
    assert (statuses(payouts)[0], available(ada), on("paid_twice")) == ("RETURNED", "5E+1", "20.05")
    assert not file_returns.may_come_back(Payout.objects.get(pk=ada.pk))
    assert invariants.violations() == []
    with connection.cursor() as cursor:  # as whoever owns the database could
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE payouts_paymentfileline DISABLE TRIGGER payment_file_line_is_fixed")
    first.lines.filter(payout=payouts[1]).update(again_entry=None)
    [found] = invariants.violations()
    assert found.invariant.startswith("INV-15 every payout has its entries")


@pytest.mark.parametrize("order", ["first second back", "second first back", "first back second", "second back first"])
def test_two_payments_and_one_return_leave_the_same_money_in_whichever_order_they_become_known(payouts: list[Payout], order: str) -> None:
    ada, before = payouts[0], balance_of("operating_bank", currency="EUR")
    refused = fetched()
    apply(answer(refused, group="<GrpSts>RJCT</GrpSts>"))
    paid_by = {"first": refused, "second": fetched()}
    told = {"on": TODAY, "code": "account_closed", "actor": "staff:cleo", "reason": "Statement 47", "now": NOW}
    for news in order.split():
        if news == "back":
            file_returns.came_back(ada.pk, **told)  # type: ignore[arg-type]
        else:
            apply(answer(paid_by[news], of(ada, "ACSC")))
    for file in paid_by.values():  # known already
        assert apply(answer(file, of(ada, "ACSC"))).problems == ()
    assert (statuses([ada]), available(ada)) == (["SUCCESS"], "39.99")
    assert before - balance_of("operating_bank", currency="EUR") == eur("10.01")
    assert not balance_of("paid_twice", currency="EUR")
    assert invariants.violations() == []
    file_returns.came_back(ada.pk, **told)  # type: ignore[arg-type]
    with pytest.raises(DomainError, match="is RETURNED"):
        file_returns.came_back(ada.pk, **told)  # type: ignore[arg-type]
    assert (statuses([ada]), available(ada)) == (["RETURNED"], "5E+1")
    assert balance_of("operating_bank", currency="EUR") == before
    moved = [moment.what for moment in timeline.timeline_of(Payout.objects.get(pk=ada.pk))].count("Wallet moved")
    assert moved == (2 if order.endswith("back") else 4)
    assert invariants.violations() == []


def test_an_answer_to_another_file_is_refused_and_does_nothing(payouts: list[Payout]) -> None:
    unfetched = make()
    with pytest.raises(AnswerDoesNotFit, match="was never fetched"):
        apply(answer(unfetched, group="<GrpSts>ACSC</GrpSts>"))
    file = fetched(unfetched)
    for body, error in (
        (answer(file, group="<GrpSts>ACSC</GrpSts>", about="pf-unknown"), UnknownFile),
        (answer(file, group="<GrpSts>ACSC</GrpSts>", head="<OrgnlNbOfTxs>4</OrgnlNbOfTxs>"), AnswerDoesNotFit),
        (answer(file, group="<GrpSts>ACSC</GrpSts>", head="<OrgnlCtrlSum>30.05</OrgnlCtrlSum>"), AnswerDoesNotFit),
    ):
        with pytest.raises(error):
            apply(body)
    assert statuses(payouts) == ["EXECUTING"] * 3
    fits = "<OrgnlNbOfTxs>3</OrgnlNbOfTxs><OrgnlCtrlSum>30.060</OrgnlCtrlSum>"
    assert apply(answer(file, head=fits, group="<GrpSts>ACSC</GrpSts>")).counts["paid"] == 3


# --- What no answer tells -------------------------------------------------------------------------------------------------


def test_a_payout_that_no_file_names_may_be_given_up_and_is_taken_again_if_it_was_paid(payouts: list[Payout]) -> None:
    file, given_up = make(), payouts[0]
    why = {"actor": "staff:ben", "reason": "The seller asked us to", "now": NOW}
    with pytest.raises(DomainError, match=f"is in {file.public_id}. Put that file aside first"):
        requests.give_up(given_up.pk, **why)  # type: ignore[arg-type]
    fetched(file)
    with pytest.raises(DomainError, match=f"is in {file.public_id}. Only the bank's answer tells"):
        requests.give_up(given_up.pk, **why)  # type: ignore[arg-type]
    apply(answer(file, group="<GrpSts>RJCT</GrpSts>"))
    requests.give_up(given_up.pk, **why)  # type: ignore[arg-type]
    assert (statuses(payouts), available(given_up)) == (["FAILED", "EXECUTING", "EXECUTING"], "5E+1")
    assert make().count == 2
    apply(answer(file, group="<GrpSts>ACSC</GrpSts>"))
    assert (statuses(payouts)[0], available(given_up)) == ("SUCCESS", "39.99")
    assert invariants.violations() == []


def seen(on: date = TODAY, actor: str = "staff:cleo", reason: str = "Statement 47", now: datetime = NOW) -> Seen:
    return Seen(on, actor, reason, now)


def not_seen() -> Seen:
    """Say that a statement does not have it, whose day is over and before which the bank had to pay."""
    return seen(on=(LATER - timedelta(days=1)).date(), now=LATER)


@pytest.mark.parametrize(("on", "told_on", "tells"), [(27, 29, False), (28, 28, False), (28, 29, True)])
def test_a_statement_tells_what_never_left_when_its_day_is_over_and_banks_have_worked_since(
    payouts: list[Payout], on: int, told_on: int, tells: bool
) -> None:
    """Fetched on Christmas Eve, perhaps too late for that day's payments: then the bank pays on Monday, the 28th."""
    eve = datetime(2026, 12, 24, 16, tzinfo=UTC)
    file = fetched(make(on=eve.date(), now=eve), now=eve)
    said = seen(on=date(2026, 12, on), now=datetime(2026, 12, told_on, 23, tzinfo=UTC))
    if tells:
        assert file_outcomes.file_never_left(file.pk, said).status == FileStatus.REJECTED
        return
    with pytest.raises(DomainError, match="a day from 2026-12-28 until yesterday can tell") as refused:
        file_outcomes.file_never_left(file.pk, said)
    assert refused.value.field == "on"


def test_a_fetched_file_that_never_left_frees_its_payouts_by_the_word_of_somebody_who_did_not_fetch_it(payouts: list[Payout]) -> None:
    file = make(on=TODAY + timedelta(days=1))
    with pytest.raises(DomainError, match="was never fetched"):
        file_outcomes.file_never_left(file.pk, seen())
    fetched(file)
    with pytest.raises(MakerMayNotApprove, match="You fetched"):
        file_outcomes.file_never_left(file.pk, seen(actor="shell:ben"))
    freed = file_outcomes.file_never_left(file.pk, not_seen())
    assert (freed.status, freed.reason) == (FileStatus.REJECTED, "Statement 47")
    kept = file.lines.values_list("freed_by", "dropped_why").distinct()
    assert [*kept] == [("staff:cleo", f"Not in the statement of {not_seen().on}: Statement 47")]
    with pytest.raises(DomainError, match="none of its payouts waits"):
        file_outcomes.file_never_left(file.pk, not_seen())
    requests.give_up(payouts[0].pk, actor="staff:ben", reason="The seller asked us to", now=LATER)
    assert (make().count, available(payouts[0])) == (2, "5E+1")
    apply(answer(file, group="<GrpSts>ACSC</GrpSts>"))  # it had left
    assert (statuses(payouts), available(payouts[0])) == (["SUCCESS"] * 3, "39.99")
    assert invariants.violations() == []


def test_postgres_lets_no_line_of_a_fetched_file_go_by_the_word_of_who_fetched_it(payouts: list[Payout]) -> None:
    file = fetched()
    for freed_by in ("", "staff:ben"):
        with pytest.raises(IntegrityError, match="no line can be dropped"), transaction.atomic():
            file.lines.update(dropped_at=NOW, freed_by=freed_by)
    file_outcomes.never_left(file.lines.get(number=1).pk, not_seen())
    with pytest.raises(IntegrityError, match="stays as it is"), transaction.atomic():
        file.lines.filter(number=1).update(freed_by="staff:eve")


def test_what_the_answer_did_not_name_was_paid_or_never_left_as_the_statement_shows(payouts: list[Payout]) -> None:
    """Many banks name only what they refuse."""
    ada, bolt, celik = payouts
    file = fetched()
    apply(answer(file, of(bolt, "RJCT", "AC04"), group="<GrpSts>PART</GrpSts>"))
    lines = {line.payout_id: line.pk for line in file.lines.all()}
    file_outcomes.never_left(lines[celik.pk], not_seen())
    file_outcomes.file_was_paid(file.pk, seen())
    assert (statuses(payouts), fetched().count) == (["SUCCESS", "FAILED", "EXECUTING"], 1)
    for known in (ada, celik):
        with pytest.raises(DomainError, match="does not wait for the bank's word"):
            file_outcomes.never_left(lines[known.pk], not_seen())
    with pytest.raises(DomainError, match="paid it is known"):
        file_outcomes.was_paid(lines[ada.pk], seen())
    kept = PayoutTransition.objects.get(kind="payout", object_id=ada.pk, after="SUCCESS")
    assert (kept.actor, kept.reason) == ("staff:cleo", "Statement 47")
    assert invariants.violations() == []


def test_what_the_bank_refuses_while_its_file_is_said_to_be_paid_stays_with_its_seller(
    payouts: list[Payout], monkeypatch: pytest.MonkeyPatch
) -> None:
    bolt, file = payouts[1], fetched()
    open_lines = file_outcomes.open_lines

    def answered_meanwhile(file_id: int) -> list[int]:
        waiting = open_lines(file_id)
        apply(answer(file, of(bolt, "RJCT", "AC04")))
        return waiting

    monkeypatch.setattr(file_outcomes, "open_lines", answered_meanwhile)
    file_outcomes.file_was_paid(file.pk, seen())
    assert (statuses(payouts), available(bolt)) == (["SUCCESS", "FAILED", "SUCCESS"], "5E+1")


def test_what_came_back_of_one_of_two_files_is_recorded_once_it_is_known_which_of_them_paid(payouts: list[Payout]) -> None:
    ada = payouts[0]
    first = fetched()
    apply(answer(first, group="<GrpSts>RJCT</GrpSts>"))
    second = fetched()
    told = {"on": TODAY, "code": file_returns.NOT_SAID, "actor": "staff:cleo", "reason": "Statement 47", "now": NOW}
    with pytest.raises(DomainError, match=f"left in {first.public_id} and in {second.public_id}. Say first"):
        file_returns.came_back(ada.pk, **told)  # type: ignore[arg-type]
    file_outcomes.was_paid(first.lines.get(payout=ada).pk, seen())
    file_returns.came_back(ada.pk, **told)  # type: ignore[arg-type]
    requests.request_payout(ada.seller, currency="EUR", now=NOW, reference="all of it")
    file_outcomes.was_paid(second.lines.get(payout=ada).pk, seen())
    assert (statuses([ada]), available(ada)) == (["SUCCESS"], "-10.01")
    kept = PayoutTransition.objects.get(kind="payout", object_id=ada.pk, before="RETURNED")
    assert (kept.after, kept.actor, kept.reason) == ("SUCCESS", "staff:cleo", "Statement 47")
    assert invariants.violations() == []


def test_what_the_statement_shows_as_paid_is_warned_of_in_log_admin_and_shell_while_another_file_may_pay_it(
    payouts: list[Payout], caplog: pytest.LogCaptureFixture
) -> None:
    ada, bolt, _celik = payouts
    first = fetched()
    apply(answer(first, group="<GrpSts>RJCT</GrpSts>"))
    warning = f"It was paid, and is in {fetched().public_id}, too. Call it back there"
    cleo = staff("cleo", "answer")
    User.objects.get().user_permissions.add(Permission.objects.get(codename="view_paymentfileline"))
    said = {"on": TODAY.isoformat(), "note": "Statement 47"}
    shown = cleo.post(f"/admin/payouts/paymentfileline/{first.lines.get(payout=ada).pk}/was_paid/", said, follow=True)
    assert warning in shown.content.decode()
    told = ("payout_file_outcome", first.public_id, "paid", "--payout", bolt.public_id, "--on", TODAY.isoformat())
    with pytest.raises(CommandError, match=warning):
        call_command(*told, "--note", "Statement 47", "--by", "cleo")
    assert [payout.public_id for payout in (ada, bolt) if f"{payout.public_id}: {warning}" in caplog.text] == [
        ada.public_id,
        bolt.public_id,
    ]
    assert statuses(payouts) == ["SUCCESS", "SUCCESS", "EXECUTING"]


def test_what_the_statement_shows_as_paid_is_taken_off_its_seller_again_although_it_had_failed(payouts: list[Payout]) -> None:
    ada = payouts[0]
    file = fetched()
    apply(answer(file, of(ada, "RJCT", "AC04")))
    requests.request_payout(ada.seller, currency="EUR", now=NOW, reference="again")
    file_outcomes.was_paid(file.lines.get(payout=ada).pk, seen())
    assert (statuses(payouts)[0], available(ada)) == ("SUCCESS", "-10.01")
    assert apply(answer(file, of(ada, "ACSC"))).problems == ()
    assert invariants.violations() == []


def test_money_that_came_back_is_recorded_once_with_the_day_who_saw_it_and_why(payouts: list[Payout]) -> None:
    ada, bolt, _celik = payouts
    told = {"on": TODAY, "code": "account_closed", "actor": "staff:cleo", "reason": "Statement 47", "now": NOW}
    with pytest.raises(DomainError, match="only what went to the bank in a file"):
        file_returns.came_back(ada.pk, **told)  # type: ignore[arg-type]
    file = fetched()
    apply(answer(file, of(ada, "ACSC")))
    with pytest.raises(MakerMayNotApprove, match="You fetched"):
        file_returns.came_back(ada.pk, **told | {"actor": "shell:ben"})  # type: ignore[arg-type]
    with pytest.raises(DomainError, match="can have come back from") as refused:
        file_returns.came_back(ada.pk, **told | {"on": TODAY + timedelta(days=1)})  # type: ignore[arg-type]
    assert refused.value.field == "on"
    for payout in (ada, bolt):  # the answer to the second has not come yet
        file_returns.came_back(payout.pk, **told)  # type: ignore[arg-type]
        with pytest.raises(DomainError, match="is RETURNED"):
            file_returns.came_back(payout.pk, **told)  # type: ignore[arg-type]
    assert [available(payout) for payout in (ada, bolt)] == ["5E+1", "5E+1"]
    returned = Payout.objects.get(pk=ada.pk)
    assert (returned.status, returned.failure_code, returned.failure_message) == ("RETURNED", "account_closed", "Statement 47")
    kept = PayoutTransition.objects.get(kind="payout", object_id=ada.pk, after="RETURNED")
    assert (kept.actor, kept.reason) == ("staff:cleo", "Statement 47")
    assert apply(answer(file, of(bolt, "ACSC"))).problems == ()
    assert statuses(payouts) == ["RETURNED", "RETURNED", "EXECUTING"]
    assert invariants.violations() == []


# --- In the admin, and from the shell -----------------------------------------------------------------------------------------------------


def test_the_commands_make_approve_write_and_apply(payouts: list[Payout], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("payout_file", "make", "EUR", "--by", "ada")
    [public_id] = re.findall(r"pf_\w+", capsys.readouterr().out)
    with pytest.raises(CommandError, match="Somebody else must approve it"):
        call_command("payout_file", "approve", public_id, "--by", "ada", "--note", "mine")
    call_command("payout_file", "approve", public_id, "--by", "ben", "--note", "seen")
    path = tmp_path / "payouts.xml"
    call_command("payout_file", "write", public_id, "--to", str(path), "--by", "ben")
    file = PaymentFile.objects.get(public_id=public_id)
    assert path.read_bytes() == body_of(file)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(CommandError, match="is there already"):
        call_command("payout_file", "write", public_id, "--to", str(path), "--by", "ben")
    said = tmp_path / "answer.xml"
    said.write_bytes(answer(file, of(payouts[0], "RJCT", "AC01"), of("po-0", "ACSC"), group="<GrpSts>PART</GrpSts>"))
    with pytest.raises(CommandError, match="line 7: po-0: We sent no such transfer"):
        call_command("payout_file_answer", str(said), "--by", "ben")
    assert "1 refused" in capsys.readouterr().out
    assert statuses(payouts) == ["FAILED", "EXECUTING", "EXECUTING"]
    assert {*tmp_path.iterdir()} == {path, said}


def staff(name: str, *permissions: str) -> Client:
    """Let somebody of the staff in who may look at payment files, and do what is named."""
    transitions.by("", reason="")  # in one transaction with what they have done: nobody gives rights to themselves
    user = User.objects.create_user(name, is_staff=True)
    allowed = ["view_paymentfile", "view_paymentfileanswer", *(f"{verb}_paymentfile" for verb in permissions)]
    user.user_permissions.set(Permission.objects.filter(codename__in=allowed))
    client = Client()
    client.force_login(user)
    return client


def test_in_the_admin_each_step_needs_its_own_permission(payouts: list[Payout]) -> None:
    ada, ben, eve = staff("ada", "make", "approve"), staff("ben", "approve", "download", "answer"), staff("eve")
    form = {"currency": "EUR", "execute_on": TODAY.isoformat(), "format": "pain.001.001.03"}
    assert (
        b"names no account from which JPY is paid out" in ada.post("/admin/payouts/paymentfile/make/", form | {"currency": "JPY"}).content
    )
    page = ada.post("/admin/payouts/paymentfile/make/", form)["Location"]
    file = PaymentFile.objects.get()
    deed = page.removesuffix("change/")
    assert b"Somebody else must approve it" in ada.post(f"{deed}approve/", {"note": "mine"}).content
    assert ben.post(f"{deed}approve/", {"note": "seen"}).status_code == 302
    assert ben.get(f"{deed}download/").status_code == 302
    assert ben.post(f"{deed}fetch/", {"note": "to the bank"}).status_code == 302
    body = b"".join(ben.get(f"{deed}download/"))
    assert body == body_of(PaymentFile.objects.get())
    said = SimpleUploadedFile("answer.xml", answer(file, of(payouts[0], "ACSC"), of("po-0", "ACSC")))
    assert ben.post("/admin/payouts/paymentfile/answer/", {"file": said}).status_code == 302
    assert statuses(payouts) == ["SUCCESS", "EXECUTING", "EXECUTING"]
    shown = eve.get(page).content.decode()
    assert "po-0: We sent no such transfer in this file." in shown and PAID_AT_ONCE not in shown
    for address in ("make/", "answer/", f"{file.pk}/download/", f"{file.pk}/approve/", f"{file.pk}/fetch/"):
        assert eve.get(f"/admin/payouts/paymentfile/{address}").status_code == 403
    assert eve.get("/admin/payouts/paymentfile/").status_code == 200


def test_a_file_of_which_something_came_back_before_its_answer_is_not_fetched_again(payouts: list[Payout]) -> None:
    file = fetched()
    told = {"code": file_returns.NOT_SAID, "actor": "staff:cleo", "reason": "Statement 47", "now": NOW}
    file_returns.came_back(payouts[0].pk, on=TODAY, **told)  # type: ignore[arg-type]
    with pytest.raises(DomainError, match="it is ACCEPTED"):
        files.fetch(file.pk, actor="staff:eve", now=NOW)
    assert apply(answer(file, group="<GrpSts>ACSC</GrpSts>")).problems == ()
    assert statuses(payouts) == ["RETURNED", "SUCCESS", "SUCCESS"]


def test_what_the_statement_shows_is_recorded_in_the_admin_and_from_the_shell(payouts: list[Payout]) -> None:
    ada, bolt, celik = payouts
    file = fetched(make(on=EARLIER.date(), now=EARLIER), now=EARLIER)
    yesterday = (TODAY - timedelta(days=1)).isoformat()
    lines = {line.payout_id: line.pk for line in file.lines.all()}
    said = {"on": yesterday, "note": "Statement 47"}
    eve, ben, cleo = staff("eve"), staff("ben", "answer"), staff("cleo", "answer")
    for user in User.objects.all():
        user.user_permissions.add(Permission.objects.get(codename="view_paymentfileline"))
    page = f"/admin/payouts/paymentfileline/{lines[ada.pk]}/"
    deed = f"{page}was_paid/"
    assert eve.post(deed, said).status_code == 403
    assert f"You fetched {file.public_id} yourself" in ben.post(deed, said).content.decode()
    assert deed in cleo.get(f"{page}change/").content.decode()
    assert cleo.post(deed, said).status_code == 302
    assert deed not in cleo.get(f"{page}change/").content.decode()
    told = ("payout_file_outcome", file.public_id, "never_left", "--on", yesterday, "--note", "Statement 47", "--by")
    with pytest.raises(CommandError, match="You fetched"):
        call_command(*told, "ben")
    with pytest.raises(CommandError, match="There is no payment file"):
        call_command(*told, "cleo", "--payout", "po_0")
    call_command(*told, "cleo", "--payout", bolt.public_id)
    assert (statuses(payouts), file.lines.get(dropped_at__isnull=False).payout_id) == (["SUCCESS", "EXECUTING", "EXECUTING"], bolt.pk)
    assert cleo.post(f"/admin/payouts/paymentfile/{file.pk}/never_left/", said).status_code == 302
    assert [line.payout_id for line in make().lines.order_by("number")] == [bolt.pk, celik.pk]
    assert [moment.detail for moment in timeline.timeline_of(bolt) if moment.row and moment.row.pk == lines[bolt.pk]] == [
        f"{file.public_id} shell:cleo Not in the statement of {yesterday}: Statement 47"
    ]


def test_what_came_back_is_recorded_in_the_admin_and_from_the_shell(payouts: list[Payout]) -> None:
    ada, bolt, _celik = payouts
    apply(answer(fetched(), group="<GrpSts>ACSC</GrpSts>"))
    said = {"on": TODAY.isoformat(), "code": "account_closed", "note": "Statement 47"}
    eve, cleo = staff("eve"), staff("cleo", "answer")
    for client, status in ((eve, 403), (cleo, 302)):
        User.objects.get(username="eve" if client is eve else "cleo").user_permissions.add(Permission.objects.get(codename="view_payout"))
        assert client.post(f"/admin/payouts/payout/{ada.pk}/came_back/", said).status_code == status
    told = ("payout_came_back", bolt.public_id.replace("_", "-", 1), "--on", TODAY.isoformat(), "--note", "Statement 47", "--by", "cleo")
    call_command(*told)
    with pytest.raises(CommandError, match="is RETURNED"):
        call_command(*told)
    assert statuses(payouts) == ["RETURNED", "RETURNED", "SUCCESS"]

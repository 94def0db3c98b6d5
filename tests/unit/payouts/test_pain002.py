"""pain.002: what a bank says, read into records; and what nobody would send but an attacker, refused while it is read (SEC-21)."""

import time
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from ledger.money import exact
from payouts import pain002
from payouts.pain002 import Meaning, Status, UnreadableAnswer

SPACE = "urn:iso:std:iso:20022:tech:xsd:pain.002.001"
HEAD = "<GrpHdr><MsgId>BANK-1</MsgId><CreDtTm>2026-11-03T09:00:00+01:00</CreDtTm></GrpHdr>"
GROUP = (
    "<OrgnlGrpInfAndSts><OrgnlMsgId>pf-1</OrgnlMsgId><OrgnlNbOfTxs>3</OrgnlNbOfTxs><OrgnlCtrlSum>30.5</OrgnlCtrlSum>{}</OrgnlGrpInfAndSts>"
)
REJECTED = (
    "<TxInfAndSts><StsId>7</StsId><OrgnlEndToEndId>po-2</OrgnlEndToEndId><TxSts>RJCT</TxSts>"
    "<StsRsnInf><Rsn><Cd>AC04</Cd></Rsn><AddtlInf>Konto</AddtlInf><AddtlInf>aufgelöst</AddtlInf></StsRsnInf>"
    '<OrgnlTxRef><Amt><InstdAmt Ccy="EUR">12.50</InstdAmt></Amt><RmtInf><Ustrd>TxSts</Ustrd></RmtInf></OrgnlTxRef></TxInfAndSts>'
)
ACCEPTED = (
    "<TxInfAndSts><OrgnlInstrId>po-1</OrgnlInstrId><OrgnlEndToEndId>po-1</OrgnlEndToEndId><TxSts>ACSC</TxSts>"
    "<AccptncDtTm>2026-11-03T08:30:00Z</AccptncDtTm></TxInfAndSts>"
)
BATCH = "<OrgnlPmtInfAndSts><OrgnlPmtInfId>1-1</OrgnlPmtInfId><PmtInfSts>PART</PmtInfSts>{}</OrgnlPmtInfAndSts>"


def answer(*parts: str, version: str = "03", before: str = "") -> bytes:
    report = f"<CstmrPmtStsRpt>{''.join(parts)}</CstmrPmtStsRpt>"
    return f'<?xml version="1.0" encoding="UTF-8"?>{before}<Document xmlns="{SPACE}.{version}">{report}</Document>'.encode()


@pytest.mark.parametrize("version", ["03", "10", "14"])
def test_an_answer_says_of_group_batch_and_each_transfer_what_became_of_it(version: str) -> None:
    body = answer(HEAD, GROUP.format("<GrpSts>PART</GrpSts>"), BATCH.format(ACCEPTED + REJECTED), version=version)
    read = pain002.read([body[:200], body[200:201], body[201:]])
    assert (read.message_id, read.about, read.count, read.total) == ("BANK-1", "pf-1", 3, Decimal("30.5"))
    assert read.created_at == datetime(2026, 11, 3, 8, tzinfo=UTC)
    assert read.status.meaning == Meaning.PARTLY
    assert [batch.id for batch in read.batches] == ["1-1"]
    paid, refused = read.transfers
    assert (paid.end_to_end_id, paid.status.meaning, paid.amount) == ("po-1", Meaning.PAID, None)
    assert paid.at == datetime(2026, 11, 3, 8, 30, tzinfo=UTC)
    assert (refused.end_to_end_id, refused.status.meaning, refused.amount) == ("po-2", Meaning.REFUSED, exact("12.50", "EUR"))
    assert (refused.status.reason, refused.status.info) == ("AC04", "Konto aufgelöst")
    assert refused.batch is read.batches[0]


@pytest.mark.parametrize(
    ("code", "ours", "words"),
    [
        ("AC01", "no_account", "There is no account with this number. Check the bank details. (AC01)"),
        ("AC04", "account_closed", "The account is closed. Give another one. (AC04)"),
        ("AM04", "insufficient_funds", "The account that pays does not hold enough. (AM04)"),
        ("MS03", "declined", "The bank declined the payment and does not say why. (MS03)"),
        ("ZZ99", "declined", "Please call us (ZZ99)"),
        ("", "declined", "Please call us (RJCT)"),
    ],
)
def test_a_reason_is_said_in_plain_words(code: str, ours: str, words: str) -> None:
    reason = pain002.reason_of(Status(code="RJCT", reason=code, info="Please \x07call us"))
    assert (reason.code, reason.words) == (ours, words)


LAUGHS = '<!DOCTYPE lolz [<!ENTITY a "haha">' + "".join(f'<!ENTITY a{n} "{f"&a{n - 1 or str()};" * 10}">' for n in range(1, 10)) + "]>"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (answer(HEAD.replace("BANK-1", "&a9;"), GROUP.format(""), before=LAUGHS), "Line 1 of the answer declares a document type"),
        (answer(HEAD, before='<!DOCTYPE x [<!ENTITY secret SYSTEM "file:///etc/passwd">]>'), "declares a document type"),
        (answer(HEAD, before='<!DOCTYPE x SYSTEM "http://127.0.0.1:1/x.dtd">'), "declares a document type"),
        (answer("<a/>" * 1_000_000), "has more than 950,000 elements"),
        (answer("<a>" * 100_000), "is nested more than 24 deep"),
        (answer(HEAD.replace("BANK-1", "x" * 1_000_000)), "has more than 500 characters in MsgId"),
        (answer(HEAD.replace("BANK-1", "<MsgId>x</MsgId>")), "has elements where there must be text"),
        (answer(HEAD, GROUP.format("&undefined;")), "is no XML that we can read"),
        (answer(HEAD, GROUP.format(""))[:-20], "is no XML that we can read"),
        (b"", "is no XML that we can read"),
        (b'{"MsgId": "x"}', "is no XML that we can read"),
        (answer(HEAD).replace(b"UTF-8", b"UTF-7"), "says that it is in 'UTF-7'"),
        (answer(HEAD).replace(b"UTF-8", b"unicode_escape"), "says that it is in 'unicode_escape'"),
        (answer(HEAD, GROUP.format(""), GROUP.format("")), "has a second OrgnlMsgId where there must be one"),
        (answer(HEAD, GROUP.format("<GrpSts>ACSC</GrpSts><GrpSts>RJCT</GrpSts>")), "has a second GrpSts"),
        (answer(HEAD, GROUP.format(""), BATCH.format(ACCEPTED.replace("<TxSts>", "<TxSts>PDNG</TxSts><TxSts>"))), "has a second TxSts"),
        (b"<Document xmlns='urn:iso:std:iso:20022:tech:xsd:camt.053.001.08'/>", "does not begin as a pain.002 does"),
        (b"<Document><CstmrPmtStsRpt/></Document>", "does not begin as a pain.002 does"),
        (answer(HEAD), "The answer has no OrgnlGrpInfAndSts/OrgnlMsgId"),
        (answer(HEAD.replace("2026-11-03T", "03.11.2026 "), GROUP.format("")), "has no date and time in CreDtTm"),
        (answer(HEAD, GROUP.format("").replace(">3<", ">three<")), "has no count in OrgnlNbOfTxs"),
        (answer(HEAD, GROUP.format("").replace("30.5", "1e9")), "has no number in OrgnlCtrlSum"),
        (answer(HEAD, GROUP.format(""), BATCH.format(REJECTED.replace("12.50", "12,50"))), "has no amount in InstdAmt"),
        (answer(HEAD, GROUP.format(""), BATCH.format(REJECTED.replace("EUR", "EURO"))), "has no amount in InstdAmt"),
    ],
)
def test_sec_21_what_no_bank_sends_is_refused_soon_and_says_where(body: bytes, words: str) -> None:
    began = time.process_time()
    with pytest.raises(UnreadableAnswer, match=words.replace(".", r"\.")):
        pain002.read([body])
    assert time.process_time() - began < 1


def test_sec_21_an_answer_without_end_is_given_up_at_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pain002, "LARGEST", 10_000)
    asked = iter([answer(HEAD)[:300], *(b" " * 1000 for _more in range(20))])
    with pytest.raises(UnreadableAnswer, match="more than 10,000 bytes"):
        pain002.read(asked)
    assert len(list(asked)) > 5


def test_sec_21_an_answer_about_more_transfers_than_we_ever_send_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pain002, "MOST_TRANSFERS", 2)
    assert len(pain002.read([answer(HEAD, GROUP.format(""), BATCH.format(ACCEPTED + REJECTED))]).transfers) == 2
    with pytest.raises(UnreadableAnswer, match="speaks of more than 2 transfers"):
        pain002.read([answer(HEAD, GROUP.format(""), BATCH.format(ACCEPTED + REJECTED + "<TxInfAndSts/>"))])


@pytest.mark.parametrize("begun", [b"<a b='", b"<!--", b"<a b='' c"])
def test_sec_21_a_tag_without_end_is_given_up_before_it_costs_anything(begun: bytes) -> None:
    asked = iter([answer(HEAD).partition(b"</Cstmr")[0], begun, *[b"x" * 65536] * 9])
    with pytest.raises(UnreadableAnswer, match="has a tag or a comment of more than 65,536 bytes"):
        pain002.read(asked)
    assert len(list(asked)) > 5


def test_what_we_do_not_know_is_passed_over() -> None:
    strange = "<Splmtry><GrpHdr><MsgId>other</MsgId></GrpHdr></Splmtry><x:GrpHdr xmlns:x='urn:x'><x:MsgId>other</x:MsgId></x:GrpHdr>"
    read = pain002.read([answer(HEAD, strange, GROUP.format("<GrpSts>ACXX</GrpSts><x:GrpSts xmlns:x='urn:x'>ACSC</x:GrpSts>"))])
    assert (read.message_id, read.status.code, read.status.meaning) == ("BANK-1", "ACXX", None)

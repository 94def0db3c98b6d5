"""The merchant's bank: one statement a day and currency, each opening where the one before closed, with what the PSP paid in and sellers were paid."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from lxml import etree

from tests.contract.sandbox.conftest import Buyer, Clock, eventually
from tests.contract.sandbox.days import Days
from tests.contract.sandbox.test_payouts import RETURNED, Platform
from tests.fixtures_services import SandboxCompany

SCHEMA = etree.XMLSchema(etree.parse(Path(__file__).parents[2] / "unit" / "wallet" / "camt.053.001.08.xsd"))
OURS = "po_01a9c3d7e5b24f60829bb3a1c4d2e6f8"


@pytest.fixture
def platform(sandbox: SandboxCompany) -> Platform:
    return Platform(sandbox.client)


def camt(content: bytes) -> etree._Element:
    return etree.fromstring(content)


def said(element: etree._Element, path: str) -> str:
    """Return the text at a path of names, whatever their namespace; "" where there is none."""
    return element.findtext("/".join(f"{{*}}{name}" for name in path.split("/"))) or ""


def entries(document: etree._Element, paths: Sequence[str]) -> list[tuple[str, ...]]:
    return [tuple(said(entry, path) for path in paths) for entry in document.iter("{*}Ntry")]


def test_the_psp_pays_in_sellers_are_paid_and_a_payout_comes_back(
    buyer: Buyer, platform: Platform, days: Days, clock: Clock, sandbox: SandboxCompany
) -> None:
    buyer.charged(amount=100_00)
    batch = days.batches(days.end())["EUR"]
    bounced = platform.paid_out(RETURNED, amount=30_00, reference=OURS)
    first = days.statements(days.end())["EUR"]
    clock.advance(days=3)
    eventually(lambda: sandbox.journal(object_id=bounced["id"], type="payout.returned"), "the payout came back")
    last = days.statements(days.end())["EUR"]
    paths = [
        "Amt", "CdtDbtInd", "RvslInd", "NtryDtls/TxDtls/Refs/EndToEndId", "NtryDtls/TxDtls/RmtInf/Ustrd", "NtryDtls/TxDtls/RtrInf/Rsn/Cd",
    ]  # fmt: skip
    contents = [days.file_of(listed, format="camt053") for listed in (first, last)]
    for content in contents:
        SCHEMA.assertValid(camt(content))
    assert entries(camt(contents[0]), paths) == [
        ("98.35", "CRDT", "false", batch["batch"], f"Sandbox Payments settlement batch {batch['batch']}", ""),
        ("30.00", "DBIT", "false", OURS, f"Payout {bounced['id']}", ""),
    ]
    assert entries(camt(contents[1]), paths) == [("30.00", "CRDT", "true", OURS, f"Returned AC04 payout {bounced['id']}", "AC04")]
    assert (first["closing"] - first["opening"], last["closing"] - last["opening"]) == (68_35, 30_00)
    assert (last["opening"], last["number"]) == (first["closing"], first["number"] + 1)
    assert batch["paid_out"] == 98_35


def test_a_payout_that_fails_is_in_no_statement(platform: Platform, days: Days) -> None:
    platform.paid_out("AT861904300235473202")
    assert days.statements(days.end()) == {}


def test_version_02_is_written_for_those_who_ask(platform: Platform, days: Days) -> None:
    platform.paid_out()
    content = days.file_of(days.statements(days.end())["EUR"], format="camt053", version="02")
    assert b"camt.053.001.02" in content
    [entry] = entries(camt(content), ["Sts", "NtryDtls/TxDtls/AmtDtls/TxAmt/Amt", "NtryDtls/TxDtls/RltdPties/Cdtr/Nm"])
    assert entry == ("BOOK", "10.00", "Account ending in 3201")


def test_mt940_has_the_same_bookings(buyer: Buyer, platform: Platform, days: Days) -> None:
    buyer.charged(amount=100_00)
    day = days.end()
    platform.paid_out(amount=30_00, reference=OURS)
    listed = days.statements(days.end(), format="mt940")["EUR"]
    content = days.file_of(listed, format="mt940")
    assert len(content) == listed["size"]
    lines = content.decode("latin-1").split("\r\n")
    assert max(len(line) for line in lines) <= 65
    date = listed["day"].replace("-", "")[2:]
    batch = f"sb-{day.replace('-', '')}-eur"
    balances = [line for line in lines if line.startswith((":60F:", ":62F:"))]
    assert [_signed(line) for line in balances] == [listed["opening"], listed["closing"]]
    bookings = [line.partition("//")[0] for line in lines if line.startswith(":61:")]
    assert bookings == [f":61:{date}{date[2:]}C98,35NTRF{batch}", f":61:{date}{date[2:]}D30,00NTRFNONREF"]
    narrative = "".join(lines).partition("D30,00")[2]
    assert f"?20EREF+{OURS[:22]}?21{OURS[22:]}" in narrative


def _signed(balance: str) -> int:
    """Return the minor units of ":60F:C261121EUR98,35"."""
    amount = int(balance[15:].replace(",", ""))
    return -amount if balance[5] == "D" else amount

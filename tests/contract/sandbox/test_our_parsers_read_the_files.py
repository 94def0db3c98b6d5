"""What the sandbox writes, our own parsers recognise, prove and read alike, whatever the form."""

import io
from decimal import Decimal

import pytest

from reconciliation.formats import registry
from reconciliation.formats.records import BankLine, LineKind, SettlementLine
from tests.contract.sandbox.conftest import Buyer
from tests.contract.sandbox.days import Days
from tests.contract.sandbox.test_bank_statements import OURS
from tests.contract.sandbox.test_payouts import Platform
from tests.fixtures_services import SandboxCompany

KINDS = [LineKind.CAPTURE, LineKind.REFUND, LineKind.DISPUTE, LineKind.FEE, LineKind.PAYOUT]


def read(content: bytes, *, name: str) -> list[object]:
    form = registry.recognise(content[: registry.HEAD])
    assert form
    assert form.name == name
    return list(form.read(io.BytesIO(content)))


def test_a_batch_says_the_same_in_every_form(buyer: Buyer, days: Days) -> None:
    charge = buyer.charged(amount=100_00)
    refund = buyer.refund(charge, amount=4_00).json()
    dispute = buyer.dispute(charge, amount=10_00).json()
    listed = days.batches(days.end())["EUR"]
    read_as = {
        "sandbox": "sandbox_settlement",
        "adyen": "adyen_settlement",
        "stripe_payout": "stripe_payout_reconciliation",
        "stripe_balance": "stripe_balance_change",
    }
    for form, name in read_as.items():
        lines = [line for line in read(days.file_of(listed, format=form), name=name) if isinstance(line, SettlementLine)]
        kinds = KINDS[:-1] if form == "stripe_balance" else KINDS
        nets = [Decimal(net) for net in ("98.35", "-4.00", "-10.00", "-15.00", "-69.35")]
        assert [(line.kind, line.net, line.currency) for line in lines] == [
            (kind, net, "EUR") for kind, net in zip(kinds, nets, strict=False)
        ], form
        assert {line.charge_reference for line in lines[:3]} == {charge["id"]}, form
        assert [line.psp_reference for line in lines[:4]] == [charge["id"], refund["id"], dispute["id"], dispute["id"]], form
        own = "key" if form == "sandbox" else "reference"
        assert [line.our_reference for line in lines[:2]] == [charge[own], refund[own]], form
        assert {line.batch for line in lines} == ({""} if form == "stripe_balance" else {listed["batch"]}), form


@pytest.mark.parametrize("query", [{"format": "camt053"}, {"format": "camt053", "version": "02"}, {"format": "mt940"}], ids=str)
def test_a_statement_says_the_same_in_every_form(buyer: Buyer, days: Days, sandbox: SandboxCompany, query: dict[str, str]) -> None:
    buyer.charged(amount=100_00)
    batch = days.batches(days.end())["EUR"]["batch"]
    Platform(sandbox.client).paid_out(amount=30_00, reference=OURS)
    records = read(days.file_of(days.statements(days.end())["EUR"], **query), name=query["format"])
    booked = [line for line in records if isinstance(line, BankLine)]
    assert len(records) == len(booked) + 2
    assert [(line.amount, line.end_to_end_id, line.is_reversal) for line in booked] == [
        (Decimal("98.35"), batch, False),
        (Decimal("-30.00"), OURS, False),
    ]
    assert batch in booked[0].text
    assert all(line.bank_reference.startswith("BK") for line in booked)

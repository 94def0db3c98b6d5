"""What the settlement files of PSPs say in the cases that their golden files do not have."""

import io
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from reconciliation.formats import adyen_settlement, registry, rows, sandbox_settlement, stripe_balance_change, stripe_payout_reconciliation
from reconciliation.formats.records import LineKind, MalformedFile, SettlementLine
from tests.unit.reconciliation.formats.golden_files import golden_file


def adyen(*lines: str) -> list[SettlementLine]:
    """Read these lines of Adyen's report, each as the golden file has its columns, up to Interchange and with the batch number 118."""
    header = golden_file("adyen_settlement").partition(b"\n")[0].decode()
    content = "\n".join([header, *(f"Northwind,NorthwindEU,{line},,,118,,,,,,," for line in lines)])
    return list(adyen_settlement.read(io.BytesIO(content.encode())))


def settled_at(moment: str, zone: str) -> datetime:
    """Return when a payment was settled of which Adyen writes this moment and zone."""
    sale = f"P1,o1,visa,{moment},{zone},Settled,M1,EUR,,5.00,1,EUR,,5.00,,,,"
    payout = ",,,2026-11-21 02:00:00,UTC,MerchantPayout,TX1,,,,,EUR,5.00,,,,,"
    at = adyen(sale, payout)[0].occurred_at
    assert at
    return at.astimezone(UTC)


@pytest.mark.parametrize(
    ("moment", "zone", "expected"),
    [
        ("2026-10-25 02:30:00", "CEST", "2026-10-25T00:30:00+00:00"),  # summer ends: 02:30 comes twice, and the zone says which
        ("2026-10-25 02:30:00", "CET", "2026-10-25T01:30:00+00:00"),
        ("2026-10-25 02:30:00", "Europe/Amsterdam", "2026-10-25T00:30:00+00:00"),  # the first, where it does not say
        ("2026-07-01 10:00:00", "Europe/Amsterdam", "2026-07-01T08:00:00+00:00"),
        ("2026-05-20 00:06:43", "PDT", "2026-05-20T07:06:43+00:00"),
        ("2026-11-20 23:30:00", "UTC", "2026-11-20T23:30:00+00:00"),
    ],
)
def test_the_zone_of_adyens_report_says_which_moment_it_was(moment: str, zone: str, expected: str) -> None:
    assert settled_at(moment, zone) == datetime.fromisoformat(expected)


@pytest.mark.parametrize(
    ("moment", "zone", "reason"),
    [
        ("2026-03-29 02:30:00", "Europe/Amsterdam", "the clocks of Europe/Amsterdam left out"),
        ("2026-11-20 10:00:00", "CST", "'CST' is no time zone that says one thing only"),  # Chicago, Shanghai or Havana
        ("2026-11-20 10:00:00", "Europe/Atlantis", "is no time zone"),
        ("2026-11-20 10:00:00", "../../etc/passwd", "is no time zone"),
        ("2026-11-20 10:00:00", "", "'' is no time zone"),
    ],
)
def test_a_moment_that_is_none_or_could_be_several_is_refused(moment: str, zone: str, reason: str) -> None:
    with pytest.raises(MalformedFile, match=reason) as refused:
        settled_at(moment, zone)
    assert refused.value.line == 2


def test_between_two_currencies_adyens_net_may_be_off_by_what_it_rounded() -> None:
    payout = ",,,2026-11-21 02:00:00,UTC,MerchantPayout,TX1,,,,,EUR,{},,,,,"
    sale = "P1,o1,visa,2026-11-20 10:00:00,UTC,Settled,M1,USD,,1234.56,0.9215,EUR,,{},1.85,,,"
    rounded = Decimal("1234.56") * Decimal("0.9215") - Decimal("1.85")  # 1135.797040, and the rate's next digit is 0.06 at most
    line = adyen(sale.format("1135.80"), payout.format("1135.80"))[0]
    assert abs(line.net - rounded) < Decimal("0.01")
    assert (line.gross, line.currency, line.net_currency, line.rate) == (Decimal("1234.56"), "USD", "EUR", Decimal("0.9215"))
    assert adyen(sale.format("1135.84"), payout.format("1135.84"))[0].net == Decimal("1135.84")
    with pytest.raises(MalformedFile, match=r"line 2: the net is 1136.00 EUR, but gross \* rate - fees is 1135.797040"):
        adyen(sale.format("1136.00"), payout.format("1136.00"))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("P1,o1,visa,2026-11-20 10:00:00,UTC,Settled,M1,EUR,,5.00,1,EUR,,4.88,0.11,,,", "the net is 4.88 EUR, but gross"),
        ("P1,o1,visa,2026-11-20 10:00:00,UTC,Settled,M1,EUR,5.00,5.00,1,EUR,,4.88,0.12,,,", "have an amount both"),
        ("P1,o1,visa,2026-11-20 10:00:00,UTC,Settled,M1,EUR,-5.00,,1,EUR,,5.00,,,,", "Debit .GC. is below zero"),
        ("P1,o1,visa,2026-11-20 10:00:00,UTC,Settled,M1,EUR,,5.00,1,EUR,,,,,,", "are both empty"),
        ("P1,o1,visa,2026-11-20 10:00:00,UTC,Settled,M1,EUR,,5.00,1.2,EUR,,6.00,,,,", "line 2: Exchange Rate is 1.2 within EUR"),
        ("P1,o1,visa,2026-11-20 10:00:00,UTC,Settled,M1,USD,,5.00,,EUR,,4.88,,,,", "Exchange Rate is ''"),
        ("P1,o1,visa,2026-11-20 10:00:00,UTC,,M1,EUR,,5.00,1,EUR,,5.00,,,,", "Type is empty"),
    ],
)
def test_a_line_of_adyens_that_contradicts_itself_is_refused(line: str, reason: str) -> None:
    with pytest.raises(MalformedFile, match=reason):
        adyen(line)


def test_a_type_of_adyens_that_is_new_is_kept_for_a_person_to_explain() -> None:
    line, _ = adyen(
        "P1,o1,visa,2026-11-20 10:00:00,UTC,CaptureInsurance,M1,EUR,,5.00,1,EUR,,5.00,,,,",
        ",,,2026-11-21 02:00:00,UTC,MerchantPayout,TX1,,,,,EUR,5.00,,,,,",
    )
    assert (line.kind, line.type) == (LineKind.OTHER, "CaptureInsurance")


def test_two_merchant_accounts_in_one_file_are_refused_since_each_numbers_its_batches() -> None:
    content = golden_file("adyen_settlement").replace(b"NorthwindEU,PSP0000000000003", b"NorthwindUS,PSP0000000000003")
    with pytest.raises(MalformedFile, match="line 5: Merchant Account is 'NorthwindUS' after 'NorthwindEU'"):
        list(adyen_settlement.read(io.BytesIO(content)))


def test_stripes_payout_is_all_that_its_lines_are() -> None:
    content = golden_file("stripe_payout_reconciliation")
    lost = content.replace(b"po_1,2026-11-23 00:00:00,txn_5", b"po_3,2026-11-23 00:00:00,txn_5")
    with pytest.raises(MalformedFile, match=r"line 9: the lines of po_1 and its payout add up to 0\.55, not to nothing"):
        list(stripe_payout_reconciliation.read(io.BytesIO(lost)))
    unpaid = content.replace(b"po_2,2026-11-23", b",2026-11-23")
    with pytest.raises(MalformedFile, match="line 10: automatic_payout_id is empty"):
        list(stripe_payout_reconciliation.read(io.BytesIO(unpaid)))


def test_a_payout_of_stripes_without_a_line_pays_out_what_its_lines_are() -> None:
    lines = golden_file("stripe_payout_reconciliation").splitlines(keepends=True)
    content = b"".join(line for line in lines if b"STRIPE PAYOUT" not in line)
    *_, of_euros, of_yen = stripe_payout_reconciliation.read(io.BytesIO(content))
    assert [(line.kind, line.batch, line.psp_reference, line.net, line.currency, str(line.settled_on)) for line in (of_euros, of_yen)] == [
        (LineKind.PAYOUT, "po_1", "po_1", Decimal("-25.00"), "EUR", "2026-11-23"),
        (LineKind.PAYOUT, "po_2", "po_2", Decimal(-1446), "JPY", "2026-11-23"),
    ]
    mixed = content.replace(b"po_2,", b"po_1,")
    with pytest.raises(MalformedFile, match="line 9: is in JPY, but po_1 pays out EUR"):
        list(stripe_payout_reconciliation.read(io.BytesIO(mixed)))


@pytest.mark.parametrize(
    ("category", "of_payouts", "of_days"),
    [
        ("payout_minimum_balance_hold", LineKind.CARRIED_OVER, LineKind.RESERVE),
        ("payout_minimum_balance_release", LineKind.CARRIED_OVER, LineKind.RESERVE),
        ("other_adjustment", LineKind.OTHER, LineKind.OTHER),
    ],
)
def test_what_stripe_keeps_back_is_carried_over_to_the_next_payout_and_an_adjustment_is_left_to_people(
    category: str, of_payouts: LineKind, of_days: LineKind
) -> None:
    payouts = golden_file("stripe_payout_reconciliation").replace(b",fee,,", f",{category},,".encode())
    days = golden_file("stripe_balance_change").replace(b",refund,", f",{category},".encode())
    assert [line.kind for line in stripe_payout_reconciliation.read(io.BytesIO(payouts)) if line.type == category] == [of_payouts]
    assert [line.kind for line in stripe_balance_change.read(io.BytesIO(days)) if line.type == category] == [of_days]


def test_a_quiet_day_at_stripe_is_a_header_alone() -> None:
    header = golden_file("stripe_balance_change").partition(b"\n")[0]
    assert list(stripe_balance_change.read(io.BytesIO(header))) == []


def test_a_batch_of_the_sandbox_is_of_one_day_and_currency_without_a_gap() -> None:
    content = golden_file("sandbox_settlement")
    for before, after, reason in [
        (b"eur,2026-11-20,3", b"eur,2026-11-21,3", "line 4: batch, closed_on, currency are sb-20261120-eur, 2026-11-21, EUR, but"),
        (b",3,refund", b",4,refund", "line 4: line is '4' where 3 is expected"),
        (b",refund,", b",refnd,", "line 4: type is 'refnd', which the sandbox does not know"),
        (b"119.90,3.78,116.12", b"119.91,3.78,116.13", "line 14: the net of all lines adds up to 0.01, not to nothing"),
        (b"119.90,3.78,116.12", b"119.90,3.77,116.12", "line 2: net is 116.12, but gross - fee is 116.13"),
    ]:
        with pytest.raises(MalformedFile, match=reason):
            list(sandbox_settlement.read(io.BytesIO(content.replace(before, after, 1))))


def test_a_file_in_utf_16_is_recognised_so_that_it_can_be_told_why_it_is_refused() -> None:
    content = golden_file("adyen_settlement").decode().encode("utf-16")
    format_ = registry.recognise(content[: registry.HEAD])
    assert format_
    with pytest.raises(MalformedFile, match="line 1: the file is in UTF-16: save it as UTF-8"):
        list(format_.read(io.BytesIO(content)))


def test_sec_24_a_line_without_an_end_is_refused_before_it_fills_the_memory() -> None:
    class Endless(io.RawIOBase):
        """A stream of x, of which it counts what is taken."""

        taken = 0

        def read(self, size: int = -1, /) -> bytes:
            self.taken += size
            return b"x" * size

    stream = Endless()
    with pytest.raises(MalformedFile, match="line 1: is longer than 65,536 characters"):
        next(sandbox_settlement.read(stream))  # type: ignore[arg-type]
    assert stream.taken <= 2 * rows.PIECE
    header = golden_file("sandbox_settlement").partition(b"\n")[0]
    with pytest.raises(MalformedFile, match="field larger than field limit"):
        next(sandbox_settlement.read(io.BytesIO(header + b'\n"' + b"x\n" * 200_000)))


def test_in_a_long_file_the_line_that_is_named_is_the_one() -> None:
    header = golden_file("sandbox_settlement").partition(b"\n")[0].decode()
    sale = "sb-1,2026-11-20,{0},charge,ch_{0},ch_{0},{1},card,EUR,1.00,0.00,1.00,2026-11-20T08:15:30Z"
    sales = [sale.format(number, "Größe" * 20) for number in range(1, 4_001)]
    content = "\r\n".join([header, *sales, sale.format(4_001, "").replace("1.00,2026", "1.01,2026")]).encode()
    assert len(content) > 2 * rows.PIECE
    with pytest.raises(MalformedFile, match=r"line 4002: net is 1\.01, but gross - fee is 1\.00"):
        list(sandbox_settlement.read(io.BytesIO(content)))
    with pytest.raises(MalformedFile, match="line 4001: is not UTF-8"):
        list(sandbox_settlement.read(io.BytesIO(content.replace(b"ch_4000,ch_4000,G", b"ch_4000,ch_4000,\xff"))))

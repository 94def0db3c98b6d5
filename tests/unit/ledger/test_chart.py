"""The chart of accounts: what each kind is, and which way it grows."""

import pytest

from ledger import chart
from ledger.chart import AccountType

CODES = {
    chart.psp_receivable("sandbox"): AccountType.ASSET,
    chart.operating_bank(): AccountType.ASSET,
    chart.paid_twice(): AccountType.ASSET,
    chart.bank_in_transit(): AccountType.ASSET,
    chart.psp_fees(): AccountType.EXPENSE,
    chart.seller_pending(7): AccountType.LIABILITY,
    chart.seller_available(7): AccountType.LIABILITY,
    chart.seller_reserved(7): AccountType.LIABILITY,
    chart.payouts_in_transit(): AccountType.LIABILITY,
    chart.suspense(): AccountType.LIABILITY,
    chart.fee_revenue(): AccountType.REVENUE,
    chart.tax_payable(): AccountType.LIABILITY,
    chart.owed_to_buyers(): AccountType.LIABILITY,
    chart.disputed("sandbox"): AccountType.ASSET,
    chart.dispute_costs(): AccountType.EXPENSE,
    chart.dispute_losses(): AccountType.EXPENSE,
    chart.bank_charges(): AccountType.EXPENSE,
    chart.write_offs(): AccountType.EXPENSE,
    chart.fx_position(): AccountType.LIABILITY,
    chart.gift_cards(): AccountType.LIABILITY,
    chart.buyer_wallet(7): AccountType.LIABILITY,
    chart.breakage_revenue(): AccountType.REVENUE,
    chart.gift_card_grants(): AccountType.EXPENSE,
}


@pytest.mark.parametrize(("code", "expected"), CODES.items())
def test_each_code_says_what_its_account_is(code: str, expected: AccountType) -> None:
    assert chart.is_known(code)
    assert chart.type_of(code) == expected


def test_every_kind_of_the_chart_has_a_function_that_makes_its_code() -> None:
    assert {chart.kind_of(code) for code in CODES} == set(chart.KINDS)


def test_the_wallets_kinds_are_debts_to_sellers() -> None:
    assert {chart.KINDS[kind] for kind in chart.WALLET_KINDS} == {AccountType.LIABILITY}


def test_what_we_own_and_what_we_spend_grows_by_debits() -> None:
    assert {kind for kind in AccountType if kind.grows_by_debit} == {AccountType.ASSET, AccountType.EXPENSE}


@pytest.mark.parametrize("code", ["", ":", ":7", "nobody", "Fee_revenue", "fee_revenue ", "seller_pendin:7", "sellers:7"])
def test_other_codes_are_unknown(code: str) -> None:
    assert not chart.is_known(code)


def test_two_sellers_never_share_an_account() -> None:
    assert chart.seller_pending(1) != chart.seller_pending(11)
    assert chart.seller_pending(1) != chart.seller_available(1)

"""How what the PSP charges is shared over orders of which gift cards and wallets pay a part: exact, and no order without its charge."""

from hypothesis import given
from hypothesis import strategies as st

from ledger.money import from_minor, to_minor
from payments.tenders import charge_shares

UNITS = st.lists(st.integers(1, 10**9), min_size=1, max_size=12)
CURRENCY = st.sampled_from(["JPY", "EUR", "KWD", "CLF"])


@given(UNITS, st.data(), CURRENCY)
def test_charges_add_up_to_the_rest_and_fit_their_orders(units: list[int], data: st.DataObject, currency: str) -> None:
    rest = data.draw(st.integers(0, sum(units)))
    shares = [to_minor(share) for share in charge_shares([from_minor(each, currency) for each in units], from_minor(rest, currency))]
    assert sum(shares) == rest
    assert all(0 <= share <= amount for share, amount in zip(shares, units, strict=True))
    assert all(shares) or rest < len(units)

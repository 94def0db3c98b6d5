"""The instalments of pay later are the amount, to the last minor unit, whatever the amount."""

from datetime import date

from payments.sandbox import instalments


def test_instalments_are_the_amount_and_differ_by_one_unit_at_most() -> None:
    for amount in [*range(1, 2000), 10**15 - 1, 10**15, 10**15 + 1]:
        parts = [one.amount for one in instalments.schedule(amount, begins_on=date(2026, 11, 22))]
        assert sum(parts) == amount
        assert max(parts) - min(parts) <= 1
        assert parts == sorted(parts, reverse=True)


def test_they_are_thirty_days_apart_and_begin_today() -> None:
    days = [one.due_date for one in instalments.schedule(100, begins_on=date(2026, 12, 31))]
    assert days == [date(2026, 12, 31), date(2027, 1, 30), date(2027, 3, 1)]

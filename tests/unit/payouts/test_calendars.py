"""Payout calendars: half-open periods in named zones, however long a day or a month is, and the days on which banks work."""

from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payouts import calendars
from payouts.calendars import Calendar, UnknownPeriod
from payouts.states import Interval

BERLIN = "Europe/Berlin"


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type, misc]


def test_pg_18_days_of_23_and_25_hours_are_one_day_each() -> None:
    daily = Calendar(Interval.DAILY, zone=BERLIN)
    lengths = {day: (found := calendars.period_named(daily, day)).ends_at - found.begins_at for day in ("2026-03-29", "2026-10-25")}
    assert lengths == {"2026-03-29": timedelta(hours=23), "2026-10-25": timedelta(hours=25)}


def test_pg_18_the_last_microsecond_of_the_year_is_paid_out_with_its_year() -> None:
    monthly = Calendar()
    assert calendars.period_of(monthly, utc(2026, 12, 31, 23, 59, 59, 999_999)).name == "2026-12"
    assert calendars.period_of(monthly, utc(2027, 1, 1)).name == "2027-01"
    assert calendars.last_over(monthly, utc(2027, 1, 1)).name == "2026-12"
    assert calendars.last_over(monthly, utc(2026, 12, 31, 23, 59, 59, 999_999)).name == "2026-11"


@pytest.mark.parametrize(
    ("name", "begins", "ends"),
    [
        ("2028-01", utc(2028, 1, 31), utc(2028, 2, 29)),
        ("2028-02", utc(2028, 2, 29), utc(2028, 3, 31)),
        ("2026-02", utc(2026, 2, 28), utc(2026, 3, 31)),
        ("2026-04", utc(2026, 4, 30), utc(2026, 5, 31)),
    ],
)
def test_pg_18_the_31st_is_the_last_day_of_a_shorter_month(name: str, begins: datetime, ends: datetime) -> None:
    found = calendars.period_named(Calendar(month_day=31), name)
    assert (found.begins_at, found.ends_at) == (begins, ends)


def test_the_cut_off_is_a_time_of_its_zone_in_summer_and_in_winter() -> None:
    monthly = Calendar(cut_off=time(18), zone=BERLIN)
    assert calendars.cut_off(monthly, "2026-06") == utc(2026, 7, 1, 16)
    assert calendars.cut_off(monthly, "2026-12") == utc(2027, 1, 1, 17)


def test_weekends_and_bank_holidays_put_a_payout_off_to_the_next_working_day() -> None:
    in_germany = Calendar(zone=BERLIN, holidays="DE")
    assert calendars.next_payouts(in_germany, utc(2026, 11, 21)) == [date(2026, 12, 1), date(2027, 1, 4), date(2027, 2, 1)]
    assert calendars.next_payouts(Calendar(zone=BERLIN), utc(2026, 12, 21), count=1) == [date(2027, 1, 1)]
    every_day = Calendar(Interval.DAILY, holidays="DE")
    assert calendars.next_payouts(every_day, utc(2026, 12, 23, 12)) == [date(2026, 12, 24), date(2026, 12, 28), date(2026, 12, 29)]
    assert calendars.cut_off(every_day, "2026-12-24") == utc(2026, 12, 28)
    in_riyadh = Calendar(Interval.DAILY, holidays="SA")
    assert calendars.next_payouts(in_riyadh, utc(2026, 11, 18, 12), count=2) == [date(2026, 11, 19), date(2026, 11, 22)]


@pytest.mark.parametrize(
    ("day", "country", "pays_on"),
    [
        (date(2026, 11, 20), "DE", date(2026, 11, 20)),
        (date(2026, 11, 21), "DE", date(2026, 11, 23)),  # a Saturday
        (date(2026, 4, 3), "FR", date(2026, 4, 7)),  # France works on Good Friday, TARGET does not
        (date(2026, 7, 3), "US", date(2026, 7, 6)),  # TARGET is open, the banks of the country are not
        (date(2026, 12, 25), "", date(2026, 12, 28)),
    ],
)
def test_banks_pay_when_target_is_open_and_those_of_the_country_work(day: date, country: str, pays_on: date) -> None:
    assert calendars.bank_day(day, country=country) == pays_on


def test_a_holiday_has_no_period_of_its_own() -> None:
    with pytest.raises(UnknownPeriod, match="no period of this calendar") as refused:
        calendars.period_named(Calendar(Interval.DAILY, holidays="DE"), "2026-12-25")
    assert refused.value.field == "period"


@pytest.mark.parametrize(
    ("calendar", "name"),
    [
        (Calendar(), "2026-13"),
        (Calendar(), "2026-10-01"),
        (Calendar(), "2026-1"),
        (Calendar(), "1026-10"),
        (Calendar(Interval.WEEKLY), "2026-W54"),
        (Calendar(Interval.WEEKLY), "2026-W00"),
        (Calendar(Interval.DAILY), "2026-02-30"),
        (Calendar(Interval.DAILY), "2026-02"),
        (Calendar(Interval.ON_REQUEST), "2026-10"),
    ],
)
def test_a_name_of_another_form_is_unknown(calendar: Calendar, name: str) -> None:
    with pytest.raises(UnknownPeriod):
        calendars.period_named(calendar, name)


def test_who_is_paid_only_when_asking_has_no_next_payout() -> None:
    assert calendars.next_payouts(Calendar(Interval.ON_REQUEST), utc(2026, 11, 21)) == []


CALENDARS = st.builds(
    Calendar,
    interval=st.sampled_from([Interval.DAILY, Interval.WEEKLY, Interval.MONTHLY]),
    weekday=st.integers(1, 7),
    month_day=st.integers(1, 31),
    cut_off=st.times().map(lambda when: when.replace(tzinfo=None)),
    zone=st.sampled_from(["UTC", BERLIN, "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kathmandu"]),
    holidays=st.sampled_from(["", "DE", "US", "SA"]),
)


@given(CALENDARS, st.datetimes(datetime(2024, 1, 1), datetime(2032, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_every_moment_lies_in_exactly_one_period_and_its_name_leads_back_to_it(calendar: Calendar, moment: datetime) -> None:
    now = calendars.period_of(calendar, moment)
    assert now.begins_at <= moment < now.ends_at
    assert len(now.name) <= 10
    assert calendars.period_named(calendar, now.name) == now
    again = calendars.of_key(calendar.interval, calendar.key)
    assert (again.key, calendars.period_of(again, moment)) == (calendar.key, now)
    before = calendars.last_over(calendar, moment)
    assert before.begins_at < before.ends_at == now.begins_at
    following = calendars.period_of(calendar, now.ends_at)
    assert following.begins_at == now.ends_at

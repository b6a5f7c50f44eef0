from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from worker.domain.periods import Period

SHANGHAI = ZoneInfo("Asia/Shanghai")


def test_a_period_begins_and_ends_at_the_zone_s_midnight() -> None:
    period = Period(first=date(2016, 1, 31), last=date(2016, 2, 1), zone=SHANGHAI)
    assert period.start == datetime(2016, 1, 30, 16, tzinfo=UTC)
    assert period.end == datetime(2016, 2, 1, 16, tzinfo=UTC)
    assert list(period.days) == [date(2016, 1, 31), date(2016, 2, 1)]


def test_the_first_moment_belongs_to_the_period_and_the_one_after_the_last_does_not() -> None:
    period = Period(first=date(2016, 1, 31), last=date(2016, 1, 31), zone=SHANGHAI)
    moment = timedelta(microseconds=1)
    held = [period.holds(at) for at in (period.start - moment, period.start, period.end - moment, period.end)]
    assert held == [False, True, True, False]


def test_a_moment_is_on_the_day_that_the_zone_has_then() -> None:
    period = Period(first=date(2016, 1, 30), last=date(2016, 2, 1), zone=SHANGHAI)
    assert period.day_of(datetime(2016, 1, 31, 15, 59, 59, tzinfo=UTC)) == date(2016, 1, 31)
    assert period.day_of(datetime(2016, 1, 31, 16, tzinfo=UTC)) == date(2016, 2, 1)


def test_a_day_on_which_clocks_change_has_its_own_length() -> None:
    zone = ZoneInfo("Europe/Berlin")
    lengths = [
        (period.end - period.start) / timedelta(hours=1)
        for day in (date(2026, 3, 29), date(2026, 10, 25), date(2026, 6, 1))
        for period in [Period(first=day, last=day, zone=zone)]
    ]
    assert lengths == [23, 25, 24]


def test_a_period_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(ValueError, match="ends on 2016-01-30, before it begins on 2016-01-31"):
        Period(first=date(2016, 1, 31), last=date(2016, 1, 30), zone=UTC)

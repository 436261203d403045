"""Hours, days and months of a zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratelimit.windows.periods import PERIODS, Calendar, Period, span_of, zone_of

ZONES = ["UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Kathmandu", "Pacific/Apia", "Australia/Lord_Howe"]
moments = st.integers(1_500_000_000, 1_900_000_000)


@given(moments, st.sampled_from(ZONES), st.sampled_from(PERIODS))
def test_every_moment_is_in_its_period_and_the_next_begins_where_it_ends(now, zone, period):
    span = span_of(period, now, zone_of(zone))
    assert span.start <= now < span.end < span.next_end
    following = span_of(period, span.end, zone_of(zone))
    assert (following.start, following.end) == (span.end, span.next_end)
    assert span.at(now) == (span.start, span.end)
    assert span.at(span.end) == (span.end, span.next_end)


@given(moments, st.sampled_from(ZONES))
def test_days_and_months_begin_where_the_date_changes(now, zone):
    local = zone_of(zone)
    forms: list[tuple[Period, str]] = [("day", "%Y-%m-%d"), ("month", "%Y-%m")]
    for period, form in forms:
        span = span_of(period, now, local)
        names = {datetime.fromtimestamp(at, local).strftime(form) for at in (span.start, now, span.end - 1)}
        assert len(names) == 1
        assert datetime.fromtimestamp(span.end, local).strftime(form) not in names
        assert datetime.fromtimestamp(span.start - 1, local).strftime(form) not in names


def test_days_are_as_long_as_clocks_make_them():
    berlin = ZoneInfo("Europe/Berlin")
    spring = span_of("day", datetime(2026, 3, 29, 12, tzinfo=berlin).timestamp(), berlin)
    autumn = span_of("day", datetime(2026, 10, 25, 12, tzinfo=berlin).timestamp(), berlin)
    assert (spring.end - spring.start, autumn.end - autumn.start) == (23 * 3600, 25 * 3600)


def test_a_calendar_is_made_anew_with_the_hour():
    calendar, now = Calendar(UTC), datetime(2026, 12, 31, 23, 30, tzinfo=UTC)
    before = calendar.text(now.timestamp())
    assert calendar.text((now + timedelta(minutes=29)).timestamp()) == before
    after = calendar.spans((now + timedelta(minutes=31)).timestamp())
    assert datetime.fromtimestamp(after["month"].start, UTC) == datetime(2027, 1, 1, tzinfo=UTC)
    assert calendar.text(now.timestamp()) == before


def test_a_zone_that_is_none_is_named():
    with pytest.raises(ValueError, match="'Berlin' is no time zone"):
        zone_of("Berlin")

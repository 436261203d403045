"""SizeBounds by the hour of the week."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from orchestration.scaling.schedules import Schedule, SizeBounds, Timetable

WORK = Schedule("work", time(8), time(18), frozenset({"mon", "tue", "wed", "thu", "fri"}), minimum=4)
FRIDAY = datetime(2026, 11, 27, tzinfo=UTC)


def at(hours: int, minutes: int = 0) -> datetime:
    return FRIDAY + timedelta(hours=hours, minutes=minutes)


def test_the_start_is_in_and_the_end_is_not():
    table = Timetable(SizeBounds(1, 10), [WORK])
    assert [table.bounds_at(at(*when)).minimum for when in ((7, 59), (8,), (17, 59), (18,), (33,))] == [1, 4, 4, 1, 1]


def test_the_zone_is_the_schedules_own():
    table = Timetable(SizeBounds(1, 10), [WORK], ZoneInfo("Asia/Shanghai"))
    assert table.bounds_at(at(0)).minimum == 4
    assert table.bounds_at(at(10)).minimum == 1


def test_it_is_looked_at_again_when_something_changes():
    table = Timetable(SizeBounds(1, 10), [WORK])
    assert table.look_again_after(at(7, 45)) == timedelta(minutes=15)
    assert table.look_again_after(at(3)) == timedelta(hours=1)


def test_overlaps_and_contradictions_are_refused():
    with pytest.raises(ValueError, match="overlap"):
        Timetable(SizeBounds(1, 10), [WORK, Schedule("late", time(17), time(19), maximum=5)])
    with pytest.raises(ValueError, match="at least 4 and at most 3"):
        Timetable(SizeBounds(1, 3), [WORK])
    with pytest.raises(ValueError, match="before it starts"):
        Schedule("night", time(22), time(6), minimum=1)
    with pytest.raises(ValueError, match="neither"):
        Schedule("none", time(1), time(2))

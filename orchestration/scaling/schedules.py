"""Minimum and maximum that hold at certain hours of the week.

A day's `start` is in it and its `end` is not; no schedule crosses midnight. While one is active its bounds stand in
place of the autoscaler's own. The clock is that of the schedules' time zone, so the hour that summer time repeats
counts twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Sequence

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_UTC = ZoneInfo("UTC")
_LONGEST_WAIT = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class SizeBounds:
    """Replicas, both inclusive."""

    minimum: int
    maximum: int

    def within(self, replicas: int) -> int:
        return min(max(replicas, self.minimum), self.maximum)


@dataclass(frozen=True, slots=True)
class Schedule:
    """One of `minimum` and `maximum` at least."""

    name: str
    start: time
    end: time
    days: frozenset[str] = frozenset(DAYS)
    minimum: int | None = None
    maximum: int | None = None

    def __post_init__(self) -> None:
        if self.start >= self.end:
            raise ValueError(f"schedule {self.name!r} ends at {self.end:%H:%M}, before it starts")
        if self.minimum is None and self.maximum is None:
            raise ValueError(f"schedule {self.name!r} has neither minReplicas nor maxReplicas")

    def active(self, local: datetime) -> bool:
        return DAYS[local.weekday()] in self.days and self.start <= local.time() < self.end

    def overlaps(self, other: Schedule) -> bool:
        return bool(self.days & other.days) and self.start < other.end and other.start < self.end


@dataclass(frozen=True, slots=True)
class Timetable:
    """An autoscaler's own bounds, and those of its schedules, of which no two overlap."""

    bounds: SizeBounds
    schedules: Sequence[Schedule] = ()
    zone: ZoneInfo = _UTC

    def __post_init__(self) -> None:
        for place, schedule in enumerate(self.schedules):
            for other in self.schedules[place + 1 :]:
                if schedule.overlaps(other):
                    raise ValueError(f"schedules {schedule.name!r} and {other.name!r} overlap")
            self._with(schedule)

    def active(self, now: datetime) -> Schedule | None:
        local = now.astimezone(self.zone)
        return next((schedule for schedule in self.schedules if schedule.active(local)), None)

    def bounds_at(self, now: datetime) -> SizeBounds:
        schedule = self.active(now)
        return self._with(schedule) if schedule else self.bounds

    def look_again_after(self, now: datetime) -> timedelta:
        """Until a schedule begins or ends, but at most an hour: clocks are set."""
        local = now.astimezone(self.zone)
        marks = {mark for schedule in self.schedules for mark in (schedule.start, schedule.end)}
        later = [datetime.combine(local.date(), mark, local.tzinfo) - local for mark in marks if mark > local.time()]
        return min([*later, _LONGEST_WAIT])

    def _with(self, schedule: Schedule) -> SizeBounds:
        minimum = self.bounds.minimum if schedule.minimum is None else schedule.minimum
        maximum = self.bounds.maximum if schedule.maximum is None else schedule.maximum
        if minimum > maximum:
            raise ValueError(f"schedule {schedule.name!r}: at least {minimum} and at most {maximum} replicas")
        return SizeBounds(minimum, maximum)

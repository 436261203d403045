"""Hours, days and months as a calendar has them, in one time zone: when each began, ends, and what comes after.

Instants are whole seconds since 1970. A day has 23 to 25 hours where clocks are set; an hour begins with the minute 0
of the zone, and one that is set back comes twice, as two hours.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

Period = Literal["hour", "day", "month"]
PERIODS: tuple[Period, ...] = ("hour", "day", "month")
"""The shortest first: in this order they are told to the server."""
_HOUR_SECONDS = 3600
"""Of every zone: clocks are set by whole or half hours, and an hour that is cut short ends where the next begins."""


class Span(NamedTuple):
    """From `start` to before `end`; the one that follows goes on to `next_end`."""

    start: int
    end: int
    next_end: int

    def at(self, now_seconds: float) -> tuple[int, int]:
        """Start and end of the period at this moment, which may be a little after this span's."""
        return (self.start, self.end) if now_seconds < self.end else (self.end, self.next_end)


def zone_of(name: str) -> tzinfo:
    """Raises ValueError for a name that no zone has."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name!r} is no time zone; allowed: UTC, or a name as Europe/Berlin") from None


def span_of(period: Period, now_seconds: float, zone: tzinfo) -> Span:
    """The period in which `now_seconds` is, and the next."""
    if period == "hour":
        local = datetime.fromtimestamp(int(now_seconds), zone)
        start = int(now_seconds) - 60 * local.minute - local.second
        return Span(start, start + _HOUR_SECONDS, start + 2 * _HOUR_SECONDS)
    start = (
        _midnight(datetime.fromtimestamp(now_seconds, zone).replace(day=1))
        if period == "month"
        else (_midnight(datetime.fromtimestamp(now_seconds, zone)))
    )
    end = _after(period, start, zone)
    return Span(start, end, _after(period, end, zone))


def _after(period: Period, start: int, zone: tzinfo) -> int:
    """When the next begins. A day and a half, or 40 days, lead into it whatever clocks do."""
    later = datetime.fromtimestamp(start, zone).replace(tzinfo=None)
    later = later.replace(hour=12) + (timedelta(days=1) if period == "day" else timedelta(days=40))
    day = later if period == "day" else later.replace(day=1)
    return _midnight(day.replace(tzinfo=zone))


def _midnight(local: datetime) -> int:
    """When that day begins, the earlier one of two."""
    return int(local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0).timestamp())


class Calendar:
    """The spans of now, as text for a server and as numbers; made anew when an hour is over."""

    def __init__(self, zone: tzinfo = UTC) -> None:
        self.zone = zone
        self._hour_end = 0
        self._spans: dict[Period, Span] = {}
        self._text = ""

    def spans(self, now_seconds: float) -> dict[Period, Span]:
        """Of all periods."""
        if not self._hour_end - _HOUR_SECONDS <= now_seconds < self._hour_end:
            self._spans = {period: span_of(period, now_seconds, self.zone) for period in PERIODS}
            self._hour_end = self._spans["hour"].end
            self._text = " ".join(str(at) for span in self._spans.values() for at in span)
        return self._spans

    def text(self, now_seconds: float) -> str:
        """The same in one line: start, end and next end of each period."""
        self.spans(now_seconds)
        return self._text

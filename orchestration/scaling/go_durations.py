"""Durations as Go writes them: `30m`, `1h30m`, `500ms`."""

from __future__ import annotations

import re

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_LONGEST = 64


def seconds_of(text: str) -> float:
    """A duration in seconds. ValueError when it is none, or is negative."""
    whole = text.strip()
    if whole == "0":
        return 0.0
    parts = _PART.findall(whole) if len(whole) <= _LONGEST else []
    if not parts or "".join(number + unit for number, unit in parts) != whole:
        raise ValueError(f"{text!r} is no duration such as 30s, 5m or 1h30m")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)

"""The form of every result: what was measured, where, with what load, and what went wrong; one JSON file each.

`figures` are single numbers with all their repeats: they are compared between runs. `series` are curves for plots.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Better = Literal["lower", "higher", "neither"]


class ResultError(ValueError):
    """A file that holds no result; the text names it and says why."""


@dataclass(frozen=True, slots=True)
class FigureSpread:
    """One figure from several repeats."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> FigureSpread:
        """NaN when nothing was measured."""
        known = list(values) or [float("nan")]
        return cls(statistics.median(known), min(known), max(known))

    def show(self, digits: int = 0) -> str:
        """Median, and the range in brackets where there is one."""
        middle = f"{self.median:,.{digits}f}"
        if self.least == self.most:
            return middle
        return f"{middle} [{self.least:,.{digits}f}-{self.most:,.{digits}f}]"


@dataclass(frozen=True, slots=True)
class Figure:
    """A number with its repeats. `path` says what it is from the general to the special: `json/echo/plugin CPU`."""

    path: str
    unit: str
    values: tuple[float | None, ...]
    """One per repeat or seed; None where nothing could be measured."""
    better: Better = "lower"

    @property
    def spread(self) -> FigureSpread:
        """Of those that were measured."""
        return FigureSpread.of([value for value in self.values if value is not None])


@dataclass(frozen=True, slots=True)
class Line:
    """A promise, and whether it holds."""

    what: str
    measured: float | None
    at_most: float
    unit: str = ""

    @property
    def holds(self) -> bool:
        """What was not measured does not."""
        return self.measured is not None and self.measured <= self.at_most


@dataclass(slots=True, kw_only=True)
class Result:
    """One run of one benchmark."""

    name: str
    machine: dict[str, Any]
    load: Any
    repeats: int
    figures: list[Figure] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    errors: dict[str, int] = field(default_factory=dict)
    timeouts: int = 0
    series: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, path: str) -> Figure:
        """A figure by its path; raises KeyError."""
        for figure in self.figures:
            if figure.path == path:
                return figure
        raise KeyError(path)

    @property
    def trouble(self) -> str:
        """What went wrong, in words."""
        count = sum(self.errors.values())
        if not count and not self.timeouts:
            return "No errors, no timeouts."
        kinds = ", ".join(f"{number} x {kind}" for kind, number in sorted(self.errors.items()))
        return f"{count} errors{f' ({kinds})' if kinds else ''}, {self.timeouts} timeouts."


def write(result: Result, directory: Path) -> Path:
    """Puts it into `<directory>/<name>.json`. Numbers that are not finite become null."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{result.name}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")
    return path


def read(path: Path) -> Result:
    """What `write` wrote; raises ResultError."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Result)
    except OSError as error:
        raise ResultError(f"{path}: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise ResultError(f"{path}: not the result of a benchmark: {error}") from error

"""Autoscalers compared at equal cost: means over seeds, who is on the front, and what a rival has at the same price."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, slots=True, order=True)
class Point:
    """One autoscaler with one target under one load: means over seeds."""

    gpu_hours: float
    late_share: float
    scaler: str
    knob: float
    changes: float
    seeds: int


def points(rows: Iterable[Sequence[float | str]]) -> dict[str, list[Point]]:
    """By load. `rows`: load, scaler, knob, seed, GPU-hours, late share, changes."""
    found: dict[tuple[str, str, float], list[tuple[float, float, float]]] = {}
    for load, scaler, knob, _, *figures in rows:
        key = (str(load), str(scaler), float(knob))
        found.setdefault(key, []).append((float(figures[0]), float(figures[1]), float(figures[2])))
    by_load: dict[str, list[Point]] = {}
    for (load, scaler, knob), runs in found.items():
        hours, late, changes = (fmean(column) for column in zip(*runs, strict=True))
        by_load.setdefault(load, []).append(Point(hours, late, scaler, knob, changes, len(runs)))
    return by_load


def front(candidates: Iterable[Point]) -> list[Point]:
    """Those that no other beats in both, the cheapest first."""
    best: list[Point] = []
    for point in sorted(candidates):
        if not best or point.late_share < best[-1].late_share:
            best.append(point)
    return best


def late_at(cost: float, curve: Sequence[Point]) -> float | None:
    """What a front has at a price, between its points in proportion; None where it has nothing so cheap."""
    before = [point for point in curve if point.gpu_hours <= cost]
    after = [point for point in curve if point.gpu_hours > cost]
    if not before:
        return None
    if not after:
        return before[-1].late_share
    low, high = before[-1], after[0]
    share = (cost - low.gpu_hours) / (high.gpu_hours - low.gpu_hours)
    return low.late_share + share * (high.late_share - low.late_share)

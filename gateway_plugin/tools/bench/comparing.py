"""What changed between two results of one benchmark, beyond noise.

The rule: a figure changed when the ranges of its repeats do not overlap, and one median is more than the threshold
above the other. Why: were both sides drawn from one distribution, k repeats would all lie on one side of m others with
the probability 2 k! m! / (k + m)!, which is 10 % for 3 and 3, and 0.8 % for 5 and 5 (the extreme case of Mann and
Whitney's test; it assumes no shape of the noise). As many figures are compared at once, some pass by chance, and tiny
real differences always do: the threshold keeps out what would not matter. A figure with one value on each side has
points for ranges: there only the threshold decides, as it should for figures in virtual time; for others it is a hint.

A value that could not be measured (None: too many requests failed) counts as infinitely bad.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway_plugin.tools.bench.results import Figure, Result

Verdict = Literal["better", "worse", "changed", "same"]
DEFAULT_THRESHOLD = 0.05
_MACHINE_KEYS = ("cpu", "cpus", "kernel", "python")
_SHOWN = 60


class CompareError(ValueError):
    """Two results that have nothing to do with each other."""


@dataclass(frozen=True, slots=True)
class FigureChange:
    """One figure in both results. `ratio` is new over old; NaN where it says nothing."""

    path: str
    unit: str
    old: float
    new: float
    verdict: Verdict

    @property
    def ratio(self) -> float:
        """1 is no change."""
        if self.old == self.new:
            return 1.0
        return self.new / self.old if self.old and math.isfinite(self.old) else math.nan


@dataclass(slots=True)
class Comparison:
    """All of it, in words where it is not numbers."""

    name: str
    changes: list[FigureChange] = field(default_factory=list)
    new: list[str] = field(default_factory=list)
    vanished: list[str] = field(default_factory=list)
    broken_promises: list[str] = field(default_factory=list)
    """They held before."""
    grown_trouble: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    """Why the numbers may differ for other reasons than the code, and promises that never held."""

    @property
    def worse(self) -> bool:
        """Anything at all."""
        return bool(self.broken_promises or self.grown_trouble or self.count("worse"))

    def count(self, verdict: Verdict) -> int:
        """Figures with this verdict."""
        return sum(change.verdict == verdict for change in self.changes)


def compare(old: Result, new: Result, threshold: float = DEFAULT_THRESHOLD) -> Comparison:
    """Raises CompareError when they are of different benchmarks."""
    if old.name != new.name:
        raise CompareError(f"results of different benchmarks: {old.name} and {new.name}")
    before = {figure.path: figure for figure in old.figures}
    after = {figure.path: figure for figure in new.figures}
    found = Comparison(
        new.name,
        changes=[change_of(before[path], after[path], threshold) for path in after if path in before],
        new=[path for path in after if path not in before],
        vanished=[path for path in before if path not in after],
        broken_promises=_broken_promises(old, new),
        grown_trouble=_grown_trouble(old, new, threshold),
        warnings=_warnings(old, new),
    )
    if any(change.verdict != "same" and _once(before[change.path], after[change.path]) for change in found.changes):
        found.warnings.append("where both sides have one value, only the threshold decides: noise is not known")
    return found


def change_of(old: Figure, new: Figure, threshold: float) -> FigureChange:
    """By the rule above; `better` is the new figure's."""
    worst = -math.inf if new.better == "higher" else math.inf
    before, after = (_values(figure, worst) for figure in (old, new))
    old_median, new_median = statistics.median(before), statistics.median(after)
    apart = max(before) < min(after) or max(after) < min(before)
    verdict: Verdict = "same"
    if apart and _beyond(old_median, new_median, threshold):
        verdict = "changed"
        if new.better != "neither":
            verdict = "better" if (new_median > old_median) == (new.better == "higher") else "worse"
    return FigureChange(new.path, new.unit, old_median, new_median, verdict)


def _values(figure: Figure, worst: float) -> list[float]:
    return [worst if value is None else value for value in figure.values] or [worst]


def _once(old: Figure, new: Figure) -> bool:
    return len(old.values) <= 1 and len(new.values) <= 1


def _beyond(old: float, new: float, threshold: float) -> bool:
    """The same for both orders: of two, one is better as often as the other is worse."""
    smaller = min(abs(old), abs(new))
    return abs(new - old) > threshold * smaller if math.isfinite(smaller) else old != new


def _broken_promises(old: Result, new: Result) -> list[str]:
    held = {line.what for line in old.lines if line.holds}
    return [
        f"{line.what}: {_measured(line.measured)} {line.unit}, at most {line.at_most:g}"
        for line in new.lines
        if not line.holds and line.what in held
    ]


def _grown_trouble(old: Result, new: Result, threshold: float) -> list[str]:
    before, after = ({**each.errors, "timeouts": each.timeouts} for each in (old, new))
    grown = {kind: (before.get(kind, 0), count) for kind, count in after.items()}
    return [f"{kind}: {was:,} -> {is_now:,}" for kind, (was, is_now) in grown.items() if is_now > was * (1 + threshold)]


def _warnings(old: Result, new: Result) -> list[str]:
    before, after = (_circumstances(each) for each in (old, new))
    found = [
        f"{key} differs: {_short(before.get(key))} -> {_short(after.get(key))}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]
    found += [text for which, each in (("old", old), ("new", new)) if (text := _busy(which, each.machine))]
    known = {line.what for line in old.lines if line.holds}
    return found + [f"does not hold, nor did it: {x.what}" for x in new.lines if not x.holds and x.what not in known]


def _circumstances(result: Result) -> dict[str, Any]:
    """What figures depend on besides the code, flat."""
    found = {key: result.machine.get(key) for key in _MACHINE_KEYS}
    versions = result.machine.get("versions") or {}
    # The version of what is measured is meant to differ.
    found |= {f"version of {name}": version for name, version in versions.items() if name != "gateway-plugin"}
    load = result.load if isinstance(result.load, dict) else {"": result.load}
    return found | {f"load {key}".strip(): value for key, value in load.items()} | {"repeats": result.repeats}


def _busy(which: str, machine: Mapping[str, Any]) -> str:
    load, cpus = machine.get("load_average_before"), machine.get("cpus")
    if isinstance(load, (int, float)) and isinstance(cpus, int) and load > cpus / 2:
        return f"the machine was busy before the {which} one: load {load:g} on {cpus} CPUs"
    return ""


def _measured(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.4g}"


def _short(value: object) -> str:
    text = "-" if value is None else str(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."

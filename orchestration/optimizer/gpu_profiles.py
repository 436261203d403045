"""What one pod of a GPU type can do of one kind of requests: requests a second by cell, at the latency that is wanted.

A profile is given (AIBrix's JSON, `aibrix:profile_MODEL_DEPLOYMENT`), computed, or learned from traffic. Cells beyond
its edges are taken for the nearest it has, longer ones never for free: there the rate falls as the tokens grow.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestration.optimizer.request_cells import Cell

_LEAST_SECONDS = 600.0
"""Of busy time before a learned profile is believed."""


@dataclass(frozen=True, slots=True)
class GpuProfile:
    """One deployment of a model on one type of GPU."""

    name: str
    gpu: str
    cost: float
    """Of one pod for an hour, in whatever money."""
    rates: Mapping[Cell, float]
    """Requests a second that one pod takes when all are of that cell; 0: it cannot."""

    def rate(self, cell: Cell) -> float:
        """0 where it cannot serve them at the latency that is wanted."""
        known = self.rates.get(cell)
        if known is not None:
            return known
        if not self.rates:
            return 0.0
        nearest = min(self.rates, key=lambda one: (abs(one[0] - cell[0]) + abs(one[1] - cell[1]), one))
        beyond = max(0, cell[0] - nearest[0], cell[1] - nearest[1])
        return float(self.rates[nearest] / 2**beyond)


def read_profile(name: str, text: str | bytes | Mapping[str, Any]) -> GpuProfile:
    """AIBrix's form: `tputs[output][input]`, `indexes`: output and input ticks in tokens. ValueError says why not."""
    try:
        found = dict(text) if not isinstance(text, (str, bytes)) else json.loads(text)
        outputs, inputs = found["indexes"]
        table = found["tputs"]
        rates = {
            (_tick(prompt), _tick(output)): float(able)
            for output, row in zip(outputs, table, strict=True)
            for prompt, able in zip(inputs, row, strict=True)
        }
        return GpuProfile(name, str(found.get("gpu", name)), float(found["cost"]), rates)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"profile {name}: {type(error).__name__}: {error}") from None


def _tick(tokens: float) -> int:
    """AIBrix writes tokens, and powers of two where they are small already."""
    number = float(tokens)
    return int(number).bit_length() - 1 if number > 32 else round(number)


@dataclass(slots=True)
class LearnedProfile:
    """Seconds of a busy pod that requests of each cell take, from what the gateway sees of a GPU type.

    In an interval a pod that was busy all the time served `count` requests of several cells. Each cell's share of its
    time is taken as that of the tokens, an answer's counting `output_weight` times a prompt's: a decode step takes one
    token of each of its sequences, a prefill thousands of one.
    """

    output_weight: float = 8.0
    _seconds: dict[Cell, float] = field(default_factory=dict)
    _requests: dict[Cell, float] = field(default_factory=dict)
    busy_seconds: float = 0.0

    def saw(self, cells: Mapping[Cell, int], busy_pod_seconds: float) -> None:
        """`busy_pod_seconds`: pods times seconds times the share of their batches that was full."""
        weights = {cell: count * self._weight(cell) for cell, count in cells.items() if count > 0}
        total = sum(weights.values())
        if not total or busy_pod_seconds <= 0:
            return
        self.busy_seconds += busy_pod_seconds
        for cell, weight in weights.items():
            self._seconds[cell] = self._seconds.get(cell, 0.0) + busy_pod_seconds * weight / total
            self._requests[cell] = self._requests.get(cell, 0.0) + cells[cell]

    def profile(self, name: str, gpu: str, cost: float) -> GpuProfile | None:
        """None before it has seen ten minutes of a busy pod."""
        if self.busy_seconds < _LEAST_SECONDS:
            return None
        rates = {cell: self._requests[cell] / seconds for cell, seconds in self._seconds.items() if seconds > 0}
        return GpuProfile(name, gpu, cost, rates)

    def _weight(self, cell: Cell) -> float:
        return float(2 ** cell[0] + self.output_weight * 2 ** cell[1])

"""Requests counted by lengths, in cells of log2: as AIBrix writes them, so that its tools and ours read each other.

A cell is `round(log2(input)):round(log2(output))`; a trace is such counts over ten seconds, under the key
`aibrix:MODEL_request_trace_TIME`, TIME aligned to ten seconds.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Cell = tuple[int, int]
"""Powers of two: of a prompt's tokens, of an answer's."""

INTERVAL_SECONDS = 10
KEPT_SECONDS = 600
"""Of a trace in Redis: AIBrix's optimizer looks back 240 s."""
VERSION = 3
_MOST_MODELS = 4096
"""Counted at the same time; requests of further ones are not."""
_HIGHEST = 24
"""16 million tokens: longer than any context."""
_FEWEST_TOKENS = tuple([ceil(2.0 ** (power - 0.5)) for power in range(1, _HIGHEST + 1)])
"""From which on each power but the first is the nearest; no whole number lies between two."""


def cell_of(prompt_tokens: int, output_tokens: int) -> Cell:
    return _power(prompt_tokens), _power(output_tokens)


def _power(tokens: int) -> int:
    return bisect_right(_FEWEST_TOKENS, tokens)  # a fifth of the time of a logarithm


@dataclass(slots=True)
class RequestCells:
    """What finished since it was last taken; bounded in models, and in cells by their nature."""

    _models: dict[str, Counter[Cell]] = field(default_factory=dict)

    def count(self, model: str, prompt_tokens: int, output_tokens: int) -> None:
        cells = self._models.get(model)
        if cells is None:
            if len(self._models) >= _MOST_MODELS:
                return
            cells = self._models[model] = Counter()
        cells[cell_of(prompt_tokens, output_tokens)] += 1

    def take(self) -> dict[str, Counter[Cell]]:
        """By model; counting begins anew."""
        taken, self._models = self._models, {}
        return taken


def trace_key(model: str, unix_seconds: float) -> str:
    """Of the interval in which that moment lies."""
    return f"aibrix:{model}_request_trace_{int(unix_seconds) // INTERVAL_SECONDS * INTERVAL_SECONDS}"


def trace_text(cells: Mapping[Cell, int], pending: int = 0) -> str:
    """The value of a key."""
    counts = {f"{prompt}:{output}": count for (prompt, output), count in sorted(cells.items())}
    told = {
        "meta_v": VERSION,
        "meta_interval_sec": INTERVAL_SECONDS,
        "meta_precision": 1,
        "meta_total_reqs": sum(cells.values()),
        "meta_pending_reqs": pending,
    }
    return json.dumps({**counts, **told})


def read_trace(text: str | bytes) -> Counter[Cell]:
    """Counts of a value; other precisions are scaled. ValueError when it is none."""
    try:
        found = json.loads(text)
        precision = float(found.get("meta_precision", 1)) or 1.0
        cells: Counter[Cell] = Counter()
        for key, count in found.items():
            if not key.startswith("meta_"):
                prompt, _, output = key.partition(":")
                cells[_scaled(prompt, precision), _scaled(output, precision)] += int(count)
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"no request trace: {error}") from None
    return cells


def _scaled(text: str, precision: float) -> int:
    return max(0, min(round(float(text) * precision), _HIGHEST))


def rates(traces: Iterable[Mapping[Cell, int]], seconds: float) -> dict[Cell, float]:
    """Requests a second by cell: the mean over all of them, but no fewer in sum than the last one had.

    A burst that has just begun is so seen at once, and one that ended is forgotten with the window.
    """
    listed = list(traces)
    total: Counter[Cell] = Counter()
    for one in listed:
        total.update(one)
    if not listed or not total or seconds <= 0:
        return {}
    mean = {cell: count / seconds for cell, count in total.items()}
    newest = sum(listed[-1].values()) / INTERVAL_SECONDS
    factor = max(1.0, newest / sum(mean.values()))
    return {cell: rate * factor for cell, rate in mean.items()}

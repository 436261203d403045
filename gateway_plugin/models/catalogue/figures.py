"""Figures of every model: what its pods do now, and how fast requests were answered in the last minutes.

Requests in flight, latencies and tokens are those that this replica saw. KV cache usage and the prefix cache's hit rate
are the pods' own, so models on the same pods share them; the hit rate is since the engines' start.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from msgspec import Struct

from gateway_plugin.models.catalogue.usage_windows import OUTPUT, PROMPT, TPOT, TTFT, LatencyWindows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from routing.pods.pod_table import PodTable

_MAX_AGE_SECONDS = 1.0
"""Figures are made anew once a second, however many ask."""
_DIGITS = 4


class Quantiles(Struct, frozen=True):
    """Seconds."""

    p50: float
    p95: float


class Figures(Struct, frozen=True):
    """Null is "not known"."""

    requests_in_flight: int = 0
    kv_cache_usage: float | None = None
    """Mean share of the pods' KV caches in use, 0 to 1."""
    ttft_seconds: Quantiles | None = None
    tpot_seconds: Quantiles | None = None
    prompt_tokens_per_second: float = 0.0
    output_tokens_per_second: float = 0.0
    prefix_hit_rate: float | None = None


FIGURE_FIELDS = Figures.__struct_fields__
NO_FIGURES = Figures()


class FigureBook:
    """Counts for all models at once, when somebody asks, at most once a second."""

    def __init__(self, table: PodTable, windows: LatencyWindows, in_flight: Callable[[], Mapping[str, int]]) -> None:
        self.version = 0
        self._table = table
        self._windows = windows
        self._in_flight = in_flight
        self._at_seconds = -math.inf
        self._json: dict[str, bytes] = {}
        self._none = msgspec.json.encode(NO_FIGURES)

    def refresh(self) -> None:
        """Makes the figures of this second, if they are older."""
        now = self._table.books.clock()
        if now - self._at_seconds >= _MAX_AGE_SECONDS:
            self._at_seconds = now
            self._json = {model: msgspec.json.encode(figures) for model, figures in self._figures().items()}
            self.version += 1

    def json(self, model: str) -> bytes:
        """The figures of a model, a JSON object."""
        return self._json.get(model, self._none)

    def _figures(self) -> dict[str, Figures]:
        in_flight, speeds, pods = self._in_flight(), self._speeds(), self._of_pods()
        return {
            model: Figures(in_flight.get(model, 0), usage, *speeds.get(model, (None, None, 0.0, 0.0)), hits)
            for model, (usage, hits) in pods.items()
        }

    def _speeds(self) -> dict[str, tuple[Quantiles | None, Quantiles | None, float, float]]:
        models = self._windows.models()
        if not models:
            return {}
        quantiles, tokens = self._windows.quantiles(0.5, 0.95), self._windows.tokens_per_second()
        return {
            model: (
                _quantiles(*quantiles[row, TTFT]),
                _quantiles(*quantiles[row, TPOT]),
                _rounded(tokens[row, PROMPT]) or 0.0,
                _rounded(tokens[row, OUTPUT]) or 0.0,
            )
            for row, model in enumerate(models)
        }

    def _of_pods(self) -> dict[str, tuple[float | None, float | None]]:
        """KV cache usage and prefix hit rate by model: sums over the rows of each, in one go."""
        models, rows = self._table.models(), self._table.ready_rows()
        lengths = np.array([len(rows[model]) for model in models], dtype=np.int64)
        if not lengths.sum():
            return dict.fromkeys(models, (None, None))
        view = self._table.view_of(np.concatenate([rows[model] for model in models]))
        owners = np.repeat(np.arange(len(models)), lengths)
        usage = view.kv_usage_ratio
        hits, queries = (self._table.columns.prefix_hit_tokens, self._table.columns.prefix_query_tokens)
        known = ~np.isnan(usage)
        used, counted = _sums(owners, usage, len(models)), np.bincount(owners[known], minlength=len(models))
        hit, asked = _sums(owners, hits[view.rows], len(models)), _sums(owners, queries[view.rows], len(models))
        return {model: (_ratio(used[at], counted[at]), _ratio(hit[at], asked[at])) for at, model in enumerate(models)}


def _sums(owners: np.ndarray, values: np.ndarray, length: int) -> np.ndarray:
    return np.bincount(owners, weights=np.nan_to_num(values), minlength=length)


def _ratio(part: float, whole: float) -> float | None:
    return _rounded(min(part / whole, 1.0)) if whole > 0 else None


def _quantiles(p50: float, p95: float) -> Quantiles | None:
    return None if math.isnan(p50) else Quantiles(round(float(p50), _DIGITS), round(float(p95), _DIGITS))


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(float(value), _DIGITS)

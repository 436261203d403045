"""Latencies and tokens of each model over the last minutes, in fixed memory.

    bucket b holds times t with LEAST * RATIO^b <= t < LEAST * RATIO^(b+1)

A quantile is the geometric middle of its bucket, so it is off by at most 7 %. Time is cut into slices of a minute; what
leaves the window leaves a slice at a time. All models share one array, about 5 KB each, so that the quantiles of all of
them are a few numpy operations. The model that was idle longest makes room for one too many.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

SLICE_SECONDS = 60.0
"""Five slices are the window."""
SLICES = 5
LEAST_SECONDS = 1e-4
"""The first bucket; shorter times count as this."""
RATIO = 1.15
BUCKETS = 112  # up to ten minutes
MAX_MODELS = 4096
TTFT, TPOT = 0, 1
PROMPT, OUTPUT = 0, 1
_FIRST_ROWS = 16
_UPPER_SECONDS = tuple([LEAST_SECONDS * RATIO**bucket for bucket in range(1, BUCKETS)])
"""Where each bucket ends but the last."""


class LatencyWindows:
    """`clock` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float], max_models: int = MAX_MODELS) -> None:
        self._clock = clock
        self._max_models = max_models
        self._rows: OrderedDict[str, int] = OrderedDict()
        self._use(np.zeros((_FIRST_ROWS, 2, SLICES, BUCKETS), np.int32), np.zeros((_FIRST_ROWS, 2, SLICES)))
        self._began_seconds = clock()
        self._slice = int(clock() / SLICE_SECONDS)

    def __len__(self) -> int:
        return len(self._rows)

    def observe(
        self,
        model: str,
        *,
        ttft_seconds: float | None,
        tpot_seconds: float | None,
        prompt_tokens: int,
        output_tokens: int,
    ) -> None:
        """A request of the model has ended."""
        self._turn()
        at = self._slice % SLICES
        first = self._row(model) * 2 * SLICES + at
        if ttft_seconds is not None:
            self._flat_times[(first + TTFT * SLICES) * BUCKETS + _bucket(ttft_seconds)] += 1
        if tpot_seconds is not None:
            self._flat_times[(first + TPOT * SLICES) * BUCKETS + _bucket(tpot_seconds)] += 1
        self._flat_tokens[first + PROMPT * SLICES] += prompt_tokens
        self._flat_tokens[first + OUTPUT * SLICES] += output_tokens

    def models(self) -> list[str]:
        """Models that had requests; the order is that of the rows of `quantiles` and `tokens_per_second`."""
        return list(self._rows)

    def quantiles(self, *ratios: float) -> NDArray[np.float64]:
        """Seconds by [model, TTFT or TPOT, ratio]; NaN where nothing was measured."""
        self._turn()
        counts = self._times[list(self._rows.values())].sum(axis=2).cumsum(axis=2)
        totals = counts[:, :, -1]
        found = np.empty((*totals.shape, len(ratios)))
        for position, ratio in enumerate(ratios):
            wanted = np.ceil(totals * ratio)[:, :, None]
            found[:, :, position] = np.argmax(counts >= np.maximum(wanted, 1), axis=2)
        seconds = LEAST_SECONDS * RATIO ** (found + 0.5)
        seconds[totals == 0] = np.nan
        return np.asarray(seconds)

    def tokens_per_second(self) -> NDArray[np.float64]:
        """By [model, prompt or output], over the window, or since the start if that is less."""
        self._turn()
        now = self._clock()
        whole = now - (self._slice - SLICES + 1) * SLICE_SECONDS
        covered = max(1.0, min(whole, now - self._began_seconds))
        return np.asarray(self._tokens[list(self._rows.values())].sum(axis=2) / covered)

    def _row(self, model: str) -> int:
        row = self._rows.get(model)
        if row is None:
            row = self._new_row()
            self._rows[model] = row
        self._rows.move_to_end(model)
        return row

    def _new_row(self) -> int:
        if len(self._rows) >= self._max_models:
            _, row = self._rows.popitem(last=False)
            self._times[row] = 0
            self._tokens[row] = 0
            return row
        if len(self._rows) == len(self._times):
            more_times = np.concatenate([self._times, np.zeros_like(self._times)])
            self._use(more_times, np.concatenate([self._tokens, np.zeros_like(self._tokens)]))
        return len(self._rows)

    def _use(self, times: NDArray[np.int32], tokens: NDArray[np.float64]) -> None:
        # One number is counted in a third of the time through a view that has a single dimension and gives plain ones.
        self._times, self._flat_times = times, times.reshape(-1).data
        self._tokens, self._flat_tokens = tokens, tokens.reshape(-1).data

    def _turn(self) -> None:
        current = int(self._clock() / SLICE_SECONDS)
        if current == self._slice:
            return
        for passed in range(max(self._slice + 1, current - SLICES + 1), current + 1):
            self._times[:, :, passed % SLICES] = 0
            self._tokens[:, :, passed % SLICES] = 0
        self._slice = max(self._slice, current)


def _bucket(seconds: float) -> int:
    return bisect_right(_UPPER_SECONDS, seconds)  # a fifth of the time of a logarithm

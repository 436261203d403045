"""Turns the polls of one pod into columns of the pod table: what a page says, and what two pages say together.

    mean = (sum2 - sum1) / (count2 - count1)                                      TTFT and TPOT, seconds
    rate = (tokens2 - tokens1) / (seconds2 - seconds1)                            prefill, uncached tokens per second
    smoothed += WEIGHT * (new - smoothed)

Prefill seconds are the requests' own: those that are computed together each count the whole time, so the rate is what
a request gets, and less than what the engine does. vLLM counts prompt tokens at the first token, but prefill time only
when the request is finished, perhaps a minute later; without its newer counter of computed tokens, the mean tokens of
the requests that started are divided by the mean seconds of those that finished.

Times between tokens are told as they grew, too: the tokens after the first of their answers, and the seconds that each
of them took. Where nothing finished between two polls, a column is left as it is; only running, waiting, usage and what
grew become NaN as soon as the page does not name them. A counter that went backwards is a restarted engine: differences
begin anew, smoothed values stay, for the hardware is the same.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gateway_plugin.pods.engines.page import first_of

if TYPE_CHECKING:
    from gateway_plugin.pods.engines.metric_names import Column, EngineNames, Names, Prefill
    from gateway_plugin.pods.engines.page import Samples

# The last seven polls make up 90 % of the average.
WEIGHT = 0.3
# Fewer measure the fixed cost of a step rather than the speed of prefill.
MIN_PREFILL_TOKENS = 2000.0
# From a large model on a CPU to a small one on the fastest card; beyond lies a misread page.
PREFILL_RATE_RANGE = (100.0, 1_000_000.0)
_MOMENTARY: tuple[Column, ...] = ("running_requests", "waiting_requests", "kv_usage_ratio")


class Readings:
    """The polls of one incarnation of a pod."""

    def __init__(self, engine: EngineNames) -> None:
        self._engine = engine
        self._counters = engine.counters()
        self._last: Samples = {}
        self._prefill_since: Samples = {}
        self._smoothed: dict[str, float] = {}
        self._tells_steps = False

    def add(self, samples: Samples) -> dict[str, float]:
        """Takes the next page; returns the columns that have a value now."""
        if any(samples.get(name, math.inf) < value for name, value in self._last.items() if name in self._counters):
            self._last = self._prefill_since = {}
        said = {column: first_of(names, samples) for column, names in self._engine.columns.items()}
        values: dict[str, float] = dict.fromkeys(_MOMENTARY, math.nan)
        values |= {column: value for column, value in said.items() if value is not None}
        for column, names in self._engine.means.items():
            grown = self._grown(names, samples)
            values |= self._smooth(column, grown[0] / grown[1] if grown[1] > 0.0 else None)
            if column == "engine_tpot_seconds" and (grown[1] == grown[1] or self._tells_steps):
                self._tells_steps = True
                values["decoding_seconds"], values["decoded_tokens"] = grown
        values |= self._smooth("engine_prefill_tokens_per_second", self._prefill_rate(samples))
        self._last = samples
        return values

    def _grown(self, names: Names, samples: Samples) -> tuple[float, float]:
        """Sum and count of a histogram since the last page; NaN where either page lacks it."""
        name = next((name for name in names if name + b"_count" in samples), b"")
        ends = (name + b"_sum", name + b"_count")
        if not all(end in samples and end in self._last for end in ends):
            return math.nan, math.nan
        total, count = (samples[end] - self._last[end] for end in ends)
        return total, count

    def _prefill_rate(self, samples: Samples) -> float | None:
        prefill = next((p for p in self._engine.prefills if all(name in samples for name in p.names())), None)
        if prefill is None:
            return None
        if not all(name in self._prefill_since for name in prefill.names()):
            self._prefill_since = samples
            return None
        rate = _prefill_rate(prefill, {name: samples[name] - self._prefill_since[name] for name in prefill.names()})
        if rate is not None:
            self._prefill_since = samples
        return rate

    def _smooth(self, column: str, value: float | None) -> dict[str, float]:
        """The column with its new average; nothing without a new value."""
        if value is None:
            return {}
        known = self._smoothed.get(column, value)
        self._smoothed[column] = known + WEIGHT * (value - known)
        return {column: self._smoothed[column]}


def _prefill_rate(prefill: Prefill, grown: Samples) -> float | None:
    """Tokens per second, None before enough was computed to tell. `grown` is by how much each counter grew."""
    tokens = grown[prefill.tokens] - grown.get(prefill.cached_tokens, 0.0)
    seconds = grown[prefill.seconds]
    started, finished = grown.get(prefill.started, 1.0), grown.get(prefill.finished, 1.0)
    if tokens < MIN_PREFILL_TOKENS or min(seconds, started, finished) <= 0.0:
        return None
    slowest, fastest = PREFILL_RATE_RANGE
    return min(max((tokens / started) / (seconds / finished), slowest), fastest)

"""How fast requests come, are refused and fail: differences of what is counted, over the last ten seconds.

Times to first token are those of exchanges that ended in these seconds, as far as they are remembered.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from gateway_plugin.http.live_shape import Rates

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gateway_plugin.metrics.families import Count, Family, Metrics
    from gateway_plugin.metrics.stories import Stories

WINDOW_SECONDS = 10.0
"""Over which rates are averaged: shorter ones jump, longer ones lag."""
_KEPT = 12
"""Moments, one a second: the window and a little more."""


class _Counts(NamedTuple):
    at_seconds: float
    requests: dict[str, float]
    refusals: dict[str, float]
    failures: float
    prompt_tokens: float
    output_tokens: float


class RateBook:
    """Call `take` every second or so; times are of any one clock that `stories` goes by, too."""

    def __init__(self, metrics: Metrics, stories: Stories) -> None:
        self._metrics = metrics
        self._stories = stories
        self._taken: deque[_Counts] = deque(maxlen=_KEPT)

    def take(self, at_seconds: float) -> None:
        """Notes what is counted now."""
        metrics = self._metrics
        self._taken.append(
            _Counts(
                at_seconds,
                _summed(metrics.requests, 0),
                _summed(metrics.rejections, 0),
                sum(count.value for (_, status), count in metrics.failures.items() if status >= "5"),
                _total(metrics.input_tokens),
                _total(metrics.output_tokens),
            )
        )
        while len(self._taken) > 2 and at_seconds - self._taken[1].at_seconds >= WINDOW_SECONDS:
            self._taken.popleft()

    def rates(self) -> Rates:
        """Between the first and the last that is noted."""
        inflight = sum(self._metrics.in_flight_by_model().values())
        if len(self._taken) < 2:
            return Rates(0.0, 0.0, {}, 0.0, 0.0, 0.0, None, None, inflight)
        old, new = self._taken[0], self._taken[-1]
        seconds = max(new.at_seconds - old.at_seconds, 1e-3)
        refusals = _grown(old.refusals, new.refusals, seconds)
        first, most = self._ttft(new.at_seconds)
        return Rates(
            requests_per_second=round(sum(_grown(old.requests, new.requests, seconds).values()), 3),
            refusals_per_second=round(sum(refusals.values()), 3),
            refusals_by_reason=refusals,
            failures_per_second=_rate(old.failures, new.failures, seconds),
            prompt_tokens_per_second=_rate(old.prompt_tokens, new.prompt_tokens, seconds),
            output_tokens_per_second=_rate(old.output_tokens, new.output_tokens, seconds),
            ttft_p50_seconds=first,
            ttft_p95_seconds=most,
            inflight_requests=inflight,
        )

    def requests_by_model(self) -> dict[str, float]:
        """Requests per second that were sent on."""
        if len(self._taken) < 2:
            return {}
        old, new = self._taken[0], self._taken[-1]
        return _grown(old.requests, new.requests, max(new.at_seconds - old.at_seconds, 1e-3))

    def _ttft(self, now_seconds: float) -> tuple[float | None, float | None]:
        found: list[float] = []
        for one in reversed(self._stories.finished):
            if now_seconds - one.at_seconds > WINDOW_SECONDS:
                break
            if one.entry.ttft_seconds is not None:
                found.append(one.entry.ttft_seconds)
        return quantile(found, 0.5), quantile(found, 0.95)


def quantile(values: Sequence[float], ratio: float) -> float | None:
    """The least value that so many of them do not exceed; None of none."""
    if not values:
        return None
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * ratio))], 4)


def _grown(old: dict[str, float], new: dict[str, float], seconds: float) -> dict[str, float]:
    # Series of a model that is gone begin anew at zero.
    grown = {name: _rate(old.get(name, 0.0), value, seconds) for name, value in new.items()}
    return {name: rate for name, rate in grown.items() if rate}


def _rate(old: float, new: float, seconds: float) -> float:
    return round(max(0.0, new - old) / seconds, 3)


def _summed(family: Family[Count], label: int) -> dict[str, float]:
    sums: dict[str, float] = {}
    for values, count in family.items():
        sums[values[label]] = sums.get(values[label], 0.0) + count.value
    return sums


def _total(family: Family[Count]) -> float:
    counts: Iterable[Count] = (count for _, count in family.items())
    return sum(count.value for count in counts)

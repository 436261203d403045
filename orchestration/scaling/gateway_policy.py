"""A size from what the gateway knows exactly: requests in flight and held, their tokens, and how fast pods have been.

    by requests  N_c  = (in flight + held) / (sustained concurrency * utilisation)
    by work      N_w  = rate ahead * (prefill seconds + decode seconds of a request) / utilisation
    by KV cache  N_kv = (tokens in flight and held) / (utilisation_kv * KV tokens of a pod)
    backlog      N_b  = held / (requests a pod ends in a start-up time)
    size = ceil(max(N_c, N_w, N_kv) + N_b);  one more while the p90 of TTFT is above its target

`rate ahead` is the arrival rate one start-up time from now, by its slope, at most 1.5 times and at least once
today's. What cannot be known yet (nothing learned, no KV size) is left out of the maximum; with nothing known the
present size stays. Smaller sizes are wished for only when the load would leave the remaining pods below the
utilisation. Sources: Little's law for N_c and N_w; vLLM's block accounting for N_kv.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestration.scaling.samples import Recommendation, Why

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST_AHEAD = 1.5
"""How far a slope is believed: twice would let the noise of a burst buy a fleet."""


@dataclass(frozen=True, slots=True)
class GatewayLoad:
    """Of one model, over all replicas of the gateway. None: not known yet."""

    in_flight: int
    held: int
    arrivals_per_second: float
    arrivals_slope: float
    """By how much the arrival rate grows in a second."""
    tokens_in_flight: float
    """Prompts, and what is still expected of outputs."""
    prefill_seconds: float | None
    """Of one request, alone on a pod: uncached prompt tokens times seconds a token."""
    decode_seconds: float | None
    """Of one request's output, as its share of a full batch."""
    sustained_concurrency: float | None
    """The most requests at once that a pod served within its targets."""
    kv_tokens_of_a_pod: float | None
    ttft_p90_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class GatewayOptions:
    utilisation: float = 0.8
    kv_utilisation: float = 0.85
    startup_seconds: float = 60.0
    """Learned: from a pod's creation to its first token."""
    ttft_target_seconds: float | None = None


def recommend(load: GatewayLoad, replicas: int, options: GatewayOptions) -> Recommendation:
    needed = list(_needed(load, options))
    if not needed:
        return Recommendation(replicas, Why.NO_METRICS)
    wanted = math.ceil(round(max(needed) + _backlog(load, options), 9))
    if _late(load, options):
        wanted = max(wanted, replicas + 1)
    if wanted == replicas:
        return Recommendation(replicas, Why.WITHIN_TOLERANCE)
    return Recommendation(wanted, Why.ABOVE if wanted > replicas else Why.BELOW)


def _needed(load: GatewayLoad, options: GatewayOptions) -> Iterator[float]:
    present = load.in_flight + load.held
    if load.sustained_concurrency:
        yield present / (load.sustained_concurrency * options.utilisation)
    if load.prefill_seconds is not None and load.decode_seconds is not None:
        yield _rate_ahead(load, options) * (load.prefill_seconds + load.decode_seconds) / options.utilisation
    if load.kv_tokens_of_a_pod:
        yield load.tokens_in_flight / (options.kv_utilisation * load.kv_tokens_of_a_pod)


def _rate_ahead(load: GatewayLoad, options: GatewayOptions) -> float:
    today = load.arrivals_per_second
    return min(max(today + load.arrivals_slope * options.startup_seconds, today), _MOST_AHEAD * today)


def _backlog(load: GatewayLoad, options: GatewayOptions) -> float:
    if not load.held or load.prefill_seconds is None or load.decode_seconds is None:
        return 0.0
    return load.held * (load.prefill_seconds + load.decode_seconds) / options.startup_seconds


def _late(load: GatewayLoad, options: GatewayOptions) -> bool:
    target, measured = options.ttft_target_seconds, load.ttft_p90_seconds
    return target is not None and measured is not None and measured > target

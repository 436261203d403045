"""What the engine counts about itself, as plain numbers; `metrics_page` writes them out."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulator.sequence import FinishReason

# vLLM's own bounds: dashboards and gateways meet them in production.
Bounds = tuple[float, ...]
FIRST_TOKEN: Bounds = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
                       20.0, 40.0, 80.0, 160.0, 640.0, 2560.0)  # fmt: skip
NEXT_TOKEN: Bounds = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0,
                      40.0, 80.0)  # fmt: skip
REQUEST: Bounds = (0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0,
                   480.0, 960.0, 1920.0, 7680.0)  # fmt: skip
TOKENS: Bounds = tuple(float(mantissa * 10**exponent) for exponent in range(5) for mantissa in (1, 2, 5))


class Histogram:
    """Counts per bucket (not cumulated), the last for all above the highest bound."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.count = 0
        self.sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        self.counts[bisect_left(self.bounds, value)] += times
        self.count += times
        self.sum += value * times


class EngineCounters:
    def __init__(self) -> None:
        self.prompt_tokens = 0
        self.generation_tokens = 0
        self.prefix_cache_queries = 0  # prompt tokens looked up
        self.prefix_cache_hits = 0  # of them found
        self.preemptions = 0
        self.finished: dict[FinishReason, int] = {"stop": 0, "length": 0, "abort": 0}
        self.time_to_first_token_seconds = Histogram(FIRST_TOKEN)
        self.inter_token_latency_seconds = Histogram(NEXT_TOKEN)
        self.e2e_request_latency_seconds = Histogram(REQUEST)
        self.request_queue_time_seconds = Histogram(REQUEST)
        self.request_inference_time_seconds = Histogram(REQUEST)
        self.request_prefill_time_seconds = Histogram(REQUEST)
        self.request_decode_time_seconds = Histogram(REQUEST)
        self.request_prompt_tokens = Histogram(TOKENS)
        self.request_generation_tokens = Histogram(TOKENS)

"""What a request's counting costs: our counters against prometheus_client's, whose children are kept.

python -m benchmarks.counting_cost

Both count what one request counts: nine counters, one gauge up and down, four histograms. They take turns; CPU time,
the fastest of 41 rounds.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from gateway_plugin.metrics.families import Count, Family, Level, Spread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROUNDS, REQUESTS = 41, 5_000
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
SECONDS = (0.00008, 0.3, 0.012, 4.0)
"""Decision, first token, later tokens, whole request."""
COUNTERS = 7
"""Whose children are found once and held, beside the two that are looked up with each request."""


class _Counter(Protocol):
    def inc(self, amount: float = 1) -> None: ...


class _Gauge(_Counter, Protocol):
    def dec(self) -> None: ...


class _Histogram(Protocol):
    def observe(self, amount: float, /) -> None: ...


def ours() -> Callable[[], None]:
    """As `Metrics.sent_on` and the accountant count."""
    requests = Family("counter", "requests", "-", ["model", "strategy"], Count)
    decisions = Family("counter", "decisions", "-", ["model", "strategy", "branch"], Count)
    open_requests = Family("gauge", "open", "-", ["model"], Level)
    held = [Family("counter", f"c{i}", "-", ["model"], Count).labels("m") for i in range(COUNTERS)]
    spreads = [Family("histogram", f"h{i}", "-", ["model"], partial(Spread, BOUNDS)).labels("m") for i in range(4)]

    def request() -> None:
        requests.labels("m", "strategy").inc()
        decisions.labels("m", "strategy", "branch").inc()
        open_requests.labels("m").inc()
        open_requests.labels("m").dec()
        _count(held, spreads)

    return request


def the_librarys() -> Callable[[], None]:
    """The same with children kept by their labels: its own `labels()` is not in it."""
    registry = CollectorRegistry()
    names = ["model", "strategy", "branch"]
    requests = Counter("requests", "-", names[:2], registry=registry).labels("m", "strategy")
    decisions = Counter("decisions", "-", names, registry=registry).labels("m", "strategy", "branch")
    gauge = Gauge("open", "-", ["model"], registry=registry).labels("m")
    by_decision: dict[tuple[str, str, str], tuple[_Counter, _Counter]] = {
        ("m", "strategy", "branch"): (requests, decisions)
    }
    by_model: dict[str, _Gauge] = {"m": gauge}
    held = [Counter(f"c{i}", "-", ["model"], registry=registry).labels("m") for i in range(COUNTERS)]
    spreads = [
        Histogram(f"h{i}", "-", ["model"], registry=registry, buckets=BOUNDS).labels("m") for i in range(len(SECONDS))
    ]

    def request() -> None:
        for counter in by_decision["m", "strategy", "branch"]:
            counter.inc()
        by_model["m"].inc()
        by_model["m"].dec()
        _count(held, spreads)

    return request


def _count(held: Sequence[_Counter], spreads: Sequence[_Histogram]) -> None:
    for counter in held:
        counter.inc(250)
    for spread, seconds in zip(spreads, SECONDS, strict=True):
        spread.observe(seconds)


def microseconds(request: Callable[[], None]) -> float:
    """CPU time of one request's counting."""
    start = time.process_time_ns()
    for _ in range(REQUESTS):
        request()
    return (time.process_time_ns() - start) / REQUESTS / 1000


def main() -> None:
    """Measures and prints."""
    contestants = {"ours": ours(), "prometheus_client's": the_librarys()}
    rounds = [{name: microseconds(request) for name, request in contestants.items()} for _ in range(ROUNDS)]
    for name in contestants:
        print(f"{name}: {min(each[name] for each in rounds):.2f} us a request")


if __name__ == "__main__":
    main()

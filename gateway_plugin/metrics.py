"""Prometheus metrics: decisions, rejections and outcomes.

Labels take few, known values: models are counted only after they were found in the pod table, and no user, request id
or prompt is ever a label. Names that AIBrix's dashboards use are kept where they mean the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client.core import Metric

    from ratelimit.resilience import Counts
    from routing.prefix_index import PrefixIndex

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_DECISION_SECONDS = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.5)
_TPOT_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1)


class Metrics:
    """All metrics of one process, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        # Requests
        self.requests = Counter(
            "gateway_request", "Requests sent on to a model.", ["model", "strategy"], registry=registry
        )
        self.passed = Counter(
            "gateway_passed_through", "Requests of other paths, passed on untouched.", registry=registry
        )
        self.rejections = Counter(
            "gateway_rejections", "Requests answered by the gateway itself.", ["reason", "status"], registry=registry
        )
        self.decisions = Counter(
            "gateway_routing_decisions",
            "Pods chosen, by the branch that led there.",
            ["model", "strategy", "branch"],
            registry=registry,
        )
        self.in_flight = Gauge("gateway_in_flight_requests", "Open HTTP exchanges.", registry=registry)
        self.model_in_flight = Gauge(
            "gateway_model_in_flight_requests", "Open HTTP exchanges of a model.", ["model"], registry=registry
        )
        self.decision_seconds = Histogram(
            "gateway_decision_seconds",
            "From a request's headers to the reply that sends it on, without waiting for its body or the limiter.",
            buckets=_DECISION_SECONDS,
            registry=registry,
        )
        self.errors = Counter(
            "gateway_internal_errors", "Exchanges that ended in an exception of ours.", registry=registry
        )
        # Outcomes, from Envoy's access log
        self.successes = Counter(
            "gateway_request_model_success",
            "Finished with a status below 400.",
            ["model", "status_code"],
            registry=registry,
        )
        self.failures = Counter(
            "gateway_request_model_fail",
            "Finished with a status from 400 on, or cut off; 499 is a client that went away.",
            ["model", "status_code"],
            registry=registry,
        )
        self.input_tokens = Counter("gateway_input_tokens", "Prompt tokens.", ["model"], registry=registry)
        self.output_tokens = Counter("gateway_output_tokens", "Generated tokens.", ["model"], registry=registry)
        self.cached_tokens = Counter(
            "gateway_cached_tokens", "Prompt tokens that the pod had cached.", ["model"], registry=registry
        )
        self.ttft = Histogram(
            "gateway_ttft_seconds", "Time to first token.", ["model"], buckets=_SECONDS, registry=registry
        )
        self.tpot = Histogram(
            "gateway_tpot_seconds", "Time per output token.", ["model"], buckets=_TPOT_SECONDS, registry=registry
        )
        self.duration = Histogram(
            "gateway_request_duration_seconds", "Whole exchange.", ["model"], buckets=_SECONDS, registry=registry
        )
        # Accounting
        self.log_entries = Counter(
            "gateway_access_log_entries", "Entries from Envoy, by what they were.", ["outcome"], registry=registry
        )
        self.settlements = Counter(
            "gateway_settlements", "Token charges, by what became of them.", ["outcome"], registry=registry
        )


class PrefixIndexCollector(Collector):
    """What the prefix index holds, read when somebody asks."""

    def __init__(self, index: PrefixIndex) -> None:
        self._index = index

    def collect(self) -> Iterator[Metric]:
        """The index as of now."""
        index = self._index
        yield GaugeMetricFamily(
            "gateway_prefix_index_blocks", "Blocks of prompts that pods are believed to hold.", value=index.blocks
        )
        forgotten = CounterMetricFamily(
            "gateway_prefix_index_forgotten", "Blocks that left the index, by why.", labels=["reason"]
        )
        for reason, count in (
            ("evicted", index.evicted),
            ("expired", index.expired),
            ("taken_back", index.taken_back),
        ):
            forgotten.add_metric([reason], count)
        yield forgotten


class LimiterCollector(Collector):
    """What the limiter did without its store, and what its store owes an answer to."""

    def __init__(self, counts: Callable[[], Counts], is_down: Callable[[], bool]) -> None:
        self._counts = counts
        self._is_down = is_down

    def collect(self) -> Iterator[Metric]:
        """The limiter as of now."""
        counts = self._counts()
        yield GaugeMetricFamily(
            "gateway_limiter_store_down", "1 while the store is away.", value=float(self._is_down())
        )
        yield GaugeMetricFamily("gateway_limiter_queued", "What waits to be told to the store.", value=counts.queued)
        events = CounterMetricFamily("gateway_limiter_events", "What happened without the store.", labels=["event"])
        for event in (
            "admitted_locally",
            "refused_locally",
            "unseen_user_admissions",
            "admitted_unlimited",
            "dropped",
            "expired",
            "times_opened",
            "timeouts",
        ):
            events.add_metric([event], getattr(counts, event))
        yield events

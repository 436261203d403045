"""Prometheus metrics: decisions, rejections and outcomes.

Labels take few, known values: models are counted only after they were found in the pod table, and no user, request id
or prompt is ever a label. Names that AIBrix's dashboards use are kept where they mean the same.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from gateway_plugin.metrics.counting import Count, Family, Level, Spread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from prometheus_client.core import Metric

    from ratelimit.outage.resilience import Counts
    from routing.prefix.prefix_index import PrefixIndex

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_DECISION_SECONDS = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.5)
_TPOT_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1)


class Metrics:
    """All metrics of one process, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.forgotten: list[Callable[[str], object]] = []
        """Told of each model whose series are removed: who keeps some of them must look them up anew."""
        self._families: list[Family[Count] | Family[Level] | Family[Spread]] = []
        self._requests()
        self._outcomes()
        self._accounting()

    def sent_on(self, model: str, strategy: str, branch: str | None) -> None:
        """A request has gone to a pod; no branch: Envoy chose it."""
        self.requests.labels(model, strategy).inc()
        if branch is not None:
            self.decisions.labels(model, strategy, branch).inc()
        self.model_in_flight.labels(model).inc()

    def ended(self, model: str) -> None:
        """The exchange of a request that was sent on is over."""
        self.model_in_flight.labels(model).dec()

    def in_flight_by_model(self) -> dict[str, int]:
        """Open exchanges of every model that has had any."""
        return {model: int(level.value) for (model,), level in self.model_in_flight.items()}

    def forget_model(self, model: str) -> None:
        """Removes what was counted of a model that is gone, unless some of its exchanges are still open."""
        if self.in_flight_by_model().get(model):
            return
        for family in self._families:
            family.forget("model", model)
        for told in self.forgotten:
            told(model)

    def _requests(self) -> None:
        counters = self._counters
        self.requests = counters("gateway_request", "Requests sent on to a model.", "model", "strategy")
        self.passed = counters("gateway_passed_through", "Requests to the gateway's own API.").labels()
        self.rejections = counters("gateway_rejections", "Requests answered by the gateway itself.", "reason", "status")
        self.decisions = counters(
            "gateway_routing_decisions", "Pods chosen, by the branch that led there.", "model", "strategy", "branch"
        )
        self.model_in_flight = Family(
            "gauge", "gateway_model_in_flight_requests", "Open HTTP exchanges of a model.", ["model"], Level
        )
        self.registry.register(InFlightCollector(self.in_flight_by_model))
        self.registry.register(self.model_in_flight)
        self._families.append(self.model_in_flight)
        self.decision_seconds = self._seconds(
            "gateway_decision_seconds",
            "Own time from a request's headers to the reply that sends it on; waiting for others is left out.",
            _DECISION_SECONDS,
        ).labels()
        self.errors = counters("gateway_internal_errors", "Exchanges that ended in an exception of ours.").labels()

    def _outcomes(self) -> None:
        """From Envoy's access log."""
        counters = self._counters
        self.successes = counters(
            "gateway_request_model_success", "Finished with a status below 400.", "model", "status_code"
        )
        self.failures = counters(
            "gateway_request_model_fail",
            "Finished with a status from 400 on, or cut off: 499 by the client, else by the pod.",
            "model",
            "status_code",
        )
        self.retries = counters(
            "gateway_retries", "Tries at another pod after one refused or was unavailable.", "model"
        )
        self.input_tokens = counters("gateway_input_tokens", "Prompt tokens.", "model")
        self.output_tokens = counters("gateway_output_tokens", "Generated tokens.", "model")
        self.cached_tokens = counters("gateway_cached_tokens", "Prompt tokens that the pod had cached.", "model")
        self.ttft = self._seconds("gateway_ttft_seconds", "Time to first token of streams.", _SECONDS, "model")
        self.tpot = self._seconds("gateway_tpot_seconds", "Time per output token of streams.", _TPOT_SECONDS, "model")
        self.duration = self._seconds("gateway_request_duration_seconds", "Whole exchange.", _SECONDS, "model")

    def _accounting(self) -> None:
        counters = self._counters
        self.log_entries = counters("gateway_access_log_entries", "Entries from Envoy, by what they were.", "outcome")
        self.settlements = counters("gateway_settlements", "Token charges, by what became of them.", "outcome")

    def _counters(self, name: str, text: str, *labels: str) -> Family[Count]:
        family = Family("counter", name, text, labels, Count)
        self.registry.register(family)
        self._families.append(family)
        return family

    def _seconds(self, name: str, text: str, bounds: tuple[float, ...], *labels: str) -> Family[Spread]:
        family = Family("histogram", name, text, labels, partial(Spread, bounds))
        self.registry.register(family)
        self._families.append(family)
        return family


class InFlightCollector(Collector):
    """Open exchanges of all models, added up when somebody asks."""

    def __init__(self, by_model: Callable[[], Mapping[str, int]]) -> None:
        self._by_model = by_model

    def collect(self) -> Iterator[Metric]:
        """As of now."""
        total = sum(self._by_model().values())
        yield GaugeMetricFamily("gateway_in_flight_requests", "Open HTTP exchanges.", value=total)


class Exchanges(NamedTuple):
    """How many exchanges are in one state, and how many may be; 0: no bound."""

    state: str
    number: int
    maximum: int


class ExchangesCollector(Collector):
    """What the bounds of the process count, read when somebody asks."""

    def __init__(self, read: Callable[[], Iterable[Exchanges]]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        """As of now."""
        states = list(self._read())
        for name, text, values in (
            ("gateway_exchanges", "Open exchanges: at work, or uploading a body.", [one.number for one in states]),
            ("gateway_exchanges_max", "As many as may be; 0: no bound.", [one.maximum for one in states]),
        ):
            gauge = GaugeMetricFamily(name, text, labels=["state"])
            for one, value in zip(states, values, strict=True):
                gauge.add_metric([one.state], value)
            yield gauge


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


class WaitingCollector(Collector):
    """Who waits for a pod with room, read when somebody asks."""

    def __init__(self, lengths: Callable[[], Mapping[str, int]], models: Callable[[], Iterable[str]]) -> None:
        self._lengths = lengths
        self._models = models

    def collect(self) -> Iterator[Metric]:
        """The queues as of now."""
        lengths = self._lengths()
        gauge = GaugeMetricFamily(
            "gateway_waiting_requests", "Requests that wait for a pod with room.", labels=["model"]
        )
        for model in self._models():
            gauge.add_metric([model], lengths.get(model, 0))
        yield gauge


class LimiterCollector(Collector):
    """What the limiter did without its store, and what its store owes an answer to."""

    def __init__(self, counts: Callable[[], Counts], is_down: Callable[[], bool], refused: Callable[[], int]) -> None:
        self._counts = counts
        self._is_down = is_down
        self._refused = refused

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
        yield CounterMetricFamily(
            "gateway_limiter_refused_items",
            "What the store refused of one user alone, or had forgotten; told in the log once a minute.",
            value=self._refused(),
        )

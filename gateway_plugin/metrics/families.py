"""Prometheus metrics: decisions, rejections and outcomes.

Labels take few, known values: models are counted only after they were found in the pod table, and no user, request id
or prompt is ever a label. Names that AIBrix's dashboards use are kept where they mean the same.

Counters, gauges and histograms are of one thread, as prometheus_client exposes them. The library's own take a lock at
every step, and three objects; these are a fifth of the time. They are for whoever counts and answers scrapes on one
event loop.
"""

from __future__ import annotations

import os
import time
from bisect import bisect_left
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

# Where most answers are, each bound is at most 1.5 times the one before: `histogram_quantile` errs by a tenth or so.
_SECONDS = (
    *(0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1, 1.5, 2, 3, 4, 5, 7, 10, 15, 20, 30),
    *(60, 120, 300),
)
FIRST_TOKEN_SECONDS = _SECONDS
"""Bounds of `Metrics.ttft`."""
_DECISION_SECONDS = (
    *(0.00005, 0.000075, 0.0001, 0.00015, 0.0002, 0.0003, 0.0005, 0.00075, 0.001, 0.002, 0.005, 0.01, 0.05, 0.5),
)
_WAIT_SECONDS = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1)
_TPOT_SECONDS = (
    *(0.001, 0.002, 0.003, 0.005, 0.007, 0.01, 0.013, 0.017, 0.02, 0.025, 0.03, 0.04, 0.05, 0.07, 0.1, 0.15, 0.2, 0.5),
    1,
)
_TELLS_CREATED = os.environ.get("PROMETHEUS_DISABLE_CREATED_SERIES", "False").lower() not in ("true", "1", "t")
"""As the library reads it."""

PART_CHILDREN = 100
"""Histograms of so many take some 5 ms to write."""
Sample = tuple[str, dict[str, str], float]
"""Suffix of the name, labels beside the family's, value."""


class Child(Protocol):
    """One series, or one histogram."""

    def samples(self) -> Iterable[Sample]:
        """As of now."""


class Count:
    """What only grows."""

    __slots__ = ("_created_seconds", "value")

    def __init__(self) -> None:
        self.value = 0.0
        self._created_seconds = time.time()

    def inc(self, amount: float = 1.0) -> None:
        self.value += amount

    def samples(self) -> Iterator[Sample]:
        yield "_total", {}, self.value
        yield from _created(self._created_seconds)


class Level:
    """What goes up and down."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def inc(self) -> None:
        self.value += 1.0

    def dec(self) -> None:
        self.value -= 1.0

    def samples(self) -> Iterator[Sample]:
        yield "", {}, self.value


class Spread:
    """A histogram: how often what was observed was at most each bound (and above those before), and the sum."""

    __slots__ = ("_bounds", "_counts", "_created_seconds", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = (*bounds, float("inf"))
        self._counts = [0] * len(self._bounds)
        self._sum = 0.0
        self._created_seconds = time.time()

    @property
    def counts(self) -> list[int]:
        """One for each bound, and those above all."""
        return list(self._counts)

    @property
    def sum(self) -> float:
        return self._sum

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def samples(self) -> Iterator[Sample]:
        for bound, count in zip(self._bounds, accumulate(self._counts), strict=True):
            yield "_bucket", {"le": _text(bound)}, count
        yield "_count", {}, sum(self._counts)
        yield "_sum", {}, self._sum
        yield from _created(self._created_seconds)


C = TypeVar("C", bound=Child)


class Family(Collector, Generic[C]):
    """A metric and its children by label values. A family without labels has one child from the start."""

    def __init__(self, kind: str, name: str, text: str, labels: Sequence[str], new_child: Callable[[], C]) -> None:
        self._kind, self._name, self._text, self._labels = kind, name, text, tuple(labels)
        self._new_child = new_child
        self._children: dict[tuple[str, ...], C] = {}
        if not labels:
            self.labels()

    def labels(self, *values: str) -> C:
        """The child of these values, which stays until `forget`. Callers see to it that values are few."""
        try:
            return self._children[values]
        except KeyError:
            return self._added(values)

    def _added(self, values: tuple[str, ...]) -> C:
        if len(values) != len(self._labels):
            raise ValueError(f"{self._name} has labels {self._labels}, not {len(values)}")
        child = self._children[values] = self._new_child()
        return child

    def forget(self, label: str, value: str) -> None:
        """Removes every child that has this value; who holds one counts in vain. Families without the label stay."""
        if label not in self._labels:
            return
        position = self._labels.index(label)
        for values in [values for values in self._children if values[position] == value]:
            del self._children[values]

    def items(self) -> Iterable[tuple[tuple[str, ...], C]]:
        """All children so far."""
        return self._children.items()

    def describe(self) -> Iterator[Metric]:
        """The name, for registries."""
        yield Metric(self._name, self._text, self._kind)

    @property
    def label_names(self) -> tuple[str, ...]:
        """In order."""
        return self._labels

    def collect(self) -> Iterator[Metric]:
        """The metric as of now, in several parts where there are many children: see `metrics_page`."""
        return self.collect_as(self._name, {})

    def collect_as(self, name: str, labels_as: Mapping[str, str]) -> Iterator[Metric]:
        """The same under another name, with other names for some labels."""
        children = list(self._children.items())
        names = [labels_as.get(label, label) for label in self._labels]
        for start in range(0, max(len(children), 1), PART_CHILDREN):
            metric = Metric(name, self._text, self._kind)
            for values, child in children[start : start + PART_CHILDREN]:
                labels = dict(zip(names, values, strict=True))
                for suffix, more, value in child.samples():
                    metric.add_sample(name + suffix, labels | more, value)
            yield metric


def _text(bound: float) -> str:
    return str(floatToGoString(bound))  # type: ignore[no-untyped-call]  # of the library's untyped helpers


def _created(seconds: float) -> Iterator[Sample]:
    if _TELLS_CREATED:
        yield "_created", {}, seconds


class Metrics:
    """All metrics of one process, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.forgotten: list[Callable[[str], object]] = []
        """Told of each model whose series are removed: who keeps some of them must look them up anew."""
        self._families: list[Family[Count] | Family[Level] | Family[Spread]] = []
        self._sent: dict[tuple[str, str, str | None], tuple[Count, Count | None, Level]] = {}
        """What counts a request that is sent on, by model, strategy and branch: as many as there are children."""
        self._predicted: dict[str, Count] = {}
        """By model."""
        self._requests()
        self._outcomes()
        self._accounting()

    def sent_on(self, model: str, strategy: str, branch: str | None, matched_tokens: float = 0.0) -> None:
        """A request has gone to a pod, which is believed to have so much of it cached; no branch: Envoy chose it."""
        children = self._sent.get((model, strategy, branch))
        if children is None:
            children = self._sent[model, strategy, branch] = self._new_sent(model, strategy, branch)
        requests, decisions, in_flight = children
        requests.value += 1.0
        if decisions is not None:
            decisions.value += 1.0
        if matched_tokens:
            predicted = self._predicted.get(model)
            if predicted is None:
                predicted = self._predicted[model] = self.predicted_cached_tokens.labels(model)
            predicted.value += matched_tokens
        in_flight.value += 1.0

    def _new_sent(self, model: str, strategy: str, branch: str | None) -> tuple[Count, Count | None, Level]:
        decisions = self.decisions.labels(model, strategy, branch) if branch is not None else None
        return self.requests.labels(model, strategy), decisions, self.model_in_flight.labels(model)

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
        for key in [key for key in self._sent if key[0] == model]:
            del self._sent[key]
        self._predicted.pop(model, None)
        for told in self.forgotten:
            told(model)

    def _requests(self) -> None:
        counters = self._counters
        self.requests = counters("gateway_request", "Requests sent on to a model.", "model", "strategy")
        self.passed = counters("gateway_passed_through", "Requests to the gateway's own API.").labels()
        self.rejections = counters("gateway_rejections", "Requests answered by the gateway itself.", "reason", "status")
        self.model_rejections = counters(
            "gateway_model_rejections",
            "Requests for a model that is served here, answered by the gateway itself.",
            "model",
            "reason",
        )
        self.predicted_cached_tokens = counters(
            "gateway_predicted_cached_tokens",
            "Prompt tokens that the chosen pod was believed to have cached; compare with gateway_cached_tokens_total.",
            "model",
        )
        self.limiter_seconds = self._seconds(
            "gateway_limiter_wait_seconds", "What a request waited for the store's decision.", _WAIT_SECONDS
        ).labels()
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
        self.strategy_ttft = self._seconds(
            "gateway_strategy_ttft_seconds", "Time to first token of streams, by strategy.", _SECONDS, "strategy"
        )
        self.tpot = self._seconds("gateway_tpot_seconds", "Time per output token of streams.", _TPOT_SECONDS, "model")
        self.duration = self._seconds("gateway_request_duration_seconds", "Whole exchange.", _SECONDS, "model")

    def _accounting(self) -> None:
        counters = self._counters
        self.log_entries = counters("gateway_access_log_entries", "Entries from Envoy, by what they were.", "outcome")
        self.settlements = counters("gateway_settlements", "Token charges, by what became of them.", "outcome")
        # What has never failed has a series, too: only so can an alert see the first failure.
        for outcome in ("ours", "foreign", "unreadable", "failed"):
            self.log_entries.labels(outcome)
        for outcome in ("charged", "repeated", "lost"):
            self.settlements.labels(outcome)

    def expect_rejections(self, kinds: Iterable[tuple[str, int]]) -> None:
        """Reason and status of every error that the gateway may answer: each has a series from the start."""
        for reason, status in kinds:
            self.rejections.labels(reason, str(status))

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

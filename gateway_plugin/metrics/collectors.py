"""What other parts of the process hold, read when somebody asks for metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from prometheus_client.core import Metric

    from ratelimit.outage.resilience import Counts
    from routing.prefix.prefix_index import PrefixIndex


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


class WarningsCollector(Collector):
    """What the live page warns of, by code."""

    def __init__(self, codes: Callable[[], Iterable[str]]) -> None:
        self._codes = codes

    def collect(self) -> Iterator[Metric]:
        """As of now."""
        counts = dict.fromkeys(("EnvoyDiffers", "NoAccessLog", "ConfigurationRefused", "Discovery"), 0)
        for code in self._codes():
            counts[code] = counts.get(code, 0) + 1
        gauge = GaugeMetricFamily("gateway_warnings", "Warnings of the live page, by code.", labels=["code"])
        for code, count in counts.items():
            gauge.add_metric([code], count)
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


class LedgerCounts(Protocol):
    """What the ledger's writer counts."""

    @property
    def waiting_rows(self) -> int: ...

    @property
    def written_rows(self) -> int: ...

    @property
    def dropped_requests(self) -> int: ...


class LedgerCollector(Collector):
    """The usage ledger's writer."""

    def __init__(self, counts: Callable[[], LedgerCounts]) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        """The writer as of now."""
        counts = self._counts()
        yield GaugeMetricFamily(
            "gateway_usage_ledger_waiting_rows",
            "Rows of usage that the store has not written yet.",
            value=counts.waiting_rows,
        )
        yield CounterMetricFamily(
            "gateway_usage_ledger_written_rows", "Rows of usage that were written.", value=counts.written_rows
        )
        yield CounterMetricFamily(
            "gateway_usage_ledger_dropped_requests",
            "Requests that the ledger will never know of: the store refused them, or they waited too long.",
            value=counts.dropped_requests,
        )


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

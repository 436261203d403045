"""Discovery for operators: what the API server sent, how the watches fared, what is wrong with objects."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from gateway_plugin.pods.kubernetes.complaints import ComplaintReason

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from prometheus_client.core import Metric

    from kube.follow_counts import FollowCounts

_COUNTERS = (
    ("events", "type", "gateway_discovery_events", "Events of the API server's watches."),
    ("lists", "outcome", "gateway_discovery_lists", "Complete lists asked for; more than the first are resyncs."),
    ("watch_ends", "cause", "gateway_discovery_watch_ends", "Watches that ended; each is followed by the next."),
)


class DiscoveryCollector(Collector):
    """Reads what discovery counts, when somebody asks."""

    def __init__(
        self, follows: Sequence[FollowCounts], standing: Mapping[ComplaintReason, int], outcomes: Mapping[str, int]
    ) -> None:
        self._follows = follows
        self._standing = standing
        self._outcomes = outcomes

    def collect(self) -> Iterator[Metric]:
        """Everything as of now."""
        for field, label, name, text in _COUNTERS:
            yield self._counter(field, label, name, text)
        yield self._silence()
        yield GaugeMetricFamily(
            "gateway_discovery_synced",
            "1 from the first complete lists on.",
            value=float(all(follow.synced for follow in self._follows)),
        )
        complaints = GaugeMetricFamily(
            "gateway_discovery_complaints", "Objects that are wrong now, by what is wrong.", labels=["reason"]
        )
        for reason in ComplaintReason:
            complaints.add_metric([reason.value], self._standing.get(reason, 0))
        yield complaints
        written = CounterMetricFamily(
            "gateway_discovery_kubernetes_events", "Complaints as Events, by what came of them.", labels=["outcome"]
        )
        for outcome, count in self._outcomes.items():
            written.add_metric([outcome], count)
        yield written

    def _counter(self, field: str, label: str, name: str, text: str) -> CounterMetricFamily:
        sums: Counter[tuple[str, str]] = Counter()
        for follow in self._follows:
            for value, count in getattr(follow, field).items():
                sums[follow.resource, value] += count
        family = CounterMetricFamily(name, text, labels=["resource", label])
        for labels, count in sorted(sums.items()):
            family.add_metric(labels, count)
        return family

    def _silence(self) -> GaugeMetricFamily:
        """A bookmark comes about once a minute, so minutes of silence are a blind gateway."""
        family = GaugeMetricFamily(
            "gateway_discovery_silence_seconds", "Time since the API server last said anything.", labels=["resource"]
        )
        now_seconds = asyncio.get_running_loop().time()
        heard_at_seconds: dict[str, float] = {}
        for follow in self._follows:
            known = heard_at_seconds.get(follow.resource, now_seconds)
            heard_at_seconds[follow.resource] = min(known, follow.heard_at_seconds)
        for resource, at_seconds in heard_at_seconds.items():
            family.add_metric([resource], now_seconds - at_seconds)
        return family

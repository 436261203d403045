"""What sharing with other replicas did, as metrics, read when somebody asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric

    from gateway_plugin.peers.sharing import Sharing


class ReplicaCollector(Collector):
    """One replica's view of the others."""

    def __init__(self, sharing: Sharing) -> None:
        self._sharing = sharing

    def collect(self) -> Iterator[Metric]:
        """Sharing as of now."""
        sharing, elsewhere = self._sharing, self._sharing.elsewhere
        yield GaugeMetricFamily(
            "gateway_replica_peers", "Other replicas that have requests in flight.", value=elsewhere.replicas
        )
        yield GaugeMetricFamily(
            "gateway_replica_inflight_requests_elsewhere",
            "Requests in flight through other replicas.",
            value=elsewhere.inflight_requests,
        )
        yield GaugeMetricFamily(
            "gateway_replica_report_age_seconds", "Of the oldest report in use.", value=elsewhere.age_seconds
        )
        turns = CounterMetricFamily("gateway_replica_turns", "Exchanges with the store.", labels=["outcome"])
        turns.add_metric(["ok"], sharing.turns)
        turns.add_metric(["failed"], sharing.failures)
        yield turns
        skipped = CounterMetricFamily("gateway_replica_skipped", "What could not be used.", labels=["reason"])
        for reason, count in (*sharing.inbox.skipped.items(), ("unreadable", sharing.unreadable)):
            skipped.add_metric([reason], count)
        yield skipped
        yield from self._outcomes()

    def _outcomes(self) -> Iterator[Metric]:
        outcomes = CounterMetricFamily(
            "gateway_replica_outcomes", "Log entries that came to another replica than booked.", labels=["event"]
        )
        for event, count in self._sharing.post.counts.items():
            outcomes.add_metric([event], count)
        yield outcomes
        prompts = CounterMetricFamily(
            "gateway_replica_prompts", "Prompts told to, or taken from, other replicas.", labels=["event"]
        )
        for event, count in self._sharing.news.counts.items():
            prompts.add_metric([event], count)
        yield prompts

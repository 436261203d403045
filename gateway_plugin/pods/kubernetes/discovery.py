"""Discovery on Kubernetes, put together: follow pods and ModelAdapters, tell what follows from them.

The first state is told when every first list is complete: until then nobody knows which models there are, and this
replica is not ready. After that the last state stands, whatever happens to the API server. States are told at once
when something changed, but at most ten times a second, however many events there are, and less often in huge clusters.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway_plugin.pods.checked_config import check_strategies
from gateway_plugin.pods.discovery_error import DiscoveryError
from gateway_plugin.pods.kubernetes.book import Book
from gateway_plugin.pods.kubernetes.discovery_metrics import DiscoveryCollector
from gateway_plugin.pods.kubernetes.events import EventWriter
from gateway_plugin.pods.kubernetes.feeds import adapter_feed, pod_feed, route_feed
from gateway_plugin.pods.kubernetes.pod_reader import IpFamily, PodReader
from gateway_plugin.pods.kubernetes.reporter import Reporter
from kube.api import Api, CredentialsError
from kube.reflector import Reflector
from routing.profiles import ProfileCache
from routing.spec import ClusterState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from prometheus_client.registry import Collector

    from gateway_plugin.pods.kubernetes.label_keys import LabelKeys
    from gateway_plugin.pods.reload_metrics import Reloads
    from kube.feed import Feed
    from kube.follow_counts import FollowCounts

logger = logging.getLogger(__name__)

COALESCE_SECONDS = 0.1
"""Changes that come together make one new state."""
_MOST_LOAD_RATIO = 0.05
"""Share of the process's time for telling states; with thousands of pods one takes 20 ms."""
_EVERYWHERE = ("",)


@dataclass(frozen=True, slots=True)
class Options:
    """`namespaces`: none means all. `labelled_only`: leave models that are named by annotation alone."""

    keys: LabelKeys
    namespaces: tuple[str, ...] = ()
    route_namespace: str = ""
    labelled_only: bool = False
    ip_family: IpFamily = "primary"
    kubeconfig: Path | None = None
    replica: str = ""


class KubernetesDiscovery:
    """Call `load` once, then let `run` follow the cluster."""

    def __init__(
        self,
        options: Options,
        on_state: Callable[[ClusterState], None],
        *,
        coalesce_seconds: float = COALESCE_SECONDS,
        rng: random.Random | None = None,
    ) -> None:
        self._on_state = on_state
        self._coalesce_seconds = coalesce_seconds
        self._api = Api(options.kubeconfig)
        self._book = Book()
        self._writer = EventWriter(self._api, options.replica)
        self._reporter = Reporter(self._writer.post, time.monotonic)
        self._changed = asyncio.Event()
        self._told = asyncio.Event()
        self._state = ClusterState((), frozenset())
        self._reflectors = self._new_reflectors(options, rng or random.Random())

    async def load(self) -> ClusterState:
        """Reads credentials; raises DiscoveryError. An API server that is away is waited for in `run`."""
        try:
            await self._api.connect()
        except CredentialsError as error:
            raise DiscoveryError(f"discovery = 'kubernetes': {error}") from None
        logger.info("discovery through the API server at %s", self._api.host)
        return self._state

    async def run(self) -> None:
        """Follows the cluster until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for reflector in self._reflectors:
                    group.create_task(reflector.run())
                group.create_task(self._writer.run())
                group.create_task(self._tell_changes())
        finally:
            await self._api.close()

    async def first_state(self) -> None:
        """Returns when all that was there at the start has been told."""
        await self._told.wait()

    @property
    def problem(self) -> str:
        """What is still awaited; empty from the first state on."""
        if self._told.is_set():
            return ""
        missing = next((counts for counts in self._counts() if not counts.synced), None)
        if missing is None:
            return "the first lists are complete, and about to be told"
        return f"waiting for the first list of {missing}{': ' if missing.problem else ''}{missing.problem}"

    @property
    def refused(self) -> str:
        """Nothing is refused whole: complaints are about one object each."""
        return ""

    def followed(self) -> Mapping[str, Callable[[], Reloads]]:
        """None."""
        return {}

    def collectors(self) -> Sequence[Collector]:
        """Metrics."""
        return [DiscoveryCollector(self._counts(), self._reporter.standing, self._writer.outcomes)]

    def _counts(self) -> list[FollowCounts]:
        return [reflector.counts for reflector in self._reflectors]

    def _new_reflectors(self, options: Options, rng: random.Random) -> list[Reflector[Any]]:
        profiles = ProfileCache(check=check_strategies)
        reader = PodReader(options.keys, profiles, options.ip_family)
        selector = options.keys.name if options.labelled_only else ""
        feeds: list[Feed[Any]] = [
            pod_feed(reader, self._book.pods, selector),
            adapter_feed(options.keys, profiles, self._book.adapters),
        ]
        follows = [(feed, scope) for feed in feeds for scope in options.namespaces or _EVERYWHERE]
        if options.route_namespace:
            follows.append((route_feed(options.keys, self._book.routed), options.route_namespace))
        return [Reflector(self._api, feed, scope, self._changed.set, rng) for feed, scope in follows]

    async def _tell_changes(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            if all(counts.synced for counts in self._counts()):
                began_seconds = time.perf_counter()
                self._tell()
                took_seconds = time.perf_counter() - began_seconds
                await asyncio.sleep(max(self._coalesce_seconds, took_seconds / _MOST_LOAD_RATIO))

    def _tell(self) -> None:
        before = self._state
        snapshot = self._book.snapshot()
        self._reporter.tell(snapshot.complaints)
        if snapshot.state != before or not self._told.is_set():
            self._state = snapshot.state
            self._on_state(snapshot.state)
            _log_change(before, snapshot.state)
        self._told.set()


def _log_change(before: ClusterState, now: ClusterState) -> None:
    ready = sum(pod.ready for pod in now.pods)
    if (len(before.pods), sum(pod.ready for pod in before.pods), before.models) != (len(now.pods), ready, now.models):
        logger.info("%d models, %d pods, %d of them ready", len(now.models), len(now.pods), ready)
    for what, models in (("new", now.models - before.models), ("gone", before.models - now.models)):
        if models:
            logger.info("%s models: %s", what, ", ".join(sorted(models)))

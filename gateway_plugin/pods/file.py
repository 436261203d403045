"""Discovery by file: watches the endpoints file and tells what it says.

A change is read when two looks in a row have seen it. A bad file, and one that looks like a part of what was there,
keeps the last good state. Host names are looked up again at every reload and every 30 seconds.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gateway_plugin.pods.addresses import join_host_port
from gateway_plugin.pods.endpoints_file import ConfiguredPod, EndpointsFile, reread_endpoints
from gateway_plugin.pods.node import EndpointsError
from gateway_plugin.pods.reload_metrics import Reloads
from gateway_plugin.pods.resolver import HostBook, Resolve, system_addresses
from gateway_plugin.settings.pacing import next_moment
from gateway_plugin.settings.watched_file import WatchedFile
from routing.spec import ClusterState, PodSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from prometheus_client.registry import Collector

    from gateway_plugin.settings.watched_file import ContentShape

logger = logging.getLogger(__name__)

RESOLVE_INTERVAL_SECONDS = 30.0
"""Between two look-ups of host names."""


class FileDiscovery:
    """Call `load` once, then let `run` follow the file. `endpoints` is the last good file."""

    def __init__(
        self,
        path: Path | str,
        on_state: Callable[[ClusterState], None],
        interval_seconds: float = 1.0,
        resolve_timeout_seconds: float = 2.0,
        *,
        resolve: Resolve = system_addresses,
    ) -> None:
        self.endpoints = EndpointsFile()
        self.reloads = {"ok": 0, "refused": 0}
        """Since the start."""
        self.loaded_at_seconds = 0.0
        """When what holds was read, since 1970."""
        self.refused = ""
        """Why the file as it is now is not taken over; empty when it is."""
        self._path = Path(path)
        self._on_state = on_state
        self._interval_seconds = interval_seconds
        self._hosts = HostBook(resolve, resolve_timeout_seconds)
        self._file = WatchedFile(self._path, is_read=False)
        self._shape: ContentShape | None = None
        self._state = ClusterState((), frozenset())
        self._resolve_at_seconds = 0.0

    async def load(self) -> ClusterState:
        """Reads the file for the first time; raises EndpointsError. Returns the state without calling `on_state`."""
        self._file.was_read()
        self.endpoints, self._shape = reread_endpoints(self._path, None)
        self.loaded_at_seconds = time.time()
        return await self._resolved()

    async def run(self) -> None:
        """Follows the file until cancelled."""
        while True:
            await next_moment(self._interval_seconds)
            await self._look()

    async def first_state(self) -> None:
        """At once: `load` has told it."""

    @property
    def problem(self) -> str:
        """A file without models is a mistake in most cases."""
        return "" if self.endpoints.models else "no model is known yet"

    def collectors(self) -> Sequence[Collector]:
        """None."""
        return ()

    def followed(self) -> Mapping[str, Callable[[], Reloads]]:
        """The file."""
        return {"endpoints": lambda: Reloads(self.reloads, self.loaded_at_seconds, self.refused)}

    async def _look(self) -> None:
        before = self._state
        if self._file.has_changed():
            if await self._reload():
                self._on_state(await self._resolved())
        elif asyncio.get_running_loop().time() >= self._resolve_at_seconds and await self._resolved() != before:
            self._on_state(self._state)

    async def _reload(self) -> bool:
        try:
            # A large file takes seconds, and requests go on meanwhile.
            self.endpoints, self._shape = await asyncio.to_thread(reread_endpoints, self._path, self._shape)
        except EndpointsError as error:
            self.reloads["refused"] += 1
            self.refused = str(error)
            logger.error("endpoints not reloaded, the last good ones stay: %s", error)
            return False
        self.reloads["ok"] += 1
        self.refused, self.loaded_at_seconds = "", time.time()
        logger.info("%s: %d models, %d pods", self._path, len(self.endpoints.models), len(self.endpoints.pods))
        return True

    async def _resolved(self) -> ClusterState:
        await self._hosts.refresh(pod.at.host for pod in self.endpoints.pods)
        self._resolve_at_seconds = asyncio.get_running_loop().time() + RESOLVE_INTERVAL_SECONDS
        self._state = cluster_state(self.endpoints, self._hosts)
        return self._state


def cluster_state(endpoints: EndpointsFile, hosts: HostBook) -> ClusterState:
    """The pods at their resolved addresses. Two names of one address are one pod, described by the first."""
    pods: dict[str, PodSpec] = {}
    for configured in endpoints.pods:
        pod = _pod(configured, hosts)
        pods[pod.address] = _merged(pods[pod.address], pod) if pod.address in pods else pod
    return ClusterState(tuple(pods.values()), frozenset(endpoints.models), endpoints.configs, endpoints.adapters)


def _pod(pod: ConfiguredPod, hosts: HostBook) -> PodSpec:
    resolved = hosts[pod.at.host]
    host = resolved.ip or pod.at.host
    return PodSpec(
        name=pod.name,
        address=join_host_port(host, pod.at.port),
        models=pod.models,
        engine=pod.engine,
        metrics_address=join_host_port(host, pod.metrics_port),
        labels=pod.labels,
        ready=resolved.ready and not pod.draining,
    )


def _merged(first: PodSpec, second: PodSpec) -> PodSpec:
    models = tuple(dict.fromkeys(first.models + second.models))
    return replace(first, models=models, ready=first.ready or second.ready)

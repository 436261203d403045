"""For `gateway-plugin up`: the list of pods, asked what they are, made the files that plugin and Envoy follow."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from gateway_plugin.pods.endpoints_file import parse_endpoints
from gateway_plugin.pods.engines.engine_probe import ProbeError, probe
from gateway_plugin.pods.engines.fetch import http_fetch
from gateway_plugin.pods.node import EndpointsError
from gateway_plugin.pods.pod_list import PodList, endpoints_text, read_pod_list, write_whole
from gateway_plugin.tools.envoy_config.model import EnvoyConfig, Model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gateway_plugin.pods.addresses import HostPort
    from gateway_plugin.pods.engines.engine_probe import FoundEngine
    from gateway_plugin.pods.engines.fetch import Fetch
    from gateway_plugin.settings.engine_keys import EngineKeys

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
"""Between two looks at the list."""
ASK_AGAIN_SECONDS = 2.0
"""Of an engine that has not answered: it may still load its model."""
CHECK_SECONDS = 15.0
"""Of one that has: another model may be served there, or an adapter be loaded."""
_FETCH_SECONDS = 2.0
_CONNECTIONS = 16
_MAX_PAGE_BYTES = 4 * 1024 * 1024

WriteEnvoy: TypeAlias = "Callable[[Callable[[EnvoyConfig], EnvoyConfig]], list[str]]"


class PodFollower:
    """`found`: what is known of each address. Engines that do not answer keep what was known of them."""

    def __init__(self, pods_file: Path, endpoints_file: Path, keys: EngineKeys, write_envoy: WriteEnvoy) -> None:
        self.pods = PodList()
        self.found: dict[HostPort, FoundEngine] = {}
        self.silent: dict[HostPort, str] = {}
        """Why nothing is known of an address."""
        self._pods_file, self._endpoints_file = pods_file, endpoints_file
        self._keys, self._write_envoy = keys, write_envoy
        self._due_at_seconds: dict[HostPort, float] = {}
        self._written = ""
        self._refused = ""

    async def first_look(self) -> None:
        """Before anything starts: asks all once; raises EndpointsError."""
        self.pods = read_pod_list(self._pods_file)
        async with http_fetch(_FETCH_SECONDS, _CONNECTIONS, _MAX_PAGE_BYTES) as fetch:
            await self._ask_due(fetch)
        self._write()

    async def run(self) -> None:
        """Follows list and engines until cancelled."""
        async with http_fetch(_FETCH_SECONDS, _CONNECTIONS, _MAX_PAGE_BYTES) as fetch:
            while True:
                await asyncio.sleep(LOOK_SECONDS)
                self._read()
                await self._ask_due(fetch)
                self._try_to_write()

    def _read(self) -> None:
        try:
            self.pods, self._refused = read_pod_list(self._pods_file), ""
        except EndpointsError as error:
            if self._refused != str(error):
                self._refused = str(error)
                logger.error("not taken over: %s", error)
        known = {pod.at for pod in self.pods.pods}
        for book in (self.found, self.silent, self._due_at_seconds):
            for at in book.keys() - known:
                del book[at]

    async def _ask_due(self, fetch: Fetch) -> None:
        now = asyncio.get_running_loop().time()
        due = [pod.at for pod in self.pods.pods if self._due_at_seconds.get(pod.at, 0.0) <= now]
        await asyncio.gather(*(self._ask(at, fetch) for at in due))

    async def _ask(self, at: HostPort, fetch: Fetch) -> None:
        pod = self.pods.find(at)
        key = next((key for name in (pod.models if pod else ()) if (key := self._keys.of(name))), self._keys.of(""))
        clock = asyncio.get_running_loop().time
        try:
            found = await probe(f"http://{at}", fetch, key)
        except ProbeError as error:
            if at not in self.silent and at not in self.found:
                logger.warning("%s; it is asked again", error)
            self.silent[at] = str(error)
            self._due_at_seconds[at] = clock() + (CHECK_SECONDS if at in self.found else ASK_AGAIN_SECONDS)
            return
        self.silent.pop(at, None)
        self._due_at_seconds[at] = clock() + CHECK_SECONDS
        if self.found.get(at) != found:
            logger.info("%s: %s, %s", at, found.engine, ", ".join(found.models))
            self.found[at] = found

    def _try_to_write(self) -> None:
        with suppress(EndpointsError, OSError):
            self._write()

    def _write(self) -> None:
        text = endpoints_text(self.pods, self.found)
        if text == self._written:
            return
        try:
            endpoints = parse_endpoints(text.encode(), self._endpoints_file)
            models = tuple(Model(name, addresses) for name, addresses in endpoints.models.items())
            # Envoy first: what the plugin names must be there.
            self._write_envoy(lambda config: replace(config, models=models))
            write_whole(self._endpoints_file, text)
        except (ValueError, OSError) as error:
            logger.error("the list of pods is not taken over: %s", error)
            raise
        self._written = text

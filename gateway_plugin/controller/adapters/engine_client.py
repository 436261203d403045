"""The engines of pods, over HTTP: which adapters they have, and loading and unloading them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp

from gateway_plugin.controller.adapters.engine_calls import (
    EngineCall,
    LoadAnswer,
    LoaderKind,
    LoadOutcome,
    listed_adapters,
    load_answer,
    load_call,
    unload_answer,
    unload_call,
)
from gateway_plugin.controller.answer_bytes import read_at_most

if TYPE_CHECKING:
    from orchestration.adapters.artifact import Artifact

LIST_SECONDS = 5.0
"""An engine that answers its list of models later is not well."""
CALL_SECONDS = 60.0
"""A load reads gigabytes at worst; AIBrix waits for 30 s, and tries again while the first load still runs."""
_MOST_BYTES = 4 << 20
"""Of an answer; a list of a thousand adapters has some hundreds of KiB."""


class EngineUnreachableError(Exception):
    """No answer that could be read."""


@dataclass(frozen=True, slots=True)
class Loader:
    """Where a pod's adapters are listed, and where and by whom they are loaded."""

    kind: LoaderKind
    engine_url: str
    loader_url: str
    """The engine's own, or its sidecar's."""
    key: str = ""
    """Bearer token of the engine."""


class EngineClient:
    """One connection pool. Close it. Remembers which sidecars know the older form only."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._old_sidecars: set[str] = set()

    async def adapters(self, loader: Loader, base: str) -> dict[str, str | None]:
        """Loaded adapters, by name, with the path each came from. EngineUnreachableError when that cannot be known."""
        status, text = await self._send("GET", loader.engine_url + "/v1/models", loader.key, None, LIST_SECONDS)
        if status != 200:
            raise EngineUnreachableError(f"GET /v1/models: HTTP {status}")
        try:
            return listed_adapters(text, base)
        except ValueError as error:
            raise EngineUnreachableError(f"GET /v1/models: {error}") from None

    async def load(self, loader: Loader, name: str, artifact: Artifact, *, in_place: bool = False) -> LoadAnswer:
        delegated = loader.kind is LoaderKind.SIDECAR and loader.loader_url not in self._old_sidecars
        source = artifact.url if delegated else artifact.engine_path
        if source is None:
            words = f"{artifact.url} must be fetched first, and this pod has no sidecar that can"
            return LoadAnswer(LoadOutcome.REFUSED, "SidecarNeeded", words)
        call = load_call(loader.kind, name, source, in_place=in_place, delegated=delegated)
        answer = load_answer(loader.kind, *await self._post(loader, call))
        if answer.outcome is LoadOutcome.OLD_SIDECAR and delegated:
            self._old_sidecars.add(loader.loader_url)
            return await self.load(loader, name, artifact, in_place=in_place)
        return answer

    async def unload(self, loader: Loader, name: str) -> LoadAnswer:
        return unload_answer(*await self._post(loader, unload_call(loader.kind, name)))

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _post(self, loader: Loader, call: EngineCall) -> tuple[int, str]:
        return await self._send("POST", loader.loader_url + call.path, loader.key, call.body, CALL_SECONDS)

    async def _send(
        self, method: str, url: str, key: str, body: dict[str, object] | None, seconds: float
    ) -> tuple[int, str]:
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=64))
        headers = {"authorization": f"Bearer {key}"} if key else {}
        limits = aiohttp.ClientTimeout(total=seconds)
        try:
            async with self._session.request(
                method, url, json=body, headers=headers, timeout=limits, allow_redirects=False
            ) as response:
                data = await read_at_most(response.content, _MOST_BYTES)
                return response.status, data.decode(errors="replace")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise EngineUnreachableError(f"{method} {url}: {str(error) or type(error).__name__}") from None

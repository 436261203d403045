"""The engine that the sidecar stands beside: its health, its models, its page, its adapters, whether it is idle."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway_plugin.runtime.runtime_settings import RuntimeSettings

_ASK_SECONDS, _PAGE_SECONDS = 5.0, 1.0
"""For lists and health; for the page of metrics, whose reader has a time-out of its own."""
_HEALTH_KEPT_SECONDS = 1.0
"""Probes of several sources ask the engine once."""
_MOST_BYTES = 8 << 20
"""Of an answer of the engine; a page of metrics of 64 adapters has 1 MiB."""
_BUSY = re.compile(
    r"^(?:vllm:num_requests_(?:running|waiting)|sglang:num_(?:running|queue)_reqs)(?:\{[^}]*\})? (\S+)", re.MULTILINE
)


class EngineSideError(Exception):
    """It refused or did not answer. `status`: its own, 502 without an answer, 408 too late."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class EngineAnswer:
    status: int
    text: str

    @property
    def words(self) -> str:
        """An error's message, in whichever form."""
        try:
            found = json.loads(self.text)
        except ValueError:
            return self.text.strip()[:500]
        inner = found.get("error", found) if isinstance(found, dict) else found
        if isinstance(inner, dict):
            inner = inner.get("message") or inner.get("error_message") or inner.get("detail") or inner
        return str(inner)[:500]


class EngineSide:
    """One connection pool. Close it."""

    def __init__(self, settings: RuntimeSettings, clock: Callable[[], float]) -> None:
        self._settings, self._clock = settings, clock
        self._session: aiohttp.ClientSession | None = None
        self._health: tuple[float, str] | None = None

    async def unhealthy(self) -> str:
        """Why it cannot serve; empty when it can."""
        now = self._clock()
        if self._health is None or now - self._health[0] >= _HEALTH_KEPT_SECONDS:
            try:
                answer = await self._send("GET", "/health", None, _ASK_SECONDS)
                why = "" if answer.status == 200 else f"the engine's /health is {answer.status}"
            except EngineSideError as error:
                why = str(error)
            self._health = (now, why)
        return self._health[1]

    async def models(self) -> EngineAnswer:
        return await self._send("GET", "/v1/models", None, _ASK_SECONDS)

    async def page(self) -> str:
        """Its metrics. EngineSideError when there are none."""
        answer = await self._send("GET", self._settings.scrape_path, None, _PAGE_SECONDS)
        if answer.status != 200:
            raise EngineSideError(f"{self._settings.scrape_path} is {answer.status}", answer.status)
        return answer.text

    async def requests(self) -> float | None:
        """Running and waiting, or None when the page does not say."""
        try:
            found = [float(one) for one in _BUSY.findall(await self.page())]
        except (EngineSideError, ValueError):
            return None
        return sum(found) if found else None

    async def load(self, name: str, path: str) -> EngineAnswer:
        """An adapter of that name from now on comes from `path`, whatever it was before. EngineSideError: it is not."""
        before = await self._roots()
        if before.get(name) == path:
            return EngineAnswer(200, f"{name} is loaded already")
        sglang = self._settings.engine == "sglang"
        body: dict[str, Any] = {"lora_name": name, "lora_path": path}
        if name in before:
            if sglang:
                await self.unload(name)
            else:
                body["load_inplace"] = True
        answer = await self._adapters("load_lora_adapter", body)
        if answer.status == 400 and "already" in answer.words and name not in before:
            # SGLang's older versions do not list adapters: what it has under the name may be another version.
            await self.unload(name)
            answer = await self._adapters("load_lora_adapter", body)
        return _succeeded(answer, name)

    async def unload(self, name: str) -> EngineAnswer:
        """Not there is as good."""
        answer = await self._adapters("unload_lora_adapter", {"lora_name": name})
        absent = answer.status == 404 or "cannot be found" in answer.words or "not loaded" in answer.words
        return EngineAnswer(200, f"{name} was not loaded") if absent else _succeeded(answer, name)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _roots(self) -> dict[str, str]:
        answer = await self.models()
        try:
            return {str(card["id"]): str(card.get("root", "")) for card in json.loads(answer.text)["data"]}
        except (ValueError, KeyError, TypeError):
            return {}

    async def _adapters(self, verb: str, body: dict[str, Any]) -> EngineAnswer:
        if self._settings.engine not in ("vllm", "sglang"):
            raise EngineSideError(f"adapters of {self._settings.engine} cannot be loaded while it runs", 501)
        prefix = "/v1/" if self._settings.engine == "vllm" else "/"
        return await self._send("POST", prefix + verb, body, self._settings.load_seconds)

    async def _send(self, method: str, path: str, body: dict[str, Any] | None, seconds: float) -> EngineAnswer:
        if self._session is None:
            self._session = aiohttp.ClientSession()
        key = self._settings.engine_key
        headers = {"authorization": f"Bearer {key}"} if key else {}
        url = self._settings.engine_endpoint.rstrip("/") + path
        limits = aiohttp.ClientTimeout(total=seconds)
        try:
            async with self._session.request(
                method, url, json=body, headers=headers, timeout=limits, allow_redirects=False
            ) as response:
                data = bytearray()
                async for chunk in response.content.iter_any():
                    data += chunk
                    if len(data) > _MOST_BYTES:
                        raise EngineSideError(f"{method} {path}: more than {_MOST_BYTES} bytes", 502)
                return EngineAnswer(response.status, data.decode(errors="replace"))
        except TimeoutError:
            raise EngineSideError(f"{method} {path}: the engine did not answer within {seconds:g} s", 408) from None
        except (aiohttp.ClientError, OSError) as error:
            raise EngineSideError(f"{method} {path}: {str(error) or type(error).__name__}", 502) from None


def _succeeded(answer: EngineAnswer, name: str) -> EngineAnswer:
    """SGLang says 200 and `success: false`, too."""
    try:
        found = json.loads(answer.text)
        told = found.get("success", True) if isinstance(found, dict) else True
    except ValueError:
        told = True
    if answer.status not in (200, 201) or not told:
        status = answer.status if answer.status not in (200, 201) else 400
        raise EngineSideError(answer.words or f"the engine refused {name}: {answer.status}", status)
    return answer

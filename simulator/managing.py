"""Handlers for those who run the pod: health, models, metrics, adapters, and what tests want to know."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from simulator.generating import json_response
from simulator.metrics_page import render
from simulator.openai_requests import EngineError, decode

if TYPE_CHECKING:
    from simulator.openai_shapes import Json
    from simulator.pod_state import PodState

VLLM_VERSION = "0.11.0"  # whose metric names and error forms these are
# Controllers of adapters tell by type and words what went wrong, so they are vLLM's.
_WRONG_ADAPTER = "InvalidUserInput"


class AdapterBody(msgspec.Struct):
    lora_name: str = ""
    lora_path: str = ""


class ManagingHandlers:
    def __init__(self, state: PodState) -> None:
        self._state = state

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/health", self.health),
            web.get("/metrics", self.metrics),
            web.get("/version", self.version),
            web.get("/load", self.load),
            web.get("/v1/models", self.models),
            web.post("/v1/load_lora_adapter", self.load_adapter),
            web.post("/v1/unload_lora_adapter", self.unload_adapter),
            web.get("/debug/last_headers", self.last_headers),
        ]

    async def health(self, _request: web.Request) -> web.Response:
        return web.Response()

    async def metrics(self, _request: web.Request) -> web.Response:
        state = self._state
        page = render(state.driver.engine, state.pod, state.wall_clock(), state.sleep_state)
        return web.Response(body=page.encode(), headers={"content-type": "text/plain; version=0.0.4; charset=utf-8"})

    async def version(self, _request: web.Request) -> web.Response:
        return json_response({"version": VLLM_VERSION})

    async def load(self, _request: web.Request) -> web.Response:
        return json_response({"server_load": self._state.driver.active_requests})

    async def models(self, _request: web.Request) -> web.Response:
        pod = self._state.pod
        base = self._card(pod.model, root=pod.model, parent=None) | {"max_model_len": self._state.config.max_model_len}
        adapters = [self._card(name, root=path, parent=pod.model) for name, path in self._state.adapters.items()]
        return json_response({"object": "list", "data": [base, *adapters]})

    async def load_adapter(self, request: web.Request) -> web.Response:
        body = decode(await request.read(), AdapterBody)
        adapters = self._state.adapters
        if not body.lora_name or not body.lora_path:
            raise EngineError("Both 'lora_name' and 'lora_path' must be provided.", kind=_WRONG_ADAPTER)
        if body.lora_name in adapters or body.lora_name == self._state.pod.model:
            raise EngineError(f"The lora adapter '{body.lora_name}' has already been loaded.", kind=_WRONG_ADAPTER)
        if len(adapters) >= self._state.config.max_loaded_loras:
            raise EngineError(f"{len(adapters)} adapters are loaded, and no more fit")
        adapters[body.lora_name] = body.lora_path
        return web.Response(text=f"Success: LoRA adapter '{body.lora_name}' added successfully.")

    async def unload_adapter(self, request: web.Request) -> web.Response:
        body = decode(await request.read(), AdapterBody)
        if not body.lora_name:
            raise EngineError("'lora_name' needs to be provided to unload a LoRA adapter.", kind=_WRONG_ADAPTER)
        if self._state.adapters.pop(body.lora_name, None) is None:
            message = f"The lora adapter '{body.lora_name}' cannot be found."
            raise EngineError(message, status=404, kind="NotFoundError")
        return web.Response(text=f"Success: LoRA adapter '{body.lora_name}' removed successfully.")

    async def last_headers(self, _request: web.Request) -> web.Response:
        return json_response(dict(self._state.last_headers))

    def _card(self, name: str, *, root: str, parent: str | None) -> Json:
        created = int(self._state.wall_clock())
        head: Json = {"id": name, "object": "model", "created": created, "owned_by": "vllm"}
        return head | {"root": root, "parent": parent}

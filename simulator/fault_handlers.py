"""Asking a pod to fail, and vLLM's sleep mode.

`POST /debug/faults` with a JSON object sets all faults at once; `{}` heals. Only generating and reading endpoints fail,
except that a pod that loads refuses everything but `/debug`. `POST /sleep?level=1`, `POST /wake_up` and
`GET /is_sleeping` are those of vLLM's development mode.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from simulator.faults import Faults
from simulator.generating import json_response
from simulator.openai_requests import EngineError, decode_exactly

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler, Middleware

    from simulator.faults import SleepState
    from simulator.pod_state import PodState

_CONTROL_PATHS = ("/debug/faults", "/sleep", "/wake_up")
_STATE_BY_LEVEL: dict[str, SleepState] = {"1": "weights_offloaded", "2": "discard_all"}


class FaultHandlers:
    def __init__(self, state: PodState) -> None:
        self._state = state

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/debug/faults", self.set_faults),
            web.post("/sleep", self.sleep),
            web.post("/wake_up", self.wake_up),
            web.get("/is_sleeping", self.is_sleeping),
        ]

    async def set_faults(self, request: web.Request) -> web.Response:
        self._state.faults = decode_exactly(await request.read(), Faults)
        return json_response(msgspec.to_builtins(self._state.faults))

    async def sleep(self, request: web.Request) -> web.Response:
        level = request.query.get("level", "1")
        if level not in _STATE_BY_LEVEL:
            raise EngineError(f"level is 1 or 2, not {level}")
        self._state.sleep_state = _STATE_BY_LEVEL[level]
        return web.Response()

    async def wake_up(self, _request: web.Request) -> web.Response:
        self._state.sleep_state = "awake"
        return web.Response()

    async def is_sleeping(self, _request: web.Request) -> web.Response:
        return json_response({"is_sleeping": self._state.sleep_state != "awake"})


def is_inference(request: web.Request) -> bool:
    """Whether the engine must compute something."""
    path = request.path
    return request.method == "POST" and path not in _CONTROL_PATHS and not path.endswith("_lora_adapter")


def failing(state: PodState) -> Middleware:
    """Requests meet the pod's faults."""

    @web.middleware
    async def fail(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not is_inference(request):
            return await handler(request)
        if state.sleep_state != "awake":
            raise EngineError("the engine sleeps", status=503, kind="ServiceUnavailableError")
        if state.faults.hang:
            await asyncio.Event().wait()
        if status := state.faults.take_status():
            raise EngineError("a fault was asked for", status=status, kind="Fault")
        return await handler(request)

    return fail

"""Simulated pods over HTTP: many in one process, each with its own port, engine and cache."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from aiohttp import web

from simulator.driver import EngineDriver
from simulator.engine import Engine
from simulator.fault_handlers import FaultHandlers, failing, is_inference
from simulator.generating import GeneratingHandlers, json_response
from simulator.keeping import KeepingHandlers
from simulator.managing import ManagingHandlers
from simulator.openai_requests import EngineError
from simulator.openai_shapes import error_body
from simulator.pod_state import PodState
from simulator.reading import ReadingHandlers
from simulator.telling import TellingHandlers
from simulator.typed_shapes import messages_error_body

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from aiohttp.typedefs import Handler, Middleware

    from simulator.config import EngineConfig, SimulatedPod

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 64 * 1024 * 1024  # audio files and pictures inside messages
STOP_SECONDS = 0.5  # what running requests get to end by themselves when a pod stops


@dataclass(slots=True)
class RunningPod:
    pod: SimulatedPod
    port: int
    engine: Engine
    _runner: web.AppRunner
    _driver: EngineDriver

    async def stop(self) -> None:
        """Close the port, give running requests a moment, then cut them off."""
        await self._runner.cleanup()
        self._driver.stop()


async def start(pod: SimulatedPod, config: EngineConfig, host: str, port: int) -> RunningPod:
    """Serve `pod` until it is stopped; port 0 takes any free one."""
    loop = asyncio.get_running_loop()
    scaled = config.at_speed(pod.speed)
    engine = Engine(scaled)
    driver = EngineDriver(engine, loop)
    app = build_app(PodState(pod, scaled, driver, clock=loop.time, wall_clock=time.time))
    # Without handler_cancellation aiohttp lets a handler go on when its client is gone.
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=STOP_SECONDS)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        await runner.cleanup()
        raise OSError(error.errno, f"pod {pod.name}: cannot listen on {host}, port {port}: {error.strerror}") from error
    bound_port: int = runner.addresses[0][1]
    return RunningPod(pod, bound_port, engine, runner, driver)


def run(pods_with_ports: Sequence[tuple[SimulatedPod, int]], config: EngineConfig, host: str = "127.0.0.1") -> None:
    """Serve all pods until SIGINT or SIGTERM."""
    asyncio.run(_serve(pods_with_ports, config, host))


async def _serve(pods_with_ports: Sequence[tuple[SimulatedPod, int]], config: EngineConfig, host: str) -> None:
    stopped = asyncio.Event()
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signal_number, stopped.set)
    async with contextlib.AsyncExitStack() as stack:
        for number, (pod, port) in enumerate(pods_with_ports):
            running = await start(pod, replace(config, seed=config.seed + number), host, port)
            stack.push_async_callback(running.stop)
            logger.info("pod %s serves %s on %s, port %d", pod.name, pod.model, host, running.port)
        await stopped.wait()


def build_app(state: PodState) -> web.Application:
    middlewares = [_errors, _only_when_ready(state), _remember_headers(state), failing(state)]
    app = web.Application(middlewares=middlewares, client_max_size=MAX_BODY_BYTES)
    app.on_response_prepare.append(_name_pod(state.pod.name))
    handlers = (ManagingHandlers, FaultHandlers, GeneratingHandlers, ReadingHandlers, TellingHandlers, KeepingHandlers)
    for of_one_kind in handlers:
        app.add_routes(of_one_kind(state).routes())
    return app


def _name_pod(name: str) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    async def add_header(_request: web.Request, response: web.StreamResponse) -> None:
        response.headers["x-inference-pod"] = name

    return add_header


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except EngineError as error:
        body = messages_error_body(error) if request.path.startswith("/v1/messages") else error_body(error)
        return json_response(body, error.status)
    except web.HTTPException as error:
        return json_response({"detail": error.reason}, error.status)


def _only_when_ready(state: PodState) -> Middleware:
    @web.middleware
    async def refuse_while_loading(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not state.is_ready and not request.path.startswith("/debug/"):
            raise EngineError("the model is loading", status=503, kind="ServiceUnavailableError")
        return await handler(request)

    return refuse_while_loading


def _remember_headers(state: PodState) -> Middleware:
    """For `/debug/last_headers`: what the last inference request looked like when it came out of the gateway."""

    @web.middleware
    async def remember(request: web.Request, handler: Handler) -> web.StreamResponse:
        if is_inference(request):
            names = {name.lower() for name in request.headers}
            state.last_headers = {name: ", ".join(request.headers.getall(name)) for name in names}
        return await handler(request)

    return remember

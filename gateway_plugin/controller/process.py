"""The controller's composition root: connect, serve probes, read everything once, then watch and reconcile."""

from __future__ import annotations

import asyncio
import logging
import random
import signal
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import uvloop

from gateway_plugin.controller.controller_api import controller_api
from gateway_plugin.controller.reconciler import Reconciler
from gateway_plugin.controller.route_client import KubeClient, KubeError, connected
from gateway_plugin.grpc.listeners import HttpListener
from gateway_plugin.settings.start_error import StartError

if TYPE_CHECKING:
    from gateway_plugin.controller.controller_settings import ControllerSettings

logger = logging.getLogger(__name__)


async def run(settings: ControllerSettings, stopping: asyncio.Event) -> None:
    """Runs until `stopping` is set; raises StartError when it cannot start, and whatever ends the watches."""
    try:
        async with connected(settings.kubeconfig) as client:
            reconciler = Reconciler(
                client,
                settings.rules,
                settings.namespaces,
                resync_seconds=settings.resync_seconds,
                now=lambda: datetime.now(UTC),
                rng=random.Random(),
            )
            listener = HttpListener(
                controller_api(reconciler), settings.bind_host, settings.controller_port, "controller_port"
            )
            await _run_parts(client, reconciler, listener, stopping)
    except KubeError as error:
        raise StartError(str(error)) from None


async def _run_parts(
    client: KubeClient, reconciler: Reconciler, listener: HttpListener, stopping: asyncio.Event
) -> None:
    from gateway_plugin.controller.watching import watch  # noqa: PLC0415 - kopf is large

    rules = reconciler.rules
    logger.info("routes in %s for %s; HTTP on :%d", rules.route_namespace, rules.parent.ref, listener.port)
    tasks = [asyncio.create_task(part) for part in (listener.run(), reconciler.run())]
    try:
        await _first(reconciler.surveyed.wait(), stopping.wait(), *tasks)
        if not stopping.is_set():
            await _first(watch(client, reconciler, stopping), *tasks)
        if not stopping.is_set():
            raise StartError("the watches have ended; see the log")
    finally:
        listener.stop()
        tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _first(*parts: object) -> None:
    """Waits for the first part to end, and raises what it raised; tasks that are given live on."""
    own = [asyncio.ensure_future(part) for part in parts]  # type: ignore[call-overload]
    try:
        done, _ = await asyncio.wait(own, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task, part in zip(own, parts, strict=True):
            if task is not part:
                task.cancel()


def serve(settings: ControllerSettings) -> None:
    """Runs the controller until SIGTERM or SIGINT; raises StartError when it cannot start."""

    async def main() -> None:
        stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
        await run(settings, stopping)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())

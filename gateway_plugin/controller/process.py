"""The controller's composition root: connect, serve probes, watch, and reconcile."""

from __future__ import annotations

import asyncio
import logging
import random
import signal
import socket
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import uvloop

from gateway_plugin.controller.controller_api import controller_api
from gateway_plugin.controller.following import Followers
from gateway_plugin.controller.leader_election import LeaderElection
from gateway_plugin.controller.orchestrating import Orchestration
from gateway_plugin.controller.reconciler import Reconciler
from gateway_plugin.controller.route_client import KubeError, connected
from gateway_plugin.grpc.listeners import HttpListener
from gateway_plugin.settings.start_error import StartError

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from gateway_plugin.controller.controller_settings import ControllerSettings
    from gateway_plugin.controller.route_client import KubeClient

LEASE_NAME = "gateway-plugin-controller"

logger = logging.getLogger(__name__)


async def run(settings: ControllerSettings, stopping: asyncio.Event) -> None:
    """Runs until `stopping` is set; raises StartError when it cannot start, and whatever ends a part of it."""
    try:
        async with connected(settings.kubeconfig, agent="controller") as client:
            rng = random.Random()
            reconciler = Reconciler(
                client,
                settings.rules,
                settings.namespaces,
                resync_seconds=settings.resync_seconds,
                now=lambda: datetime.now(UTC),
                rng=rng,
            )
            followers = Followers(client.api, reconciler.store, settings.namespaces, reconciler.wake, rng)
            orchestration = _orchestration(settings, client)
            api = controller_api(reconciler, followers, orchestration)
            listener = HttpListener(api, settings.bind_host, settings.controller_port, "controller_port")
            rules = reconciler.rules
            logger.info("routes in %s for %s; HTTP on :%d", rules.route_namespace, rules.parent.ref, listener.port)
            await _until(
                stopping,
                [followers.run(), reconciler.run(), *([orchestration.run()] if orchestration else [])],
                listener,
            )
    except KubeError as error:
        raise StartError(str(error)) from None


def _orchestration(settings: ControllerSettings, client: KubeClient) -> Orchestration | None:
    """Adapters and autoscalers, where they are switched on."""
    rules = settings.orchestration
    if not rules.any:
        return None
    identity = f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}"
    election = LeaderElection(client, settings.route_namespace, LEASE_NAME, identity, now=lambda: datetime.now(UTC))
    return Orchestration(client, election, rules, settings.namespaces)


async def _until(stopping: asyncio.Event, parts: list[Coroutine[Any, Any, None]], listener: HttpListener) -> None:
    serving = asyncio.create_task(listener.run())
    tasks = [asyncio.create_task(part) for part in (stopping.wait(), *parts)]
    try:
        done, _ = await asyncio.wait([serving, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        listener.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(serving, *tasks, return_exceptions=True)


def serve(settings: ControllerSettings) -> None:
    """Runs the controller until SIGTERM or SIGINT; raises StartError when it cannot start."""

    async def main() -> None:
        stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
        await run(settings, stopping)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())

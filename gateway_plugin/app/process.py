"""The life of the process: start, become ready, drain, stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import uvloop

from gateway_plugin.app.announcing import announce
from gateway_plugin.app.assembly import Assembly
from gateway_plugin.app.changeable import changeable, check_strategy, check_whole
from gateway_plugin.app.reloading import Reloading
from gateway_plugin.app.served import listen
from gateway_plugin.app.tracing_parts import stop_tracing
from gateway_plugin.pods.discovery_error import DiscoveryError
from gateway_plugin.pods.node import EndpointsError
from gateway_plugin.settings.start_error import StartError
from ratelimit import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from gateway_plugin.settings.loading import Loaded

logger = logging.getLogger(__name__)

# Envoy sends its log every second; what it has not sent when we go is lost.
_LOG_SECONDS = 1.2
_FLUSH_SECONDS = 2.0
"""For the last log entries to be charged."""
_GRACE_SECONDS = 1.0
"""For calls that are open when the drain is over."""


class App:
    """One plugin process."""

    def __init__(self, parts: Assembly) -> None:
        self.parts = parts

    async def run(self, stopping: asyncio.Event, hurrying: asyncio.Event) -> None:
        """Serves until `stopping` is set, then drains, until `hurrying` is; raises StartError when it cannot start."""
        try:
            await self._prepare()
            grpc, http_listeners = listen(self.parts)
            # Who does not know yet which models there are lets Envoy ask another replica.
            self.parts.processor.refuses_calls = True
            await grpc.start()
            self.parts.health.set_serving(False)
            announce(self.parts.settings)
            # What stands now stays: 100,000 objects that a full collection would look at for a tenth of a second.
            gc.collect()
            gc.freeze()
            # A part that fails for good ends the process: a supervisor restarts it, and nothing limps on unseen.
            async with asyncio.TaskGroup() as group:
                background = [group.create_task(part.run()) for part in self.parts.parts()]
                background.append(group.create_task(self._become_ready()))
                for listener in http_listeners:
                    group.create_task(listener.run())
                await stopping.wait()
                await _first(self._drain(), hurrying.wait())
                await grpc.stop(_GRACE_SECONDS)
                await self.parts.access_log.flush(timeout_seconds=_FLUSH_SECONDS)
                self.parts.models.stop_streams()
                self.parts.live.close()
                for listener in http_listeners:
                    listener.stop()
                for task in background:
                    task.cancel()
        finally:
            await self.parts.models.close()
            await self.parts.limiter.close()
            await stop_tracing(self.parts.tracing)

    async def _prepare(self) -> None:
        """Everything that can be wrong with the configuration shows here, before any port is open."""
        check_strategy(self.parts.router, self.parts.settings.routing.default_strategy)
        try:
            self.parts.models.known.discovered(await self.parts.discovery.load())
        except (EndpointsError, DiscoveryError) as error:
            raise StartError(str(error)) from None
        try:
            await self.parts.limiter.store.ping()
        except StoreUnavailable as error:
            message = f"redis cannot be reached: {error}; start it, or correct GATEWAY_REDIS_URL"
            if self.parts.settings.users.store_down == "closed":
                raise StartError(message) from None
            logger.warning("%s; until it answers, limits are decided here (store_down)", message)
        await self.parts.models.load()

    async def _become_ready(self) -> None:
        await self.parts.discovery.first_state()
        if not self.parts.draining:
            self.parts.processor.refuses_calls = False
            self.parts.health.set_serving(True)

    async def _drain(self) -> None:
        """Withdraws readiness and goes on as before, until Envoy has noticed; then refuses new calls, waits for open
        ones, and for what the access log still has to say of them."""
        process, processor = self.parts.settings.process, self.parts.processor
        self.parts.draining = True
        self.parts.health.set_serving(False)
        logger.info("draining: %d requests in flight", processor.open_exchanges)
        await asyncio.sleep(min(process.drain_grace_seconds, process.drain_seconds))
        processor.refuses_calls = True
        with suppress(TimeoutError):
            await asyncio.wait_for(processor.idle.wait(), process.drain_seconds)
        if self.parts.settings.usage.accounting == "access_log":
            await asyncio.sleep(max(0.0, processor.last_end_seconds + _LOG_SECONDS - time.perf_counter()))

    def follow_settings(self, reloading: Reloading) -> None:
        """From the start on; SIGHUP makes it look at once."""
        self.parts.reloading = reloading
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reloading.ask)
        self.parts.followed.follow("settings", reloading.reloads)


def serve(
    loaded: Loaded, load: Callable[[], Loaded], file: Path | None = None, assemble: type[Assembly] = Assembly
) -> None:
    """Runs the service until SIGTERM or SIGINT; a second one ends the draining. Raises StartError.

    `load` reads the settings anew, at SIGHUP and when `file` changes.
    """

    async def main() -> None:
        stopping, hurrying = asyncio.Event(), asyncio.Event()

        def stop() -> None:
            (hurrying if stopping.is_set() else stopping).set()

        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop)
        parts = assemble(loaded.settings, loaded.origins)
        app = App(parts)
        app.follow_settings(Reloading(loaded, load, file, changeable(parts), partial(check_whole, parts.router)))
        await app.run(stopping, hurrying)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


async def _first(*parts: Coroutine[Any, Any, object]) -> None:
    """Until one of them is done; the others are cancelled."""
    tasks = [asyncio.create_task(part) for part in parts]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

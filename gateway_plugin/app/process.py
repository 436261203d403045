"""The composition root: build the parts, start, drain, stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import signal
import time
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import uvloop

from gateway_plugin.accounting.access_lines import LineWriter
from gateway_plugin.accounting.accountant import GATHER_SECONDS, Accountant
from gateway_plugin.accounting.limiting import defaults_of
from gateway_plugin.accounting.log_service import AccessLogService
from gateway_plugin.app.live_wiring import (
    TroubleWatch,
    discovery_troubles,
    engine_troubles,
    limiter_state,
    new_live_feed,
    register_process,
    unheard_log_troubles,
)
from gateway_plugin.app.model_service import ModelService
from gateway_plugin.app.parts import bounds_of, engine_keys_of, limiter_of, pod_health_of, rules_of, tls_of
from gateway_plugin.app.reloading import Reloading
from gateway_plugin.exchange.collaborators import Services
from gateway_plugin.exchange.processor import ExternalProcessor
from gateway_plugin.grpc.grpc_health import GrpcHealth
from gateway_plugin.grpc.http2 import bounds as wire_bounds
from gateway_plugin.grpc.listeners import GrpcListener, HttpListener, address, grpc_listener
from gateway_plugin.http.admin import is_beyond_loopback, is_public_to_operators
from gateway_plugin.http.announced import AnnouncedStore
from gateway_plugin.http.debug import debug_router
from gateway_plugin.http.error_responses import new_app
from gateway_plugin.http.explain import explain_router
from gateway_plugin.http.live_feed import LiveFeed, live_router
from gateway_plugin.http.live_page import add_live_page
from gateway_plugin.http.live_snapshot import LiveSources
from gateway_plugin.http.load_report import load_router
from gateway_plugin.http.ops import ops_router
from gateway_plugin.http.readable import ReadableByPages
from gateway_plugin.http.users_aibrix import users_router
from gateway_plugin.http.users_rest import users_rest_router
from gateway_plugin.metrics.collectors import (
    Exchanges,
    ExchangesCollector,
    LimiterCollector,
    PrefixIndexCollector,
    WaitingCollector,
)
from gateway_plugin.metrics.families import Metrics
from gateway_plugin.metrics.process_metrics import LAG_EVERY_SECONDS, LoopLag
from gateway_plugin.metrics.stories import Stories
from gateway_plugin.peers.post import charge_ids, new_replica_id
from gateway_plugin.peers.setup import new_sharing
from gateway_plugin.pods.discovery_error import DiscoveryError
from gateway_plugin.pods.engines.engine_metrics import EngineCollector
from gateway_plugin.pods.engines.health_checks import HealthChecks
from gateway_plugin.pods.engines.health_collector import HealthCollector
from gateway_plugin.pods.engines.scraper import Scraper
from gateway_plugin.pods.node import EndpointsError
from gateway_plugin.pods.reload_metrics import ReloadCollector
from gateway_plugin.pods.source import new_discovery
from gateway_plugin.settings.identity_settings import API_KEY, HEADER
from gateway_plugin.settings.nearest import did_you_mean
from gateway_plugin.settings.pacing import seconds_to_moment
from gateway_plugin.settings.shown_settings import shown_settings
from gateway_plugin.settings.start_error import StartError
from ratelimit import MemoryStore, RedisStore, StoreUnavailable
from ratelimit.outage.breaker import BreakerState
from routing.pods.pod_table import PodTable
from routing.router import Router

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from pathlib import Path

    from fastapi import FastAPI

    from gateway_plugin.app.reloading import Changeable
    from gateway_plugin.http.live_shape import Trouble
    from gateway_plugin.pods.source import Discovery
    from gateway_plugin.settings.loading import Loaded
    from gateway_plugin.settings.settings import Settings

logger = logging.getLogger(__name__)

# Envoy sends its log every second; what it has not sent when we go is lost.
_LOG_SECONDS = 1.2
_FLUSH_SECONDS = 2.0
"""For the last log entries to be charged."""
_GRACE_SECONDS = 1.0
"""For calls that are open when the drain is over."""
# What a decision weighed is kept for all of a quiet gateway, and for 200 a second of a busy one.
_EXPLAIN_EVERY_SECONDS = 0.005
_HEALTH_NAMES = ("", "gateway-plugin")


class _Part(Protocol):
    """Something that runs as long as the process does."""

    async def run(self) -> None: ...


class App:
    """One plugin process."""

    def __init__(self, settings: Settings, origins: Mapping[str, str] = MappingProxyType({})) -> None:
        """`origins`: where the value of each setting comes from."""
        self.settings = settings
        self.origins = origins
        self.metrics = Metrics()
        self.replica_id = new_replica_id()
        self.pods = PodTable(time.monotonic, health=pod_health_of(settings.routing))
        self.router = Router(
            self.pods,
            np.random.default_rng(),
            settings.routing.target_candidates,
            settings.overload.max_inflight_per_pod,
            explain_every_seconds=_EXPLAIN_EVERY_SECONDS,
        )
        self.stories = Stories(settings.operators.kept_requests)
        logs = settings.logs
        self.line_writer = LineWriter(logs.access_lines, logs.access_sample_ratio, random.random)
        self.line_writer.listen(self.stories)
        self.rules = rules_of(settings)
        self.limiter = limiter_of(settings)
        self.engine_keys = engine_keys_of(settings.engines)
        self.models = self._new_models()
        self.sharing = new_sharing(
            settings, self.replica_id, self.pods, self.router, self.metrics.registry, lambda: self.limiter.replicas
        )
        accountant = Accountant(
            self.limiter,
            self.pods,
            self.router,
            self.metrics,
            self.models.windows,
            self.stories,
            GATHER_SECONDS if self.limiter.is_shared else 0.0,
        )
        self.access_log = AccessLogService(accountant)
        self.processor = ExternalProcessor(
            self._services(), self.limiter, self.access_log.book_soon, bounds_of(settings)
        )
        self.access_log.on_finished = self.processor.parked.release
        if self.sharing is not None:
            self.sharing.post.on_received = self.processor.parked.release
        self.scraper = Scraper(self.pods, random.Random(), interval_seconds=settings.pods.scrape_interval_seconds)
        self.health_checks = HealthChecks(self.pods)
        self.metrics.registry.register(EngineCollector(self.pods, self.scraper.outcomes))
        self.metrics.registry.register(HealthCollector(self.pods, self.health_checks.outcomes))
        self.metrics.registry.register(PrefixIndexCollector(self.router.prefixes))
        self.metrics.registry.register(ExchangesCollector(self._open_exchanges))
        self.loop_lag = LoopLag(lambda now: seconds_to_moment(now, LAG_EVERY_SECONDS))
        register_process(self.metrics, self.loop_lag, settings, lambda: self.router.silent)
        if settings.overload.queue_length:
            self.metrics.registry.register(WaitingCollector(self.processor.waiting.lengths, self.pods.models))
        resilient = self.limiter.resilient
        if resilient is not None:
            self.metrics.registry.register(
                LimiterCollector(
                    lambda: resilient.counts,
                    lambda: resilient.state is not BreakerState.CLOSED,
                    lambda: self.limiter.refused_items,
                )
            )
        self.live = self._new_live_feed()
        self._reloading: Reloading | None = None
        self.draining = False
        self._discovery = self._new_discovery()
        self._followed = ReloadCollector(self._discovery.followed())
        self.metrics.registry.register(self._followed)
        for collector in self._discovery.collectors():
            self.metrics.registry.register(collector)
        self._health = GrpcHealth(_HEALTH_NAMES)

    async def run(self, stopping: asyncio.Event, hurrying: asyncio.Event) -> None:
        """Serves until `stopping` is set, then drains, until `hurrying` is; raises StartError when it cannot start."""
        try:
            await self._prepare()
            grpc, http_listeners = self._listen()
            # Who does not know yet which models there are lets Envoy ask another replica.
            self.processor.refuses_calls = True
            await grpc.start()
            self._health.set_serving(False)
            self._announce()
            # What stands now stays: 100,000 objects that a full collection would look at for a tenth of a second.
            gc.collect()
            gc.freeze()
            # A part that fails for good ends the process: a supervisor restarts it, and nothing limps on unseen.
            async with asyncio.TaskGroup() as group:
                background = [group.create_task(part.run()) for part in self._parts()]
                background.append(group.create_task(self._become_ready()))
                for listener in http_listeners:
                    group.create_task(listener.run())
                await stopping.wait()
                await _first(self._drain(), hurrying.wait())
                await grpc.stop(_GRACE_SECONDS)
                await self.access_log.flush(timeout_seconds=_FLUSH_SECONDS)
                self.models.stop_streams()
                self.live.close()
                for listener in http_listeners:
                    listener.stop()
                for task in background:
                    task.cancel()
        finally:
            await self.models.close()
            await self.limiter.close()

    async def _prepare(self) -> None:
        """Everything that can be wrong with the configuration shows here, before any port is open."""
        self._check_strategy(self.settings.routing.default_strategy)
        try:
            self.models.known.discovered(await self._discovery.load())
        except (EndpointsError, DiscoveryError) as error:
            raise StartError(str(error)) from None
        try:
            await self.limiter.store.ping()
        except StoreUnavailable as error:
            message = f"redis cannot be reached: {error}; start it, or correct GATEWAY_REDIS_URL"
            if self.settings.users.store_down == "closed":
                raise StartError(message) from None
            logger.warning("%s; until it answers, limits are decided here (store_down)", message)
        await self.models.load()

    def _listen(self) -> tuple[GrpcListener, list[HttpListener]]:
        listeners = self.settings.listeners
        host = listeners.bind_host
        methods = {**self.processor.methods(), **self._health.methods()}
        if self.settings.usage.accounting == "access_log":
            methods |= self.access_log.methods()
        bounds = wire_bounds.Bounds(
            max_message_bytes=listeners.grpc_max_message_bytes, memory_bytes=listeners.request_memory_bytes
        )
        grpc = grpc_listener(listeners.transport, host, listeners.grpc_port, methods, bounds, tls_of(self.settings.tls))
        http_listeners = [
            HttpListener(self._ops_api(), host, listeners.ops_port, "ops_port"),
            HttpListener(self._public_api(), host, listeners.api_port, "api_port"),
        ]
        return grpc, http_listeners

    def _parts(self) -> list[_Part]:
        parts: list[_Part] = [
            self._discovery,
            self.scraper,
            self.health_checks,
            self.limiter,
            self.processor,
            self.models,
            self.engine_keys,
        ]
        parts += [self.loop_lag, TroubleWatch(self._accounting_troubles)]
        parts += [self._reloading] if self._reloading is not None else []
        parts += [self.live] if self.settings.operators.live_feed else []
        return [*parts, self.sharing] if self.sharing is not None else parts

    async def _become_ready(self) -> None:
        await self._discovery.first_state()
        if not self.draining:
            self.processor.refuses_calls = False
            self._health.set_serving(True)

    async def _drain(self) -> None:
        """Withdraws readiness and goes on as before, until Envoy has noticed; then refuses new calls, waits for open
        ones, and for what the access log still has to say of them."""
        process, processor = self.settings.process, self.processor
        self.draining = True
        self._health.set_serving(False)
        logger.info("draining: %d requests in flight", processor.open_exchanges)
        await asyncio.sleep(min(process.drain_grace_seconds, process.drain_seconds))
        processor.refuses_calls = True
        with suppress(TimeoutError):
            await asyncio.wait_for(processor.idle.wait(), process.drain_seconds)
        if self.settings.usage.accounting == "access_log":
            await asyncio.sleep(max(0.0, processor.last_end_seconds + _LOG_SECONDS - time.perf_counter()))

    def _open_exchanges(self) -> list[Exchanges]:
        processor, overload = self.processor, self.settings.overload
        return [
            Exchanges("working", processor.working, overload.max_inflight_exchanges),
            Exchanges("uploading", len(processor.uploads.waiting), overload.max_uploads),
        ]

    def _services(self) -> Services:
        return Services(
            self.router,
            self.rules,
            self.metrics,
            charge_ids(self.replica_id),
            time.perf_counter,
            self.limiter.refusal,
            is_known=None if isinstance(self.limiter.store, MemoryStore) else self.limiter.is_known,
            listeners_refusal=self.models.listeners.refusal,
            may_wait=self.settings.overload.queue_length > 0,
            may_hold=self.settings.overload.held_requests > 0,
            outcomes_are_told=self.settings.usage.accounting != "none",
            follows_responses=self.settings.usage.accounting == "ext_proc",
            stories=self.stories,
            names=self.models.live.names,
            engine_keys=self.engine_keys,
        )

    def _new_discovery(self) -> Discovery:
        try:
            return new_discovery(self.settings, on_state=self.models.known.discovered)
        except DiscoveryError as error:
            raise StartError(str(error)) from None

    def _new_models(self) -> ModelService:
        try:
            return ModelService(
                self.settings,
                self.pods,
                self.metrics,
                lambda: not self._discovery.problem,
                self.engine_keys,
            )
        except ValueError as error:
            raise StartError(f"models.file: {error}") from None

    def _ops_api(self) -> FastAPI:
        api = new_app(
            "gateway-plugin operations",
            "Metrics, health and the state of routing.",
            # /debug/route takes whole requests.
            max_body_bytes=self.settings.listeners.grpc_max_message_bytes,
            admin_token=self.settings.identity.admin_token.get_secret_value(),
            is_public=is_public_to_operators,
        )
        api.include_router(
            ops_router(
                self.pods,
                self.limiter.health,
                self.metrics,
                lambda: self.draining,
                lambda: self._discovery.problem,
                self._refused,
            )
        )
        api.include_router(load_router(self.metrics, self.processor.waiting_lengths))
        for router in self.models.operators_routers():
            api.include_router(router)
        api.include_router(explain_router(self.router, self.rules, self.models.live.names))
        shown = shown_settings(self.settings, self.origins)
        if self.settings.operators.live_feed:
            api.include_router(live_router(self.live))
            add_live_page(api, self.settings.operators.playground_gateway, self.router.strategies())
        api.include_router(debug_router(self.stories, self.pods, self.router.prefixes, lambda: shown))
        return api

    def _public_api(self) -> FastAPI:
        store, token = self.limiter.store, self.settings.identity.admin_token.get_secret_value()
        api = new_app("gateway-plugin", "Users and models.", admin_token=token)
        if self.rules.web_pages is not None:
            api.add_middleware(ReadableByPages, pages=self.rules.web_pages)
        for router in self.models.public_routers(self.rules, self.limiter):
            api.include_router(router)
        # Other replicas, and this one, remember something of users: changes are announced where there is a Redis.
        users = AnnouncedStore(store, store, store) if isinstance(store, RedisStore) else store
        api.include_router(users_router(users, token))
        api.include_router(users_rest_router(users, self.limiter.limits, users, token))
        return api

    def follow_settings(self, reloading: Reloading) -> None:
        """From the start on; SIGHUP makes it look at once."""
        self._reloading = reloading
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reloading.ask)
        self._followed.follow("settings", reloading.reloads)

    def changeable(self) -> Changeable:
        """What takes over settings that may change while the process runs."""
        return {
            ("routing.default_strategy",): lambda new: self._use_strategy(new.routing.default_strategy),
            ("logs.level",): lambda new: logging.getLogger().setLevel(new.logs.level.upper()),
            ("logs.access_lines", "logs.access_sample_ratio"): lambda new: self.line_writer.change(
                new.logs.access_lines, new.logs.access_sample_ratio, self.stories
            ),
            ("users.default_rpm", "users.default_tokens_per_request", "identity.anonymous_rpm"): lambda new: (
                self.limiter.change_defaults(defaults_of(new))
            ),
        }

    def _accounting_troubles(self) -> list[Trouble]:
        if self.settings.usage.accounting != "access_log":
            return []
        return unheard_log_troubles(self.stories, self.access_log.batches_heard)

    def _use_strategy(self, strategy: str) -> None:
        self._check_strategy(strategy)
        self.processor.services.use_default_strategy(strategy)

    def _check_strategy(self, strategy: str) -> None:
        if strategy and self.router.policy(strategy) is None:
            known = self.router.strategies()
            allowed = f"{', '.join(known)}, or empty{did_you_mean(strategy, known)}"
            raise StartError(f"routing.default_strategy = {strategy!r}: no such strategy; allowed: {allowed}")

    def _refused(self) -> str:
        """Why a changed configuration is not in effect."""
        settings = self._reloading.refused if self._reloading is not None else ""
        return "; ".join(filter(None, (settings, self._discovery.refused)))

    def _new_live_feed(self) -> LiveFeed:
        sources = LiveSources(
            self.pods,
            self.router.prefixes,
            self.stories,
            self.metrics,
            self.models.windows,
            self.processor.waiting.lengths,
            lambda: limiter_state(self.limiter, limited=self.rules.limited),
            self._troubles,
            lambda: not self.draining and not self._discovery.problem,
            self.settings.process.replica,
        )
        return new_live_feed(sources)

    def _troubles(self) -> list[Trouble]:
        return [
            *discovery_troubles(self._discovery.problem, self._refused()),
            *engine_troubles(self.models.findings.all()),
            *self._accounting_troubles(),
        ]

    def _announce(self) -> None:
        settings = self.settings
        logger.info(
            "serving ext_proc on %s, operations on :%d, users and models on :%d; limits in %s; default strategy %s",
            address(settings.listeners.bind_host, settings.listeners.grpc_port),
            settings.listeners.ops_port,
            settings.listeners.api_port,
            "redis" if settings.redis.effective_url else "this process's memory",
            settings.routing.default_strategy or "none (Envoy balances)",
        )
        logger.info(
            "who asks is proven by: %s; requests in nobody's name: %s",
            ", ".join(sorted(settings.identity.proofs)),
            "401" if settings.identity.proofs == {API_KEY} else settings.identity.anonymous,
        )
        if HEADER in settings.identity.proofs:
            logger.warning(
                "a `user` header is believed, as in AIBrix: only for networks where all who reach Envoy are trusted;"
                " elsewhere set GATEWAY_IDENTITY_PROOFS=api-key"
            )
        if is_beyond_loopback(settings.listeners.bind_host) and not settings.identity.admin_token.get_secret_value():
            logger.warning(
                "users, registry and webhooks on :%d are open to everybody; set GATEWAY_ADMIN_TOKEN",
                settings.listeners.api_port,
            )


def serve(loaded: Loaded, load: Callable[[], Loaded], file: Path | None = None) -> None:
    """Runs the service until SIGTERM or SIGINT; a second one ends the draining. Raises StartError.

    `load` reads the settings anew, at SIGHUP and when `file` changes.
    """

    async def main() -> None:
        stopping, hurrying = asyncio.Event(), asyncio.Event()

        def stop() -> None:
            (hurrying if stopping.is_set() else stopping).set()

        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop)
        app = App(loaded.settings, loaded.origins)
        app.follow_settings(Reloading(loaded, load, file, app.changeable()))
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

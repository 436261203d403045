"""The composition root: build the parts, start, drain, stop."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import signal
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import uvloop
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from gateway_plugin.accounting.access_log import AccessLogService
from gateway_plugin.accounting.accountant import Accountant
from gateway_plugin.api.admin import is_beyond_loopback
from gateway_plugin.api.announced import AnnouncedStore
from gateway_plugin.api.errors import new_app
from gateway_plugin.api.explain import explain_router
from gateway_plugin.api.models import models_router
from gateway_plugin.api.ops import ops_router
from gateway_plugin.api.users import users_router
from gateway_plugin.api.users_rest import users_rest_router
from gateway_plugin.discovery.file import FileDiscovery
from gateway_plugin.discovery.node import EndpointsError
from gateway_plugin.engines.collector import EngineCollector
from gateway_plugin.engines.scraper import Scraper
from gateway_plugin.extproc.exchange import Exchange, Services
from gateway_plugin.extproc.service import ExternalProcessor
from gateway_plugin.intent.headers import Rules
from gateway_plugin.intent.identity import IdentityRules
from gateway_plugin.limiting import Limiting
from gateway_plugin.listeners import GrpcListener, HttpListener, StartError, address
from gateway_plugin.metrics import LimiterCollector, Metrics, PrefixIndexCollector
from ratelimit import RedisStore, StoreUnavailable
from ratelimit.breaker import State
from routing.pods import PodTable
from routing.router import Router

if TYPE_CHECKING:
    from fastapi import FastAPI

    from gateway_plugin.settings import Settings

logger = logging.getLogger(__name__)

_HEALTH_NAMES = ("", "gateway-plugin")


class App:
    """One plugin process."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.pods = PodTable(time.monotonic)
        self.router = Router(self.pods, np.random.default_rng(), settings.target_candidates)
        self.rules = _rules(settings)
        self.limiter = _limiter(settings)
        self.processor = ExternalProcessor(partial(Exchange, self._services()), self.limiter)
        self.scraper = Scraper(self.pods, random.Random(), interval_seconds=settings.scrape_interval_seconds)
        self.metrics.registry.register(EngineCollector(self.pods, self.scraper.outcomes))
        self.metrics.registry.register(PrefixIndexCollector(self.router.prefixes))
        resilient = self.limiter.resilient
        if resilient is not None:
            self.metrics.registry.register(
                LimiterCollector(lambda: resilient.counts, lambda: resilient.state is not State.CLOSED)
            )
        self.draining = False
        self._discovery = self._new_discovery()
        self._health = health.aio.HealthServicer()

    async def run(self, stopping: asyncio.Event) -> None:
        """Serves until `stopping` is set, then drains; raises StartError when it cannot start."""
        try:
            await self._prepare()
            grpc_listener, http_listeners = self._listen()
            await grpc_listener.server.start()
            await self._set_health(health_pb2.HealthCheckResponse.SERVING)
            self._announce()
            # A part that fails for good ends the process: a supervisor restarts it, and nothing limps on unseen.
            async with asyncio.TaskGroup() as group:
                parts = (self._discovery.run(), self.scraper.run(), self.limiter.run())
                background = [group.create_task(part) for part in parts]
                for listener in http_listeners:
                    group.create_task(listener.run())
                await stopping.wait()
                await self._drain()
                await grpc_listener.server.stop(grace=1.0)
                for listener in http_listeners:
                    listener.stop()
                for task in background:
                    task.cancel()
        finally:
            await self.limiter.close()

    async def _prepare(self) -> None:
        """Everything that can be wrong with the configuration shows here, before any port is open."""
        strategy = self.settings.default_strategy
        if strategy and self.router.policy(strategy) is None:
            known = ", ".join(self.router.strategies())
            raise StartError(f"default_strategy = {strategy!r}: no such strategy; allowed: {known}, or empty")
        try:
            self.pods.apply(await self._discovery.load())
        except EndpointsError as error:
            raise StartError(str(error)) from None
        try:
            await self.limiter.store.ping()
        except StoreUnavailable as error:
            message = f"redis cannot be reached: {error}; start it, or correct GATEWAY_REDIS_URL"
            if self.settings.store_down == "closed":
                raise StartError(message) from None
            logger.warning("%s; until it answers, limits are decided here (store_down)", message)

    def _listen(self) -> tuple[GrpcListener, list[HttpListener]]:
        settings, host = self.settings, self.settings.bind_host
        handlers = [self.processor.handler()]
        if settings.accounting == "access_log":
            accountant = Accountant(self.limiter, self.pods, self.router, self.metrics)
            handlers.append(AccessLogService(accountant).handler())
        grpc_listener = GrpcListener(host, settings.grpc_port, handlers, settings.grpc_max_message_bytes)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, grpc_listener.server)
        http_listeners = [
            HttpListener(self._ops_api(), host, settings.ops_port, "ops_port"),
            HttpListener(self._public_api(), host, settings.api_port, "api_port"),
        ]
        return grpc_listener, http_listeners

    async def _drain(self) -> None:
        """Withdraws readiness, then waits for open exchanges, at most `drain_seconds`."""
        self.draining = True
        await self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        logger.info("draining: %d requests in flight", self.processor.open_exchanges)
        with suppress(TimeoutError):
            await asyncio.wait_for(self.processor.idle.wait(), self.settings.drain_seconds)

    async def _set_health(self, status: health_pb2.HealthCheckResponse.ServingStatus) -> None:
        for name in _HEALTH_NAMES:
            await self._health.set(name, status)

    def _services(self) -> Services:
        return Services(
            self.router,
            self.rules,
            self.metrics,
            _new_id,
            time.perf_counter,
            self.limiter.refusal,
            outcomes_are_told=self.settings.accounting == "access_log",
        )

    def _new_discovery(self) -> FileDiscovery:
        if self.settings.endpoints_file is None:
            raise StartError("endpoints_file is not set; set GATEWAY_ENDPOINTS_FILE to a file of models and their pods")
        return FileDiscovery(self.settings.endpoints_file, on_state=self.pods.apply)

    def _ops_api(self) -> FastAPI:
        api = new_app("gateway-plugin operations", "Metrics, health and the state of routing.")
        api.include_router(ops_router(self.pods, self.limiter.health, self.metrics, lambda: self.draining))
        api.include_router(models_router(self.pods))
        api.include_router(explain_router(self.router, self.rules))
        return api

    def _public_api(self) -> FastAPI:
        api = new_app("gateway-plugin", "Users and models.")
        store, token = self.limiter.store, self.settings.admin_token.get_secret_value()
        # Other replicas, and this one, remember something of users: changes are announced where there is a Redis.
        users = AnnouncedStore(store, store, store) if isinstance(store, RedisStore) else store
        api.include_router(users_router(users, token))
        api.include_router(users_rest_router(users, self.limiter.limits, users, token))
        api.include_router(models_router(self.pods))
        return api

    def _announce(self) -> None:
        settings = self.settings
        logger.info(
            "serving ext_proc on %s, operations on :%d, users and models on :%d; limits in %s; default strategy %s",
            address(settings.bind_host, settings.grpc_port),
            settings.ops_port,
            settings.api_port,
            "redis" if settings.effective_redis_url else "this process's memory",
            settings.default_strategy or "none (Envoy balances)",
        )
        if is_beyond_loopback(settings.bind_host) and not settings.admin_token.get_secret_value():
            logger.warning("the users API on :%d is open to everybody; set GATEWAY_ADMIN_TOKEN", settings.api_port)


def serve(settings: Settings) -> None:
    """Runs the service until SIGTERM or SIGINT; raises StartError when it cannot start."""

    async def main() -> None:
        stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
        await App(settings).run(stopping)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def _rules(settings: Settings) -> Rules:
    filter_keys = frozenset(key.strip() for key in settings.external_filter_keys.split(",") if key.strip())
    identity = IdentityRules(
        bearer_token=settings.auth_bearer_token.get_secret_value(),
        api_keys=settings.api_keys,
        forward_api_keys=settings.forward_api_keys,
        anonymous=settings.anonymous,
    )
    limited = settings.limits == "on"
    return Rules(settings.default_strategy, identity, limited, settings.stream_usage, filter_keys)


def _limiter(settings: Settings) -> Limiting:
    try:
        return Limiting(settings)
    except ValueError as error:
        raise StartError(f"redis_url: {error}") from None


def _new_id() -> str:
    return secrets.token_hex(16)

"""Everything behind `/v1/models`, put together: where it comes from, where it is kept, who is told, who may ask."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from gateway_plugin.http.event_listeners import Listeners
from gateway_plugin.http.model_events import model_events_router
from gateway_plugin.http.models import models_router, sees_everything
from gateway_plugin.http.registry_router import registry_router
from gateway_plugin.http.viewers import Viewers
from gateway_plugin.http.webhooks import webhooks_router
from gateway_plugin.models.catalogue.catalogue import Catalogue
from gateway_plugin.models.catalogue.describing import Describer
from gateway_plugin.models.catalogue.figures import FigureBook
from gateway_plugin.models.catalogue.pages import Pages
from gateway_plugin.models.catalogue.usage_windows import LatencyWindows
from gateway_plugin.models.live.catalogue_metrics import CatalogueCollector
from gateway_plugin.models.live.live_catalogue import LiveCatalogue, Sources
from gateway_plugin.models.store.registry_in_file import FileCatalogueStore, MemoryCatalogueStore
from gateway_plugin.models.store.registry_in_redis import RedisCatalogueStore
from gateway_plugin.models.webhooks.dead_letters import DeadLetters
from gateway_plugin.models.webhooks.delivery import http_sender
from gateway_plugin.models.webhooks.dispatcher import Dispatcher, Patience
from gateway_plugin.pods.engines.findings_book import FindingsCollector
from gateway_plugin.pods.engines.known_models import KnownModels
from gateway_plugin.pods.engines.model_poller import ModelPoller
from gateway_plugin.settings.engine_keys import NO_ENGINE_KEYS, EngineKeys
from gateway_plugin.settings.pacing import next_moment

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import APIRouter

    from gateway_plugin.accounting.limiting import Limiting
    from gateway_plugin.exchange.intent.request_rules import Rules
    from gateway_plugin.metrics.families import Metrics
    from gateway_plugin.models.store import CatalogueStore
    from gateway_plugin.models.webhooks.delivery import Send
    from gateway_plugin.settings.settings import Settings
    from routing.pods.pod_table import PodTable


class ModelService:
    """Raises ValueError for a store that cannot be used."""

    def __init__(
        self,
        settings: Settings,
        table: PodTable,
        metrics: Metrics,
        is_synced: Callable[[], bool] = lambda: True,
        engine_keys: EngineKeys = NO_ENGINE_KEYS,
    ) -> None:
        self.known = KnownModels(table.apply)
        """Discovery tells its states here, and not to the pod table."""
        self.windows = LatencyWindows(time.monotonic)
        self.listeners = Listeners()
        """Of events, on the public port."""
        self._settings = settings
        self._poller = ModelPoller(
            table, self.known, random.Random(), settings.models.poll_seconds or 1.0, keys=engine_keys
        )
        self._pages = Pages(FigureBook(table, self.windows, metrics.in_flight_by_model))
        describer = Describer(settings.models.owned_by, settings.pods.gpu_label_keys)
        self.live = LiveCatalogue(
            Catalogue(time.time, settings.models.keep_seconds, describer),
            Sources(table, self.known, is_synced, lambda: self._poller.settled or not settings.models.poll_seconds),
            _store(settings),
            f"{settings.process.replica}-{secrets.token_hex(4)}",
            pause=next_moment,
        )
        self.findings = self._poller.findings
        metrics.registry.register(CatalogueCollector(self.live))
        metrics.registry.register(FindingsCollector(self.findings))
        self.live.removed.append(metrics.forget_model)
        self._letters = DeadLetters(self.live.store)
        self._send: Send | None = None
        self._open = AsyncExitStack()

    async def load(self) -> None:
        """Before the first answer; call it when the first pods are known."""
        settings = self._settings
        sender = http_sender(settings.webhooks.timeout_seconds, private=settings.webhooks.private_targets)
        self._send = await self._open.enter_async_context(sender)
        patience = Patience(settings.webhooks.attempts)
        self.live.dispatcher = Dispatcher(self._send, self._letters.bury, random.Random(), patience)
        await self.live.load()

    async def run(self) -> None:
        """Follows pods, engines and other replicas until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.live.run())
            if self._settings.models.poll_seconds:
                group.create_task(self._poller.run())

    def stop_streams(self) -> None:
        """Ends event streams, which would end by themselves never."""
        self.live.events.close()

    async def close(self) -> None:
        """Keeps what is left to keep."""
        if self.live.dispatcher is not None:
            await self.live.dispatcher.stop()
        await self.live.close()
        await self._open.aclose()

    def public_routers(self, rules: Rules, limiter: Limiting) -> list[APIRouter]:
        """For everybody, each as far as they may see; registry and webhooks for the operator."""
        assert self._send is not None
        token = self._settings.identity.admin_token.get_secret_value()
        viewers = Viewers(rules, limiter, token)
        private = self._settings.webhooks.private_targets
        return [
            model_events_router(self.live.events, viewers.of, self.listeners, rules.identity.trusted_hops),
            models_router(self.live, self._pages, viewers.of),
            registry_router(self.live, token),
            webhooks_router(self.live, self._letters, self._send, private_targets=private, admin_token=token),
        ]

    def operators_routers(self) -> list[APIRouter]:
        """For a port that only operators reach: reading, without limits."""
        return [
            model_events_router(self.live.events, sees_everything, Listeners()),
            models_router(self.live, self._pages, sees_everything),
        ]


def _store(settings: Settings) -> CatalogueStore:
    if settings.redis.effective_url:
        return RedisCatalogueStore(settings.redis.effective_url, settings.redis.timeout_seconds)
    if settings.models.file is not None:
        return FileCatalogueStore(settings.models.file)
    return MemoryCatalogueStore()

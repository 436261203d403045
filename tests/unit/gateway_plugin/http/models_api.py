"""The models endpoint over HTTP in-process: a pod table, users, a store in memory."""

from __future__ import annotations

import time
from typing import Any

import httpx

from gateway_plugin.exchange.intent.request_rules import Rules
from gateway_plugin.http.error_responses import new_app
from gateway_plugin.http.event_listeners import Listeners
from gateway_plugin.http.model_events import model_events_router
from gateway_plugin.http.models import models_router
from gateway_plugin.http.registry_router import registry_router
from gateway_plugin.http.viewers import Viewers
from gateway_plugin.http.webhooks import webhooks_router
from gateway_plugin.models.catalogue.catalogue import Catalogue
from gateway_plugin.models.catalogue.figures import FigureBook
from gateway_plugin.models.catalogue.pages import Pages
from gateway_plugin.models.catalogue.usage_windows import LatencyWindows
from gateway_plugin.models.live.live_catalogue import LiveCatalogue, Sources
from gateway_plugin.models.store.registry_in_file import MemoryCatalogueStore
from gateway_plugin.models.webhooks.dead_letters import DeadLetters
from gateway_plugin.models.webhooks.delivery import DeliveryError
from gateway_plugin.models.webhooks.records import Webhook
from gateway_plugin.pods.engines.known_models import KnownModels
from ratelimit import MemoryStore, StoreUnavailable, UserRecord
from routing.pods.pod_table import PodTable
from routing.spec import ClusterState, PodSpec

TOKEN = "admin-token"


class Directory:
    """Users as the limiter knows them."""

    def __init__(self) -> None:
        self.store = MemoryStore(time.time)
        self.is_away = False

    async def owner_of_key(self, key_sha256: str, source: str = "") -> str | None:
        return await self.store.user_of_key(key_sha256)

    async def record_of(self, user: str) -> UserRecord | None:
        if self.is_away:
            raise StoreUnavailable("redis", "away")
        return await self.store.read(user)


class ModelsApi:
    def __init__(
        self, *models: str, admin_token: str = TOKEN, event_stream_seconds: float = 60.0, **rules: Any
    ) -> None:
        self.pods = PodTable(time.monotonic)
        known = KnownModels(self.pods.apply)
        pods = tuple(
            PodSpec(f"p{at}", f"10.0.{at // 250}.{at % 250}:8000", (model,), labels={"team": model[:1]})
            for at, model in enumerate(models)
        )
        known.discovered(ClusterState(pods, frozenset()))
        self.directory = Directory()
        self.live = LiveCatalogue(Catalogue(time.time), Sources(self.pods, known), MemoryCatalogueStore(), "test")
        self.letters = DeadLetters(self.live.store)
        self.sent: list[str] = []
        self.refuses = False
        viewers = Viewers(Rules(**rules), self.directory, admin_token)
        figures = FigureBook(self.pods, LatencyWindows(time.monotonic), dict)
        self.app = new_app("models", "")
        self.events_router = model_events_router(
            self.live.events, viewers.of, Listeners(), silence_seconds=0.05, longest_seconds=event_stream_seconds
        )
        self.app.include_router(self.events_router)
        self.app.include_router(models_router(self.live, Pages(figures), viewers.of))
        self.app.include_router(registry_router(self.live, admin_token))
        self.app.include_router(
            webhooks_router(self.live, self.letters, self.send, private_targets=False, admin_token=admin_token)
        )
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://api")

    async def send(self, webhook: Webhook, event_id: str, body: bytes) -> None:
        if self.refuses:
            raise DeliveryError("status 500, not taken")
        self.sent.append(f"{webhook.id} {event_id} {body.decode()}")

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.http.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    async def ids(self, **headers: str) -> list[str]:
        answer = await self.get("/v1/models", **headers)
        assert answer.status_code == 200, answer.text
        return [model["id"] for model in answer.json()["data"]]

    def as_admin(self, token: str = TOKEN) -> dict[str, str]:
        return {"authorization": f"Bearer {token}"}

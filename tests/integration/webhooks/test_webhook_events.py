"""From a pod to a receiver: one that fails twice, one that always fails, one that works."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import random
import time
from collections import defaultdict

from aiohttp import web

from gateway_plugin.models.catalogue.catalogue import Catalogue
from gateway_plugin.models.live.live_catalogue import LiveCatalogue, Sources
from gateway_plugin.models.store.registry_in_file import MemoryCatalogueStore
from gateway_plugin.models.webhooks.dead_letters import DeadLetters
from gateway_plugin.models.webhooks.delivery import http_sender
from gateway_plugin.models.webhooks.dispatcher import Dispatcher, Patience
from gateway_plugin.models.webhooks.records import Webhook, encode, new_secret, secret_key
from gateway_plugin.pods.engines.known_models import KnownModels
from routing.pods.pod_table import PodTable
from routing.spec import ClusterState, PodSpec

FAILURES = {"twice": 2, "always": 1000, "never": 0}


def is_signed(secret: str, headers: dict[str, str], body: bytes) -> bool:
    signed = b".".join((headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body))
    digest = hmac.new(secret_key(secret), signed, hashlib.sha256).digest()
    return headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"


async def test_from_a_pod_to_receivers():
    got: dict[str, list[tuple[dict[str, str], bytes]]] = defaultdict(list)

    async def receive(request: web.Request) -> web.Response:
        name = request.path[1:]
        got[name].append(({key.lower(): value for key, value in request.headers.items()}, await request.read()))
        return web.Response(status=500 if len(got[name]) <= FAILURES[name] else 204)

    app = web.Application()
    app.router.add_post("/{name}", receive)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]

    table = PodTable(time.monotonic)
    known = KnownModels(table.apply)
    store = MemoryCatalogueStore()
    letters = DeadLetters(store)
    webhooks = {name: Webhook(name, f"http://127.0.0.1:{port}/{name}", new_secret()) for name in FAILURES}
    await store.write("webhooks", {name: encode(webhook) for name, webhook in webhooks.items()})
    known.discovered(ClusterState((PodSpec("p", "10.0.0.1:8000", ("m",)),), frozenset()))
    live = LiveCatalogue(Catalogue(time.time), Sources(table, known), store, "test")
    async with http_sender(5.0, private=True) as send:
        live.dispatcher = Dispatcher(send, letters.bury, random.Random(7), Patience(4, 0.02, 0.1))
        await live.load()
        running = asyncio.create_task(live.run())
        await asyncio.sleep(0.1)
        known.discovered(ClusterState((), frozenset()))
        async with asyncio.timeout(20):
            while not (dead := await letters.of("always")) or len(got["twice"]) < 3:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await live.dispatcher.stop()
        await live.close()
    await runner.cleanup()

    assert {name: len(tries) for name, tries in got.items()} == {"twice": 3, "always": 4, "never": 1}
    for name, tries in got.items():
        assert all(is_signed(webhooks[name].secret, *one) for one in tries)
        assert len({headers["webhook-id"] for headers, _ in tries}) == 1, "receivers know a repetition by its id"
    event = json.loads(got["twice"][-1][1])
    assert (event["type"], event["data"]["previous_status"]) == ("model.status_changed", "ready")
    assert (event["data"]["model"]["id"], event["data"]["model"]["status"]) == ("m", "unavailable")
    (letter,) = dead
    assert (letter.attempts, letter.error, letter.event_id) == (4, "status 500, not taken", event["id"])
    assert await letters.of("twice") == await letters.of("never") == []

"""Who gets which event when, in virtual time; real receivers: the integration tests."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import random
from collections import defaultdict

import pytest

from gateway_plugin.models.catalogue.changes import Event, EventData
from gateway_plugin.models.catalogue.facts import ModelFacts, Status
from gateway_plugin.models.webhooks.delivery import DeliveryError
from gateway_plugin.models.webhooks.dispatcher import Dispatcher, Patience
from gateway_plugin.models.webhooks.records import DeadLetter, Webhook, new_secret, secret_key
from gateway_plugin.models.webhooks.signing import signed_headers

SECRET = "a-secret-of-sixteen"


def now() -> float:
    return asyncio.get_running_loop().time()


def event(number: int, kind: str = "model.added", model: str = "m") -> Event:
    facts = ModelFacts(id=model, created=0, owned_by="us", root=model, status=Status.READY)
    return Event(f"e{number}", kind, 0, EventData(facts))


class World:
    def __init__(self, *webhooks: Webhook, max_queued: int = 1000) -> None:
        self.attempts: dict[str, list[tuple[float, str]]] = defaultdict(list)
        self.refuses: dict[str, float] = {}
        """How many attempts of a webhook fail."""
        self.asks_to_wait = 0.0
        self.takes_seconds = 0.0
        self.dead: list[DeadLetter] = []
        self.dispatcher = Dispatcher(self.send, self.bury, random.Random(7), Patience(4, 1.0, 3.0), max_queued)
        self.dispatcher.configure({webhook.id: webhook for webhook in webhooks})

    async def send(self, webhook: Webhook, event_id: str, body: bytes) -> None:
        assert body.startswith(b'{"id":"e')
        self.attempts[webhook.id].append((now(), event_id))
        await asyncio.sleep(self.takes_seconds)
        if self.refuses.get(webhook.id, 0) > 0:
            self.refuses[webhook.id] -= 1
            raise DeliveryError("status 500, not taken", self.asks_to_wait)

    async def bury(self, letters: list[DeadLetter]) -> None:
        self.dead += letters


def webhook(name: str, events: tuple[str, ...] = (), models: tuple[str, ...] = ()) -> Webhook:
    return Webhook(name, "https://hooks.example/", SECRET, events, models)


@pytest.mark.looptime
async def test_the_third_try_succeeds():
    world = World(webhook("a"))
    world.refuses["a"] = 2
    world.dispatcher.publish([event(1)])
    await asyncio.sleep(60)
    times = [at for at, _ in world.attempts["a"]]
    assert len(times) == 3
    assert 0.5 <= times[1] - times[0] <= 1.0
    assert 1.0 <= times[2] - times[1] <= 2.0
    assert (world.dispatcher.delivered_total, world.dispatcher.failed_attempts_total, world.dead) == (1, 2, [])
    await world.dispatcher.stop()


@pytest.mark.looptime
async def test_one_that_always_fails_blocks_nobody():
    world = World(webhook("bad"), webhook("good"))
    world.refuses["bad"] = float("inf")
    world.dispatcher.publish([event(1), event(2)])
    await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    assert [event_id for _, event_id in world.attempts["good"]] == ["e1", "e2"]
    await asyncio.sleep(60)
    assert [(letter.event_id, letter.attempts, letter.error) for letter in world.dead] == [
        ("e1", 4, "status 500, not taken"),
        ("e2", 4, "status 500, not taken"),
    ]
    assert world.dispatcher.dead_total == 2
    await world.dispatcher.stop()


@pytest.mark.looptime
async def test_a_receiver_may_ask_to_wait():
    world = World(webhook("a"))
    world.refuses["a"], world.asks_to_wait = 1, 30.0
    world.dispatcher.publish([event(1)])
    await asyncio.sleep(60)
    times = [at for at, _ in world.attempts["a"]]
    assert times[1] - times[0] == pytest.approx(30.0, abs=0.01)
    await world.dispatcher.stop()


@pytest.mark.looptime
async def test_each_hears_what_it_asked_for():
    world = World(webhook("removals", events=("model.removed",)), webhook("of-n", models=("n",)))
    world.dispatcher.publish([event(1), event(2, "model.removed"), event(3, model="n")])
    await asyncio.sleep(1)
    assert [event_id for _, event_id in world.attempts["removals"]] == ["e2"]
    assert [event_id for _, event_id in world.attempts["of-n"]] == ["e3"]
    await world.dispatcher.stop()


@pytest.mark.looptime
async def test_a_full_queue_makes_dead_letters():
    world = World(webhook("slow"), max_queued=3)
    world.takes_seconds = 1000.0
    world.dispatcher.publish([event(number) for number in range(5)])
    await asyncio.sleep(1)
    assert [letter.event_id for letter in world.dead] == ["e3", "e4"]
    await world.dispatcher.stop()
    assert sorted(letter.event_id for letter in world.dead) == ["e0", "e1", "e2", "e3", "e4"], (
        "nothing is lost silently"
    )


@pytest.mark.looptime
async def test_a_webhook_that_is_deleted_is_heard_of_no_more():
    world = World(webhook("a"))
    world.refuses["a"] = float("inf")
    world.dispatcher.publish([event(1)])
    await asyncio.sleep(0.1)
    world.dispatcher.configure({})
    await asyncio.sleep(60)
    assert len(world.attempts["a"]) == 1
    await world.dispatcher.stop()
    assert world.dead == []


def test_signatures_are_those_of_standard_webhooks():
    secret, body = new_secret(), b'{"a":1}'
    headers = signed_headers(secret, "evt_1", 1700000000.9, body)
    key = base64.b64decode(secret.removeprefix("whsec_"))
    expected = base64.b64encode(hmac.new(key, b'evt_1.1700000000.{"a":1}', hashlib.sha256).digest()).decode()
    assert headers == {
        "webhook-id": "evt_1",
        "webhook-timestamp": "1700000000",
        "webhook-signature": f"v1,{expected}",
    }


@pytest.mark.parametrize("secret", ["whsec_!!!", "whsec_YWJj", "short"])
def test_secrets_that_are_none(secret: str):
    with pytest.raises(ValueError, match=r"base64|bytes"):
        secret_key(secret)


def test_a_webhook_shows_no_secret():
    assert SECRET not in repr(webhook("a"))
    assert secret_key(SECRET) == SECRET.encode()

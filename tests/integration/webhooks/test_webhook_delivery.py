"""Webhooks over real HTTP: signatures as receivers check them, failures as they happen."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from gateway_plugin.models.webhooks.delivery import DeliveryError, Send, http_sender
from gateway_plugin.models.webhooks.records import Webhook, new_secret, secret_key


class Receiver:
    """Answers with the statuses it is told, the last one for ever."""

    def __init__(self) -> None:
        self.statuses = [200]
        self.headers: dict[str, str] = {}
        self.delay_seconds = 0.0
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.port = 0

    async def handle(self, request: web.Request) -> web.Response:
        self.got.append(({name.lower(): value for name, value in request.headers.items()}, await request.read()))
        await asyncio.sleep(self.delay_seconds)
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return web.Response(status=status, headers=self.headers)

    def webhook(self, host: str = "127.0.0.1") -> Webhook:
        return Webhook("wh_1", f"http://{host}:{self.port}/hook", new_secret())


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.port = runner.addresses[0][1]
    yield made
    await runner.cleanup()


@pytest.fixture
async def send() -> AsyncIterator[Send]:
    async with http_sender(1.0, private=True) as opened:
        yield opened


async def test_a_receiver_can_check_who_sent_it(receiver: Receiver, send: Send):
    webhook = receiver.webhook()
    await send(webhook, "evt_1", b'{"type":"model.added"}')
    ((headers, body),) = receiver.got
    signed = b".".join((headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body))
    signature = hmac.new(secret_key(webhook.secret), signed, hashlib.sha256).digest()
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(signature).decode()}"
    assert (headers["webhook-id"], headers["content-type"]) == ("evt_1", "application/json")
    assert webhook.secret not in str(headers)


@pytest.mark.parametrize("status", [400, 404, 410, 429, 500, 503])
async def test_whatever_is_not_2xx_is_a_failure(receiver: Receiver, send: Send, status: int):
    receiver.statuses = [status]
    with pytest.raises(DeliveryError, match=f"status {status}"):
        await send(receiver.webhook(), "evt_1", b"{}")


async def test_redirects_are_not_followed(receiver: Receiver, send: Send):
    receiver.statuses, receiver.headers = [307], {"location": f"http://127.0.0.1:{receiver.port}/elsewhere"}
    with pytest.raises(DeliveryError, match="status 307, redirects are not followed"):
        await send(receiver.webhook(), "evt_1", b"{}")
    assert len(receiver.got) == 1


async def test_a_wish_to_wait_is_heard(receiver: Receiver, send: Send):
    receiver.statuses, receiver.headers = [429], {"retry-after": "17"}
    with pytest.raises(DeliveryError) as caught:
        await send(receiver.webhook(), "evt_1", b"{}")
    assert caught.value.retry_after_seconds == 17.0


async def test_a_receiver_that_hangs_is_left(receiver: Receiver):
    receiver.delay_seconds = 1.0
    async with http_sender(0.1, private=True) as send:
        with pytest.raises(DeliveryError, match="no answer within"):
            await send(receiver.webhook(), "evt_1", b"{}")


async def test_a_receiver_that_is_not_there(receiver: Receiver, send: Send):
    webhook = Webhook("wh_1", "http://127.0.0.1:9/token-in-path", new_secret())
    with pytest.raises(DeliveryError) as caught:
        await send(webhook, "evt_1", b"{}")
    assert "token-in-path" not in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"])
async def test_private_targets_are_refused_before_anything_is_sent(receiver: Receiver, host: str):
    async with http_sender(1.0, private=False) as send:
        with pytest.raises(DeliveryError, match="not a public address"):
            await send(receiver.webhook(host), "evt_1", b"{}")
    assert receiver.got == []


async def test_names_are_looked_up_for_each_attempt(receiver: Receiver, send: Send):
    await send(receiver.webhook("localhost"), "evt_1", b"{}")
    assert receiver.got[0][0]["host"] == f"localhost:{receiver.port}"

"""Hundreds of request forms, to an engine and through the gateway to its twin: the same status, the same body.

Twins draw the same texts, as long as they are asked the same in the same order. What may differ is written here: ids of
responses, which the gateway chooses (docs/compatibility.md), and the second of the clock.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, NamedTuple

import aiohttp
import pytest
import pytest_asyncio

from gateway_plugin.tools.chain.stack import StackOptions
from simulator import EngineConfig, SimulatedPod
from simulator.server import RunningPod, start
from tests.clients.request_forms import MODEL, Form, forms

if TYPE_CHECKING:
    from tests.integration.chain.conftest import Gateway, OpenGateway

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.envoy]

SPEED = 200
USERS = {"unlimited": "", "limited": "ann"}
"""By the model that each of them asks."""
OUR_HEADERS = {
    "x-went-into-req-headers",
    "request-id",
    "x-request-id",
    "routing-strategy",
    "target-pod",
    "target-pod-ip",
}
ENVOYS_HEADERS = {"x-envoy-upstream-service-time", "server", "date", "transfer-encoding", "content-length"}
_CHANGING = re.compile(rb'"(created|created_at)":[0-9]+|"id":"resp_[0-9A-Za-z-]+"')


class Answer(NamedTuple):
    status: int
    body: bytes
    headers: dict[str, str]


class Twins(NamedTuple):
    gateway: Gateway
    pods: dict[str, RunningPod]
    http: aiohttp.ClientSession

    async def ask(self, url: str, form: Form, model: str, **headers: str) -> Answer:
        body = form.body.replace(MODEL.encode(), model.encode())
        sent = {"content-type": "application/json", **headers}
        async with self.http.post(url + form.path, data=body, headers=sent) as answer:
            kept = {name.lower(): value for name, value in answer.headers.items()}
            return Answer(answer.status, _CHANGING.sub(b"", await answer.read()), kept)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def twins(open_gateway: OpenGateway) -> AsyncIterator[Twins]:
    options = StackOptions(dict.fromkeys(USERS, 1), redis=False, speed=SPEED)
    pods = {
        model: await start(SimulatedPod(name=f"{model}-0", model=model, speed=SPEED), EngineConfig(), "127.0.0.1", 0)
        for model in USERS
    }
    async with open_gateway(options) as gateway, aiohttp.ClientSession() as http:
        await gateway.create_user("ann", rpm=100_000, tpm=1_000_000_000)
        yield Twins(gateway, pods, http)
    for pod in pods.values():
        await pod.stop()


async def test_there_are_enough_of_them():
    assert len(forms()) >= 300
    assert len({form.name for form in forms()}) == len(forms())


@pytest.mark.parametrize(("model", "user"), USERS.items(), ids=USERS)
async def test_every_form_is_answered_alike(twins: Twins, model: str, user: str):
    named = {"user": user} if user else {}
    direct_url = f"http://127.0.0.1:{twins.pods[model].port}"
    different = []
    for form in forms():
        direct, through = await asyncio.gather(
            twins.ask(direct_url, form, model), twins.ask(twins.gateway.stack.gateway_url, form, model, **named)
        )
        if (direct.status, direct.body) != (through.status, through.body):
            different.append(
                f"{form.name}: {direct.status} {direct.body!r:.300} | {through.status} {through.body!r:.300}"
            )
        added = {name for name in through.headers if name not in direct.headers}
        limits = {name for name in added if name.startswith("x-ratelimit-")}
        assert bool(limits) is bool(user), form.name
        assert added - limits <= OUR_HEADERS | ENVOYS_HEADERS, form.name
        lost = {name for name, value in direct.headers.items() if through.headers.get(name) != value}
        assert lost <= ENVOYS_HEADERS, form.name
    assert not different, "\n".join(different)

"""schemathesis against models, registry and webhooks: what the OpenAPI document promises is what a client gets."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import pytest
import schemathesis
from hypothesis import settings

from gateway_plugin.models.catalogue.registry import ALIAS, RULE, Alias, ModelRule, encode_alias, encode_rule
from gateway_plugin.models.webhooks.records import MAX_WEBHOOKS, DeadLetter, Webhook, encode
from tests.unit.gateway_plugin.http.models_api import TOKEN, ModelsApi

api = ModelsApi("apple", "banana", "org/cherry")
schema = schemathesis.openapi.from_asgi("/openapi.json", api.app)
seen: Counter[tuple[str, str, int]] = Counter()


@schema.auth()
class AdminToken:
    def get(self, case: schemathesis.Case[Any], context: schemathesis.AuthContext) -> str:
        return TOKEN

    def set(self, case: schemathesis.Case[Any], data: str, context: schemathesis.AuthContext) -> None:
        case.headers["Authorization"] = f"Bearer {data}"


@schema.parametrize()
@settings(max_examples=25, deadline=None, derandomize=True, database=None)
def test_the_document_holds(case: schemathesis.Case[Any]):
    asyncio.run(make_known({str(name): str(value) for name, value in (case.path_parameters or {}).items()}))
    answer = case.call()
    seen[case.method, case.path, answer.status_code] += 1
    case.validate_response(answer)


@pytest.fixture(scope="module", autouse=True)
def enough_was_tried() -> Iterator[None]:
    """A test that meets nothing but refusals would find nothing, either."""
    yield
    operations = {(method.upper(), path) for path, methods in api.app.openapi()["paths"].items() for method in methods}
    tried = {(method, path) for method, path, _ in seen} & operations
    successes = {(method, path) for method, path, status in seen if status < 300}
    assert tried - successes == set()


async def make_known(parameters: dict[str, str]) -> None:
    """So that calls find something, and not only 404."""
    live = api.live
    if not live.snapshot.entries:
        await live.load()
    for webhook_id in list(live.webhooks)[MAX_WEBHOOKS // 2 :]:
        await live.change("webhooks", {}, [webhook_id])
    name = parameters.get("name", "")
    if name and not await live.store.read("registry"):
        changes = {ALIAS + name: encode_alias(Alias("apple")), RULE + name: encode_rule(ModelRule())}
        if name.isprintable() and name == name.strip() and name != "apple":
            await live.change("registry", changes)
    model = unquote(parameters.get("model_id", ""))
    if model and model not in live.snapshot.by_id:
        await live.change("registry", {ALIAS + model: encode_alias(Alias("apple"))})
    webhook_id = parameters.get("webhook_id", "")
    if webhook_id and webhook_id not in live.webhooks:
        await live.change("webhooks", {webhook_id: encode(Webhook(webhook_id, "https://hooks.example/", TOKEN * 2))})
    if webhook_id and "letter_id" in parameters:
        await api.letters.bury([DeadLetter(parameters["letter_id"], webhook_id, "e", "model.added", 0, 1, "x", "{}")])

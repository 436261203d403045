"""schemathesis against the users API, in-process: what the OpenAPI document promises is what a client gets."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import pytest
import schemathesis
from hypothesis import settings
from schemathesis.specs.openapi.checks import negative_data_rejection

from gateway_plugin.http.error_responses import new_app
from gateway_plugin.http.users_aibrix import users_router
from gateway_plugin.http.users_rest import users_rest_router
from ratelimit import InvalidUserName, MemoryStore, UserRecord

TOKEN = "admin-token"
# AIBrix's calls take "5" and true for a number, and always have.
LENIENT: list[schemathesis.CheckFunction] = [negative_data_rejection]
# No generated path names a key that exists.
NEVER_FOUND = {(method, "/v1/users/{name}/keys/{key_id}") for method in ("PATCH", "DELETE")}

store = MemoryStore(lambda: 0.0)
app = new_app("users", "")
app.include_router(users_router(store, TOKEN))
app.include_router(users_rest_router(store, store, store, TOKEN))
schema = schemathesis.openapi.from_asgi("/openapi.json", app)
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
    make_known(case.path_parameters.get("name"))
    answer = case.call()
    seen[case.method, case.path, answer.status_code] += 1
    case.validate_response(answer, excluded_checks=None if case.path.startswith("/v1/") else LENIENT)


@pytest.fixture(scope="module", autouse=True)
def enough_was_tried() -> Iterator[None]:
    """A test that meets nothing but refusals would find nothing, either."""
    yield
    operations = {(method.upper(), path) for path, methods in app.openapi()["paths"].items() for method in methods}
    tried = {(method, path) for method, path, _ in seen} & operations
    successes = {(method, path) for method, path, status in seen if status < 300}
    assert tried - successes <= NEVER_FOUND


def make_known(name: object) -> None:
    """So that calls on a user find one, and not only 404."""
    try:
        asyncio.run(store.create(UserRecord(unquote(str(name)))))
    except InvalidUserName:
        return

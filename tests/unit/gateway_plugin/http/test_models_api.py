"""`/v1/models` as clients see it: who sees what, what is not there, what has not changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway_plugin.exchange.intent.identity import IdentityRules
from ratelimit import UserRecord
from tests.unit.gateway_plugin.http.models_api import TOKEN, ModelsApi

MODELS = ("apple", "banana", "org/cherry")


@pytest.fixture
async def api() -> AsyncIterator[ModelsApi]:
    async for opened in opened_api():
        yield opened


async def opened_api(**rules: Any) -> AsyncIterator[ModelsApi]:
    made = ModelsApi(*MODELS, **rules)
    await made.live.load()
    yield made
    await made.http.aclose()


@pytest.mark.parametrize("path", ["/v1/models/org/cherry", "/v1/models/org%2Fcherry"])
async def test_a_model_whose_id_has_a_slash(api: ModelsApi, path: str):
    answer = await api.get(path)
    assert answer.status_code == 200
    assert answer.json()["id"] == "org/cherry"
    assert list(answer.json()) == ["id", "object", "created", "owned_by"]


async def test_an_unknown_model_is_openais_404(api: ModelsApi):
    answer = await api.get("/v1/models/nope")
    assert answer.status_code == 404
    assert answer.json() == {
        "error": {
            "message": "The model 'nope' does not exist",
            "type": "invalid_request_error",
            "param": "model",
            "code": "model_not_found",
        }
    }


async def test_a_mistake_in_the_query_is_400(api: ModelsApi):
    for path in ("/v1/models?limit=0", "/v1/models/apple?detail=some"):
        answer = await api.get(path)
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] in path


async def test_users_see_what_they_may_use(api: ModelsApi):
    for name, models in (("all", ()), ("one", ("banana",)), ("label", ("label:team=o",))):
        await api.directory.store.create(UserRecord(name, models=models))
    assert await api.ids() == list(MODELS)
    assert await api.ids(user="all") == list(MODELS)
    assert await api.ids(user="one") == ["banana"]
    assert await api.ids(user="label") == ["org/cherry"]
    assert (await api.get("/v1/models/apple", user="one")).status_code == 404, "404 and not 403"
    assert (await api.get("/v1/models/banana", user="one")).status_code == 200
    assert await api.ids(user="one", **api.as_admin()) == list(MODELS), "the operator sees all"
    assert await api.ids(authorization="Bearer sk-whatever") == list(MODELS)


@pytest.mark.parametrize(
    ("user", "status"), [("nobody", 401), ("gone", 403), ("a\u0001", 400), ("用户".encode().decode("latin-1"), 200)]
)
async def test_users_who_see_nothing(api: ModelsApi, user: str, status: int):
    await api.directory.store.create(UserRecord("gone", disabled=True))
    await api.directory.store.create(UserRecord("用户", models=("apple",)))
    answer = await api.http.get("/v1/models", headers=[(b"user", user.encode("latin-1"))])
    assert answer.status_code == status, answer.text


async def test_a_store_that_is_away_hides_rather_than_shows(api: ModelsApi):
    api.directory.is_away = True
    answer = await api.get("/v1/models", user="one")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert await api.ids() == list(MODELS)


async def test_api_keys_and_tokens():
    async for api in opened_api(identity=IdentityRules(frozenset({"bearer", "api-key"}), "open", anonymous="reject")):
        await api.directory.store.create(UserRecord("lgy", models=("apple",)))
        key = await api.directory.store.create_key("lgy")
        assert await api.ids(authorization=f"Bearer {key.secret}") == ["apple"]
        for headers, status in (
            ({"authorization": "Bearer gw-nobodys"}, 401),
            ({"authorization": f"Bearer {key.secret}", "user": "other"}, 403),
            ({}, 401),
            ({"authorization": "Bearer open"}, 401),
            ({"authorization": "Bearer open", "user": "lgy"}, 200),
        ):
            assert (await api.get("/v1/models", **headers)).status_code == status, headers


async def test_without_limits_there_are_no_allow_lists():
    async for api in opened_api(limited=False):
        await api.directory.store.create(UserRecord("one", models=("banana",)))
        assert await api.ids(user="one") == list(MODELS)


async def test_what_has_not_changed_is_304(api: ModelsApi):
    first = await api.get("/v1/models")
    assert first.headers["cache-control"] == "private, no-cache"
    etag = first.headers["etag"]
    for value in (etag, f'"other", W/{etag}', "*"):
        answer = await api.get("/v1/models", if_none_match=value)
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", etag)
    assert (await api.get("/v1/models", if_none_match='"other"')).status_code == 200
    await api.directory.store.create(UserRecord("one", models=("banana",)))
    assert (await api.get("/v1/models", if_none_match=etag, user="one")).status_code == 200


async def test_dates(api: ModelsApi):
    await asyncio.sleep(1.1 - (api.live.snapshot.modified_at % 1.0))
    date = (await api.get("/v1/models")).headers["last-modified"]
    assert (await api.get("/v1/models", if_modified_since=date)).status_code == 304
    assert (await api.get("/v1/models?detail=full", if_modified_since=date)).status_code == 200, "figures change"
    assert (await api.get("/v1/models", if_modified_since="Thu, 01 Jan 1970 00:00:00 GMT")).status_code == 200
    assert (await api.get("/v1/models", if_modified_since="yesterday")).status_code == 200
    assert (await api.get("/v1/models", if_modified_since=date, if_none_match='"x"')).status_code == 200


async def test_head(api: ModelsApi):
    for path in ("/v1/models", "/v1/models/apple"):
        answer = await api.http.head(path)
        assert (answer.status_code, bool(answer.headers["etag"])) == (200, True)


async def test_the_registry(api: ModelsApi):
    put = await api.http.put("/v1/registry/aliases/org/gpt", json={"target": "apple"}, headers=api.as_admin())
    assert put.status_code == 201
    assert "org/gpt" in await api.ids()
    again = {"target": "banana", "restore_name": True}
    put = await api.http.put("/v1/registry/aliases/org%2Fgpt", json=again, headers=api.as_admin())
    assert (put.status_code, put.json()["created"]) == (200, api.live.catalogue.registry.aliases["org/gpt"].created)
    rule = {"hidden": True, "canary": {"model": "banana", "weight_percent": 50}}
    assert (await api.http.put("/v1/registry/models/apple", json=rule, headers=api.as_admin())).status_code == 200
    assert await api.ids() == ["banana", "org/cherry", "org/gpt"]
    assert (await api.get("/v1/models/apple")).status_code == 404
    assert "apple" in await api.ids(**api.as_admin())
    shown = (await api.get("/v1/registry", **api.as_admin())).json()
    assert [alias["name"] for alias in shown["aliases"]] == ["org/gpt"]
    assert shown["models"] == [{"model": "apple", **rule}]
    for path in ("aliases/org/gpt", "models/apple"):
        assert (await api.http.delete(f"/v1/registry/{path}", headers=api.as_admin())).status_code == 204
        assert (await api.http.delete(f"/v1/registry/{path}", headers=api.as_admin())).status_code == 404
    assert await api.ids() == list(MODELS)


@pytest.mark.parametrize(
    ("path", "body", "status", "param"),
    [
        ("aliases/apple", {"target": "banana"}, 409, "name"),
        ("aliases/x", {"target": "x"}, 409, "target"),
        ("aliases/x", {"target": "known"}, 409, "target"),
        ("aliases/banana2", {"target": "apple", "more": 1}, 422, "more"),
        ("aliases/x", {}, 422, "target"),
        ("aliases/%C2%85", {"target": "apple"}, 422, "name"),
        ("aliases/x", {"target": "a\n"}, 422, "target"),
        ("models/apple", {"canary": {"model": "apple", "weight_percent": 1}}, 409, "canary.model"),
        ("models/apple", {"canary": {"model": "known", "weight_percent": 1}}, 409, "canary.model"),
        ("models/known", {"canary": {"model": "apple", "weight_percent": 1}}, 409, "name"),
        ("models/apple", {"canary": {"model": "banana", "weight_percent": 101}}, 422, "canary.weight_percent"),
        ("models/apple", {"hidden": "yes"}, 422, "hidden"),
    ],
)
async def test_what_the_registry_refuses(api: ModelsApi, path: str, body: dict[str, object], status: int, param: str):
    await api.http.put("/v1/registry/aliases/known", json={"target": "apple"}, headers=api.as_admin())
    answer = await api.http.put(f"/v1/registry/{path}", json=body, headers=api.as_admin())
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param), answer.text


@pytest.mark.parametrize("path", ["/v1/registry", "/v1/webhooks"])
async def test_the_operators_apis_need_the_token(api: ModelsApi, path: str):
    assert (await api.get(path)).status_code == 401
    assert (await api.get(path, **api.as_admin("wrong"))).status_code == 401
    assert (await api.get(path, **api.as_admin())).status_code == 200


async def test_the_life_of_a_webhook(api: ModelsApi):
    api.http.headers["authorization"] = f"Bearer {TOKEN}"
    asked = {"url": "https://hooks.example/x", "events": ["model.added"], "models": ["apple"]}
    made = (await api.http.post("/v1/webhooks", json=asked)).json()
    assert made["secret"].startswith("whsec_")
    known = (await api.http.get(f"/v1/webhooks/{made['id']}")).json()
    assert "secret" not in known
    assert made["secret"] not in (await api.http.get("/v1/webhooks")).text
    assert {name: known[name] for name in asked} == asked
    assert (await api.http.get(f"/v1/webhooks/{made['id']}/dead_letters")).json()["data"] == []
    assert (await api.http.delete(f"/v1/webhooks/{made['id']}")).status_code == 204
    assert (await api.http.get(f"/v1/webhooks/{made['id']}")).status_code == 404


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "url"),
        ({"url": "http://127.0.0.1/"}, "url"),
        ({"url": "ftp://hooks.example"}, "url"),
        ({"url": "https://hooks.example", "secret": "short"}, "secret"),
        ({"url": "https://hooks.example", "secret": "whsec_" + "!" * 20}, "secret"),
        ({"url": "https://hooks.example", "events": ["model.painted"]}, "events.0"),
    ],
)
async def test_webhooks_that_cannot_be(api: ModelsApi, body: dict[str, object], param: str):
    answer = await api.http.post("/v1/webhooks", json=body, headers=api.as_admin())
    assert (answer.status_code, answer.json()["error"]["param"]) == (422, param)

"""The HTTP APIs, as a client sees them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import numpy as np
import pytest

from gateway_plugin.exchange.intent.request_rules import Rules
from gateway_plugin.http.error_responses import new_app
from gateway_plugin.http.explain import explain_router
from gateway_plugin.http.models import models_router, sees_everything
from gateway_plugin.http.ops import ops_router
from gateway_plugin.http.users_aibrix import users_router
from gateway_plugin.metrics.families import Metrics
from gateway_plugin.models.catalogue.catalogue import Catalogue
from gateway_plugin.models.catalogue.figures import FigureBook
from gateway_plugin.models.catalogue.pages import Pages
from gateway_plugin.models.catalogue.registry import Alias, Registry
from gateway_plugin.models.catalogue.usage_windows import LatencyWindows
from gateway_plugin.models.live.live_catalogue import LiveCatalogue, Sources
from gateway_plugin.models.store.registry_in_file import MemoryCatalogueStore
from gateway_plugin.pods.engines.known_models import KnownModels
from ratelimit import LimitDefaults, MemoryStore
from routing.pods.circuit import Failure
from routing.pods.pod_table import PodTable
from routing.router import Router
from routing.spec import ClusterState, PodSpec


def live_catalogue(pods: PodTable) -> LiveCatalogue:
    sources = Sources(pods, KnownModels(pods.apply))
    return LiveCatalogue(Catalogue(lambda: 1000.0), sources, MemoryCatalogueStore(), "test", lambda: 0.0)


class Api:
    def __init__(self) -> None:
        self.store = MemoryStore(lambda: 0.0, LimitDefaults())
        self.pods = PodTable(lambda: 0.0)
        self.pods.apply(ClusterState((PodSpec("p", "10.0.0.1:8000", ("org/m",)),), frozenset({"a"})))
        self.draining = False
        self.problem = ""
        self.limiter = (True, "ok")
        app = new_app("test", "test")
        app.include_router(users_router(self.store))
        self.live = live_catalogue(self.pods)
        pages = Pages(FigureBook(self.pods, LatencyWindows(lambda: 0.0), dict))
        app.include_router(models_router(self.live, pages, sees_everything))
        router = Router(self.pods, np.random.default_rng(0))
        app.include_router(explain_router(router, Rules(default_strategy="least-request"), self.live.names))
        app.include_router(
            ops_router(self.pods, self.limiter_health, Metrics(), lambda: self.draining, lambda: self.problem)
        )
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api")

    async def limiter_health(self) -> tuple[bool, str]:
        return self.limiter

    async def call(self, path: str, **body: object) -> tuple[int, dict[str, object]]:
        answer = await self.http.post(path, json=body)
        return answer.status_code, answer.json()


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    opened = Api()
    await opened.live.load()
    yield opened
    await opened.http.aclose()


async def test_the_life_of_a_user(api: Api):
    lgy = {"name": "lgy", "rpm": 100, "tpm": 1000}
    assert await api.call("/CreateUser", **lgy) == (200, {"message": "Created User: lgy", "user": lgy})
    assert await api.call("/ReadUser", name="lgy") == (200, {"message": "User: lgy", "user": lgy})
    assert await api.call("/CreateUser", name="lgy", rpm=1) == (
        200,
        {"message": "User: lgy exists", "user": {"name": "lgy", "rpm": 1, "tpm": 0}},
    )
    assert await api.call("/ReadUser", name="lgy") == (200, {"message": "User: lgy", "user": lgy})
    changed = lgy | {"rpm": 3}
    assert await api.call("/UpdateUser", **changed) == (200, {"message": "Updated User: lgy", "user": changed})
    assert await api.call("/DeleteUser", name="lgy") == (200, {"message": "Deleted User: lgy", "user": changed})
    assert (await api.call("/DeleteUser", name="lgy"))[0] == 404


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/ReadUser", "user does not exist"),
        ("/UpdateUser", "User: x does not exist"),
        ("/DeleteUser", "User: x does not exist"),
    ],
)
async def test_who_does_not_exist(api: Api, path: str, message: str):
    status, body = await api.call(path, name="x")
    assert status == 404
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": "user_not_found"}
    assert body == {"error": error}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"rpm": 1}, "name"),
        ({"name": ""}, "name"),
        ({"name": "a\u0001"}, "name"),
        ({"name": "x" * 257}, "name"),
        ({"name": "a", "rpm": -1}, "rpm"),
        ({"name": "a", "tpm": "many"}, "tpm"),
    ],
)
async def test_bad_users_are_422_in_openais_shape(api: Api, body: dict[str, object], param: str):
    status, answer = await api.call("/CreateUser", **body)
    assert status == 422
    error = answer["error"]
    assert isinstance(error, dict)
    assert error["param"] == param


async def test_malformed_json_and_unknown_paths_have_the_shape(api: Api):
    answer = await api.http.post("/CreateUser", content=b"{", headers={"content-type": "application/json"})
    assert (answer.status_code, set(answer.json())) == (422, {"error"})
    answer = await api.http.get("/nothing")
    assert (answer.status_code, answer.json()["error"]["message"]) == (404, "Not Found")


async def test_models(api: Api):
    listed = (await api.http.get("/v1/models")).json()
    assert listed["object"] == "list"
    assert [model["id"] for model in listed["data"]] == ["a", "org/m"]
    assert (await api.http.get("/v1/models/org/m")).json()["object"] == "model"
    missing = await api.http.get("/v1/models/b")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")


async def test_readiness_says_what_is_wrong(api: Api):
    assert (await api.http.get("/readyz")).status_code == 200
    api.limiter = (True, "store_down: local; redis:6379: refused")
    assert (await api.http.get("/readyz")).status_code == 200, "limits are decided here meanwhile"
    api.limiter = (False, "redis:6379: refused")
    api.draining = True
    answer = await api.http.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"] == {"draining": "yes", "models": "ok", "limiter": "redis:6379: refused"}
    assert (await api.http.get("/healthz")).status_code == 200, "liveness does not depend on others"


async def test_pods_can_be_looked_at(api: Api):
    api.pods.book(0)
    api.pods.columns.kv_usage_ratio[0] = 0.25
    (pod,) = (await api.http.get("/debug/pods")).json()
    assert (pod["name"], pod["models"], pod["inflight_requests"]) == ("p", ["org/m"], 1)
    assert (pod["kv_usage_ratio"], pod["ttft_seconds"]) == (0.25, None)
    health: dict[str, object] = {"health": "closed", "sick_because": None, "next_check_seconds": None, "failures": {}}
    assert {name: pod[name] for name in health} == health


async def test_a_sick_pod_says_why_and_until_when(api: Api):
    api.pods.health.failed(0, Failure.CONNECTION)
    api.pods.health.failed(0, Failure.CONNECTION)
    (pod,) = (await api.http.get("/debug/pods")).json()
    assert (pod["health"], pod["sick_because"], pod["failures"]) == ("open", "connection", {"connection": 2})
    assert 0.5 <= pod["next_check_seconds"] <= 1
    answer = await api.http.get("/debug/route", params={"model": "org/m"})
    (candidate,) = answer.json()["candidates"]
    assert (candidate["place"], candidate["health"]) == (1, "open"), "the only pod stays in"


async def test_metrics_are_exposed(api: Api):
    answer = await api.http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert "gateway_in_flight_requests 0.0" in answer.text


async def test_a_route_is_explained(api: Api):
    answer = await api.http.get("/debug/route", params={"model": "org/m"})
    assert answer.json() == {
        "model": "org/m",
        "strategy": "least-request",
        "profile": "",
        "prompt_tokens": 0.0,
        "output_tokens": 0.0,
        "candidates": [
            {
                "place": 1,
                "pod": "p",
                "address": "10.0.0.1:8000",
                "health": "closed",
                "cost": 0.0,
                "terms": {"inflight_requests": 0.0},
                "matched_tokens": 0.0,
                "learned": {
                    "prefill": "8,000 tokens/s (assumed)",
                    "queue": "0 tokens, 0.00 s (no page yet)",
                    "decoding": "assumed",
                    "speed": "as ever",
                },
            }
        ],
    }
    api.live.catalogue.registry = Registry({"alias": Alias("org/m")})
    body = {"model": "alias", "messages": [{"role": "user", "content": "x" * 400}], "max_tokens": 7}
    answer = await api.http.post("/debug/route", json=body, headers={"routing-strategy": "prefix-cache-and-load"})
    explained = answer.json()
    assert explained["output_tokens"] == 7
    assert 100 <= explained["prompt_tokens"] <= 115
    assert set(explained["candidates"][0]["terms"]) >= {"queued_prefill", "own_prefill", "decode"}


@pytest.mark.parametrize(
    ("model", "headers", "status", "message"),
    [
        ("nope", {}, 400, "model nope does not exist"),
        ("a", {}, 503, "error on getting pods for model a"),
        ("org/m", {"routing-strategy": "best"}, 400, "incorrect routing strategy best"),
        ("org/m", {"external-filter": "("}, 400, "external-filter: "),
    ],
)
async def test_what_cannot_be_explained(api: Api, model: str, headers: dict[str, str], status: int, message: str):
    answer = await api.http.get("/debug/route", params={"model": model}, headers=headers)
    assert answer.status_code == status
    assert answer.json()["error"]["message"].startswith(message)

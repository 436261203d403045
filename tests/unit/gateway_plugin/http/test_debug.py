"""`/debug/...`: what became of requests, as operators ask."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from typing import Any

import httpx
import numpy as np
import pytest

from gateway_plugin.http.admin import is_public_to_operators
from gateway_plugin.http.debug import debug_router
from gateway_plugin.http.error_responses import new_app
from gateway_plugin.http.ops import ops_router
from gateway_plugin.metrics.families import Metrics
from gateway_plugin.metrics.stories import Stories
from protos.access_log import FinishedExchange
from routing.pods.pod_table import PodTable
from routing.router import Router
from routing.spec import ClusterState, PodSpec
from routing.strategies.policy import RoutingRequest

PODS = tuple(PodSpec(f"pod-{i}", f"10.0.0.{i}:8000", ("m",)) for i in range(3))
PROMPT: dict[str, Any] = {"prompt_tokens": 128.0, "prefix": (1, 2), "prefix_tokens": (64.0, 128.0)}


class Site:
    def __init__(self, token: str = "") -> None:
        self.pods = PodTable(lambda: 0.0)
        self.pods.apply(ClusterState(PODS, frozenset()))
        self.router = Router(self.pods, np.random.default_rng(1), 2, explain_every_seconds=0.0)
        self.stories = Stories(100, lambda: 1000.0)
        app = new_app("test", "test", admin_token=token, is_public=is_public_to_operators)
        config = {"redis_url": ("<secret>", "environment X")}
        app.include_router(debug_router(self.stories, self.pods, self.router.prefixes, lambda: config))

        async def healthy() -> tuple[bool, str]:
            return True, "ok"

        app.include_router(ops_router(self.pods, healthy, Metrics(), lambda: False, lambda: ""))
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://ops")

    def send_on(self, request_id: str, charge_id: str, strategy: str = "prefix-cache-and-load") -> str:
        """The pod's address."""
        policy = self.router.policy(strategy)
        assert policy is not None
        booking = self.router.book(policy, RoutingRequest("m", **PROMPT), charge_id)
        self.stories.sent_on(request_id, charge_id, "u", "m", "/v1/chat/completions", strategy, booking, 128, 9, 0.001)
        return booking.pods[0].address

    async def get(self, path: str, **query: object) -> Any:
        answer = await self.http.get(path, params=query)  # type: ignore[arg-type]
        assert answer.status_code == 200, answer.text
        return answer.json()


def ended(charge_id: str, address: str, **changes: Any) -> FinishedExchange:
    tokens = {"prompt_tokens": 130, "completion_tokens": 5, "cached_tokens": 64}
    said = {"charge_id": charge_id, "user": "u", "model": "m", "status": 200, "pod_address": address}
    said |= {"duration_seconds": 1.5, "ttft_seconds": 0.25, "attempts": 1, "client_aborted": False, "tokens": tokens}
    return FinishedExchange(**(said | changes))  # type: ignore[arg-type]


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    opened = Site()
    yield opened
    await opened.http.aclose()


async def test_a_request_tells_its_whole_story(site: Site):
    address = site.send_on("req-1", "c1")
    site.stories.finish([ended("c1", address)])
    story = await site.get("/debug/requests/req-1")
    (decision,) = story["decisions"]
    first, second = decision["weighed"]
    assert first["address"] == address == decision["targets"][0]["address"]
    assert first["cost"] <= second["cost"]
    assert second["address"] == decision["targets"][1]["address"]
    for choice in (first, second):
        assert math.isclose(sum(choice["terms"].values()), choice["cost"], abs_tol=1e-9)
    assert decision["end"]["status"] == 200
    assert (decision["end"]["prompt_tokens"], decision["end"]["cached_tokens"]) == (130, 64)
    assert (story["refusals"], story["ends"]) == ([], [])


async def test_a_refused_request_tells_why(site: Site):
    site.stories.refuse("a/b:c", "u", "m", "/v1/embeddings", 429, "rpm_exceeded", "user: u has exceeded RPM: 1", "::1")
    story = await site.get("/debug/requests/a/b:c")
    assert [one["message"] for one in story["refusals"]] == ["user: u has exceeded RPM: 1"]


async def test_an_unknown_id_is_404(site: Site):
    answer = await site.http.get("/debug/requests/never")
    assert answer.status_code == 404
    assert "never came to this replica" in answer.json()["error"]["message"]


async def test_decisions_may_be_asked_for_by_pod(site: Site):
    by_pod: dict[str, list[str]] = {}
    for number in range(6):
        address = site.send_on(f"r{number}", f"c{number}", "least-request")
        by_pod.setdefault(address, []).append(f"r{number}")
    assert len(by_pod) > 1
    for address, ids in by_pod.items():
        found = await site.get("/debug/decisions", pod=address)
        assert [one["request_id"] for one in found] == ids[::-1]


async def test_the_prefix_index_is_compared_with_what_engines_say(site: Site):
    first = site.send_on("a", "c1", "prefix-cache")
    site.stories.finish([ended("c1", first)])
    again = site.send_on("b", "c2", "prefix-cache")
    assert again == first
    site.stories.finish([ended("c2", again)])
    report = await site.get("/debug/prefix", model="m")
    assert report["compared_requests"] == 2
    assert (report["predicted_cached_tokens"], report["reported_cached_tokens"]) == (128, 128)
    held = {one["address"]: one["tokens"] for one in report["pods"]}
    assert held[first] == 128
    assert sum(held.values()) == 128
    assert (await site.http.get("/debug/prefix", params={"model": "x"})).status_code == 400


async def test_settings_are_shown_without_secrets(site: Site):
    assert await site.get("/debug/config") == {"redis_url": {"value": "<secret>", "origin": "environment X"}}


async def test_with_an_admin_token_only_probes_and_scrapers_come_in_without_it():
    site = Site(token="s3cret")
    for path in ("/debug/decisions", "/debug/config", "/debug/pods", "/debug/requests/x", "/debug/prefix?model=m"):
        assert (await site.http.get(path)).status_code == 401, path
    for path in ("/metrics", "/healthz", "/readyz"):
        assert (await site.http.get(path)).status_code == 200, path
    answer = await site.http.get("/debug/decisions", headers={"authorization": "Bearer s3cret"})
    assert answer.status_code == 200
    await site.http.aclose()


async def test_every_answer_has_an_id(site: Site):
    made = (await site.http.get("/debug/decisions")).headers
    assert made["x-request-id"] == made["request-id"]
    assert len(made["x-request-id"]) == 32
    kept = await site.http.get("/nothing-here", headers={"x-request-id": "mine"})
    assert (kept.status_code, kept.headers["x-request-id"]) == (404, "mine")

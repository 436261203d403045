"""The live feed: one snapshot a second for all who look, none while nobody does, and an hour of points."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import numpy as np
import pytest

from gateway_plugin.http.error_responses import new_app
from gateway_plugin.http.event_listeners import Listeners
from gateway_plugin.http.live_feed import LiveFeed, live_router
from gateway_plugin.http.live_shape import MAX_PODS, LimiterState, Trouble
from gateway_plugin.http.live_snapshot import LiveSources, SnapshotMaker
from gateway_plugin.metrics.families import Metrics
from gateway_plugin.metrics.stories import Stories
from gateway_plugin.models.catalogue.usage_windows import LatencyWindows
from protos.access_log import FinishedExchange
from ratelimit import Decision, Limits, Outcome
from routing.pods.pod_table import PodTable
from routing.router import Router
from routing.spec import ClusterState, PodSpec
from routing.strategies.policy import RoutingRequest

LIMITER = LimiterState("memory", "ok", "", 1, 0, 0, 0)


class Site:
    def __init__(self, pods: int = 2) -> None:
        self.now = 1000.0
        self.pods = PodTable(lambda: self.now)
        specs = tuple(PodSpec(f"pod-{i}", f"10.0.{i // 250}.{i % 250}:8000", ("m",)) for i in range(pods))
        self.pods.apply(ClusterState(specs, frozenset({"empty"})))
        self.router = Router(self.pods, np.random.default_rng(1), 2, explain_every_seconds=0.0)
        self.metrics, self.stories = Metrics(), Stories(100, lambda: self.now)
        self.windows = LatencyWindows(lambda: self.now)
        self.troubles: list[Trouble] = []
        sources = LiveSources(
            self.pods,
            self.router.prefixes,
            self.stories,
            self.metrics,
            self.windows,
            lambda: {"m": 3},
            lambda: LIMITER,
            lambda: self.troubles,
            lambda: True,
            "replica-1",
            clock=lambda: self.now,
        )
        self.made = 0
        self.maker = SnapshotMaker(sources)
        self.listeners = Listeners()
        self.feed = LiveFeed(self.maker, self.listeners)

    def snapshot(self) -> dict[str, Any]:
        import msgspec

        found: dict[str, Any] = json.loads(msgspec.json.encode(self.maker.snapshot()))
        return found

    def serve(self, request_id: str, user: str = "kim", *, used: float = 1.0) -> None:
        policy = self.router.policy("least-request")
        assert policy is not None
        booking = self.router.book(policy, RoutingRequest("m", prompt_tokens=10.0), request_id)
        decision = Decision(Outcome.ADMITTED, Limits(10, 1000), used, 100.0)
        self.stories.sent_on(
            request_id, request_id, user, "m", "/v1/x", "least-request", booking, 10, 5, 0.001, decision
        )
        self.metrics.sent_on("m", "least-request", booking.branch)

    def end(self, request_id: str, *, ttft: float = 0.2, status: int = 200) -> None:
        tokens = {"prompt_tokens": 10, "completion_tokens": 4}
        entry = FinishedExchange(request_id, "kim", "m", status, "10.0.0.0:8000", 1.0, ttft, 1, False, tokens=tokens)
        self.stories.finish([entry])


def test_a_snapshot_shows_models_pods_decisions_and_users():
    site = Site()
    site.troubles.append(Trouble("NotServed", "pod-1", "pod-1 does not serve m", "rename it"))
    site.serve("r-1", used=4.0)
    site.stories.refuse("r-2", "kim", "m", "/v1/x", 429, "rpm_exceeded", "user: kim ...", "::1")
    site.end("r-1")
    shown = site.snapshot()
    (empty, model) = shown["models"]
    assert (empty["name"], empty["pods"], model["pods"], model["ready_pods"]) == ("empty", 0, 2, 2)
    assert (model["inflight_requests"], model["waiting_requests"]) == (1, 3)
    assert [pod["name"] for pod in shown["pods"]] == ["pod-0", "pod-1"]
    assert sum(pod["inflight_requests"] for pod in shown["pods"]) == 1
    assert {pod["kv_usage_ratio"] for pod in shown["pods"]} == {None}
    (decision,) = shown["decisions"]
    assert (decision["request_id"], decision["status"], len(decision["weighed"])) == ("r-1", 200, 2)
    (user,) = shown["users"]
    assert (user["rpm"], user["requests_left"], user["tokens_left"]) == (10, 6, 900)
    assert (user["refusals"], user["last_refusal"]) == (1, "rpm_exceeded")
    assert shown["warnings"][0]["fix"] == "rename it"
    assert shown["limiter"]["store"] == "memory"


def test_rates_are_of_the_last_ten_seconds():
    site = Site()
    site.snapshot()
    for number in range(30):
        site.serve(str(number))
        site.end(str(number), ttft=0.1 + number / 100)
        site.metrics.rejections.labels("rpm_exceeded", "429").inc()
    site.now += 10.0
    rates = site.snapshot()["rates"]
    assert (rates["requests_per_second"], rates["refusals_by_reason"]) == (3.0, {"rpm_exceeded": 3.0})
    assert rates["ttft_p50_seconds"] == pytest.approx(0.25)
    site.now += 10.0
    assert site.snapshot()["rates"]["requests_per_second"] == 0.0


def test_of_many_pods_the_busiest_are_shown():
    site = Site(pods=MAX_PODS + 50)
    site.serve("r-1")
    busy = next(pod.name for row, pod in site.pods.rows() if site.pods.columns.inflight_requests[row])
    shown = site.snapshot()
    assert (len(shown["pods"]), shown["pods_left_out"]) == (MAX_PODS, 50)
    assert busy in {pod["name"] for pod in shown["pods"]}


@pytest.mark.looptime
async def test_a_snapshot_is_made_once_for_all_viewers_and_never_for_none():
    site = Site()
    made = 0
    inner = site.maker.snapshot

    def counted() -> Any:
        nonlocal made
        made += 1
        return inner()

    site.maker.snapshot = counted  # type: ignore[method-assign]
    running = asyncio.create_task(site.feed.run())
    await asyncio.sleep(10.5)
    assert made == 0
    seats = [site.listeners.enter("", "::1") for _ in range(5)]
    viewers = [site.feed.follow() for _ in seats]
    for viewer in viewers:
        assert (await anext(viewer)).endswith(b"\n\n")
    assert made == 1  # each sees the present at once
    later = await asyncio.gather(*(anext(viewer) for viewer in viewers))
    assert (made, len(set(later))) == (2, 1)
    assert len(site.feed.points) == 2
    site.feed.close()
    for viewer in viewers:
        with pytest.raises(StopAsyncIteration):
            await anext(viewer)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_the_routes_answer():
    site = Site()
    app = new_app("test", "test")
    app.include_router(live_router(site.feed))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://ops") as http:
        assert (await http.get("/debug/live")).json()["replica"] == "replica-1"
        site.feed.points.append(site.maker.point())
        assert [set(point) for point in (await http.get("/debug/live/history")).json()] == [{"at_seconds", "rates"}]
        for _ in range(50):
            site.listeners.enter("", "127.0.0.1")
        assert (await http.get("/debug/live/events")).status_code == 503

"""Thousands of events, lost connections, forgotten versions: nothing is missed, and no model ever missing."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from tests.fake_kubernetes import pod, readiness
from tests.integration.kubernetes.conftest import Following, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fake_kubernetes import Cluster, FakeServer

EVENTS = 5000
PODS = 300


def ip(number: int) -> str:
    return f"10.0.{number // 250}.{number % 250 + 1}"


def record_versions(seen: Following) -> list[int]:
    """The versions of all events of pods, in the order in which they are read."""
    versions: list[int] = []
    reflector = next(one for one in seen.discovery._reflectors if one.counts.resource == "pods")
    read = reflector._feed.read

    def recording(raw: Any) -> Any:
        found = read(raw)
        versions.append(int(found.version))
        return found

    object.__setattr__(reflector._feed, "read", recording)
    return versions


class Churn:
    """Random changes to a cluster, and what must be seen of it in the end."""

    def __init__(self, cluster: Cluster, seed: int) -> None:
        self.cluster = cluster
        self.rng = random.Random(seed)
        self.ready: dict[int, bool] = {}
        self.versions: list[int] = []

    def step(self) -> None:
        """One event."""
        number = self.rng.randrange(PODS)
        name = f"p{number}"
        if number not in self.ready:
            body = self.cluster.create("pods", pod(name, f"m{number % 7}", ip(number), ready=False))
            self.ready[number] = False
        elif self.rng.random() < 0.2:
            body = self.cluster.delete("pods", name)
            del self.ready[number]
        else:
            self.ready[number] = not self.ready[number]
            body = self.cluster.patch("pods", name, readiness(self.ready[number]))
        self.versions.append(int(body["metadata"]["resourceVersion"]))

    def is_seen(self, seen: Following) -> bool:
        everybody = {f"{ip(number)}:8000" for number in self.ready}
        ready = {f"{ip(number)}:8000" for number, is_ready in self.ready.items() if is_ready}
        return seen.addresses() == everybody and seen.addresses(ready_only=True) == ready


async def test_5000_events_arrive_complete_and_in_order(server: FakeServer, tmp_path: Path) -> None:
    churn = Churn(server.cluster, seed=1)
    async with Following(server, tmp_path).started() as seen:
        await seen.watching()
        versions = record_versions(seen)
        for _ in range(EVENTS):
            churn.step()
        await until(lambda: len(versions) >= EVENTS)
        assert versions == churn.versions
        await until(lambda: churn.is_seen(seen))
        # Coalesced: the table is not written once an event.
        assert len(seen.states) < EVENTS / 10


async def test_lost_connections_lose_nothing(server: FakeServer, tmp_path: Path) -> None:
    churn = Churn(server.cluster, seed=2)
    async with Following(server, tmp_path).started() as seen:
        await seen.watching()
        versions = record_versions(seen)
        for interruption in (server.abort_watches, server.close_watches, server.abort_watches):
            for _ in range(200):
                churn.step()
            await until(lambda: bool(versions))
            interruption()
            for _ in range(200):
                churn.step()
            await until(lambda: versions[-1:] == churn.versions[-1:])
        assert versions == churn.versions, "each event once, none missed, none out of order"
        await until(lambda: churn.is_seen(seen))
        assert seen.counts().lists == {"complete": 1}


async def test_lines_that_are_cut_in_the_middle(server: FakeServer, tmp_path: Path) -> None:
    churn = Churn(server.cluster, seed=3)
    async with Following(server, tmp_path).started() as seen:
        await seen.watching()
        versions = record_versions(seen)
        server.faults.cut_after_events = 40
        server.abort_watches()
        for _ in range(300):
            churn.step()
        await until(lambda: versions[-1:] == churn.versions[-1:])
        assert versions == churn.versions
        await until(lambda: churn.is_seen(seen))
        assert seen.counts().watch_ends["lost"] >= 7
        assert seen.counts().lists == {"complete": 1}


async def test_gone_resyncs_and_no_model_is_ever_missing(server: FakeServer, tmp_path: Path) -> None:
    cluster = server.cluster
    for number in range(600):
        cluster.create("pods", pod(f"p{number}", f"m{number % 7}", ip(number)))
    models = {f"m{number}" for number in range(7)}
    async with Following(server, tmp_path).started() as seen:
        row = seen.table.row_of(f"{ip(5)}:8000")
        assert row is not None
        seen.table.book(row)
        for as_status in (False, True):
            await seen.watching()
            server.faults.gone_as_status = as_status
            server.faults.list_delay_seconds = 0.05
            # While nobody watches: changes, and the server forgets them.
            server.faults.fail(503, verb="watch", times=4)
            server.abort_watches()
            await until(lambda: not server.watches())
            cluster.delete("pods", f"p{int(as_status)}")
            cluster.create("pods", pod(f"new{int(as_status)}", "m0", ip(700 + as_status)))
            cluster.forget_history()
            await until(lambda: f"{ip(700 + as_status)}:8000" in seen.addresses())  # noqa: B023 - awaited in the loop
            assert f"{ip(int(as_status))}:8000" not in seen.addresses()
        assert all(state.models == models for state in seen.states)
        assert all(models == {model for spec in state.pods for model in spec.models} for state in seen.states)
        assert min(len(state.pods) for state in seen.states) == 600
        assert int(seen.table.columns.inflight_requests[row]) == 1, "books of pods that stayed"
        assert seen.counts().lists["complete"] == 3
        assert seen.counts().watch_ends["gone"] == 2


async def test_gone_in_the_middle_of_a_list(server: FakeServer, tmp_path: Path) -> None:
    for number in range(600):
        server.cluster.create("pods", pod(f"p{number}", "m", ip(number)))
    seen = Following(server, tmp_path)
    server.faults.list_delay_seconds = 0.2
    real_get, pages = seen.discovery._api.get, 0

    async def get(path: str, query: dict[str, str]) -> bytes:
        nonlocal pages
        pages += path.endswith("pods")
        if path.endswith("pods") and pages == 2:
            server.cluster.create("services", {"metadata": {"name": "something-happens"}})
            server.cluster.forget_history()
        return await real_get(path, query)

    seen.discovery._api.get = get  # type: ignore[method-assign, assignment]
    async with seen.started():
        assert len(seen.addresses()) == 600
    assert seen.counts().lists == {"refused": 1, "complete": 1}


async def test_bookmarks_keep_a_quiet_watch_young(server: FakeServer, tmp_path: Path) -> None:
    server.cluster.create("pods", pod("a", "m", "10.0.0.1"))
    async with Following(server, tmp_path).started() as seen:
        await seen.watching()
        server.cluster.create("services", {"metadata": {"name": "elsewhere"}})
        server.send_bookmarks("pods")
        await until(lambda: seen.counts().events["bookmark"] == 1)
        server.cluster.forget_history()
        server.abort_watches("pods")
        await until(lambda: seen.counts().watch_ends["lost"] == 1)
        await seen.watching()
        server.cluster.patch("pods", "a", readiness(False))
        await until(lambda: not seen.addresses(ready_only=True))
        assert seen.counts().lists == {"complete": 1}


async def test_a_watch_that_says_nothing_is_not_trusted(server: FakeServer, tmp_path: Path) -> None:
    server.cluster.create("pods", pod("a", "m", "10.0.0.1"))
    seen = Following(server, tmp_path)
    for reflector in seen.discovery._reflectors:
        reflector._idle_seconds = 0.3
    server.faults.mute_watches = True
    async with seen.started():
        server.cluster.patch("pods", "a", readiness(False))
        await until(lambda: seen.counts().watch_ends["idle"] >= 1)
        server.faults.mute_watches = False
        await until(lambda: not seen.addresses(ready_only=True))


async def test_a_slow_watch_arrives_all_the_same(server: FakeServer, tmp_path: Path) -> None:
    churn = Churn(server.cluster, seed=4)
    server.faults.watch_delay_seconds = 0.01
    async with Following(server, tmp_path).started() as seen:
        await seen.watching()
        versions = record_versions(seen)
        for _ in range(60):
            churn.step()
        await until(lambda: versions == churn.versions)
        await until(lambda: churn.is_seen(seen))


async def test_the_state_stands_while_the_server_is_away(server: FakeServer, tmp_path: Path) -> None:
    server.cluster.create("pods", pod("a", "m", "10.0.0.1"))
    async with Following(server, tmp_path).started() as seen:
        await seen.watching()
        server.faults.fail(500, times=8)
        server.abort_watches()
        await until(lambda: seen.counts().watch_ends["refused"] >= 2)
        assert (seen.table.models(), seen.discovery.problem, len(seen.states)) == (["m"], "", 1)
        server.faults.heal()
        server.cluster.create("pods", pod("b", "m", "10.0.0.2"))
        await until(lambda: len(seen.addresses()) == 2)

"""The client of the API: pages, and failures as one kind of error."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway_plugin.controller.kinds import DEPLOYMENT, LEADER_WORKER_SET, SERVICE
from gateway_plugin.controller.route_client import KubeClient, KubeError, connected
from gateway_plugin.controller.workloads import Ref
from tests.fake_kubernetes import FakeServer
from tests.integration.controller.controller_harness import deployment

_SERVICE = {"metadata": {"name": "a"}, "spec": {"ports": [{"port": 80}]}}


@pytest.fixture
async def client(server: FakeServer, tmp_path: Path) -> AsyncIterator[KubeClient]:
    async with connected(server.kubeconfig(tmp_path)) as opened:
        yield opened


async def test_lists_are_read_to_their_end(server: FakeServer, client: KubeClient):
    for number in range(1100):
        server.cluster.create("deployments", deployment(f"d-{number}", "llama"))
    assert len(await client.list(DEPLOYMENT)) == 1100
    assert server.requests.count("list deployments") == 3
    assert await client.list(DEPLOYMENT, "other") == []
    assert len(await client.list(DEPLOYMENT, "models", "model.aibrix.ai/name=llama")) == 1100


async def test_a_list_that_grows_too_old_begins_again(server: FakeServer, client: KubeClient):
    for number in range(600):
        server.cluster.create("deployments", deployment(f"d-{number}", "llama"))
    page = server._lists.page
    calls = 0

    def forgetful(*args):
        nonlocal calls
        calls += 1
        if calls == 2:
            server.cluster.create("deployments", deployment("late", "llama"))
            server.cluster.forget_history()
        return page(*args)

    server._lists.page = forgetful  # type: ignore[method-assign]
    assert len(await client.list(DEPLOYMENT)) == 601
    assert calls == 4


async def test_races_and_missing_things_are_told_apart(server: FakeServer, client: KubeClient):
    created = await client.create(SERVICE, "default", _SERVICE)
    with pytest.raises(KubeError) as again:
        await client.create(SERVICE, "default", _SERVICE)
    stale = {"metadata": {"resourceVersion": created["metadata"]["resourceVersion"], "labels": {"a": "b"}}}
    ref = Ref("Service", "default", "a")
    await client.patch(ref, stale)
    with pytest.raises(KubeError) as changed:
        await client.patch(ref, stale)
    with pytest.raises(KubeError) as other:
        await client.delete(ref, created["metadata"]["uid"], created["metadata"]["resourceVersion"])
    assert again.value.is_race
    assert changed.value.is_race
    assert other.value.is_race
    with pytest.raises(KubeError) as nowhere:
        await client.create(SERVICE, "nowhere", _SERVICE)
    server.cluster.uninstall("leaderworkersets")
    with pytest.raises(KubeError) as unknown:
        await client.list(LEADER_WORKER_SET)
    assert nowhere.value.is_not_found
    assert unknown.value.is_not_found


async def test_no_answer_is_an_error_like_others(server: FakeServer, client: KubeClient, tmp_path: Path):
    server.faults.fail(503, verb="list", resource="services")
    with pytest.raises(KubeError) as busy:
        await client.list(SERVICE)
    assert busy.value.code == 503
    config = server.kubeconfig(tmp_path)
    config.write_text(config.read_text().replace(server.url, "http://127.0.0.1:1"))
    async with connected(config) as elsewhere:
        with pytest.raises(KubeError) as silent:
            await elsewhere.list(SERVICE)
    assert silent.value.code == 0
    assert "/api/v1/services" in str(silent.value)

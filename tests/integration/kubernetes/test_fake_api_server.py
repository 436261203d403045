"""The fake API server, through the real client and raw HTTP: what other tests take for granted of it."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from tests.fake_kubernetes import FakeServer, Json, Resource, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PODS = "/api/v1/namespaces/default/pods"
ROUTES = "/apis/gateway.networking.k8s.io/v1/namespaces/default/httproutes"


def pod(name: str, **labels: str) -> Json:
    return {"metadata": {"name": name, "labels": labels}, "spec": {"nodeName": "n"}, "status": {"phase": "Running"}}


class Client:
    """Requests and their answers, as status and body."""

    def __init__(self, server: FakeServer, session: aiohttp.ClientSession) -> None:
        self.server = server
        self.session = session

    async def ask(self, method: str, path: str, body: object = None, content_type: str = "") -> tuple[int, Any]:
        headers = {"Content-Type": content_type} if content_type else None
        data = None if body is None else json.dumps(body)
        async with self.session.request(method, self.server.url + path, data=data, headers=headers) as response:
            return response.status, await response.json()

    @asynccontextmanager
    async def watch(self, path: str, **query: str) -> AsyncIterator[AsyncIterator[tuple[str, Json]]]:
        query = {"watch": "true", **query}
        async with self.session.get(self.server.url + path, params=query) as response:
            assert response.status == 200

            async def events() -> AsyncIterator[tuple[str, Json]]:
                async for line in response.content:
                    event = json.loads(line)
                    yield event["type"], event["object"]

            yield events()


@pytest.fixture
async def client():
    async with running() as server:
        headers = {"Authorization": f"Bearer {server.token}"}
        async with aiohttp.ClientSession(headers=headers) as session:
            yield Client(server, session)


async def take(events: AsyncIterator[tuple[str, Json]], count: int) -> list[tuple[str, str]]:
    found = [await asyncio.wait_for(anext(events), 10) for _ in range(count)]
    return [(kind, body["metadata"].get("name", "")) for kind, body in found]


async def test_writes_have_versions_and_conflicts(client: Client) -> None:
    status, made = await client.ask("POST", PODS, pod("a"))
    assert (status, "status" in made) == (201, False)
    status, refused = await client.ask("POST", PODS, pod("a"))
    assert (status, refused["reason"]) == (409, "AlreadyExists")
    changed = {**made, "spec": {"nodeName": "m"}}
    status, new = await client.ask("PUT", f"{PODS}/a", changed)
    assert (status, new["metadata"]["generation"]) == (200, 2)
    status, refused = await client.ask("PUT", f"{PODS}/a", changed)
    assert (status, refused["reason"]) == (409, "Conflict")
    assert (await client.ask("GET", f"{PODS}/b"))[1]["reason"] == "NotFound"
    assert (await client.ask("POST", PODS.replace("default", "nowhere"), pod("a")))[1]["reason"] == "NotFound"


async def test_a_write_that_changes_nothing_is_none(client: Client) -> None:
    _, made = await client.ask("POST", PODS, pod("a", x="1"))
    patch = {"metadata": {"labels": {"x": "1"}}}
    _, same = await client.ask("PATCH", f"{PODS}/a", patch, "application/merge-patch+json")
    assert same["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


async def test_patches(client: Client) -> None:
    await client.ask("POST", PODS, pod("a", x="1", y="2"))
    patch: object = {"metadata": {"labels": {"x": None, "z": "3"}}}
    _, body = await client.ask("PATCH", f"{PODS}/a", patch, "application/merge-patch+json")
    assert body["metadata"]["labels"] == {"y": "2", "z": "3"}
    patch = [{"op": "test", "path": "/spec/nodeName", "value": "n"}, {"op": "remove", "path": "/metadata/labels/y"}]
    _, body = await client.ask("PATCH", f"{PODS}/a", patch, "application/json-patch+json")
    assert body["metadata"]["labels"] == {"z": "3"}
    patch = [{"op": "test", "path": "/spec/nodeName", "value": "other"}]
    assert (await client.ask("PATCH", f"{PODS}/a", patch, "application/json-patch+json"))[0] == 422
    stale = {"metadata": {"resourceVersion": "1", "labels": {"x": "1"}}}
    assert (await client.ask("PATCH", f"{PODS}/a", stale, "application/merge-patch+json"))[0] == 409
    assert (await client.ask("PATCH", f"{PODS}/a", {}, "application/strategic-merge-patch+json"))[0] == 415


async def test_status_is_a_thing_of_its_own(client: Client) -> None:
    await client.ask("POST", PODS, pod("a"))
    merge = "application/merge-patch+json"
    both = {"status": {"phase": "Running"}, "spec": {"nodeName": "m"}}
    _, body = await client.ask("PATCH", f"{PODS}/a", both, merge)
    assert ("status" in body, body["spec"]["nodeName"]) == (False, "m")
    both["spec"] = {"nodeName": "o"}
    _, body = await client.ask("PATCH", f"{PODS}/a/status", both, merge)
    assert (body["status"], body["spec"]["nodeName"]) == ({"phase": "Running"}, "m")
    assert client.server.cluster.patch("pods", "a", {"status": {"phase": "Failed"}})["status"] == {"phase": "Failed"}


async def test_finalizers_hold_an_object(client: Client) -> None:
    await client.ask("POST", ROUTES, {"metadata": {"name": "r", "finalizers": ["a/b"]}})
    _, going = await client.ask("DELETE", f"{ROUTES}/r")
    assert going["metadata"]["deletionTimestamp"]
    without = {**going, "metadata": {**going["metadata"], "finalizers": []}}
    assert (await client.ask("PUT", f"{ROUTES}/r", without))[0] == 200
    assert (await client.ask("GET", f"{ROUTES}/r"))[0] == 404


async def test_what_is_owned_goes_with_its_last_owner(client: Client) -> None:
    cluster = client.server.cluster
    owners = [cluster.create("deployments", {"metadata": {"name": name}}) for name in ("a", "b")]
    references = [
        {"uid": owner["metadata"]["uid"], "kind": "Deployment", "apiVersion": "apps/v1", "name": "x"}
        for owner in owners
    ]
    cluster.create("services", {"metadata": {"name": "s", "ownerReferences": references}})
    cluster.delete("deployments", "a")
    assert cluster.names("services") == ["s"]
    cluster.delete("deployments", "b")
    assert cluster.names("services") == []


async def test_lists_select_and_come_in_pages_of_one_moment(client: Client) -> None:
    cluster = client.server.cluster
    for number in range(5):
        cluster.create("pods", pod(f"p{number}", parity="odd" if number % 2 else "even"))
    _, body = await client.ask("GET", f"{PODS}?labelSelector=parity+in+(odd,none),parity,!other")
    assert [item["metadata"]["name"] for item in body["items"]] == ["p1", "p3"]
    _, first = await client.ask("GET", "/api/v1/pods?limit=3")
    cluster.create("pods", pod("p9"))
    following = f"/api/v1/pods?limit=3&continue={first['metadata']['continue']}"
    _, second = await client.ask("GET", following)
    assert [item["metadata"]["name"] for item in first["items"] + second["items"]] == ["p0", "p1", "p2", "p3", "p4"]
    assert first["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"]
    cluster.forget_history()
    assert (await client.ask("GET", following))[1]["reason"] == "Expired"


async def test_a_watch_continues_from_a_version(client: Client) -> None:
    cluster = client.server.cluster
    cluster.create("pods", pod("old", m="1"))
    _, listed = await client.ask("GET", PODS)
    cluster.create("pods", pod("new", m="1"))
    cluster.create("pods", pod("elsewhere", m="1"), "other")
    version = listed["metadata"]["resourceVersion"]
    async with client.watch(PODS, resourceVersion=version, labelSelector="m") as events:
        assert await take(events, 1) == [("ADDED", "new")]
        cluster.patch("pods", "old", {"metadata": {"labels": {"m": None}}})
        cluster.patch("pods", "old", {"metadata": {"labels": {"m": "2"}}})
        cluster.delete("pods", "new")
        assert await take(events, 3) == [("DELETED", "old"), ("ADDED", "old"), ("DELETED", "new")]


async def test_a_watch_without_a_version_begins_with_what_is(client: Client) -> None:
    client.server.cluster.create("pods", pod("a"))
    query = {"sendInitialEvents": "true", "allowWatchBookmarks": "true", "resourceVersionMatch": "NotOlderThan"}
    async with client.watch(PODS, **query) as events:
        assert await take(events, 2) == [("ADDED", "a"), ("BOOKMARK", "")]
        client.server.cluster.create("services", {"metadata": {"name": "s"}})
        client.server.send_bookmarks()
        kind, body = await asyncio.wait_for(anext(events), 10)
    assert (kind, body["metadata"]["resourceVersion"]) == ("BOOKMARK", str(client.server.cluster.history.version))


async def test_history_is_forgotten(client: Client) -> None:
    client.server.cluster.create("pods", pod("a"))
    client.server.cluster.forget_history()
    async with client.watch(PODS, resourceVersion="1") as events:
        kind, status = await asyncio.wait_for(anext(events), 10)
    assert (kind, status["code"]) == ("ERROR", 410)
    client.server.faults.gone_as_status = True
    assert (await client.ask("GET", f"{PODS}?watch=true&resourceVersion=1"))[0] == 410


async def test_watches_end_in_every_way(client: Client) -> None:
    server = client.server
    async with client.watch(PODS) as events:
        server.expire_watches("pods")
        assert (await asyncio.wait_for(anext(events), 10))[0] == "ERROR"
    async with client.watch(PODS) as events:
        server.close_watches()
        assert [event async for event in events] == []
    async with client.watch(PODS) as events:
        server.abort_watches()
        with pytest.raises(aiohttp.ClientPayloadError):
            await asyncio.wait_for(anext(events), 10)
    server.faults.cut_after_events = 1
    for name in ("a", "b"):
        server.cluster.create("pods", pod(name))
    async with client.watch(PODS) as events:
        assert await take(events, 1) == [("ADDED", "a")]
        with pytest.raises((aiohttp.ClientPayloadError, ValueError)):
            await asyncio.wait_for(anext(events), 10)


async def test_failures_on_demand(client: Client) -> None:
    client.server.faults.fail(503, verb="list", resource="pods", times=2)
    codes = [(await client.ask("GET", PODS))[0] for _ in range(3)]
    assert codes == [503, 503, 200]
    assert list(client.server.requests) == ["list pods"] * 3


async def test_roles_allow_what_they_say(client: Client) -> None:
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]
    client.server.access.add_role({"rules": rules}, namespace="default")
    assert (await client.ask("GET", PODS))[0] == 200
    assert (await client.ask("GET", "/api/v1/pods"))[0] == 403
    assert (await client.ask("DELETE", f"{PODS}/a"))[0] == 403
    assert client.server.access.denied == ["list /pods in all namespaces", "delete /pods in default"]


async def test_what_no_server_takes(client: Client) -> None:
    event = {"metadata": {"generateName": "e-"}, "involvedObject": {"namespace": "other"}}
    assert (await client.ask("POST", "/api/v1/namespaces/default/events", event))[0] == 422
    assert (await client.ask("POST", PODS, pod("Upper")))[0] == 422
    assert (await client.ask("POST", PODS, pod("a", model="org/model")))[0] == 422
    _, route = await client.ask("POST", ROUTES, {"metadata": {"name": "r"}})
    route["metadata"].pop("resourceVersion")
    assert (await client.ask("PUT", f"{ROUTES}/r", route))[0] == 422


async def test_kinds_come_and_go(client: Client) -> None:
    path = "/apis/example.org/v1/namespaces/default/things"
    assert (await client.ask("GET", path))[0] == 404
    client.server.cluster.install(Resource("example.org", ("v1",), "things", "Thing"))
    assert (await client.ask("GET", path))[1]["kind"] == "ThingList"
    _, document = await client.ask("GET", "/apis/example.org/v1")
    assert [entry["name"] for entry in document["resources"]] == ["things", "things/status"]
    assert "things.example.org" in client.server.cluster.names("customresourcedefinitions")
    client.server.cluster.uninstall("things")
    assert (await client.ask("GET", path))[0] == 404


async def test_the_official_client(client: Client, tmp_path: Any) -> None:
    from kubernetes.aio import client as official
    from kubernetes.aio import config

    configuration = official.Configuration()
    kubeconfig = str(client.server.kubeconfig(tmp_path))
    await config.load_kube_config(kubeconfig, client_configuration=configuration)  # type: ignore[no-untyped-call]
    async with official.ApiClient(configuration) as api:
        core = official.CoreV1Api(api)
        containers = [official.V1Container(name="engine")]
        made = official.V1Pod(metadata=official.V1ObjectMeta(name="a"), spec=official.V1PodSpec(containers=containers))
        await core.create_namespaced_pod("default", made)
        listed = await core.list_namespaced_pod("default")
        assert [item.metadata.name for item in listed.items if item.metadata] == ["a"]
        await core.delete_namespaced_pod("a", "default")
    assert client.server.cluster.names("pods") == []

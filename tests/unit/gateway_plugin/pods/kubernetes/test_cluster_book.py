"""From readings to one state: addresses that two pods claim, adapters, configurations, and what changes nothing."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gateway_plugin.pods.kubernetes.book import Book
from gateway_plugin.pods.kubernetes.feeds import adapter_feed, pod_feed, route_feed
from gateway_plugin.pods.kubernetes.label_keys import LabelKeys
from gateway_plugin.pods.kubernetes.pod_reader import PodReader
from routing.pods.pod_table import PodTable
from routing.profiles import ProfileCache
from routing.spec import AdapterSpec
from tests.fake_kubernetes import adapter, pod

LOCK = "model.aibrix.ai/config"


class World:
    """A book, and objects that are put into it as the API server sends them."""

    def __init__(self) -> None:
        self.book = Book()
        keys, profiles = LabelKeys(), ProfileCache()
        self.pods = pod_feed(PodReader(keys, profiles), self.book.pods, "")
        self.adapters = adapter_feed(keys, profiles, self.book.adapters)

    def put(self, body: dict[str, Any], scope: str = "", **metadata: str) -> bool:
        feed = self.adapters if "instances" in body["status"] else self.pods
        found = feed.read(msgspec.Raw(msgspec.json.encode(_named(body, **metadata))))
        return feed.shelf.put(scope, found.uid, found.reading)  # type: ignore[arg-type]

    def addresses(self) -> dict[str, str]:
        """By address, whose it is."""
        return {spec.address: spec.name for spec in self.book.snapshot().state.pods}

    def complaints(self) -> list[str]:
        return [str(complaint) for complaint in self.book.snapshot().complaints]


def _named(body: dict[str, Any], **metadata: str) -> dict[str, Any]:
    name = body["metadata"]["name"]
    body["metadata"] |= {"uid": f"uid-{name}", "namespace": "ns", "resourceVersion": "1", **metadata}
    return body


@pytest.fixture
def world() -> World:
    return World()


def locked(strategy: str) -> dict[str, str]:
    return {LOCK: f'{{"lockedRoutingStrategy": "{strategy}"}}'}


def test_a_model_is_known_without_a_ready_pod(world: World) -> None:
    world.put(pod("a", "m", "10.0.0.1", ready=False))
    world.put(pod("b", "n", ""))
    state = world.book.snapshot().state
    assert state.models == {"m", "n"}
    assert [(spec.name, spec.ready) for spec in state.pods] == [("a", False)]


def test_only_what_matters_is_a_change(world: World) -> None:
    assert world.put(pod("a", "m", "10.0.0.1"))
    assert not world.put(pod("a", "m", "10.0.0.1"), resourceVersion="2")
    assert world.put(pod("a", "m", "10.0.0.1", ready=False), resourceVersion="3")
    assert world.book.pods.put("", "uid-a", None)
    assert not world.book.pods.put("", "uid-a", None)


def test_a_complete_list_replaces_only_its_scope(world: World) -> None:
    world.put(pod("a", "m", "10.0.0.1"), scope="one")
    world.put(pod("b", "m", "10.0.0.2"), scope="two")
    world.book.pods.replace("one", {})
    assert world.addresses() == {"10.0.0.2:8000": "b"}


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
@pytest.mark.parametrize(
    ("a", "b", "holder"),
    [
        ({"ready": True}, {"ready": False}, "a"),
        ({"ready": False}, {"ready": True}, "b"),
        ({"ready": True}, {"ready": True}, "b"),
        ({"ready": False}, {"ready": False}, "b"),
    ],
)
def test_two_pods_with_one_address(
    world: World, order: tuple[str, str], a: dict[str, bool], b: dict[str, bool], holder: str
) -> None:
    bodies = {"a": pod("a", "m", "10.0.0.1", **a), "b": pod("b", "n", "10.0.0.1", **b)}
    times = {"a": "2026-01-01T00:00:00Z", "b": "2026-01-01T00:00:01Z"}
    for name in order:
        world.put(bodies[name], creationTimestamp=times[name])
    assert world.addresses() == {"10.0.0.1:8000": holder}
    loser = "a" if holder == "b" else "b"
    text = f"its address 10.0.0.1:8000 is also that of Pod ns/{holder}; only ns/{holder} gets requests"
    assert world.complaints() == [f"Pod ns/{loser}: {text}"]
    assert world.book.snapshot().state.models == {"m", "n"}


@pytest.mark.parametrize("order", [("new", "old"), ("old", "new")])
def test_an_address_that_is_handed_on_is_no_mistake(world: World, order: tuple[str, str]) -> None:
    bodies = {"old": pod("old", "m", "10.0.0.1"), "new": pod("new", "m", "10.0.0.1", ready=False)}
    bodies["old"]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    for name in order:
        world.put(bodies[name])
    assert world.addresses() == {"10.0.0.1:8000": "new"}
    assert world.complaints() == []


def test_an_ended_pod_claims_nothing(world: World) -> None:
    world.put(pod("evicted", "m", "10.0.0.1", phase="Failed"), creationTimestamp="9")
    world.put(pod("new", "m", "10.0.0.1"))
    assert (world.addresses(), world.complaints()) == ({"10.0.0.1:8000": "new"}, [])


def test_names_are_unique_over_namespaces(world: World) -> None:
    world.put(pod("a", "m", "10.0.0.1"))
    world.put(pod("b", "m", "10.0.0.2"))
    assert set(world.addresses().values()) == {"a", "b"}
    world.put(pod("a", "m", "10.0.1.1"), namespace="other", uid="uid-other")
    assert world.addresses() == {"10.0.0.1:8000": "ns/a", "10.0.0.2:8000": "b", "10.0.1.1:8000": "other/a"}


def test_adapters_are_models_on_their_instances(world: World) -> None:
    world.put(pod("a", "m", "10.0.0.1"))
    world.put(pod("b", "m", "10.0.0.2"))
    world.put(pod("a", "m", "10.0.1.1"), namespace="other", uid="uid-other")
    world.put(adapter("lora", ["a", "missing"]))
    world.put(adapter("empty", []))
    state = world.book.snapshot().state
    assert state.models == {"m", "lora", "empty"}
    assert {spec.address: spec.models for spec in state.pods} == {
        "10.0.0.1:8000": ("m", "lora"),
        "10.0.0.2:8000": ("m",),
        "10.0.1.1:8000": ("m",),
    }


def test_adapters_tell_their_parent_and_where_they_are_from(world: World) -> None:
    world.put(pod("a", "base", "10.0.0.1"))
    said = adapter("said", ["a"], base_model="named")
    said["spec"]["artifactURL"] = "s3://said"
    world.put(said)
    unsaid = adapter("unsaid", ["missing", "a"])
    del unsaid["spec"]
    world.put(unsaid)
    state = world.book.snapshot().state
    assert state.adapters == {"said": AdapterSpec("named", "s3://said"), "unsaid": AdapterSpec("base")}


def test_an_adapter_that_goes_serves_nobody(world: World) -> None:
    world.put(pod("a", "m", "10.0.0.1"))
    world.put(adapter("lora", ["a"]), deletionTimestamp="2026-01-01T00:00:00Z")
    state = world.book.snapshot().state
    assert state.models == {"m", "lora"}
    assert state.pods[0].models == ("m",)


def test_the_newest_pod_configures_the_model(world: World) -> None:
    world.put(pod("a", "m", "10.0.0.1", annotations=locked("random")), creationTimestamp="2026-01-02T00:00:00Z")
    world.put(pod("b", "m", "10.0.0.2", annotations=locked("throughput")), creationTimestamp="2026-01-01T00:00:00Z")
    world.put(pod("c", "m", "10.0.0.3"), creationTimestamp="2026-01-03T00:00:00Z")
    world.put(adapter("plain", ["a"]))
    own = adapter("own", ["a"])
    own["metadata"]["annotations"] = locked("least-request")
    world.put(own)
    configs = world.book.snapshot().state.configs
    assert {model: config.locked_strategy for model, config in configs.items()} == {
        "m": "random",
        "plain": "random",
        "own": "least-request",
    }


def test_objects_that_cannot_be_read_cost_nobody_else_anything(world: World) -> None:
    world.put(pod("a", "m", "10.0.0.1"))
    broken = pod("b", "m", "10.0.0.2")
    broken["status"]["podIPs"] = "10.0.0.2"
    world.put(broken)
    strange = adapter("lora", ["a"])
    strange["status"]["instances"] = [1, 2]
    world.put(strange)
    assert world.addresses() == {"10.0.0.1:8000": "a"}
    texts = world.complaints()
    assert [text.split(" (")[0] for text in texts] == [
        "Pod ns/b: it cannot be read",
        "ModelAdapter ns/lora: it cannot be read",
    ]


def test_a_status_update_keeps_the_books(world: World) -> None:
    table = PodTable(lambda: 0.0)
    world.put(pod("a", "m", "10.0.0.1"))
    table.apply(world.book.snapshot().state)
    row = table.row_of("10.0.0.1:8000")
    assert row is not None
    table.book(row)
    for ready in (False, True):
        world.put(pod("a", "m", "10.0.0.1", ready=ready))
        table.apply(world.book.snapshot().state)
        assert (table.knows("m"), int(table.columns.inflight_requests[row])) == (True, 1)
    world.put(pod("a", "m", "10.0.0.1"), uid="its-successor")
    world.book.pods.put("", "uid-a", None)
    table.apply(world.book.snapshot().state)
    row = table.row_of("10.0.0.1:8000")
    assert row is not None
    assert int(table.columns.inflight_requests[row]) == 0


def test_a_model_with_a_route_and_without_pods_is_known(world: World) -> None:
    """Scaled to zero: 503 tells clients to come again, 400 would tell them to go away."""
    feed = route_feed(LabelKeys(), world.book.routed)
    metadata = {"name": "r", "uid": "u", "resourceVersion": "7", "annotations": {"model.aibrix.ai/name": "Llama/8b"}}
    found = feed.read(msgspec.Raw(msgspec.json.encode({"metadata": metadata, "spec": {}})))
    assert (found.uid, found.version, found.reading) == ("u", "7", "Llama/8b")
    feed.shelf.put("", found.uid, found.reading)
    assert world.book.snapshot().state.models == {"Llama/8b"}
    others = feed.read(msgspec.Raw(msgspec.json.encode({"metadata": {**metadata, "annotations": None}})))
    assert others.reading is None

"""However a cluster came to be as it is, what the controller makes of it is the same."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fake_kubernetes import Cluster
from tests.fake_kubernetes.errors import ApiError
from tests.unit.gateway_plugin.controller.clusters import NAME, PORT, adapter, reconcile, service, workload, written

_NAMES = st.sampled_from(["a", "b", "c"])
_NAMESPACES = st.sampled_from(["east", "west"])
_MODELS = st.sampled_from(["llama", "Llama", "qwen", ""])
_PORTS = st.sampled_from(["8000", "8001", "none"])


@st.composite
def _workloads(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    labels = {NAME: draw(_MODELS), PORT: draw(_PORTS)}
    pods = labels if draw(st.booleans()) else {}
    annotations = draw(st.sampled_from([{}, {NAME: "org/llama"}, {"model.aibrix.ai/service-name": "front"}]))
    body = workload(
        draw(_NAMES),
        labels,
        namespace=draw(_NAMESPACES),
        pods=pods,
        annotations=annotations,
        pod_annotations=annotations,
    )
    if NAME in annotations:
        del body["metadata"]["labels"][NAME]
        body["spec"]["template"]["metadata"]["labels"].pop(NAME, None)
    return draw(st.sampled_from(["deployments", "statefulsets"])), body


@st.composite
def _others(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    namespace = draw(_NAMESPACES)
    if draw(st.booleans()):
        return "modeladapters", adapter(draw(_NAMES), draw(_MODELS), namespace=namespace)
    return "services", service("front", {"app": draw(_NAMES)}, namespace=namespace, port=draw(st.integers(80, 82)))


_WRITTEN_BY_PEOPLE = ("deployments", "statefulsets", "modeladapters", "services")
_CHANGES = st.one_of(_workloads(), _workloads(), _others(), st.integers(0, 20))
_EVENTS = st.lists(st.tuples(_CHANGES, st.booleans()), max_size=15)


@settings(deadline=None, max_examples=60)
@given(_EVENTS)
def test_any_sequence_of_events_ends_like_a_fresh_start(events: list[tuple[tuple[str, dict[str, Any]] | int, bool]]):
    lived, final = Cluster(), Cluster()
    for change, is_noticed in events:
        _happen(lived, change)
        if is_noticed:
            reconcile(lived)
    reconcile(lived)
    for plural, item in _by_people(lived):
        final.create(plural, item)
    reconcile(final)
    assert written(lived) == written(final)


def _happen(cluster: Cluster, change: tuple[str, dict[str, Any]] | int) -> None:
    """Creates or replaces an object, or deletes one of those that are there."""
    if isinstance(change, int):
        present = _by_people(cluster)
        if present:
            plural, item = present[change % len(present)]
            cluster.delete(plural, item["metadata"]["name"], item["metadata"]["namespace"])
        return
    plural, body = change
    try:
        cluster.update(plural, body)
    except ApiError:
        cluster.create(plural, body)


def _by_people(cluster: Cluster) -> list[tuple[str, dict[str, Any]]]:
    return [
        (plural, item)
        for plural in _WRITTEN_BY_PEOPLE
        for item in cluster.list(cluster.resource(plural))
        if "app.kubernetes.io/managed-by" not in item["metadata"].get("labels", {})
    ]

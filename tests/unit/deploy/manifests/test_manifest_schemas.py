"""All objects fit their schemas, and a schema's every kind of demand is really made."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from deploy.manifests import core
from deploy.manifests.checks import schema_errors
from deploy.manifests.schemas import with_defaults

if TYPE_CHECKING:
    from deploy.manifests.schemas import Definitions
    from tests.unit.deploy.manifests.conftest import Objects

Change = Callable[[Any], object]


def test_all_files_fit(every_object: Objects, definitions: Definitions):
    assert list(schema_errors(every_object.all, definitions)) == []


MISTAKES: dict[str, tuple[str, Change, str]] = {
    "unknown field": (
        "EnvoyExtensionPolicy",
        lambda spec: spec["extProc"][0].update(messageTimeOut="5s"),
        "messageTimeOut",
    ),
    "unknown field, deep": (
        "EnvoyProxy",
        lambda spec: spec["provider"]["kubernetes"]["envoyDeployment"]["pod"].update(toleration=[]),
        "toleration",
    ),
    "enum": ("ClientTrafficPolicy", lambda spec: spec["headers"].update(requestID="Always"), "Always"),
    "pattern": ("BackendTrafficPolicy", lambda spec: spec["timeout"]["http"].update(requestTimeout="never"), "never"),
    "type": ("BackendTrafficPolicy", lambda spec: spec["retry"].update(numRetries="two"), "two"),
    "minimum": ("BackendTrafficPolicy", lambda spec: spec["retry"].update(numRetries=-1), "-1"),
    "required": ("Gateway", lambda spec: spec["listeners"][0].pop("protocol"), "protocol"),
    "too many items": ("EnvoyExtensionPolicy", lambda spec: spec.update(lua=spec["lua"] * 17), "16"),
    "two keys alike": (
        "Gateway",
        lambda spec: spec.update(listeners=spec["listeners"] * 2),
        "two items are the same in name",
    ),
    "rule: one of two": (
        "EnvoyExtensionPolicy",
        lambda spec: spec["lua"][0].update(inline="x"),
        "Exactly one of inline or valueRef",
    ),
    "rule: target's kind": (
        "BackendTrafficPolicy",
        lambda spec: spec["targetRefs"][0].update(kind="Service"),
        "this policy can only have a targetRef",
    ),
    "rule: what goes together": (
        "BackendTrafficPolicy",
        lambda spec: spec["loadBalancer"].update(type="ConsistentHash"),
        "consistentHash field needs to be set",
    ),
    "rule: within a list": (
        "EnvoyProxy",
        lambda spec: spec["telemetry"]["accessLog"]["settings"][0]["sinks"][0]["als"].pop("backendRefs"),
        "must have at least one backend",
    ),
    "rule: no streaming with fail open": (
        "EnvoyExtensionPolicy",
        lambda spec: spec["extProc"][0].update(
            failOpen=True, processingMode={"request": {"body": "FullDuplexStreamed"}}
        ),
        "FullDuplexStreamed",
    ),
    "rule: a listener's TLS": (
        "Gateway",
        lambda spec: spec["listeners"][0].update(tls={"mode": "Terminate"}),
        "tls must not be specified for protocols",
    ),
}


@pytest.mark.parametrize(("kind", "change", "said"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_found(objects: Objects, definitions: Definitions, kind: str, change: Change, said: str):
    item = copy.deepcopy(objects.get(kind))
    assert list(definitions.errors(item)) == []
    change(item["spec"])
    assert said in " ".join(definitions.errors(item))


CORE_MISTAKES: dict[str, tuple[str, Change, str]] = {
    "unknown field": ("Deployment", lambda spec: spec["template"]["spec"].update(restart="Never"), "restart"),
    "type": ("PodDisruptionBudget", lambda spec: spec.update(maxUnavailable=[1]), "maxUnavailable"),
    "required": ("HorizontalPodAutoscaler", lambda spec: spec.pop("maxReplicas"), "maxReplicas"),
    "a monitor's field": ("ServiceMonitor", lambda spec: spec["endpoints"][0].update(ports="x"), "ports"),
}


@pytest.mark.parametrize(("kind", "change", "said"), CORE_MISTAKES.values(), ids=CORE_MISTAKES)
def test_a_mistake_in_a_core_object_is_found(every_object: Objects, kind: str, change: Change, said: str):
    item = copy.deepcopy(every_object.get(kind))
    assert list(core.errors(item)) == []
    change(item["spec"])
    assert said in " ".join(core.errors(item))


def test_defaults_reach_into_lists_and_maps():
    schema = {
        "properties": {
            "list": {"items": {"properties": {"kind": {"default": "Service"}}}},
            "map": {"additionalProperties": {"properties": {"on": {"default": True}}}},
            "absent": {"properties": {"never": {"default": 1}}},
        }
    }
    value = {"list": [{}, {"kind": "Backend"}], "map": {"a": {}}}
    with_defaults(value, schema)
    assert value == {"list": [{"kind": "Service"}, {"kind": "Backend"}], "map": {"a": {"on": True}}}

"""What `egctl` translates is looked at closely: each thing that requests need is missed when it is gone."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from deploy.manifests.documents import read
from deploy.manifests.paths import SAMPLES
from deploy.manifests.tools import INSTALL, installed
from deploy.manifests.translation import problems, translate

if TYPE_CHECKING:
    from tests.unit.deploy.manifests.conftest import Objects

pytestmark = pytest.mark.skipif(not installed("egctl"), reason=f"egctl is not on PATH; {INSTALL['egctl']}")

LOSSES: dict[str, tuple[str, Callable[[Any], object], str]] = {
    "Lua": ("EnvoyExtensionPolicy", lambda spec: spec.pop("lua"), "lua"),
    "ext_proc": ("EnvoyExtensionPolicy", lambda spec: spec.pop("extProc"), "ext_proc"),
    "override_host": (
        "BackendTrafficPolicy",
        lambda spec: spec["loadBalancer"].pop("endpointOverride"),
        "target-pod does not choose",
    ),
    "ceilings": ("BackendTrafficPolicy", lambda spec: spec.pop("circuitBreaker"), "ceilings"),
    "retries": ("BackendTrafficPolicy", lambda spec: spec.pop("retry"), "retries"),
    "time": ("BackendTrafficPolicy", lambda spec: spec["timeout"]["http"].pop("requestTimeout"), "cut streams"),
    "silence": ("BackendTrafficPolicy", lambda spec: spec["timeout"]["http"].pop("streamIdleTimeout"), "cut streams"),
    "early removal": ("ClientTrafficPolicy", lambda spec: spec.pop("headers"), "early header removal"),
    "part of early removal": (
        "ClientTrafficPolicy",
        lambda spec: spec["headers"]["earlyRequestHeaders"]["remove"].remove("target-pod"),
        "early header removal",
    ),
    "buffer": ("ClientTrafficPolicy", lambda spec: spec.pop("connection"), "buffer limit"),
    "access log": ("EnvoyProxy", lambda spec: spec.pop("telemetry"), "access loggers"),
    "order": (
        "EnvoyProxy",
        lambda spec: spec.update(
            filterOrder=[{"name": "envoy.filters.http.ext_proc", "before": "envoy.filters.http.lua"}]
        ),
        "HTTP filters",
    ),
    "acceptance": (
        "EnvoyExtensionPolicy",
        lambda spec: spec["lua"][0].update(type="Inline", valueRef=None, inline="function envoy_on_response( end"),
        "Accepted is False",
    ),
}


@pytest.mark.parametrize(("kind", "lose", "said"), LOSSES.values(), ids=LOSSES)
def test_what_is_gone_is_missed(objects: Objects, kind: str, lose: Callable[[Any], object], said: str):
    changed = copy.deepcopy(objects.all)
    lose(next(item for item in changed if item["kind"] == kind)["spec"])
    found = list(problems(translate([*changed, *read(SAMPLES / "model-route.yaml")])))
    assert said in "\n".join(found)

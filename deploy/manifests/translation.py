"""What Envoy Gateway makes of our objects: runs `egctl`, and looks for what requests depend on.

`egctl` translates offline, as Envoy Gateway does in a cluster, but for two things: clusters lead to the addresses of
Services, not of pods, and what Envoy Gateway's own configuration must allow (`extensionApis.enableLua`) is not asked.
"""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from deploy.manifests.chart import stream_idle_timeout
from deploy.manifests.documents import Object, identity
from deploy.manifests.paths import NAMESPACE, RELEASE
from deploy.manifests.tools import run

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

NAME = f"{NAMESPACE}/{RELEASE}"
EXT_PROC = f"envoy.filters.http.ext_proc/envoyextensionpolicy/{NAME}/extproc/0"
LUA_FILTER = f"envoy.filters.http.lua/envoyextensionpolicy/{NAME}/lua/0"
ERRORS = f"envoy.filters.http.custom_response/backendtrafficpolicy/{NAME}"
RATE = "envoy.filters.http.local_ratelimit"
FILTERS = [ERRORS, "envoy.filters.http.health_check", RATE, LUA_FILTER, EXT_PROC, "envoy.filters.http.router"]
"""The HTTP filters, in their order on the request."""
NOTHING_THERE = "/unknown-path-or-model"
"""Of the plugin's API, all that can be reached of it on the route of what no other route takes: a 404."""
CONTROL_HEADERS = ["target-pod", "target-pod-ip", "request-id", "x-went-into-req-headers", "x-envoy-*"]

# egctl wants to read these only in the cluster.
_LEFT_OUT = {"NetworkPolicy", "ServiceMonitor", "PodMonitor"}


class Translation:
    """The result of one run of egctl."""

    def __init__(self, output: Object) -> None:
        self.output = output
        dumps = {
            config["@type"].rsplit(".", 1)[1]: config for part in output["xds"].values() for config in part["configs"]
        }
        self.clusters: dict[str, Any] = {
            item["cluster"]["name"]: item["cluster"] for item in dumps["ClustersConfigDump"]["dynamicActiveClusters"]
        }
        listeners = [item["activeState"]["listener"] for item in dumps["ListenersConfigDump"]["dynamicListeners"]]
        (self.listener,) = (listener for listener in listeners if "defaultFilterChain" in listener)
        (routes,) = dumps["RoutesConfigDump"]["dynamicRouteConfigs"]
        self.route_config = routes["routeConfig"]

    @property
    def hcm(self) -> dict[str, Any]:
        """The connection manager of our listener."""
        return hcm_of(self.listener)

    @property
    def routes(self) -> list[dict[str, Any]]:
        """All routes, in their order."""
        return [route for host in self.route_config["virtualHosts"] for route in host["routes"]]


def hcm_of(listener: dict[str, Any]) -> dict[str, Any]:
    """The connection manager of a listener: the last of its network filters."""
    found: dict[str, Any] = listener["defaultFilterChain"]["filters"][-1]["typedConfig"]
    return found


def translate(objects: Iterable[Object]) -> Translation:
    """Raises ToolError when egctl is missing or refuses."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "objects.yaml"
        file.write_text(yaml.safe_dump_all(_prepared(objects)), encoding="utf-8")
        output = run(
            "egctl", "x", "translate", "--from", "gateway-api", "--to", "gateway-api,xds", "-t", "all", "-f", file
        )
    return Translation(yaml.safe_load(output))


def _prepared(objects: Iterable[Object]) -> Iterator[Object]:
    for number, item in enumerate(objects, start=1):
        if item["kind"] in _LEFT_OUT:
            continue
        whole = copy.deepcopy(item)
        if item["kind"] == "Service":  # as the API server would
            whole["spec"]["clusterIP"] = f"10.96.0.{number}"
        yield whole


def problems(translation: Translation) -> Iterator[str]:
    """What is not as requests need it; nothing when all is well."""
    yield from not_accepted(translation.output)
    hcm, routes = translation.hcm, translation.routes
    filters = [item["name"] for item in hcm["httpFilters"]]
    if filters != FILTERS:
        yield f"HTTP filters are {filters}, not {FILTERS}"
    early = hcm.get("earlyHeaderMutationExtensions", [])
    mutations = [mutation for item in early for mutation in item["typedConfig"]["mutations"]]
    removed = [item.get("remove") or item["removeOnMatch"]["keyMatcher"]["prefix"] + "*" for item in mutations]
    if removed != CONTROL_HEADERS:
        yield f"early header removal takes {removed}, not {CONTROL_HEADERS}"
    loggers = [item["name"] for item in hcm.get("accessLog", [])]
    if loggers != ["envoy.access_loggers.http_grpc"]:
        yield f"access loggers are {loggers}"
    if translation.listener["perConnectionBufferLimitBytes"] != 64 << 20:
        yield "the listener's buffer limit is not 64 MiB"
    for route in routes:
        yield from _route_problems(route)
    rewritten = routes[-1].get("route", {}).get("regexRewrite", {}).get("substitution")
    if routes[-1]["match"] != {"prefix": "/"} or rewritten != NOTHING_THERE:
        yield "the last route is not the 404 for everything else"
    for cluster in translation.clusters.values():
        yield from _cluster_problems(cluster)


def _route_problems(route: dict[str, Any]) -> Iterator[str]:
    enabled = set(route.get("typedPerFilterConfig", {}))
    if missing := {EXT_PROC, LUA_FILTER, ERRORS} - enabled:
        yield f"route {route['name']}: not enabled: {sorted(missing)}"
    if "-router/" not in route["name"]:
        return
    action = route.get("route", {})
    times = action.get("timeout"), action.get("idleTimeout")
    if times != ("0s", stream_idle_timeout()):
        yield f"route {route['name']}: timeouts cut streams: {times}"
    retry = action.get("retryPolicy", {})
    if retry.get("numRetries") != 2 or "previous_hosts" not in str(retry.get("retryHostPredicate")):
        yield f"route {route['name']}: retries do not take the next pod"


def _cluster_problems(cluster: dict[str, Any]) -> Iterator[str]:
    thresholds = cluster.get("circuitBreakers", {}).get("thresholds", [{"maxRequests": 1024}])
    if min(value for threshold in thresholds for value in threshold.values()) < 1_000_000:
        yield f"cluster {cluster['name']}: ceilings {thresholds}"
    policy = cluster["loadBalancingPolicy"]["policies"][0]["typedExtensionConfig"]["typedConfig"]
    if "-router/" in cluster["name"] and policy.get("overrideHostSources") != [{"header": "target-pod"}]:
        yield f"cluster {cluster['name']}: target-pod does not choose the pod"


def not_accepted(output: Object) -> Iterator[str]:
    """Objects that Envoy Gateway refuses, and why."""
    for value in output.values():
        for item in value if isinstance(value, list) else [value]:
            if "metadata" not in item:
                continue
            for condition in _conditions(item.get("status", {})):
                if condition["status"] != "True":
                    yield f"{identity(item).name}: {condition['type']} is {condition['status']}: {condition['message']}"


def _conditions(status: object) -> Iterator[dict[str, Any]]:
    if isinstance(status, dict):
        yield from status.get("conditions", [])
        for part in status.values():
            yield from _conditions(part)
    if isinstance(status, list):
        for part in status:
            yield from _conditions(part)

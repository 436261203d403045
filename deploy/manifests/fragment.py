"""The xDS that Envoy Gateway makes of our objects, as templates: tests run on it as on the standalone configuration, in
a real Envoy.

What `egctl` translates is kept as it is, field by field, but for what differs in a test: addresses, ports and models,
xDS from files instead of a control plane, and the numbers that tests shorten. `[[expression]]` marks those places until
YAML is text; then they become Jinja.
"""

from __future__ import annotations

import copy
import re
from typing import Any

import yaml

from deploy.manifests.paths import LUA
from deploy.manifests.translation import EXT_PROC, LUA_FILTER, NAME, RATE, Translation, hcm_of

PLUGIN_CLUSTER = f"envoyextensionpolicy/{NAME}/extproc/0"
LOG_CLUSTER = "accesslog_als_0_0"
USERS_CLUSTER = "httproute/gateway-plugin-system/gateway-plugin-models/rule/0"
UNKNOWN_CLUSTER = "httproute/gateway-plugin-system/gateway-plugin-unknown/rule/0"

_HEADER = """\
{# What Envoy Gateway 1.9 makes of deploy/envoy/gateway, translated by egctl; written by `make manifests`. Jinja stands
   where tests differ: addresses, models, xDS from files, shorter times. #}
{% import "macros.j2" as macros %}
"""
_BOOTSTRAP = """\
node: {id: gateway, cluster: gateway}
admin:
  address: {{ macros.socket(config.admin_host, config.ports.admin) }}
dynamic_resources:
  cds_config:
    resource_api_version: V3
    path_config_source:
      path: {{ (directory ~ "/clusters.yaml") | tojson }}
      watched_directory: {path: {{ directory | tojson }}}
# Envoy Gateway's own.
layered_runtime:
  layers:
  - name: global_config
    static_layer: {re2.max_program_size.error_level: 4294967295, re2.max_program_size.warn_level: 1000}
# Envoy Gateway's own, with a heap of 80 % of the container's memory.
overload_manager:
  refresh_interval: 0.25s
  resource_monitors:
  - name: envoy.resource_monitors.global_downstream_max_connections
    typed_config:
      "@type": [[CONNECTIONS]]
      max_active_downstream_connections: 50000
  - name: envoy.resource_monitors.fixed_heap
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig
      max_heap_size_bytes: {{ config.max_heap_bytes }}
  actions:
  - name: envoy.overload_actions.shrink_heap
    triggers: [{name: envoy.resource_monitors.fixed_heap, threshold: {value: 0.95}}]
  - name: envoy.overload_actions.stop_accepting_requests
    triggers: [{name: envoy.resource_monitors.fixed_heap, threshold: {value: 0.98}}]
""".replace(
    "[[CONNECTIONS]]",
    "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
)
# Of no use without Envoy Gateway.
_LEFT_OUT = ("metadata", "edsClusterConfig")
_MODEL_CLUSTER = "httproute/gateway-plugin-system/llama-3-1-8b-router/rule/0"
_MODEL_ROUTE = "httproute/gateway-plugin-system/llama-3-1-8b-router/"
_MODEL_NAME = '("httproute/gateway-plugin-system/" ~ model.name ~ "-router/rule/0")'


def templates(translation: Translation) -> dict[str, str]:
    """File name -> text."""
    return {
        "envoy.yaml.j2": _HEADER + _BOOTSTRAP + _jinja({"staticResources": _static(translation)}),
        "clusters.yaml.j2": _HEADER + _clusters(translation),
        "routes.yaml.j2": _HEADER + _routes(translation),
    }


def _static(translation: Translation) -> dict[str, Any]:
    plugin, api = "gateway_plugin", "gateway_plugin_users"
    clusters = {PLUGIN_CLUSTER: plugin, LOG_CLUSTER: plugin, USERS_CLUSTER: api, UNKNOWN_CLUSTER: api}
    return {
        "listeners": [_listener(translation)],
        "clusters": [
            _fixed(translation.clusters[name], repr(name), f"plugin.{addresses}")
            for name, addresses in clusters.items()
        ],
    }


def _listener(translation: Translation) -> dict[str, Any]:
    listener: dict[str, Any] = copy.deepcopy(translation.listener)
    del listener["@type"]
    listener["address"] = "[[macros.socket(config.listener_host, config.ports.listener)]]"
    listener["perConnectionBufferLimitBytes"] = "[[config.body_limit_bytes]]"
    (bound,) = (item["typedConfig"] for item in listener["defaultFilterChain"]["filters"][:-1])
    bound["maxConnections"] = "[[config.max_connections]]"
    hcm = hcm_of(listener)
    hcm["rds"]["configSource"] = {"resourceApiVersion": "V3", "pathConfigSource": "[[macros.followed(directory)]]"}
    hcm["streamIdleTimeout"] = "[[config.idle_timeout_seconds]]s"
    hcm["requestHeadersTimeout"] = "[[config.header_seconds]]s"
    hcm["requestTimeout"] = "[[config.upload_seconds]]s"
    # What Envoy Gateway makes of `clientIPDetection`, which the chart has with `gateway.trustedHops` alone.
    hcm["useRemoteAddress"] = "[[(not config.trusted_hops) | tojson]]"
    hcm["xffNumTrustedHops"] = "[[config.trusted_hops - 1 if config.trusted_hops else 0]]"
    (logger,) = hcm["accessLog"]
    logger["typedConfig"]["commonConfig"]["bufferFlushInterval"] = "[[config.access_log_flush_seconds]]s"
    hcm["http2ProtocolOptions"]["maxConcurrentStreams"] = "[[config.max_streams_per_connection]]"
    filters = {item["name"]: item["typedConfig"] for item in hcm["httpFilters"]}
    filters[LUA_FILTER]["defaultSourceCode"] = _script(filters[LUA_FILTER]["defaultSourceCode"]["inlineString"])
    filters[EXT_PROC]["messageTimeout"] = "[[config.message_timeout_seconds]]s"
    filters[EXT_PROC]["failureModeAllow"] = "[[config.fail_open | tojson]]"
    return listener


def _script(inline: str) -> str:
    if inline.strip() != LUA.read_text(encoding="utf-8").strip():
        raise ValueError("the Lua script in the translation is not deploy/envoy/lua/gateway.lua")
    return "[[macros.script(config.lua_path, lua)]]"


def _fixed(cluster: dict[str, Any], name: str, addresses: str) -> dict[str, Any]:
    """A cluster with addresses of its own; `name` and `addresses` are Jinja expressions."""
    plain = {
        key: value for key, value in copy.deepcopy(cluster).items() if key not in _LEFT_OUT and not key.startswith("@")
    }
    for check in plain.get("healthChecks", []):
        # Envoy Gateway leaves 60 s until traffic has come. In a cluster a stopping pod leaves its Service meanwhile.
        check["noTrafficInterval"] = "1s"
    by_name = f'{addresses} | selectattr("is_name") | list'
    return plain | {
        "name": f"[[{name} | tojson]]",
        "type": f'[["STRICT_DNS" if {by_name} else "STATIC"]]',
        "loadAssignment": f"[[macros.assignment({name}, {addresses})]]",
    }


def _clusters(translation: Translation) -> str:
    cluster = _fixed(translation.clusters[_MODEL_CLUSTER], _MODEL_NAME, "model.addresses")
    cluster["connectTimeout"] = "[[config.connect_timeout_seconds]]s"
    typed = {"@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", **cluster}
    return _loop("resources:", _jinja([typed]))


def _routes(translation: Translation) -> str:
    config = copy.deepcopy(translation.route_config)
    (host,) = config["virtualHosts"]
    routes = [_route(route) for route in host.pop("routes")]
    host.pop("metadata", None)
    first = next(index for index, route in enumerate(routes) if "[[" in route["name"])
    last = len(routes) - next(index for index, route in enumerate(reversed(routes)) if "[[" in route["name"])
    # One model's routes need not be neighbours (longer paths come first); in between there must be none that takes
    # what belongs to a model.
    models = [route for route in routes if "[[" in route["name"]]
    others = [route for route in routes[first:last] if "[[" not in route["name"]]
    ahead, behind = [*routes[:first], *others], routes[last:]
    head = {"@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration", **config}
    text = "resources:\n" + _jinja([head]) + "    routes:\n"
    text += _jinja(ahead, 4) + _looped(_jinja(models, 4)) + _jinja(behind, 4)
    return text


def _route(route: dict[str, Any]) -> dict[str, Any]:
    plain = {key: value for key, value in copy.deepcopy(route).items() if key not in _LEFT_OUT}
    if "route" in plain:
        plain["route"]["idleTimeout"] = "[[config.idle_timeout_seconds]]s"
        for descriptor in plain["typedPerFilterConfig"][RATE]["descriptors"]:
            of_api = any(entry["key"].endswith("-path") for entry in descriptor["entries"])
            rate = "(config.max_requests_per_second + 9) // 10" if of_api else "config.max_requests_per_second"
            bucket = descriptor["tokenBucket"]
            bucket["maxTokens"] = bucket["tokensPerFill"] = f"[[{rate} or 1000000]]"
    if not plain["name"].startswith(_MODEL_ROUTE):
        return plain
    rest = plain["name"].removeprefix(_MODEL_ROUTE)
    plain["name"] = f'[[("httproute/gateway-plugin-system/" ~ model.name ~ "-router/{rest}") | tojson]]'
    plain["route"]["cluster"] = f"[[{_MODEL_NAME} | tojson]]"
    plain["match"]["safeRegex"] = {"regex": "[[paths | tojson]]"}
    (header,) = plain["match"]["headers"]
    header["stringMatch"] = {"exact": "[[model.name | tojson]]"}
    return plain


def _loop(head: str, body: str) -> str:
    return f'{head} {{{{- " []" if not config.models }}}}\n{_looped(body)}'


def _looped(body: str) -> str:
    return "{% for model in config.models %}\n" + body + "{% endfor %}\n"


def _jinja(value: object, indent: int = 0) -> str:
    """YAML, with `[[expression]]` as Jinja's `{{ expression }}` and everything else left alone by Jinja."""
    text = yaml.safe_dump(value, sort_keys=False, width=10_000, allow_unicode=True)
    text = re.sub(r"'?\[\[(.+?)\]\](s?)'?(?=\n)", lambda match: f"{{{{ {_unquoted(match[1])} }}}}{match[2]}", text)
    return "".join(" " * indent + line for line in text.splitlines(keepends=True))


def _unquoted(expression: str) -> str:
    return expression.replace("''", "'")

"""What a chain is made of, and Envoy's configuration for it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway_plugin.tools.envoy_config.model import Accounting

_LUA, _EXT_PROC = "envoy.filters.http.lua", "envoy.filters.http.ext_proc"
_METADATA_FILTER = {
    "name": "envoy.filters.http.set_metadata",
    "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.set_metadata.v3.Config",
        "metadata": [
            {"metadata_namespace": "gateway_plugin", "value": {"request_id": "r", "strategy": "s", "pods": {}}}
        ],
    },
}


Limits = Literal["none", "memory", "valkey"]


@dataclass(frozen=True, slots=True)
class Variant:
    """What stands between client and pods."""

    name: str
    processor: Literal["none", "plugin", "other"] = "plugin"
    command: tuple[str, ...] = ()
    """What runs as processor in place of `gateway-plugin serve`; {grpc}, {ops}, {upstream} stand for ports and URL."""
    port: int = 0
    """Where the processor listens for Envoy; 0: any free port."""
    ready_path: str = "/readyz"
    """On the processor's operations port; empty: ready is who listens on the gRPC port."""
    processing_mode: Mapping[str, str] = field(default_factory=dict)
    """What Envoy shall do other than in the product's configuration, for processors that are not the plugin."""
    target_header: str = ""
    """Where another processor than the plugin names the pod."""
    lua: bool = True
    lua_text: str = ""
    """In place of our script."""
    accounting: Accounting = "access_log"
    limits: Limits = "none"
    """Where the limits of users are kept; none: requests name no user."""
    keeps_store: bool = False
    """Whether Valkey finds its data again when it is started anew."""
    max_parallel: int = 0
    """Of each user; 0 is no limit, and no slots to take and to give back."""
    environment: Mapping[str, str] = field(default_factory=dict)
    pods: int = 4
    metrics_page: bytes = b""
    """What pods answer to a scrape; empty: a few lines."""


def adapted(bootstrap: dict[str, Any], variant: Variant) -> dict[str, Any]:
    """The rendered configuration for this variant; where nobody writes the metadata that Lua waits for, Envoy does."""
    if variant.target_header:
        bootstrap = json.loads(json.dumps(bootstrap).replace('"target-pod"', json.dumps(variant.target_header)))
    manager = bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    unwanted = set() if variant.lua else {_LUA}
    if variant.processor == "none":
        unwanted.add(_EXT_PROC)
    filters = [one for one in manager["http_filters"] if one["name"] not in unwanted]
    for one in filters:
        if one["name"] == _EXT_PROC:
            one["typed_config"]["processing_mode"].update(variant.processing_mode)
        if one["name"] == _LUA and variant.lua_text:
            one["typed_config"]["default_source_code"] = {"inline_string": variant.lua_text}
    if variant.lua and variant.processor == "none":
        filters.insert(0, _METADATA_FILTER)
    manager["http_filters"] = filters
    return bootstrap


def filled(command: Sequence[str], places: Mapping[str, object]) -> list[str]:
    """The command with its placeholders filled; other braces stay."""
    return [re.sub(r"\{(\w+)\}", lambda found: str(places.get(found[1], found[0])), word) for word in command]

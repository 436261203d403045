"""An Envoy that has nothing of ours: what an attack costs the machine when it is aimed at nobody.

It waits for whole bodies, as ours does, and answers by itself.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from gateway_plugin.tools.chain.ports import Ports
from gateway_plugin.tools.chain.processes import Process
from gateway_plugin.tools.chain.stack import HOST
from gateway_plugin.tools.envoy_config.process import envoy_binary

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

_TYPES = "type.googleapis.com/envoy.extensions.filters"
_MAX_BODY_BYTES = 64 << 20


@asynccontextmanager
async def bare_envoy(directory: Path) -> AsyncIterator[int]:
    """Its port."""
    ports = Ports(usual=False)
    port, admin = ports.pick(1), ports.pick(1)
    file = directory / "bare.yaml"
    file.write_text(json.dumps(_bootstrap(port, admin)), encoding="utf-8")
    arguments = ["-c", str(file), "--disable-hot-restart", "--concurrency", "2", "-l", "error"]
    process = await Process.start("bare-envoy", [envoy_binary(), *arguments], directory, {})
    try:
        await process.wait_ready(f"http://{HOST}:{admin}/ready")
        yield port
    finally:
        await process.stop()


def _at(port: int) -> dict[str, object]:
    return {"socket_address": {"address": HOST, "port_value": port}}


def _bootstrap(port: int, admin: int) -> dict[str, object]:
    answer = {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "ok"}}}
    buffer = {"@type": f"{_TYPES}.http.buffer.v3.Buffer", "max_request_bytes": _MAX_BODY_BYTES}
    manager = {
        "@type": f"{_TYPES}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bare",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [answer]}]},
        "http2_protocol_options": {"max_concurrent_streams": 100},
        "http_filters": [
            {"name": "envoy.filters.http.buffer", "typed_config": buffer},
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{_TYPES}.http.router.v3.Router"},
            },
        ],
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    listener = {
        "name": "bare",
        "address": _at(port),
        "per_connection_buffer_limit_bytes": _MAX_BODY_BYTES,
        "filter_chains": [chain],
    }
    return {"admin": {"address": _at(admin)}, "static_resources": {"listeners": [listener]}}

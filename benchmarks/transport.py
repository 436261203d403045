"""`python -m benchmarks.transport`: a bare ext_proc echo behind a real Envoy, on our transport and on grpc.aio.

Per request two messages (headers, buffered body), parsed and answered; no decision at all, so what is measured is the
transport. CPU is of the plugin's and of Envoy's process, as the kernel says. One machine runs client, Envoy and plugin,
so requests per second compare the two and promise nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import statistics
import sys
import tempfile
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.procfs import cpu_seconds
from benchmarks.transport_client import Load
from gateway_plugin.demo.ports import Ports
from gateway_plugin.envoy_config.process import envoy_binary
from gateway_plugin.grpcio_server import GrpcioMethods
from gateway_plugin.wire.listener import WireListener
from protos import ext_proc
from protos.ext_proc import ProcessingRequest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway_plugin.calls import Call

TRANSPORTS = ("grpcio", "native")
METHOD = f"/{ext_proc.METHOD_SERVICE}/{ext_proc.METHOD_NAME}"


class Echo:
    """Parses every message and says "go on"."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def received(self, message: bytes) -> None:
        """Any message of Envoy."""
        reply = ext_proc.empty_reply(ext_proc.kind_of(ProcessingRequest.FromString(message)))
        assert reply is not None
        self._call.send(reply)

    def half_closed(self) -> None:
        """The exchange is over."""
        self._call.finish()

    def ended(self) -> None:
        """Nothing is held."""


@dataclass(frozen=True, slots=True)
class Result:
    """One run."""

    per_second: float
    p50_ms: float
    plugin_us: float
    envoy_us: float


async def serve(transport: str, port: int) -> None:
    """The plugin's process."""
    if transport == "native":
        await WireListener({METHOD: Echo}, socket.create_server(("127.0.0.1", port), backlog=128)).start()
    else:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers([GrpcioMethods({METHOD: Echo})])
        server.add_insecure_port(f"127.0.0.1:{port}")
        await server.start()
    await asyncio.Event().wait()


async def measure(transport: str, body_bytes: int, connections: int, seconds: float) -> Result:
    """Starts everything, warms up, and runs once."""
    ports = Ports(usual=False)
    gateway, plugin_port, admin = ports.pick(0), ports.pick(0), ports.pick(0)
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory) / "envoy.json"
        config.write_text(json.dumps(envoy_config(gateway, plugin_port, admin)))
        envoy_argv = [envoy_binary(), "-c", str(config), "--concurrency", "2", "--disable-hot-restart", "-l", "error"]
        plugin_argv = [sys.executable, "-m", "benchmarks.transport", "--serve", transport, "--port", str(plugin_port)]
        async with process(plugin_argv, plugin_port) as plugin, process(envoy_argv, gateway) as envoy:
            load = Load(gateway, body_bytes, connections)
            await load.run(1.0)
            before = cpu_seconds(plugin), cpu_seconds(envoy)
            started = time.perf_counter()
            latencies = await load.run(seconds)
            elapsed = time.perf_counter() - started
            used = cpu_seconds(plugin) - before[0], cpu_seconds(envoy) - before[1]
    count = len(latencies)
    return Result(count / elapsed, statistics.median(latencies) * 1e3, used[0] / count * 1e6, used[1] / count * 1e6)


@asynccontextmanager
async def process(argv: list[str], port: int) -> AsyncIterator[int]:
    """A child that listens on the port; gives its process id."""
    child = await asyncio.create_subprocess_exec(*argv)
    try:
        async with asyncio.timeout(20):
            while not await accepts(port):  # noqa: ASYNC110 - a port has no event
                await asyncio.sleep(0.05)
        yield child.pid
    finally:
        child.kill()
        await child.wait()


async def accepts(port: int) -> bool:
    """Whether somebody listens."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


def envoy_config(gateway: int, plugin: int, admin: int) -> dict[str, Any]:
    """ext_proc before an answer of Envoy's own."""
    types = "type.googleapis.com/envoy.extensions"
    mode = {
        "request_header_mode": "SEND",
        "request_body_mode": "BUFFERED",
        "response_header_mode": "SKIP",
        "response_trailer_mode": "SEND",
    }
    ext_proc_filter = {
        "@type": f"{types}.filters.http.ext_proc.v3.ExternalProcessor",
        "grpc_service": {"envoy_grpc": {"cluster_name": "plugin"}},
        "message_timeout": "5s",
        "processing_mode": mode,
    }
    manager = {
        "@type": f"{types}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "gateway",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": 200}}],
                }
            ]
        },
        "http_filters": [
            {"name": "envoy.filters.http.ext_proc", "typed_config": ext_proc_filter},
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{types}.filters.http.router.v3.Router"},
            },
        ],
    }
    http2 = {
        "@type": f"{types}.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
    cluster = {
        "name": "plugin",
        "connect_timeout": "1s",
        "type": "STATIC",
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2},
        "load_assignment": {
            "cluster_name": "plugin",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(plugin)}}]}],
        },
    }
    manager_filter = {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
    listener = {"name": "gateway", "address": address(gateway), "filter_chains": [{"filters": [manager_filter]}]}
    return {
        "admin": {"address": address(admin)},
        "static_resources": {"listeners": [listener], "clusters": [cluster]},
    }


def address(port: int) -> dict[str, Any]:
    """On loopback."""
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def main() -> None:
    """Prints one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", choices=TRANSPORTS)
    parser.add_argument("--port", type=int)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    if options.serve:
        uvloop.run(serve(options.serve, options.port))
        return
    table = Table("body", "transport", "requests/s", "p50 ms", "plugin us/request", "Envoy us/request", show_edge=False)
    for body_bytes in (512, 16 * 1024):
        results = {
            name: uvloop.run(measure(name, body_bytes, options.connections, options.seconds)) for name in TRANSPORTS
        }
        for name, result in results.items():
            numbers = f"{result.per_second:,.0f}", f"{result.p50_ms:.2f}"
            cpu = f"{result.plugin_us:.1f}", f"{result.envoy_us:.1f}"
            table.add_row(f"{body_bytes} B", name, *numbers, *cpu)
        ratio = results["native"].plugin_us / results["grpcio"].plugin_us
        table.add_row("", "native / grpcio", "", "", f"{ratio:.3f}", "")
    Console().print(table)


if __name__ == "__main__":
    main()

"""Other gateways in the same matrix: `--peer` and `--peer-ext-proc`.

    --peer name=command,port[,/ready-path]                        a proxy that takes Envoy's place
    --peer-ext-proc name=command,port[,mode[,target-header]]      a processor that takes the plugin's, behind Envoy

In the command `{upstream}` is the URL of an engine and `{port}` the port to listen on; both are also in the
environment, as UPSTREAM and PORT. Port 0 is any free one. The command is split as a shell would, but no shell runs it.
"""

from __future__ import annotations

import contextlib
import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from benchmarks.procfs import tree_cpu_seconds
from benchmarks.upstream import HOST, until_it_listens
from benchmarks.variant import Variant, filled
from gateway_plugin.tools.chain.ports import free_port
from gateway_plugin.tools.chain.processes import Process

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

START_SECONDS = 120.0
"""LiteLLM imports for half a minute on a busy machine."""
MODES: Mapping[str, Mapping[str, str]] = {
    "buffered": {},
    "streamed": {"response_header_mode": "SEND", "response_body_mode": "STREAMED"},
    "full-duplex": {
        "request_body_mode": "FULL_DUPLEX_STREAMED",
        "request_trailer_mode": "SEND",
        "response_header_mode": "SEND",
        "response_body_mode": "FULL_DUPLEX_STREAMED",
        "response_trailer_mode": "SEND",
    },
}
"""What Envoy sends: the request's body at once; responses in their chunks, too, as AIBrix's plugin has it; everything
in chunks, as llm-d's EPP has it."""


class PeerError(ValueError):
    """An option that cannot be understood; the text says what is allowed."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A proxy to compare with."""

    name: str
    command: tuple[str, ...]
    port: int
    ready_path: str = ""


def read_peer(text: str) -> Peer:
    """name=command,port[,/ready-path]; raises PeerError."""
    name, fields = _split("--peer", text)
    ready_path = fields.pop() if fields[-1].startswith("/") else ""
    port = _port("--peer", text, fields.pop())
    return Peer(name, _command("--peer", text, fields), port, ready_path)


def read_processor(text: str) -> Variant:
    """name=command,port[,mode[,target-header]]; raises PeerError."""
    option = "--peer-ext-proc"
    name, fields = _split(option, text)
    header = fields.pop() if len(fields) > 3 and fields[-2] in MODES else ""
    mode = fields.pop() if len(fields) > 2 and not fields[-1].strip().isdecimal() else "buffered"
    if mode not in MODES:
        raise PeerError(f"{option} {text!r}: mode {mode!r} is none of {', '.join(MODES)}")
    port = _port(option, text, fields.pop())
    command = tuple(word.replace("{port}", "{grpc}") for word in _command(option, text, fields))
    return Variant(
        name,
        "other",
        command,
        port=port,
        ready_path="",
        processing_mode=MODES[mode],
        target_header=header,
        lua=False,
        accounting="none",
    )


def _split(option: str, text: str) -> tuple[str, list[str]]:
    name, _, rest = text.partition("=")
    fields = rest.split(",")
    if not name or len(fields) < 2:
        raise PeerError(f"{option} {text!r}: must be name=command,port")
    if "/" in name:
        raise PeerError(f"{option} {text!r}: the name may have no slash")
    return name, fields


def _port(option: str, text: str, field: str) -> int:
    if not field.strip().isdecimal() or int(field) > 65535:
        raise PeerError(f"{option} {text!r}: port {field!r} must be 0 (any) to 65535")
    return int(field)


def _command(option: str, text: str, fields: list[str]) -> tuple[str, ...]:
    try:
        command = tuple(shlex.split(",".join(fields)))
    except ValueError as error:
        raise PeerError(f"{option} {text!r}: {error}") from None
    if not command:
        raise PeerError(f"{option} {text!r}: the command is empty")
    return command


class PeerChain:
    """A running Peer in front of one engine; an async context manager."""

    with_user = False
    lag_seconds = 0.1

    def __init__(self, peer: Peer, upstream_url: str, directory: Path) -> None:
        self.gateway_port = peer.port or free_port()
        self._peer = peer
        self._upstream_url = upstream_url
        self._directory = directory
        self._stack = contextlib.AsyncExitStack()
        self._process: Process

    async def __aenter__(self) -> Self:
        self._directory.mkdir(parents=True, exist_ok=True)
        argv = filled(self._peer.command, {"upstream": self._upstream_url, "port": self.gateway_port})
        environment = {"UPSTREAM": self._upstream_url, "PORT": str(self.gateway_port)}
        self._process = await Process.start(re.sub(r"\W+", "-", self._peer.name), argv, self._directory, environment)
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self._process.stop)
            if self._peer.ready_path:
                url = f"http://{HOST}:{self.gateway_port}{self._peer.ready_path}"
                await self._process.wait_ready(url, START_SECONDS)
            else:
                await until_it_listens(self._process, self.gateway_port, START_SECONDS)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def pid(self) -> int:
        """Of the process that was started."""
        return self._process.pid

    def cpu_seconds(self) -> tuple[float, float]:
        """No Envoy; the peer with its children."""
        return 0.0, tree_cpu_seconds(self._process.pid)

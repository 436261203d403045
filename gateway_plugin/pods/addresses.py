"""Hosts and ports as people write them, brought into the one form that Envoy uses.

Accepted: "10.0.0.1", "10.0.0.1:8000", "[fd00::1]:8000", "fd00::1", "name", "name:8000". More than one colon without
brackets is a bare v6 address, so "fd00::1:8000" has the default port. Addresses are rewritten as `inet_ntop` writes
them, which is how Envoy names hosts; host names become lower case.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass

DEFAULT_PORT = 8000
MAX_PORT = 65535
"""TCP."""

_WRITTEN = re.compile(r"(?:\[(?P<v6>[^\[\]]+)\]|(?P<host>[^:\[\]]+))(?::(?P<port>[0-9]{1,5}))?")
_NAME = re.compile(
    r"(?!.{254})(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.?"
)
# A name whose last label is a number is a misspelt IPv4 address ("10.0.0.300", "10.1").
_NUMERIC_END = re.compile(r"(?:.*\.)?[0-9]+\.?")


@dataclass(frozen=True, slots=True, order=True)
class HostPort:
    """A canonical host (v6 without brackets) and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return join_host_port(self.host, self.port)


def join_host_port(host: str, port: int) -> str:
    """Writes "10.0.0.1:8000" or "[fd00::1]:8000"."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def canonical_ip(text: str) -> str:
    """The one form of an address; raises ValueError."""
    return _canonical_ip(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


def is_ip(host: str) -> bool:
    """Whether the canonical host needs no resolution."""
    return ":" in host or _NUMERIC_END.fullmatch(host) is not None


def parse_host_port(text: str) -> HostPort:
    """Raises ValueError for anything but the accepted forms."""
    written = _WRITTEN.fullmatch(text)
    if written is None:
        return HostPort(_canonical_ip(socket.AF_INET6, text), DEFAULT_PORT)
    port = int(written["port"] or DEFAULT_PORT)
    if not 1 <= port <= MAX_PORT:
        raise ValueError(text)
    if written["v6"]:
        return HostPort(_canonical_ip(socket.AF_INET6, written["v6"]), port)
    return HostPort(_canonical_host(written["host"].lower()), port)


def _canonical_host(host: str) -> str:
    if _NUMERIC_END.fullmatch(host):
        return _canonical_ip(socket.AF_INET, host)
    if not _NAME.fullmatch(host):
        raise ValueError(host)
    return host


def _canonical_ip(family: socket.AddressFamily, text: str) -> str:
    try:
        return socket.inet_ntop(family, socket.inet_pton(family, text))
    except OSError as error:
        raise ValueError(text) from error

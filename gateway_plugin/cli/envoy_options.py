"""What options of `envoy-config` say together: mistakes that Envoy would find later, or nobody ever."""

from __future__ import annotations

import re
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gateway_plugin.tools.envoy_config.model import EnvoyPorts

_HOST_NAME = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,62}))*\.?")

_THIS_MACHINE = ("127.0.0.1", "localhost", "::1")


def wrong_options(
    hosts: Sequence[str], ports: EnvoyPorts, *, plugin_ca: str, client_cert: str, client_key: str
) -> list[str]:
    """One line a mistake."""
    wrong = [
        f"--plugin-host {host}: a name or an address without a port; ports are settings (listeners.grpc_port, api_port)"
        for host in hosts
        if not _is_host(host)
    ]
    if bool(client_cert) != bool(client_key):
        wrong.append("--client-cert and --client-key: give both, or neither")
    if client_cert and not plugin_ca:
        wrong.append("--client-cert: without --plugin-ca, Envoy speaks no TLS to the plugin at all; give it, too")
    named = {"--listener-port": ports.listener, "--admin-port": ports.admin}
    if hosts[0] in _THIS_MACHINE:
        named |= {"listeners.grpc_port": ports.grpc, "listeners.api_port": ports.users_http}
    names: dict[int, str] = {}
    for name, port in named.items():
        if port in names:
            wrong.append(f"{name} and {names[port]} are both {port}")
        names[port] = name
    return wrong


def missing_files(paths: Iterable[str]) -> list[str]:
    """Of files that Envoy will read: those that are not here, and perhaps where Envoy runs."""
    return [path for path in paths if path and not Path(path).is_file()]


def _is_host(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return _HOST_NAME.fullmatch(host) is not None and not host.replace(".", "").isdecimal()
    return True

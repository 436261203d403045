"""The unit that runs the same command under systemd, and what tells systemd that it serves."""

from __future__ import annotations

import os
import shlex
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_MORE_SECONDS = 20
"""Beyond the drain: for the processes to end one after the other."""


def unit(argv: Sequence[str], user: str, drain_seconds: float) -> str:
    """The text of a service file."""
    command = " ".join(map(_quoted, argv))
    return f"""\
# sudo tee /etc/systemd/system/gateway-plugin.service, then: sudo systemctl enable --now gateway-plugin
[Unit]
Description=Gateway plugin: routing and limits for LLM engines on this host
After=network-online.target
Wants=network-online.target

[Service]
Type=notify
User={user}
ExecStart={command}
# Settings, as GATEWAY_ADMIN_TOKEN=...; a file that only root can read.
EnvironmentFile=-/etc/gateway-plugin.env
StateDirectory=gateway-plugin
# The command ends its own processes in order; what is left after that is killed.
KillMode=mixed
TimeoutStartSec=90
TimeoutStopSec={int(drain_seconds) + _MORE_SECONDS}
Restart=on-failure
RestartSec=1
LimitNOFILE=1048576
NoNewPrivileges=yes
PrivateTmp=yes
ProtectSystem=full

[Install]
WantedBy=multi-user.target
"""


def tell_ready(environ: Mapping[str, str] = os.environ) -> None:
    """sd_notify(3), where systemd started this."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    # A name that begins with @ is in the abstract namespace.
    address = f"\0{address[1:]}" if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.sendto(b"READY=1", address)


def _quoted(word: str) -> str:
    # systemd expands % and $ where a shell would not.
    return shlex.quote(word).replace("%", "%%").replace("$", "$$")

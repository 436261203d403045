"""The cluster's own piece of the machine: network and mount namespaces, a bridge, a namespace for each pod.

Nothing outside can be reached from in there, and nothing in there from outside. What is mounted goes with the process.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

BRIDGE = "cni0"
HOST = "10.244.0.1"
"""The node's address, where API server and Envoy Gateway answer."""
INSIDE = "GATEWAY_PLUGIN_TEST_CLUSTER"


def is_inside() -> bool:
    """Whether this process runs there."""
    return bool(os.environ.get(INSIDE))


def enter() -> None:
    """Starts this program again, inside; returns when it is inside already."""
    if is_inside():
        _prepare()
        return
    if os.geteuid() != 0:
        raise SystemExit("this needs root, for network namespaces")
    # Where Envoy Gateway looks for its certificates; there is no option for another place.
    mountpoint = Path("/certs")
    made = not mountpoint.exists()
    mountpoint.mkdir(exist_ok=True)
    command = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", sys.executable, *sys.orig_argv[1:]]
    try:
        done = subprocess.run(command, env={**os.environ, INSIDE: "1"}, check=False)
    finally:
        if made:
            mountpoint.rmdir()
    raise SystemExit(done.returncode)


def _prepare() -> None:
    run("mount", "--make-rprivate", "/")
    run("mount", "-t", "proc", "proc", "/proc")
    for place in ("/run", "/certs"):
        run("mount", "-t", "tmpfs", "tmpfs", place)
    Path("/run/netns").mkdir()
    Path("/run/secrets/kubernetes.io/serviceaccount").mkdir(parents=True)
    Path("/run/hosts").write_text("127.0.0.1 localhost\n")
    run("mount", "--bind", "/run/hosts", "/etc/hosts")
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", BRIDGE, "type", "bridge")
    run("ip", "addr", "add", f"{HOST}/16", "dev", BRIDGE)
    run("ip", "link", "set", BRIDGE, "up")


def run(*command: str) -> None:
    """Raises when it fails."""
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


async def add_pod_network(name: str, address: str) -> None:
    """A network namespace with one address, on the bridge."""
    inside, outside = f"p{name}", f"v{name}"
    await _ip(
        f"netns add {name}",
        f"link add {outside} type veth peer name {inside} netns {name}",
        f"link set {outside} master {BRIDGE} up",
        f"-n {name} addr add {address}/16 dev {inside}",
        f"-n {name} link set {inside} up",
        f"-n {name} link set lo up",
    )


async def remove_pod_network(name: str) -> None:
    """Everything in it loses its network."""
    await _ip(f"link del v{name}", f"netns del {name}", check=False)


async def set_node_network(names: list[str], *, up: bool) -> None:
    """Takes the cable away from pods, or puts it back."""
    await _ip(*(f"link set v{name} {'up' if up else 'down'}" for name in names), check=False)


async def _ip(*commands: str, check: bool = True) -> None:
    for command in commands:
        process = await asyncio.create_subprocess_exec("ip", *command.split(), stderr=asyncio.subprocess.PIPE)
        _, errors = await process.communicate()
        if check and process.returncode:
            raise RuntimeError(f"ip {command}: {errors.decode().strip()}")

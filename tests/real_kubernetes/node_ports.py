"""kube-proxy and DNS: node ports lead to ready endpoints, and names of Services to one of them."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING, Any

from tests.real_kubernetes.namespaces import HOST

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Json = dict[str, Any]
_PIECE_BYTES = 65536


class NodePorts:
    """Follows what it is told."""

    def __init__(self, services: Mapping[str, Json], slices: Mapping[str, Json], hosts: Path) -> None:
        self._services, self._slices, self._hosts = services, slices, hosts
        self._servers: dict[int, asyncio.Server] = {}
        self._targets: dict[int, list[tuple[str, int]]] = {}

    async def update(self, services: Mapping[str, Json], slices: Mapping[str, Json]) -> None:
        """Takes over a state."""
        lines, targets = ["127.0.0.1 localhost"], {}
        for service in services.values():
            metadata = service["metadata"]
            ready = _endpoints(metadata, slices)
            address = next((item[0] for item in ready), "")
            if address:
                name, namespace = metadata["name"], metadata["namespace"]
                names = [
                    name,
                    f"{name}.{namespace}",
                    f"{name}.{namespace}.svc",
                    f"{name}.{namespace}.svc.cluster.local",
                ]
                lines.append(f"{address} {' '.join(names)}")
            for port in service["spec"].get("ports") or []:
                if port.get("nodePort"):
                    targets[port["nodePort"]] = [
                        (host, number) for host, number, named in ready if named == port.get("name", "")
                    ]
        self._targets = targets
        # In place: the file is mounted.
        self._hosts.write_text("\n".join(lines) + "\n")
        for number in targets.keys() - self._servers.keys():
            self._servers[number] = await asyncio.start_server(self._handler(number), HOST, number)

    def _handler(self, port: int) -> Any:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            ready = self._targets.get(port) or []
            try:
                host, number = random.choice(ready)
                there_reader, there_writer = await asyncio.open_connection(host, number)
            except (IndexError, OSError):
                writer.transport.abort()
                return
            await asyncio.gather(_pump(reader, there_writer), _pump(there_reader, writer))

        return handle


def _endpoints(metadata: Json, slices: Mapping[str, Json]) -> list[tuple[str, int, str]]:
    found = []
    for item in slices.values():
        labels = item["metadata"].get("labels") or {}
        if labels.get("kubernetes.io/service-name") != metadata["name"]:
            continue
        if item["metadata"]["namespace"] != metadata["namespace"]:
            continue
        for endpoint in item.get("endpoints") or []:
            if (endpoint.get("conditions") or {}).get("ready"):
                found += [
                    (endpoint["addresses"][0], port["port"], port.get("name") or "") for port in item.get("ports") or []
                ]
    return found


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(_PIECE_BYTES):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError, RuntimeError):
        writer.close()

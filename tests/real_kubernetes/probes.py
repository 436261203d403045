"""Probes of containers, made from the node as a kubelet makes them."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

Json = dict[str, Any]
_TIMEOUT_SECONDS = 2.0


async def passes(probe: Json, container: Json, address: str) -> bool:
    """Whether it succeeds now. What would run in the container is replaced by a connection to its first port."""
    if "httpGet" in probe:
        return await http(address, probe["httpGet"], container)
    if "grpc" in probe:
        return await _grpc(f"{address}:{probe['grpc']['port']}", str(probe["grpc"].get("service", "")))
    port = (probe.get("tcpSocket") or {}).get("port") or (container.get("ports") or [{}])[0].get("containerPort")
    return await _tcp(address, number_of(port, container)) if port else True


async def http(address: str, action: Json, container: Json, timeout_seconds: float = _TIMEOUT_SECONDS) -> bool:
    """A GET that must not fail."""
    url = f"http://{address}:{number_of(action['port'], container)}{action.get('path', '/')}"
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=timeout_seconds)) as session,
            session.get(url) as response,
        ):
            return response.status < 400
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False


def number_of(port: object, container: Json) -> int:
    """A port by number or by name."""
    named = {item.get("name"): item["containerPort"] for item in container.get("ports") or []}
    return int(named.get(port, port))


async def _grpc(target: str, service: str) -> bool:
    async with grpc.aio.insecure_channel(target) as channel:
        request = health_pb2.HealthCheckRequest(service=service)
        try:
            answer = await health_pb2_grpc.HealthStub(channel).Check(request, timeout=_TIMEOUT_SECONDS)
        except grpc.aio.AioRpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


async def _tcp(address: str, port: int) -> bool:
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(address, port), _TIMEOUT_SECONDS)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True

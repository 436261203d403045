"""What the controller says of itself: calls, writes, findings, memory and CPU."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from tests.real_kubernetes.cluster import TestCluster

_PORT = 8081


@dataclass(frozen=True, slots=True)
class Figures:
    """`calls` are those to the API server; `resident_bytes` and `cpu_seconds` of its process."""

    calls: int
    writes: int
    findings: tuple[str, ...]
    written: Counter[str]
    """Writes by kind."""
    resident_bytes: int
    cpu_seconds: float


async def controller_figures(cluster: TestCluster) -> Figures:
    """As of now."""
    (pod,) = cluster.plugins("controller")
    async with aiohttp.ClientSession() as session, session.get(f"http://{pod.address}:{_PORT}/metrics") as response:
        text = await response.text()
    calls = writes = 0
    findings = []
    written: Counter[str] = Counter()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "gateway_controller_api_calls_total":
                calls += int(sample.value)
            elif sample.name == "gateway_controller_writes_total":
                writes += int(sample.value)
                written[f"{sample.labels['kind']} {sample.labels['outcome']}"] += int(sample.value)
            elif sample.name == "gateway_controller_findings":
                findings.append(sample.labels["code"])
    number = pod.process_id("controller")
    return Figures(calls, writes, tuple(findings), written, *await asyncio.to_thread(_of_process, number))


async def readiness(cluster: TestCluster) -> tuple[int, str]:
    """`/readyz`."""
    (pod,) = cluster.plugins("controller")
    async with aiohttp.ClientSession() as session, session.get(f"http://{pod.address}:{_PORT}/readyz") as response:
        return response.status, await response.text()


def _of_process(number: int) -> tuple[int, float]:
    fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    return int(fields[21]) * os.sysconf("SC_PAGE_SIZE"), ticks / os.sysconf("SC_CLK_TCK")

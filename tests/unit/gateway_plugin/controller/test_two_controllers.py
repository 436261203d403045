"""Two controllers over thirty minutes of churn, one of which is killed, or cut off, each minute."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from gateway_plugin.controller.leader_election import LeaderElection
from gateway_plugin.controller.orchestrating import Orchestration
from gateway_plugin.controller.orchestration_rules import OrchestrationRules
from gateway_plugin.controller.route_client import KubeClient
from tests.unit.gateway_plugin.controller.autoscaling.autoscaled_cluster import autoscaler
from tests.unit.gateway_plugin.controller.memory_api import MemoryApi, MemoryCluster

SYSTEM = "system"
SCALER = "/apis/autoscaling.aibrix.ai/v1alpha1/namespaces/default/podautoscalers/scaler"
LLAMA = "/apis/apps/v1/namespaces/default/deployments/llama"
RULES = OrchestrationRules(adapters=False, autoscalers=True, take_over=True)
FOLLOWED_WITHIN_SECONDS = 25.0
"""A lease of 15 s, a turn of 2 s and a look of 5 s, with room."""


class Running:
    """One controller."""

    def __init__(self, cluster: MemoryCluster, name: str) -> None:
        self.api = MemoryApi(cluster, name)
        client = KubeClient(cast("Any", self.api))
        self.election = LeaderElection(client, SYSTEM, "controller", name, now=lambda: datetime.now(UTC))
        self.task = asyncio.create_task(Orchestration(client, self.election, RULES).run())

    async def kill(self) -> None:
        """It gives nothing back: the network goes first."""
        self.api.cut = True
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


def wish(cluster: MemoryCluster, size: int) -> None:
    """The author of the autoscaler wants just so many."""
    present = cluster.objects.get(SCALER)
    body = autoscaler("HPA", minReplicas=size, maxReplicas=size)
    generation = present["metadata"]["generation"] + 1 if present else 1
    body["metadata"] |= {"generation": generation}
    cluster.put(SCALER, {**body, "status": present.get("status", {}) if present else {}})


@pytest.mark.looptime
@pytest.mark.timeout(240)  # of real time; the half hour is virtual
async def test_never_two_writers_no_lost_update_and_quiet_afterwards():
    rng = random.Random(7)
    cluster = MemoryCluster(lease_path="/apis/coordination.k8s.io/v1/namespaces/system/leases/controller")
    cluster.put(LLAMA, {"metadata": {"name": "llama"}, "spec": {"replicas": 1}})
    wish(cluster, 2)
    running = [Running(cluster, "c0"), Running(cluster, "c1")]
    took_over = 0
    for minute in range(30):
        size = rng.randint(1, 9)
        victim = next((one for one in running if one.election.leads), running[0]) if minute % 3 else rng.choice(running)
        took_over += victim.election.leads
        if minute % 2:
            await victim.kill()
        else:
            victim.api.cut = True  # alive, and of the opinion that it leads, for as long as it may be
        wish(cluster, size)
        await asyncio.sleep(FOLLOWED_WITHIN_SECONDS)
        assert cluster.objects[LLAMA]["spec"]["replicas"] == size
        if not minute % 2:
            # Back in the network, with something to do: it must have noticed that it does not lead any more.
            wish(cluster, size % 9 + 1)
            victim.api.cut = False
            await asyncio.sleep(8)
        await victim.kill()
        running[running.index(victim)] = Running(cluster, f"c{minute + 2}")
        await asyncio.sleep(60 - FOLLOWED_WITHIN_SECONDS - (0 if minute % 2 else 8))
    assert took_over > 15
    scaled = [write for write in cluster.writes if write.path == LLAMA + "/scale"]
    assert len(scaled) >= 20
    assert all(write.writer == write.holder for write in cluster.writes)
    before = len(cluster.writes)
    await asyncio.sleep(300)
    assert len(cluster.writes) == before
    for one in running:
        await one.kill()

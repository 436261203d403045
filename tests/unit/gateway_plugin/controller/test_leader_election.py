"""The shell around a Lease: taken, kept, lost, given back; and writes of those who do not lead."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from gateway_plugin.controller.kinds import LEASE
from gateway_plugin.controller.leader_election import LeaderElection, LeadersClient
from gateway_plugin.controller.route_client import KubeError
from gateway_plugin.controller.workloads import Ref

REF = Ref(LEASE.name, "system", "controller")


class OneLease:
    """An API with one object in it, versions and all; `away` makes every call fail."""

    api: Any = None

    def __init__(self) -> None:
        self.body: dict[str, Any] | None = None
        self.version = 0
        self.away = False

    async def get(self, ref: Ref) -> dict[str, Any]:
        self._check()
        if self.body is None:
            raise KubeError(404, "not found")
        return {"metadata": {"resourceVersion": str(self.version)}, **self.body}

    async def create(self, kind: object, namespace: str, body: dict[str, Any]) -> dict[str, Any]:
        self._check()
        if self.body is not None:
            raise KubeError(409, "AlreadyExists")
        return self._written(body)

    async def patch(self, ref: Ref, body: dict[str, Any]) -> dict[str, Any]:
        self._check()
        if body["metadata"].get("resourceVersion") != str(self.version):
            raise KubeError(409, "Conflict")
        return self._written(body)

    def _written(self, body: dict[str, Any]) -> dict[str, Any]:
        self.version += 1
        self.body = {"spec": body["spec"]}
        return self.body

    def _check(self) -> None:
        if self.away:
            raise KubeError(0, "no answer")


def election(lease: Any, identity: str) -> LeaderElection:
    return LeaderElection(lease, "system", "controller", identity, now=lambda: datetime.now(UTC))


def leads(one: LeaderElection) -> bool:
    """As of now; a plain attribute would count as unchanged."""
    return one.leads


async def stop(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.looptime
async def test_one_leads_and_the_other_follows_at_once_when_it_ends_in_order():
    lease: Any = OneLease()
    one, other = election(lease, "one"), election(lease, "other")
    first = asyncio.create_task(one.run())
    await asyncio.sleep(0.1)
    second = asyncio.create_task(other.run())
    await asyncio.sleep(60)
    assert (one.leads, other.leads) == (True, False)
    await stop(first)
    await asyncio.sleep(4)
    assert (one.leads, other.leads) == (False, True)
    await stop(second)


@pytest.mark.looptime
async def test_one_that_dies_is_followed_after_its_lease_is_over():
    lease: Any = OneLease()
    one, other = election(lease, "one"), election(lease, "other")
    first = asyncio.create_task(one.run())
    second = asyncio.create_task(other.run())
    await asyncio.sleep(10)
    dead, alive = (one, other) if one.leads else (other, one)
    dying = first if dead is one else second
    dead._holder.lost()  # killed: it gives nothing back
    await stop(dying)
    await asyncio.sleep(12)
    assert not leads(alive)
    await asyncio.sleep(8)
    assert leads(alive)
    await stop(first, second)


@pytest.mark.looptime
async def test_without_the_api_nobody_writes_after_ten_seconds():
    lease: Any = OneLease()
    one = election(lease, "one")
    task = asyncio.create_task(one.run())
    await asyncio.sleep(5)
    lease.away = True
    await asyncio.sleep(5)
    assert leads(one)
    await asyncio.sleep(8)
    assert not leads(one)
    with pytest.raises(KubeError, match="does not lead"):
        await LeadersClient(lease, one).patch(REF, {})
    lease.away = False
    await asyncio.sleep(3)
    assert leads(one)
    await stop(task)

"""Leases around a remote store that fails: reported, or told later like whatever the store has not heard of."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import pytest

from ratelimit import Admission, Decision, Outcome, UserRecord
from ratelimit.outage.breaker import BreakerState
from ratelimit.outage.resilience import ResilientLimits
from ratelimit.store.batching import BatchingLimits
from ratelimit.windows.decision import Lease
from ratelimit.windows.leases import Leases
from tests.unit.ratelimit.conftest import Remote, World, now

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.looptime


class Giving(Remote):
    """Gives what is wished, for half a second."""

    async def admit(self, admission: Admission) -> Decision:
        decision = await super().admit(admission)
        if admission.wish is None or decision.outcome is not Outcome.ADMITTED:
            return decision
        lease = Lease(admission.wish.requests, 10**6, 1, 0.5, 10**6)
        return msgspec.structs.replace(decision, lease=lease)


class LeasingWorld(World):
    def __init__(self) -> None:
        super().__init__()
        self.remote = Giving()
        self.guard._ping = self.remote.ping
        self.leases = Leases(now, "r", lambda: self.replicas)
        self.limits = ResilientLimits(
            BatchingLimits(self.remote), self.guard, self.known, self.local, now, leases=self.leases
        )
        self.at_once = 0

    async def ask(self, user: str = "lgy", **changes: object) -> Decision:
        self._charges += 1
        admission = Admission(user, f"c{self._charges}", **changes)  # type: ignore[arg-type]
        decision = self.limits.admit_at_once(admission)
        self.at_once += decision is not None
        return decision or await self.limits.admit(admission)

    async def leased(self, requests: int = 4) -> None:
        """Until so many were let in at once."""
        while self.at_once < requests:
            assert (await self.ask(tokens=10)).outcome is Outcome.ADMITTED

    async def used(self) -> tuple[float, float]:
        usage = await self.remote.store.usage("lgy")
        assert usage is not None
        return usage.requests_used, usage.tokens_used


@pytest.fixture
async def world() -> AsyncIterator[LeasingWorld]:
    world = LeasingWorld()
    await world.remote.create(UserRecord("lgy", rpm=100, tpm=100_000))
    yield world
    await world.limits.close()


async def test_what_was_let_in_is_reported_when_the_lease_is_over(world: LeasingWorld):
    await world.leased(6)
    asked = world._charges
    assert (await world.used())[0] == asked - 6
    await asyncio.sleep(0.6)
    assert await world.used() == (asked, asked * 10)
    assert world.remote.calls.count("report") == 1


async def test_an_outage_goes_on_from_what_leases_let_in(world: LeasingWorld):
    await world.leased(6)
    asked = world._charges
    world.remote.mode = "refusing"
    decisions = [await world.limits.admit(Admission("other", f"o{number}")) for number in range(6)]
    assert decisions
    assert world.limits.state is BreakerState.OPEN
    assert world.limits.admit_at_once(Admission("lgy", "one more")) is None, "a share decides now"
    passed = 0
    while (await world.ask()).outcome is Outcome.ADMITTED:
        passed += 1
    assert passed == 100 - 6, "of what the store itself let in nothing is known here without windows"
    world.remote.mode = "up"
    await asyncio.sleep(3)
    assert await world.used() == (asked + passed, asked * 10)


async def test_a_report_that_fails_is_told_later(world: LeasingWorld):
    await world.leased(6)
    asked = world._charges
    world.remote.mode = "refusing"
    await asyncio.sleep(0.6)
    assert (await world.used())[0] == asked - 6
    assert world.limits.counts.queued == 6
    world.remote.mode = "up"
    await asyncio.sleep(3)
    assert await world.used() == (asked, asked * 10)


async def test_a_change_of_the_user_ends_its_lease(world: LeasingWorld):
    await world.leased()
    await world.remote.update(UserRecord("lgy", rpm=1))
    world.limits.forget_leases("lgy")
    assert (await world.ask()).outcome is Outcome.REQUESTS_EXCEEDED
    await asyncio.sleep(0.6)
    assert world.remote.calls.count("report") == 1


async def test_the_last_words_of_a_replica_are_its_reports(world: LeasingWorld):
    await world.leased(5)
    asked = world._charges
    await world.limits.close()
    assert (await world.used())[0] == asked


async def test_a_wish_whose_answer_was_lost_is_ended(world: LeasingWorld):
    for _ in range(7):
        await world.ask()
    waiting = asyncio.ensure_future(world.limits.admit(Admission("lgy", "gone")))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.sleep(1.2)
    assert [(report.lease_id, report.charges) for report in world.remote.reports] == [("r:1", {})]

"""Leases on real servers, whose scripts run in the time of the test: never above a limit, and given back."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ratelimit import Admission, Decision, Outcome, RedisStore, Settlement, UserRecord
from ratelimit.windows.decision import LeaseWish, Report
from ratelimit.windows.leases import LEAST_LEASED, SHARE, Leases
from tests.integration.limits.virtual_time import set_clock

START = 100_000.0
ADMITTED = Outcome.ADMITTED
pytestmark = pytest.mark.usefixtures("virtual_time")


class World:
    """Replicas with leases around one server; they ask, report, and may be killed."""

    def __init__(self, server, replicas: int) -> None:
        self.now = START
        self.store = RedisStore.from_url(server.url, timeout_seconds=5)
        self.client = server.client()
        self.redis = self.client.__enter__()
        self.leases = [Leases(lambda: self.now, f"r{number}", lambda: replicas) for number in range(replicas)]
        self.admitted: list[tuple[float, int]] = []
        self.at_once = 0
        self.charges = 0
        self.set()

    def set(self) -> None:
        set_clock(self.redis, self.now)

    async def ask(self, replica: int, tokens: int = 0, model: str = "") -> Decision:
        self.charges += 1
        admission = Admission("lgy", f"c{self.charges}", model=model, tokens=tokens)
        leases = self.leases[replica]
        decision = leases.admit(admission)
        self.at_once += decision is not None
        if decision is None:
            wish = leases.wish(admission)
            asked = Admission("lgy", admission.charge_id, model=model, tokens=tokens, wish=wish)
            answer = (await self.store.admit_many([asked]))[0]
            assert isinstance(answer, Decision)
            decision = answer
            if wish is not None:
                leases.given(asked, wish, decision, self.now)
        if decision.outcome is ADMITTED:
            self.admitted.append((self.now, tokens))
        return decision

    async def move(self, seconds: float) -> None:
        self.now += seconds
        self.set()
        for leases in self.leases:
            await self.store.report_many(leases.ended())

    def most_in_a_minute(self, of: int) -> int:
        """Requests (0) or tokens (1) in the worst 60 s."""
        amounts = [(at, 1 if of == 0 else tokens) for at, tokens in self.admitted]
        return max((sum(n for at, n in amounts if start <= at < start + 60) for start, _ in amounts), default=0)

    async def close(self) -> None:
        await self.store.close()
        self.client.__exit__(None, None, None)


async def test_a_busy_user_is_let_in_without_asking_and_counted_exactly(server):
    world = World(server, 1)
    await world.store.create(UserRecord("lgy", rpm=100_000, tpm=10**8))
    for _ in range(200):
        await world.ask(0, tokens=7)
    assert world.at_once > 150
    await world.move(1.0)
    usage = await world.store.usage("lgy")
    assert usage is not None
    assert (usage.requests_used, usage.tokens_used) == (200, 1400)
    assert not world.redis.exists("gateway:{aibrix-users/lgy}:leases")
    await world.close()


async def test_charges_under_a_lease_are_settled_once_whoever_is_first(server):
    world = World(server, 1)
    await world.store.create(UserRecord("lgy", rpm=100_000, tpm=10**8))
    for _ in range(20):
        await world.ask(0, tokens=10)
    assert world.at_once > 5
    early = [Settlement("lgy", f"c{number}", 15, 10) for number in range(1, 11)]
    assert await world.store.settle_many(early) == 10
    await world.move(1.0)
    late = [Settlement("lgy", f"c{number}", 4, 10) for number in range(11, 21)]
    assert await world.store.settle_many([*early, *late]) == 10
    usage = await world.store.usage("lgy")
    assert usage is not None
    assert (usage.requests_used, usage.tokens_used) == (20, 10 * 15 + 10 * 4)
    await world.close()


async def test_a_report_that_is_told_twice_counts_once(server):
    world = World(server, 1)
    await world.store.create(UserRecord("lgy", rpm=100_000, tpm=10**8))
    for _ in range(50):
        await world.ask(0, tokens=10)
    world.now += 1
    world.set()
    reports = world.leases[0].ended()
    assert reports
    await world.store.report_many(reports)
    await world.store.report_many(reports)
    usage = await world.store.usage("lgy")
    assert usage is not None
    assert (usage.requests_used, usage.tokens_used) == (50, 500)
    await world.close()


async def test_what_a_killed_replica_held_comes_back_within_a_minute(server):
    world = World(server, 2)
    await world.store.create(UserRecord("lgy", rpm=1000, tpm=10**8))
    for _ in range(40):
        await world.ask(0)
    assert len(world.leases[0]) == 1
    world.leases[0] = Leases(lambda: world.now, "again", lambda: 2)  # nothing is ever reported
    before = len(world.admitted)
    outcomes = [(await world.ask(1)).outcome for _ in range(1000)]
    passed = outcomes.count(ADMITTED)
    assert before + passed <= 1000
    assert before + passed >= 1000 - 1000 // SHARE
    await world.move(62.0)
    assert (await world.ask(1)).outcome is ADMITTED
    await world.close()


async def test_near_the_limit_every_request_is_decided_by_the_store(server):
    world = World(server, 4)
    await world.store.create(UserRecord("lgy", rpm=60, tpm=10**8))
    outcomes = [(await world.ask(number % 4)).outcome for number in range(400)]
    assert outcomes.count(ADMITTED) == 60
    assert outcomes[:60] == [ADMITTED] * 60
    assert world.at_once == 0
    await world.close()


async def test_who_is_refused_because_others_hold_leases_is_told_to_come_back_soon(server):
    world = World(server, 1)
    await world.store.create(UserRecord("lgy", rpm=1000))
    wish = LeaseWish("other:1", 960, 1)
    answer = (await world.store.admit_many([Admission("lgy", "c", wish=wish)]))[0]
    assert isinstance(answer, Decision)
    assert answer.lease is not None
    assert answer.lease.requests == 960
    assert answer.lease.seconds == 1.0
    while (decision := await world.ask(0)).outcome is ADMITTED:
        pass
    assert len(world.admitted) + 960 + 1 == 1000
    assert decision.retry_after_seconds == pytest.approx(1.1)
    await world.store.report_many([Report("other:1", "lgy", "", answer.lease.bucket)])
    assert (await world.ask(0)).outcome is ADMITTED, "given back"
    await world.close()


@pytest.mark.parametrize(
    "record", [UserRecord("lgy", rpm=10_000, max_parallel=50), UserRecord("lgy", rpm=LEAST_LEASED)]
)
async def test_some_have_no_leases(server, record):
    world = World(server, 1)
    await world.store.create(record)
    answer = (await world.store.admit_many([Admission("lgy", "c", wish=LeaseWish("r:1", 100, 1))]))[0]
    assert isinstance(answer, Decision)
    assert (answer.outcome, answer.lease) == (ADMITTED, None)
    await world.close()


async def test_a_model_with_limits_of_its_own_bounds_the_lease_and_is_debited(server):
    world = World(server, 1)
    await world.store.create(UserRecord("lgy", rpm=100_000, tpm=10**8, overrides={"m": (400, 0)}))
    for _ in range(500):
        await world.ask(0, model="m")
    assert len(world.admitted) == 400
    assert world.at_once > 100
    for _ in range(30):
        await world.ask(0, model="n")
    assert len(world.admitted) == 430
    await world.move(1.0)
    assert (await world.ask(0, model="m")).outcome is Outcome.REQUESTS_EXCEEDED
    await world.close()


async def test_what_strangers_write_where_leases_are_kept_refuses_nobody(server):
    world = World(server, 1)
    await world.store.create(UserRecord("lgy", rpm=1000))
    key = "gateway:{aibrix-users/lgy}:leases"
    for junk in ({"a": "no lease"}, {"a": "1 2 3 m", "b": "99999999999999999999 1 1 m"}):
        world.redis.hset(key, mapping=junk)
        assert (await world.ask(0)).outcome is ADMITTED
        assert not world.redis.exists(key)
    world.redis.set(key, "a string")
    assert (await world.ask(0)).outcome is ADMITTED
    await world.close()


STEPS = st.lists(
    st.tuples(
        st.integers(0, 2), st.integers(1, 60), st.integers(0, 40), st.sampled_from([0.0, 0.1, 0.4, 1.0, 7.0, 30.0])
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=STEPS, rpm=st.integers(5, 400), tpm=st.integers(100, 6000), seed=st.integers(0, 99))
def test_no_minute_holds_more_than_the_limit_with_three_replicas_that_may_be_killed(server, steps, rpm, tpm, seed):
    async def scenario() -> None:
        server.clear()
        world, rng = World(server, 3), random.Random(seed)
        await world.store.create(UserRecord("lgy", rpm=rpm, tpm=tpm))
        for replica, burst, tokens, pause in steps:
            for _ in range(burst):
                await world.ask(replica, tokens=tokens)
            if rng.random() < 0.1:
                world.leases[replica] = Leases(lambda: world.now, f"k{world.charges}", lambda: 3)
            await world.move(pause)
        # The one that may come a second early (`window`) comes on top.
        assert world.most_in_a_minute(0) <= rpm + 1
        assert world.most_in_a_minute(1) <= tpm + 40
        await world.close()

    asyncio.run(scenario())

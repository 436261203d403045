"""Groups and quotas of the calendar, in every store, and against a reference that adds up what was admitted."""

from __future__ import annotations

import asyncio
import inspect
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ratelimit import Admission, Decision, GroupRecord, MemoryStore, Outcome, RedisStore, Settlement, UserRecord
from ratelimit.store.redis_groups import GroupsNotPossible
from ratelimit.windows.periods import Calendar
from tests.integration.limits.conftest import KINDS
from tests.integration.limits.virtual_time import set_clock, use_virtual_time

ZONE = ZoneInfo("Europe/Berlin")
# Half a minute before a month ends in Berlin, two hours before it ends in UTC.
START = datetime(2026, 3, 31, 23, 59, 30, tzinfo=ZONE).timestamp()
NO_MINUTE: dict[str, Any] = {"rpm": 1_000_000, "tpm": 10**12}


async def admit(store, user: str, charge_id: str, tokens: int = 1, **more) -> Decision:
    decision = store.admit(Admission(user, charge_id, tokens=tokens, **more))
    if inspect.isawaitable(decision):
        decision = await decision
    assert isinstance(decision, Decision)
    return decision


@dataclass
class Timed:
    """A store and the clock that it has."""

    store: MemoryStore | RedisStore
    move_to: object
    now: float = START


@pytest.fixture(params=["memory", *KINDS])
async def timed(request, shared_servers, monkeypatch):
    """Of the test's time, in Berlin."""
    clock = [START]
    if request.param == "memory":
        store = MemoryStore(lambda: clock[0], calendar=Calendar(ZONE))
        yield Timed(store, lambda now: clock.__setitem__(0, now))
        return
    server = shared_servers(request.param)
    use_virtual_time(monkeypatch)
    with server.client() as client:

        def move_to(now: float) -> None:
            clock[0] = now
            set_clock(client, now)

        move_to(START)
        redis_store = RedisStore.from_url(
            server.url, timeout_seconds=10, calendar=Calendar(ZONE), wall_clock=lambda: clock[0]
        )
        yield Timed(redis_store, move_to)
        await redis_store.close()


async def test_a_months_quota_returns_with_the_next_month_of_the_zone(timed):
    await timed.store.create(UserRecord("lgy", **NO_MINUTE, quotas={"month": (2, 0), "day": (0, 100)}))
    for number in range(2):
        assert (await admit(timed.store, "lgy", f"{number}", 10)).outcome is Outcome.ADMITTED
    refused = await admit(timed.store, "lgy", "2", 10)
    assert refused.outcome is Outcome.QUOTA_EXCEEDED
    assert refused.quota is not None
    assert (refused.quota.period, refused.quota.kind, refused.quota.limit, refused.quota.used) == (
        "month", "requests", 2, 2
    )  # fmt: skip
    assert refused.retry_after_seconds == pytest.approx(30.0)
    returns_at = datetime.fromtimestamp(refused.quota.returns_at_seconds, UTC)
    assert returns_at == datetime(2026, 3, 31, 22, tzinfo=UTC)
    timed.move_to(START + 29.5)
    assert (await admit(timed.store, "lgy", "3", 10)).outcome is Outcome.QUOTA_EXCEEDED
    timed.move_to(START + 30.0)
    admitted = await admit(timed.store, "lgy", "4", 10)
    assert admitted.outcome is Outcome.ADMITTED
    assert {state.used for state in (await timed.store.usage("lgy")).quotas} == {1, 10}


async def test_what_is_settled_in_the_next_month_belongs_to_the_last(timed):
    await timed.store.create(UserRecord("lgy", **NO_MINUTE, quotas={"month": (0, 1000)}))
    assert (await admit(timed.store, "lgy", "a", 100)).outcome is Outcome.ADMITTED
    timed.move_to(START + 31)
    assert (await admit(timed.store, "lgy", "b", 7)).outcome is Outcome.ADMITTED
    await timed.store.settle_many([Settlement("lgy", "a", 900, 100), Settlement("lgy", "b", 50, 7)])
    (state,) = (await timed.store.usage("lgy")).quotas
    assert state.used == 50
    # Once only, as with the minute.
    assert not await timed.store.settle(Settlement("lgy", "b", 50, 7))
    (state,) = (await timed.store.usage("lgy")).quotas
    assert state.used == 50


async def test_a_group_holds_its_members_together(timed):
    store = timed.store
    group = GroupRecord("team", rpm=1000, tpm=500, max_parallel=3, quotas={"day": (4, 0)})
    assert await store.create_group(group)
    assert not await store.create_group(group)
    for user in ("a", "b"):
        await store.create(UserRecord(user, **NO_MINUTE, group="team"))
    assert (await admit(store, "a", "1", 100)).outcome is Outcome.ADMITTED
    assert (await admit(store, "b", "0", 100)).outcome is Outcome.ADMITTED
    # What the minute of the group has no room for.
    refused = await admit(store, "b", "2", 400)
    assert refused.limits is not None
    assert (refused.outcome, refused.limits.tokens_per_minute) == (Outcome.TOKENS_EXCEEDED, 500)
    assert (await admit(store, "a", "3", 1)).outcome is Outcome.ADMITTED
    assert (await admit(store, "b", "4", 1)).outcome is Outcome.PARALLEL_EXCEEDED
    released = store.release("a", "1")
    if released is not None:
        await released
    assert (await admit(store, "b", "5", 1)).outcome is Outcome.ADMITTED
    await store.settle_many([Settlement("b", "5", 1, 1), Settlement("a", "3", 1, 1)])
    spent = await admit(store, "a", "6", 1)
    assert spent.outcome is Outcome.QUOTA_EXCEEDED
    assert spent.quota is not None
    assert (spent.quota.scope, spent.quota.period) == ("group", "day")
    await store.change_group("team", lambda old: GroupRecord("team", models=("m",)))
    assert (await admit(store, "a", "7", 1, model="n")).outcome is Outcome.MODEL_NOT_ALLOWED
    assert (await admit(store, "a", "8", 1, model="m")).outcome is Outcome.ADMITTED
    assert [one.name for one in await store.groups()] == ["team"]
    assert await store.delete_group("team")
    assert (await admit(store, "a", "9", 1, model="n")).outcome is Outcome.ADMITTED
    assert not await store.delete_group("team")


@dataclass
class Reference:
    """Adds up everything that was admitted, from the definition."""

    limits: dict[tuple[str, str], tuple[int, int]]
    booked: dict[str, list[tuple[float, str, int]]] = field(default_factory=lambda: defaultdict(list))

    def period(self, name: str, now: float) -> tuple[int, ...]:
        at = datetime.fromtimestamp(now, ZONE)
        return {"hour": (at.year, at.month, at.day, at.hour), "day": (at.year, at.month, at.day)}.get(
            name, (at.year, at.month)
        )

    def spent(self, scope: str, period: str, now: float) -> tuple[int, int]:
        inside = [tokens for at, _, tokens in self.booked[scope] if self.period(period, at) == self.period(period, now)]
        return len(inside), sum(inside)

    def admits(self, scopes: tuple[str, ...], tokens: int, now: float) -> bool:
        for (scope, period), (requests_limit, tokens_limit) in self.limits.items():
            if scope in scopes:
                requests, spent = self.spent(scope, period, now)
                if (requests_limit and requests >= requests_limit) or (tokens_limit and spent + tokens > tokens_limit):
                    return False
        return True


steps = st.lists(
    st.tuples(
        st.sampled_from(["a", "b"]),
        st.integers(1, 40),
        st.sampled_from([0.0, 20.0, 3000.0, 40_000.0]),
        st.integers(0, 80),
    ),
    min_size=1,
    max_size=25,
)
quotas = st.dictionaries(
    st.sampled_from(["hour", "day", "month"]), st.tuples(st.integers(0, 4), st.integers(0, 150)), max_size=3
)


@pytest.mark.parametrize("kind", ["memory", *KINDS])
def test_stores_admit_what_the_definition_does(kind, shared_servers):
    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(steps, quotas, quotas, quotas)
    def run(steps, of_a, of_b, of_group):
        asyncio.run(follow(kind, shared_servers, steps, of_a, of_b, of_group))

    run()


async def follow(kind: str, shared_servers: Any, steps: Any, of_a: Any, of_b: Any, of_group: Any) -> None:
    clock = [START]
    with pytest.MonkeyPatch.context() as patch:
        if kind == "memory":
            store: MemoryStore | RedisStore = MemoryStore(lambda: clock[0], calendar=Calendar(ZONE))
            client = None
        else:
            use_virtual_time(patch)
            server = shared_servers(kind)
            store = RedisStore.from_url(
                server.url, timeout_seconds=10, calendar=Calendar(ZONE), wall_clock=lambda: clock[0]
            )
            client = server.client().__enter__()
            set_clock(client, clock[0])
        await store.create_group(GroupRecord("team", quotas=of_group))
        await store.create(UserRecord("a", **NO_MINUTE, group="team", quotas=of_a))
        await store.create(UserRecord("b", **NO_MINUTE, group="team", quotas=of_b))
        named = (("a", of_a), ("b", of_b), ("team", of_group))
        reference = Reference({(who, period): limits for who, all_of in named for period, limits in all_of.items()})
        for number, (user, tokens, wait, cost) in enumerate(steps):
            clock[0] += wait
            if client is not None:
                set_clock(client, clock[0])
            expected = reference.admits((user, "team"), tokens, clock[0])
            decision = await admit(store, user, f"{number}", tokens)
            assert (decision.outcome is Outcome.ADMITTED) == expected
            if expected:
                await store.settle(Settlement(user, f"{number}", cost, tokens))
                for scope in (user, "team"):
                    reference.booked[scope].append((clock[0], f"{number}", cost))
        if client is not None:
            client.close()
        await store.close()


@pytest.mark.redis
async def test_a_days_quota_of_a_team_is_exact_under_four_replicas_and_a_thousand_requests(shared_servers):
    url = shared_servers("valkey").url
    replicas = [RedisStore.from_url(url, timeout_seconds=30) for _ in range(4)]
    first = replicas[0]
    await first.create_group(GroupRecord("team", quotas={"day": (0, 3000)}))
    for number in range(10):
        await first.create(UserRecord(f"user-{number}", **NO_MINUTE, group="team", quotas={"day": (80, 0)}))
    decisions = await asyncio.gather(
        *(admit(replicas[number % 4], f"user-{number % 10}", f"{number}", 5) for number in range(1000))
    )
    admitted = [number for number, one in enumerate(decisions) if one.outcome is Outcome.ADMITTED]
    assert len(admitted) == 600  # 3,000 tokens of 5 each
    assert {one.outcome for one in decisions} == {Outcome.ADMITTED, Outcome.QUOTA_EXCEEDED}
    await asyncio.gather(
        *(
            replicas[(number + 1) % 4].settle(Settlement(f"user-{number % 10}", f"{number}", 4, 5))
            for number in admitted
        )
    )
    usage = await first.usage("user-0")
    assert usage is not None
    states = {state.scope: state.used for state in usage.quotas if state.kind == "tokens"}
    assert states == {"group": 2400}
    for replica in replicas:
        await replica.close()


@pytest.mark.redis
async def test_a_cluster_has_no_groups(shared_servers):
    store = RedisStore.from_url(shared_servers("cluster").url, timeout_seconds=10)
    with pytest.raises(GroupsNotPossible):
        await store.create_group(GroupRecord("team"))
    await store.create(UserRecord("lgy", **NO_MINUTE, quotas={"day": (1, 0)}))
    assert (await admit(store, "lgy", "1")).outcome is Outcome.ADMITTED
    assert (await admit(store, "lgy", "2")).outcome is Outcome.QUOTA_EXCEEDED
    await store.close()

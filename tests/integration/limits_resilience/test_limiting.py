"""The limiter as the service puts it together, over a real server."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from gateway_plugin.accounting.limiting import Limiting
from gateway_plugin.http.announced import AnnouncedStore
from gateway_plugin.settings.loading import load
from gateway_plugin.settings.settings import Settings
from ratelimit import (
    Admission,
    Decision,
    Outcome,
    RedisStore,
    Source,
    StoreUnavailable,
    UserRecord,
    secret_sha256,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway_plugin.tools.chain.valkey import Valkey
    from ratelimit import Subject

pytestmark = pytest.mark.redis


@asynccontextmanager
async def opened(url: str, **variables: float) -> AsyncIterator[Limiting]:
    environ = {f"GATEWAY_{name.upper()}": str(value) for name, value in variables.items()}
    limiting = Limiting(load(environ=environ | {"GATEWAY_REDIS_URL": url}).settings)
    try:
        yield limiting
    finally:
        await limiting.close()


@pytest.fixture
async def limiting(valkey):
    # A busy machine is no outage.
    async with opened(valkey.url, limiter_timeout_seconds=1, redis_timeout_seconds=2) as limiting:
        yield limiting


async def admit(limiting: Limiting, subject: Subject, charge_id: str) -> Outcome:
    answer = limiting.admit(Admission(subject, charge_id, "m"))
    assert not hasattr(answer, "outcome"), "a server is asked"
    return (await answer).outcome


async def test_a_user_who_has_spent_their_requests_is_refused_without_asking(limiting: Limiting):
    await limiting.store.create(UserRecord("lgy", rpm=1))
    assert await admit(limiting, "lgy", "a") is Outcome.ADMITTED
    assert limiting.refusal("lgy", "m") is None
    assert await admit(limiting, "lgy", "b") is Outcome.REQUESTS_EXCEEDED
    # The first refusal of a user reads their record, to know for which models it holds.
    await asyncio.sleep(0.1)
    refusal = limiting.refusal("lgy", "other")
    assert refusal is not None
    assert refusal.outcome is Outcome.REQUESTS_EXCEEDED
    assert limiting.exhausted is not None
    limiting.exhausted.clear()
    assert await admit(limiting, "lgy", "c") is Outcome.REQUESTS_EXCEEDED
    assert limiting.refusal("lgy", "other") is not None, "the record is known by now"


async def test_what_passes_is_not_remembered(limiting: Limiting):
    await limiting.store.create(UserRecord("lgy", max_parallel=1))
    outcomes = [await admit(limiting, "lgy", charge) for charge in "ab"]
    assert outcomes == [Outcome.ADMITTED, Outcome.PARALLEL_EXCEEDED]
    await asyncio.sleep(0.1)
    assert limiting.refusal("lgy", "m") is None


async def test_who_was_unknown_a_moment_ago_is_refused_without_asking(limiting: Limiting, monkeypatch):
    assert limiting.refusal("nobody", "m") is None, "nobody has asked yet"
    assert await admit(limiting, "nobody", "a") is Outcome.UNKNOWN_USER
    assert limiting.refusal("nobody", "m") == Decision(Outcome.UNKNOWN_USER, None)
    assert limiting.refusal(Source("10.0.0.1"), "m") is None
    monkeypatch.setattr("ratelimit.users.user_cache.FRESH_ABSENT_SECONDS", 0.0)
    assert limiting.refusal("nobody", "m") is None, "who was made meanwhile is found"


async def test_who_was_never_heard_of_is_looked_for_once(limiting: Limiting, monkeypatch):
    await limiting.store.create(UserRecord("lgy"))
    assert not limiting.is_known("lgy")
    assert [await limiting.has_user(name) for name in ("lgy", "nobody")] == [True, False]
    assert (limiting.is_known("lgy"), limiting.is_known("nobody")) == (True, False)
    assert limiting.refusal("nobody", "m") == Decision(Outcome.UNKNOWN_USER, None)

    async def away(name: str) -> None:
        raise StoreUnavailable("redis", "away")

    monkeypatch.setattr(limiting, "record_of", away)
    assert await limiting.has_user("other"), "nobody can tell: the admission decides"


async def test_the_memory_store_knows_all_users():
    async with opened("") as memory:
        await memory.store.create(UserRecord("lgy"))
        assert memory.refusal("lgy", "m") is None
        assert memory.refusal("nobody", "m") == Decision(Outcome.UNKNOWN_USER, None)
        assert memory.refusal(Source("10.0.0.1"), "m") is None


async def test_a_change_of_a_user_forgets_nothing_of_what_it_has_spent(valkey: Valkey):
    async with opened(valkey.url) as one, opened(valkey.url) as other:
        assert isinstance(one.store, RedisStore)
        assert isinstance(other.store, RedisStore)
        assert other.store.last_spent is not None
        users = AnnouncedStore(one.store, one.store, one.store)
        await users.create(UserRecord("lgy"))
        assert await admit(other, "lgy", "a") is Outcome.ADMITTED
        following = asyncio.create_task(other.run())
        for change in range(5):
            await users.update(UserRecord("lgy", rpm=5 + change))
            await asyncio.sleep(0.05)
        assert other.store.last_spent.get("lgy") is not None
        await users.delete("lgy")
        while other.store.last_spent.get("lgy") is not None:
            await asyncio.sleep(0.02)
            await one.store.announce("lgy", gone=True)
        following.cancel()


async def test_sources_are_counted_for_all_replicas_together(valkey: Valkey):
    async with opened(valkey.url, anonymous_rpm=3) as one, opened(valkey.url, anonymous_rpm=3) as other:
        source = Source("10.0.0.9")
        outcomes = [await admit(limiting, source, f"{at}") for at, limiting in enumerate((one, other, one, other))]
        assert outcomes == [Outcome.ADMITTED] * 3 + [Outcome.REQUESTS_EXCEEDED]
        assert other.refusal(source, "m") is not None, "remembered, without a record to read"
        await one.store.create(UserRecord("anonymous/10.0.0.9"))
        assert await admit(one, "anonymous/10.0.0.9", "a") is Outcome.ADMITTED, "a user like any other"


async def test_a_revoked_key_stops_working_in_every_replica_that_hears_of_it(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("ratelimit.users.key_owners.FRESH_SECONDS", 3600)
    async with opened(valkey.url) as one, opened(valkey.url) as other:
        assert isinstance(one.store, RedisStore)
        users = AnnouncedStore(one.store, one.store, one.store)
        await users.create(UserRecord("lgy"))
        kept, revoked = await users.create_key("lgy"), await users.create_key("lgy")
        following = asyncio.create_task(other.run())
        hashes = [secret_sha256(key.secret) for key in (kept, revoked)]
        assert [await other.owner_of_key(sha) for sha in hashes] == ["lgy", "lgy"]
        await users.revoke_key("lgy", revoked.id)
        while await other.owner_of_key(hashes[1]) is not None:
            # Until it follows, changes pass it by: then it hears of the next.
            await asyncio.sleep(0.02)
            await one.store.announce("lgy")
        assert await other.owner_of_key(hashes[0]) == "lgy"
        following.cancel()


async def test_no_call_takes_longer_than_calls_may(valkey: Valkey):
    async with opened(valkey.url, redis_timeout_seconds=0.05, limiter_timeout_seconds=60) as limiting:
        assert await admit(limiting, "nobody", "a") is Outcome.UNKNOWN_USER
        valkey.freeze()
        async with asyncio.timeout(10):
            await admit(limiting, "nobody", "b")
        assert limiting.resilient is not None
        assert limiting.resilient.counts.timeouts == 0, "the call ended before the admission was late"
        valkey.thaw()


async def test_an_answer_is_waited_for_as_long_as_admissions_may_take(valkey: Valkey):
    async with opened(valkey.url, redis_timeout_seconds=60, limiter_timeout_seconds=30) as limiting:
        assert await admit(limiting, "nobody", "a") is Outcome.UNKNOWN_USER
        valkey.freeze()
        asyncio.get_running_loop().call_later(0.5, valkey.thaw)
        # Decided here, somebody whom nobody knows would be let in.
        assert await admit(limiting, "somebody", "b") is Outcome.UNKNOWN_USER


async def test_look_ups_of_keys_stop_when_the_store_is_known_to_be_away(limiting, valkey, monkeypatch):
    assert isinstance(limiting.store, RedisStore)
    await limiting.store.create(UserRecord("lgy"))
    known = secret_sha256((await limiting.store.create_key("lgy")).secret)
    assert await limiting.owner_of_key(known) == "lgy"
    asked: list[str] = []
    look_up = limiting.store.user_of_key

    async def counted(sha256: str) -> str | None:
        asked.append(sha256)
        return await look_up(sha256)

    monkeypatch.setattr(limiting.store, "user_of_key", counted)
    valkey.freeze()
    for number in range(20):
        with pytest.raises(StoreUnavailable):
            await limiting.owner_of_key(secret_sha256(f"made up {number}"))
    valkey.thaw()
    # Five in a row open the breaker; the others cost nothing.
    assert len(asked) == 5


async def test_a_key_of_another_type_is_one_users_trouble(limiting):
    assert isinstance(limiting.store, RedisStore)
    for name in ("bad", "lgy"):
        await limiting.store.create(UserRecord(name, rpm=3))
        assert await limiting.record_of(name) is not None
    await limiting.store._client.set("gateway:{aibrix-users/bad}:requests", "a stranger's")
    bad = [await limiting.admit(Admission("bad", f"b{number}")) for number in range(20)]
    # It is decided here, where its limit holds as well.
    assert [decision.outcome for decision in bad].count(Outcome.ADMITTED) == 3
    assert (await limiting.admit(Admission("lgy", "a"))).outcome is Outcome.ADMITTED
    assert limiting.resilient is not None
    assert limiting.resilient.counts.times_opened == 0
    assert limiting.refused_items > 0
    healthy, _ = await limiting.health()
    assert healthy


async def test_the_wall_clock_opens_and_closes_no_limit(monkeypatch):
    limiting = Limiting(Settings())
    await limiting.store.create(UserRecord("lgy", rpm=2))
    outcomes = []
    for number, now in enumerate((1e9, 2e9, 1e9, 0.0, 3e9)):
        monkeypatch.setattr("time.time", lambda now=now: now)
        decision = limiting.admit(Admission("lgy", f"c{number}"))
        assert isinstance(decision, Decision)
        outcomes.append(decision.outcome)
    assert outcomes.count(Outcome.ADMITTED) == 2
    assert outcomes[:2] == [Outcome.ADMITTED] * 2

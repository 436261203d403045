"""What every store does, whatever holds it. Redis counts by the server's clock: nothing here depends on the second."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ratelimit import Cost, Decision, InvalidUserName, Limits, Outcome, Settlement, Usage, UserRecord

if TYPE_CHECKING:
    from collections.abc import Awaitable

NAMES = ["lgy", "a b:c/d", "{tag}", "a{tag}b", "a}b", "{}", "{}{b}", "a{b", "用户/é🦙", "*", "x" * 256]


async def admit(store, user: str, cost: Cost = Cost()) -> Decision:  # noqa: B008
    decision: Decision | Awaitable[Decision] = store.admit(user, cost)
    return decision if isinstance(decision, Decision) else await decision


async def test_the_fourth_of_three_requests_is_refused(store):
    await store.create(UserRecord("lgy", rpm=3, tpm=50))
    for count in (1, 2, 3):
        decision = await admit(store, "lgy")
        assert decision.outcome is Outcome.ADMITTED
        assert decision.limits == Limits(3, 50)
        assert count - 0.1 < decision.requests_used <= count
        assert decision.retry_after_seconds == 0
    refused = await admit(store, "lgy")
    assert refused.outcome is Outcome.REQUESTS_EXCEEDED
    assert 2.9 < refused.requests_used <= 3
    assert 19 < refused.retry_after_seconds <= 80


async def test_settled_tokens_refuse_the_next_request(store):
    await store.create(UserRecord("lgy", rpm=100, tpm=10))
    assert (await admit(store, "lgy")).outcome is Outcome.ADMITTED
    assert await store.settle("lgy", "1", 5000)
    refused = await admit(store, "lgy")
    assert refused.outcome is Outcome.TOKENS_EXCEEDED
    assert 4900 < refused.tokens_used <= 5000
    assert 59 < refused.retry_after_seconds <= 120
    # The refused request was not debited.
    assert (await store.usage("lgy")).requests_used <= 1


async def test_a_token_cost_must_fit(store):
    await store.create(UserRecord("lgy", tpm=10))
    assert (await admit(store, "lgy", Cost(1, 8))).outcome is Outcome.ADMITTED
    assert (await admit(store, "lgy", Cost(1, 4))).outcome is Outcome.TOKENS_EXCEEDED
    assert (await admit(store, "lgy", Cost(1, 2))).outcome is Outcome.ADMITTED
    assert (await admit(store, "lgy", Cost(1, 11))).retry_after_seconds == 120


async def test_zero_limits_mean_the_defaults(store):
    await store.create(UserRecord("lgy"))
    await store.create(UserRecord("rpm", rpm=7))
    assert (await admit(store, "lgy")).limits == Limits(100, 100_000)
    assert (await admit(store, "rpm")).limits == Limits(7, 7000)


async def test_the_largest_limit_is_no_limit(store):
    await store.create(UserRecord("lgy", rpm=2**63 - 1, tpm=2**63 - 1))
    decision = await admit(store, "lgy", Cost(1, 1_000_000))
    assert decision.outcome is Outcome.ADMITTED
    assert decision.limits is not None
    assert decision.limits.requests_per_minute >= 2**63 - 1
    assert await store.read("lgy") == UserRecord("lgy", rpm=2**63 - 1, tpm=2**63 - 1)


async def test_a_charge_counts_once(store):
    await store.create(UserRecord("lgy"))
    assert await store.settle("lgy", "1", 100)
    assert not await store.settle("lgy", "1", 100)
    assert await store.settle("lgy", "2", 0)
    assert 99 < (await store.usage("lgy")).tokens_used <= 100


async def test_a_batch_is_settled_once_and_per_user(store):
    await store.create(UserRecord("lgy"))
    await store.create(UserRecord("{tag}"))
    batch = [Settlement("lgy", "1", 10), Settlement("lgy", "1", 10), Settlement("{tag}", "1", 20)]
    assert await store.settle_many(batch) == 2
    assert await store.settle_many([*batch, Settlement("lgy", "2", -5)]) == 1
    assert await store.settle_many([]) == 0
    assert 9 < (await store.usage("lgy")).tokens_used <= 10
    assert 19 < (await store.usage("{tag}")).tokens_used <= 20


async def test_asking_costs_nothing(store):
    await store.create(UserRecord("lgy", rpm=1))
    for _ in range(3):
        assert await store.usage("lgy") == Usage(Limits(1, 1000), 0.0, 0.0)
    assert (await admit(store, "lgy")).outcome is Outcome.ADMITTED


async def test_an_unknown_user(store):
    decision = await admit(store, "nobody")
    assert decision == Decision(Outcome.UNKNOWN_USER, None, 0.0, 0.0, 0.0)
    assert await store.usage("nobody") is None
    assert await store.read("nobody") is None
    assert not await store.update(UserRecord("nobody"))
    assert not await store.delete("nobody")
    assert await store.read("nobody") is None


async def test_a_deleted_user_is_unknown_and_starts_afresh(store):
    await store.create(UserRecord("lgy", rpm=1, tpm=10))
    await admit(store, "lgy", Cost(1, 9))
    assert await store.delete("lgy")
    assert (await admit(store, "lgy")).outcome is Outcome.UNKNOWN_USER
    assert await store.create(UserRecord("lgy", rpm=1, tpm=10))
    assert await store.usage("lgy") == Usage(Limits(1, 10), 0.0, 0.0)


async def test_create_keeps_what_exists_and_update_replaces_it(store):
    assert await store.create(UserRecord("lgy", rpm=1, tpm=2))
    assert not await store.create(UserRecord("lgy", rpm=3))
    assert await store.read("lgy") == UserRecord("lgy", rpm=1, tpm=2)
    assert await store.update(UserRecord("lgy", rpm=3))
    assert await store.read("lgy") == UserRecord("lgy", rpm=3)


async def test_creating_the_same_record_twice_is_told(store):
    record = UserRecord("lgy")
    assert await store.create(record)
    assert not await store.create(record)


async def test_names_are_listed_up_to_a_limit(store):
    for name in NAMES:
        await store.create(UserRecord(name))
        await admit(store, name)
    assert await store.names(100) == sorted(NAMES)
    few = await store.names(3)
    assert len(few) == 3
    assert set(few) <= set(NAMES)
    assert await store.names(0) == []


@pytest.mark.parametrize("name", NAMES)
async def test_any_name_has_counters_of_its_own(store, name):
    for other in NAMES:
        await store.create(UserRecord(other, rpm=1, tpm=10))
    assert (await admit(store, name, Cost(1, 3))).outcome is Outcome.ADMITTED
    assert (await admit(store, name)).outcome is Outcome.REQUESTS_EXCEEDED
    assert await store.settle(name, "1", 4)
    assert 6 < (await store.usage(name)).tokens_used <= 7
    for other in NAMES:
        if other != name:
            assert await store.usage(other) == Usage(Limits(1, 10), 0.0, 0.0)
    assert await store.delete(name)
    assert await store.read(name) is None


async def test_no_verb_takes_an_invalid_name(store):
    calls = (store.usage, store.read, store.delete)
    for name in ("", "a\nb", "\ud800", "x" * 257):
        for call in calls:
            with pytest.raises(InvalidUserName):
                await call(name)
        for call in (store.create, store.update):
            with pytest.raises(InvalidUserName):
                await call(UserRecord(name))
        with pytest.raises(InvalidUserName):
            await admit(store, name)
        with pytest.raises(InvalidUserName):
            await store.settle(name, "1", 1)


async def test_ping(store):
    await store.ping()

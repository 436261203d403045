from __future__ import annotations

import pytest

from ratelimit import (
    Cost,
    Decision,
    InvalidUserName,
    LimitDefaults,
    Limits,
    MemoryStore,
    Outcome,
    Settlement,
    Usage,
    UserRecord,
)


class Clock:
    def __init__(self) -> None:
        self.now = 600.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock) -> MemoryStore:
    return MemoryStore(clock)


async def test_a_refusal_tells_the_exact_state_and_wait(store, clock):
    await store.create(UserRecord("lgy", rpm=3, tpm=10))
    limits = Limits(3, 10)
    clock.now += 30
    for count in (1.0, 2.0, 3.0):
        assert store.admit("lgy", Cost(1, 2)) == Decision(Outcome.ADMITTED, limits, count, 2 * count, 0.0)
    # Room for one of three: 30 s to the window's end, then a third of the next one.
    wait = 30 + 60 * (1 - 2 / 3)
    assert store.admit("lgy", Cost(1, 2)) == Decision(Outcome.REQUESTS_EXCEEDED, limits, 3.0, 6.0, wait)


async def test_a_user_who_waits_as_told_is_admitted_and_not_earlier(store, clock):
    await store.create(UserRecord("lgy", rpm=3))
    for _ in range(3):
        store.admit("lgy", Cost())
    wait = store.admit("lgy", Cost()).retry_after_seconds
    clock.now += wait - 0.001
    assert store.admit("lgy", Cost()).outcome is Outcome.REQUESTS_EXCEEDED
    clock.now += 0.002
    assert store.admit("lgy", Cost()).outcome is Outcome.ADMITTED


async def test_a_refusal_on_tokens_debits_no_request(store):
    await store.create(UserRecord("lgy", rpm=3, tpm=10))
    assert store.admit("lgy", Cost(1, 11)).outcome is Outcome.TOKENS_EXCEEDED
    assert await store.usage("lgy") == Usage(Limits(3, 10), 0.0, 0.0)


async def test_tokens_are_refused_only_when_spent_if_their_cost_is_not_known(store):
    await store.create(UserRecord("lgy", tpm=10))
    await store.settle("lgy", "1", 9)
    assert store.admit("lgy", Cost(1, 2)).outcome is Outcome.TOKENS_EXCEEDED
    assert store.admit("lgy", Cost(1, 1)).outcome is Outcome.ADMITTED
    assert store.admit("lgy", Cost(1, 0)).outcome is Outcome.TOKENS_EXCEEDED


async def test_the_wait_is_the_longer_of_both_limits(store):
    await store.create(UserRecord("lgy", rpm=1, tpm=10))
    store.admit("lgy", Cost())
    await store.settle("lgy", "1", 30)
    refused = store.admit("lgy", Cost())
    assert refused.outcome is Outcome.REQUESTS_EXCEEDED
    # Requests alone: 60 + 60. Tokens alone: 60 + 60 * (1 - 9 / 30).
    assert refused.retry_after_seconds == 120.0
    await store.update(UserRecord("lgy", rpm=2, tpm=10))
    assert store.admit("lgy", Cost()).retry_after_seconds == pytest.approx(102.0)


async def test_requests_and_tokens_slide_over_the_windows_edge_together(store, clock):
    await store.create(UserRecord("lgy", rpm=10, tpm=1000))
    store.admit("lgy", Cost(4, 400))
    clock.now += 75
    assert store.admit("lgy", Cost(1, 100)) == Decision(Outcome.ADMITTED, Limits(10, 1000), 4.0, 400.0, 0.0)
    clock.now += 60
    assert await store.usage("lgy") == Usage(Limits(10, 1000), 0.75, 75.0)
    clock.now += 60
    assert await store.usage("lgy") == Usage(Limits(10, 1000), 0.0, 0.0)


async def test_usage_costs_nothing_and_is_told_above_the_limit_too(store):
    await store.create(UserRecord("lgy", tpm=10))
    await store.settle("lgy", "1", 5000)
    assert await store.usage("lgy") == await store.usage("lgy") == Usage(Limits(100, 10), 0.0, 5000.0)


async def test_a_charge_is_remembered_for_180_seconds(store, clock):
    assert await store.settle("lgy", "1", 5)
    clock.now += 179.9
    assert not await store.settle("lgy", "1", 5)
    clock.now += 0.1
    assert await store.settle("lgy", "1", 5)


async def test_what_is_held_is_bounded(clock):
    store = MemoryStore(clock, max_settled=3)
    for number in range(5):
        await store.create(UserRecord(f"u{number}"))
        store.admit(f"u{number}", Cost())
        await store.settle(f"u{number}", "1", 5)
    assert repr(store) == "MemoryStore(5 users, 0 + 5 counters, 3 settled)"
    assert not await store.settle("u4", "1", 5)
    clock.now += 120
    await store.usage("u0")
    assert repr(store) == "MemoryStore(5 users, 0 + 0 counters, 3 settled)"
    clock.now += 60
    await store.settle("u0", "2", 0)
    assert repr(store) == "MemoryStore(5 users, 0 + 0 counters, 1 settled)"


async def test_a_clock_set_back_by_a_window_does_not_forgive(store, clock):
    await store.create(UserRecord("lgy", rpm=1))
    store.admit("lgy", Cost())
    clock.now += 60
    store.admit("lgy", Cost(0, 1))
    clock.now -= 60
    assert store.admit("lgy", Cost()).outcome is Outcome.REQUESTS_EXCEEDED


async def test_defaults_are_the_stores(clock):
    store = MemoryStore(clock, LimitDefaults(requests_per_minute=2, tokens_per_request=3))
    await store.create(UserRecord("lgy"))
    assert store.admit("lgy", Cost()).limits == Limits(2, 6)


async def test_a_batch_with_an_invalid_name_charges_nobody(store):
    await store.create(UserRecord("lgy"))
    with pytest.raises(InvalidUserName):
        await store.settle_many([Settlement("lgy", "1", 5), Settlement("", "2", 5)])
    assert await store.usage("lgy") == Usage(Limits(100, 100_000), 0.0, 0.0)

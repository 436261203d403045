from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratelimit import (
    Admission,
    Decision,
    InvalidUserName,
    LimitDefaults,
    Limits,
    MemoryStore,
    Outcome,
    Settlement,
    Source,
    Subject,
    Usage,
    UserRecord,
)
from ratelimit.store.limit_store import Replay


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


def ask(charge_id: str, tokens: int = 0, **more) -> Admission:
    return Admission("lgy", charge_id, tokens=tokens, **more)


async def test_a_refusal_tells_the_exact_state_and_wait(store, clock):
    await store.create(UserRecord("lgy", rpm=3, tpm=10))
    limits = Limits(3, 10)
    for count in (1, 2, 3):
        clock.now += 10
        reset = 61.0
        assert store.admit(ask(f"{count}", 2)) == Decision(
            Outcome.ADMITTED, limits, count, 2 * count, 0.0, 2, reset, reset
        )
    clock.now += 1
    # Room for one of three: the second of 610 s keeps others out until 669 s; the last one counts until 691 s.
    assert store.admit(ask("4", 2)) == Decision(Outcome.REQUESTS_EXCEEDED, limits, 3, 6, 38.0, 0, 60.0, 60.0)


async def test_a_user_who_waits_as_told_is_admitted_and_not_earlier(store, clock):
    await store.create(UserRecord("lgy", rpm=3))
    clock.now += 0.25
    for number in range(3):
        store.admit(ask(f"{number}"))
    wait = store.admit(ask("4")).retry_after_seconds
    assert wait == 58.75
    clock.now += wait - 0.001
    assert store.admit(ask("4")).outcome is Outcome.REQUESTS_EXCEEDED
    clock.now += 0.001
    assert store.admit(ask("4")).outcome is Outcome.ADMITTED


async def test_the_wait_is_the_longest_of_all_limits(store, clock):
    await store.create(UserRecord("lgy", rpm=1, tpm=10))
    store.admit(ask("1"))
    clock.now += 10
    await store.settle(Settlement("lgy", "2", 30))
    # The settlement without an admission is spent now, 10 s later than the request.
    refused = store.admit(ask("3"))
    assert refused.outcome is Outcome.REQUESTS_EXCEEDED
    assert refused.retry_after_seconds == 59.0


async def test_a_settlement_is_booked_where_its_admission_was(store, clock):
    await store.create(UserRecord("lgy", tpm=100))
    store.admit(ask("1", 80))
    clock.now += 40
    assert await store.settle(Settlement("lgy", "1", 30, reserved=80))
    assert (await store.usage("lgy")).tokens_used == 30
    clock.now += 21
    assert (await store.usage("lgy")).tokens_used == 0


@pytest.mark.parametrize(("tokens", "used"), [(30, 0), (80, 0), (95, 15)])
@pytest.mark.parametrize("seconds", [100.0, 599.0, 600.0, 5000.0])
async def test_a_settlement_after_the_window_books_only_what_exceeds_the_reservation(
    store, clock, seconds, tokens, used
):
    # Giving back tokens that count no more would let the user spend more than the limit in the next minute.
    await store.create(UserRecord("lgy", tpm=100))
    store.admit(ask("1", 80))
    clock.now += seconds
    assert await store.settle(Settlement("lgy", "1", tokens, reserved=80))
    assert (await store.usage("lgy")).tokens_used == used


async def test_a_reservation_nobody_settles_slides_out(store, clock):
    await store.create(UserRecord("lgy", tpm=100))
    store.admit(ask("1", 100))
    clock.now += 58.9
    assert store.admit(ask("2", 1)).outcome is Outcome.TOKENS_EXCEEDED
    clock.now += 0.1
    assert store.admit(ask("2", 1)).outcome is Outcome.ADMITTED


async def test_slots_expire_after_an_hour(store, clock):
    await store.create(UserRecord("lgy", max_parallel=1))
    store.admit(ask("1"))
    clock.now += 3599
    assert store.admit(ask("2")).outcome is Outcome.PARALLEL_EXCEEDED
    clock.now += 1
    assert store.admit(ask("2")).outcome is Outcome.ADMITTED
    assert (await store.usage("lgy")).parallel == 1


async def test_a_models_second_slides(store, clock):
    await store.create(UserRecord("lgy"))
    asked: dict[str, Any] = {"model": "m", "model_requests_per_second": 2}
    for charge, later in (("1", 0.0), ("2", 0.75)):
        clock.now += later
        assert store.admit(ask(charge, **asked)).outcome is Outcome.ADMITTED
    refused = store.admit(ask("3", **asked))
    assert (refused.outcome, refused.retry_after_seconds) == (Outcome.MODEL_RATE_EXCEEDED, 0.25)
    clock.now += 0.25
    assert store.admit(ask("3", **asked)).outcome is Outcome.ADMITTED
    assert store.admit(ask("4", **asked)).retry_after_seconds == 0.75


async def test_a_charge_is_remembered_for_180_seconds_after_its_settlement(store, clock):
    assert await store.settle(Settlement("lgy", "1", 5))
    clock.now += 179.9
    assert not await store.settle(Settlement("lgy", "1", 5))
    clock.now += 0.1
    assert await store.settle(Settlement("lgy", "1", 5))


async def test_what_is_held_is_bounded(clock):
    store = MemoryStore(clock, max_charges=3)
    for number in range(5):
        await store.create(UserRecord(f"u{number}"))
        store.admit(Admission(f"u{number}", "1"))
        await store.settle(Settlement(f"u{number}", "2", 5))
    assert repr(store) == "MemoryStore(5 users, 5 accounts, 3 open and 3 closed charges)"
    assert not await store.settle(Settlement("u4", "2", 5))
    clock.now += 130
    await store.usage("u0")
    assert repr(store) == "MemoryStore(5 users, 1 accounts, 3 open and 3 closed charges)"
    clock.now += 600
    store.admit(Admission("u0", "3"))
    await store.settle(Settlement("u0", "4", 5))
    assert repr(store) == "MemoryStore(5 users, 1 accounts, 1 open and 1 closed charges)"


def test_sources_are_bounded_and_take_no_place_from_users(clock):
    store = MemoryStore(clock, LimitDefaults(source_requests_per_minute=1), max_sources=2)
    store.put(UserRecord("1", rpm=1))
    asked: tuple[Subject, ...] = (Source("1"), "1", Source("1"), Source("2"), Source("3"), Source("1"), "1")
    outcomes = [store.admit(Admission(subject, str(at))).outcome for at, subject in enumerate(asked)]
    fine, spent = Outcome.ADMITTED, Outcome.REQUESTS_EXCEEDED
    assert outcomes == [fine, fine, spent, fine, fine, fine, spent], "the oldest source is forgotten, no user is"


async def test_defaults_are_the_stores(clock):
    store = MemoryStore(clock, LimitDefaults(requests_per_minute=2, tokens_per_request=3))
    await store.create(UserRecord("lgy"))
    assert store.admit(ask("1")).limits == Limits(2, 6)


async def test_a_batch_with_an_invalid_name_charges_nobody(store):
    await store.create(UserRecord("lgy"))
    with pytest.raises(InvalidUserName):
        await store.settle_many([Settlement("lgy", "1", 5), Settlement("", "2", 5)])
    assert await store.usage("lgy") == Usage(Limits(100, 100_000), 0, 0)


class Exchange(NamedTuple):
    """`later` than the one before it is admitted, and `duration` later settled, having used a `share` of its tokens."""

    later: float
    max_tokens: int
    duration: float
    share: float


exchanges = st.lists(
    st.builds(Exchange, st.floats(0, 40), st.integers(1, 6000), st.floats(0, 90) | st.floats(0, 900), st.floats(0, 1)),
    max_size=40,
)


@given(exchanges)
def test_the_tokens_of_any_minute_never_exceed_the_limit(planned):
    clock = Clock()
    store = MemoryStore(clock)
    finish(store.create(UserRecord("lgy", rpm=1000, tpm=10_000)))
    charged: list[tuple[float, int]] = []
    pending: list[tuple[float, Settlement]] = []
    for number, exchange in enumerate(planned):
        until = clock.now + exchange.later
        for at, settlement in sorted(pending, key=lambda one: one[0]):
            if at <= until:
                clock.now = at
                finish(store.settle(settlement))
                pending.remove((at, settlement))
        clock.now = until
        decision = store.admit(ask(f"{number}", exchange.max_tokens))
        if decision.outcome is Outcome.ADMITTED:
            tokens = int(exchange.max_tokens * exchange.share)
            charged.append((clock.now, tokens))
            pending.append((clock.now + exchange.duration, Settlement("lgy", f"{number}", tokens, exchange.max_tokens)))
    for began, _ in charged:
        assert sum(tokens for at, tokens in charged if began <= at < began + 60) <= 10_000


def finish(coroutine) -> None:
    """Runs a coroutine that never waits."""
    with pytest.raises(StopIteration):
        coroutine.send(None)


async def test_an_answer_of_several_choices_that_was_admitted_elsewhere_teaches_the_length_of_one(store, clock):
    store.put(UserRecord("lgy", tpm=100_000))
    store.replay(Replay(Admission("lgy", "1", "m", 10, max_output=500, choices=4), 2010, 1.0))
    await store.settle(Settlement("lgy", "1", 410, 2010, "m", 400))
    decision = store.admit(Admission("lgy", "2", "m", 10, max_output=100))
    assert decision.reserved_tokens == 10 + 100
    decision = store.admit(Admission("lgy", "3", "m", 10, max_output=200))
    assert decision.reserved_tokens == 10 + 100

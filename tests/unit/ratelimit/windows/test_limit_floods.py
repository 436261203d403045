"""Users who send ceilings far above their limits, in virtual time: what passes, and what a flood may spend.

Four replicas share one store; which of them asks makes no difference to it. The bound of `expected.py` is checked for
every minute of every flood, and that a flood which learned is far below it.
"""

from __future__ import annotations

import heapq
import random
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratelimit import Admission, MemoryStore, Outcome, Settlement, UserRecord

if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT, CEILING, PROMPT = 10_000, 32_000, 15
REPLICAS, CLIENTS = 4, 6
LOG_SECONDS = 1.0


class Request(NamedTuple):
    at: float
    tokens: int


class Flood:
    """Clients that each ask again as soon as they are answered, or after the wait they were told."""

    def __init__(self, output: Callable[[random.Random], int], tokens_per_second: float, seed: int) -> None:
        self.now = 1000.25
        self.store = MemoryStore(lambda: self.now)
        self.store.put(UserRecord("lgy", rpm=100_000, tpm=LIMIT))
        self.passed: list[Request] = []
        self.refused = 0
        self._output, self._speed, self._rng = output, tokens_per_second, random.Random(seed)
        self._events: list[tuple[float, int, Settlement | int]] = []

    async def run(self, seconds: float, clients: int = REPLICAS * CLIENTS) -> None:
        end = self.now + seconds
        for client in range(clients):
            self._later(self._rng.random(), client)
        while self._events and self._events[0][0] < end:
            self.now, _, what = heapq.heappop(self._events)
            if isinstance(what, Settlement):
                await self.store.settle(what)
            else:
                self._ask(what)

    def _ask(self, client: int) -> None:
        charge_id = f"{client}-{self.now}"
        asked = Admission("lgy", charge_id, "m", PROMPT, likely_output=128, max_output=CEILING)
        decision = self.store.admit(asked)
        if decision.outcome is not Outcome.ADMITTED:
            assert 0 < decision.retry_after_seconds <= 59
            self.refused += 1
            self._later(decision.retry_after_seconds, client)
            return
        output = self._output(self._rng)
        duration = output / self._speed
        self.passed.append(Request(self.now, PROMPT + output))
        charge = Settlement("lgy", charge_id, PROMPT + output, decision.reserved_tokens, "m", output)
        self._later(duration + LOG_SECONDS * self._rng.random(), charge)
        self._later(duration, client)

    def _later(self, seconds: float, what: Settlement | int) -> None:
        heapq.heappush(self._events, (self.now + seconds, self._rng.getrandbits(60), what))

    def spent(self, begin: float, end: float) -> int:
        return sum(request.tokens for request in self.passed if begin <= request.at < end)

    def worst_minute(self) -> int:
        return max(self.spent(request.at, request.at + 60) for request in self.passed)


LONG = {
    "2,000 each": lambda rng: 2000,
    "30,000 each": lambda rng: 30_000,
    "2,000 to 30,000": lambda rng: rng.randint(2000, 30_000),
    "mostly short": lambda rng: 15 if rng.random() < 0.9 else 30_000,
}


@pytest.mark.parametrize("output", LONG.values(), ids=LONG)
@pytest.mark.parametrize("speed", [50.0, 5000.0])
async def test_a_flood_is_held_to_the_limit(output, speed):
    flood = Flood(output, speed, seed=7)
    begun, seconds = flood.now, 5000.0
    await flood.run(seconds)
    assert flood.worst_minute() <= LIMIT + 5 * max(LIMIT, CEILING)
    # Over hours, the limit holds but for what was in flight at a time: in each minute that an answer lasts, so many.
    lasts_minutes = 1 + 30_000 / speed / 60
    assert flood.spent(begun, flood.now + 1) <= LIMIT * (seconds / 60 + 1) + 5 * CEILING * lasts_minutes
    assert flood.refused > 0


@pytest.mark.parametrize("tokens", [2000, 30_000])
async def test_a_flood_that_was_seen_is_held_to_one_answer_too_much(tokens):
    flood = Flood(lambda rng: tokens, 5000.0, seed=5)
    await flood.run(3 * 3600.0)
    learned = [request for request in flood.passed if request.at > 1000 + 3600]
    assert learned
    for request in learned:
        minute = sum(other.tokens for other in learned if request.at <= other.at < request.at + 60)
        assert minute <= LIMIT + PROMPT + tokens


async def test_teaching_short_answers_first_buys_one_bounded_burst():
    flood = Flood(lambda rng: 1, 5000.0, seed=1)
    await flood.run(30.0, clients=1)
    flood._events.clear()
    flood.now += 120
    flood.passed.clear()
    flood._output = lambda rng: 30_000
    begun = flood.now
    await flood.run(3 * 3600.0)
    first = flood.spent(begun, begun + 60)
    assert 2 * CEILING < first <= 5 * (30_000 + PROMPT)
    # It has been paid for before anything else passes.
    assert flood.spent(begun + 60, begun + 60 * (first / LIMIT)) == 0
    assert flood.spent(begun + 60, flood.now) > 0


@pytest.mark.parametrize("seen", [False, True])
async def test_ten_small_requests_with_a_large_ceiling_all_pass(seen):
    now = 100.0
    store = MemoryStore(lambda: now)
    store.put(UserRecord("lgy", tpm=LIMIT))
    if seen:
        await store.settle(Settlement("lgy", "0", 30, model="m", output=15))
    for number in range(10):
        asked = Admission("lgy", f"{number}", "m", PROMPT, likely_output=128, max_output=CEILING)
        decision = store.admit(asked)
        assert decision.outcome is Outcome.ADMITTED
        if number:
            await store.settle(Settlement("lgy", f"{number - 1}", 30, decision.reserved_tokens, "m", 15))
        now += 1.5


async def test_who_was_taught_to_be_short_has_four_long_answers_in_flight():
    """Whose ceiling is the whole limit: what they can cost at most is 4 times the limit, and not 16."""
    store = MemoryStore(lambda: 100.0)
    store.put(UserRecord("lgy", tpm=LIMIT))
    await store.settle(Settlement("lgy", "0", 30, model="m", output=15))
    asked = [Admission("lgy", f"a{n}", "m", PROMPT, likely_output=128, max_output=CEILING) for n in range(20)]
    assert sum(store.admit(one).outcome is Outcome.ADMITTED for one in asked) == 4


async def test_one_long_answer_does_not_shut_out_the_short_ones_after_it():
    now = 100.0
    store = MemoryStore(lambda: now)
    store.put(UserRecord("lgy", tpm=LIMIT))
    await store.settle(Settlement("lgy", "0", 9000, model="m", output=9000))
    now += 62
    for number in range(5):
        asked = Admission("lgy", f"a{number}", "m", PROMPT, max_output=CEILING)
        assert store.admit(asked).outcome is Outcome.ADMITTED
        await store.settle(Settlement("lgy", f"a{number}", 30, model="m", output=15))


async def test_who_waits_as_told_passes():
    """One client that spends its limit in a moment, again and again."""
    now = 500.75
    store = MemoryStore(lambda: now)
    store.put(UserRecord("lgy", rpm=7, tpm=LIMIT))
    refused = 0
    for number in range(40):
        decision = store.admit(Admission("lgy", f"{number}", tokens=1900))
        if decision.outcome is not Outcome.ADMITTED:
            refused += 1
            assert 0 < decision.retry_after_seconds <= 59
            now += decision.retry_after_seconds
            again = store.admit(Admission("lgy", f"{number} again", tokens=1900))
            assert again.outcome is Outcome.ADMITTED
    assert refused


class Stream(NamedTuple):
    """What a client asks for, how long after the one before, and how long the answer lasts."""

    gap_seconds: float
    ceiling: int
    share: float
    lasts_seconds: float


_STREAMS = st.lists(
    st.builds(
        Stream,
        st.floats(0, 90),
        st.integers(1, LIMIT),
        st.floats(0, 1),
        st.floats(0, 590),
    ),
    min_size=1,
    max_size=40,
)


@given(_STREAMS)
async def test_an_answer_of_minutes_is_paid_for_in_the_minute_that_let_it_in(streams: list[Stream]):
    """Whatever lasts how long: what a minute lets in costs the limit and one answer more, and that only once."""
    now = 1000.0
    store = MemoryStore(lambda: now)
    store.put(UserRecord("lgy", rpm=100_000, tpm=LIMIT))
    ends: list[tuple[float, int, Settlement]] = []
    passed: list[Request] = []
    for number, stream in enumerate(streams):
        until = now + stream.gap_seconds
        while ends and ends[0][0] <= until:
            now, _, settlement = heapq.heappop(ends)
            assert await store.settle(settlement)
        now = until
        # A ceiling that is certain: all of it is reserved, and nothing has to be guessed.
        decision = store.admit(Admission("lgy", f"{number}", "m", stream.ceiling))
        if decision.outcome is Outcome.ADMITTED:
            used = int(stream.ceiling * stream.share)
            passed.append(Request(now, used))
            charge = Settlement("lgy", f"{number}", used, decision.reserved_tokens, "m")
            heapq.heappush(ends, (now + stream.lasts_seconds, number, charge))
    for first in passed:
        minute = [request.tokens for request in passed if first.at <= request.at < first.at + 60]
        assert sum(minute) <= LIMIT + max(minute)
    for ended, _, settlement in sorted(ends):
        now = max(now, ended)
        assert await store.settle(settlement)
    usage = await store.usage("lgy")
    assert usage is not None
    assert usage.tokens_used <= LIMIT + max((request.tokens for request in passed), default=0), "nothing is paid twice"

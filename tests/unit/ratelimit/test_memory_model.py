"""MemoryStore against a model that keeps every event and adds them up from the definition, in exact fractions.

The clock moves in eighths of a window, so that the store's floats are exact too and can be compared with `==`.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ratelimit import Cost, MemoryStore, Outcome, Settlement, UserRecord

if TYPE_CHECKING:
    from collections.abc import Coroutine

USERS = ("lgy", "用{户}")
users = st.sampled_from(USERS)
charges = st.sampled_from(["a", "b", "c"])
tokens = st.integers(0, 40)
limits = st.builds(lambda rpm, tpm: (rpm, tpm), st.integers(1, 6), st.integers(1, 60))


def finish(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("the memory store waited")


class Event(NamedTuple):
    user: str
    time: float
    cost: Cost


class Model:
    def __init__(self) -> None:
        self.limits: dict[str, tuple[int, int]] = {}
        self.events: list[Event] = []
        self.settled: dict[tuple[str, str], float] = {}

    def used(self, user: str, now: float, what: str) -> Fraction:
        window, elapsed = divmod(Fraction(now), 60)
        weights = {window - 1: 1 - elapsed / 60, window: Fraction(1)}
        events = (event for event in self.events if event.user == user)
        return sum(
            (weights.get(int(event.time // 60), Fraction(0)) * getattr(event.cost, what) for event in events),
            Fraction(0),
        )

    def outcome(self, user: str, now: float, cost: Cost) -> Outcome:
        if user not in self.limits:
            return Outcome.UNKNOWN_USER
        rpm, tpm = self.limits[user]
        if self.used(user, now, "requests") + cost.requests > rpm:
            return Outcome.REQUESTS_EXCEEDED
        used_tokens = self.used(user, now, "tokens")
        if used_tokens >= tpm or (cost.tokens > 0 and used_tokens + cost.tokens > tpm):
            return Outcome.TOKENS_EXCEEDED
        return Outcome.ADMITTED

    def settle(self, user: str, charge: str, now: float, count: int) -> bool:
        if now - self.settled.get((user, charge), -1000.0) < 180:
            return False
        self.settled[user, charge] = now
        self.events.append(Event(user, now, Cost(0, count)))
        return True


class MemoryAgainstModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.model = Model()
        self.store = MemoryStore(lambda: self.now)

    @rule(eighths=st.integers(1, 20))
    def wait(self, eighths):
        self.now += eighths * 7.5

    @rule(user=users, limit=limits)
    def create(self, user, limit):
        created = finish(self.store.create(UserRecord(user, *limit)))
        assert created is (user not in self.model.limits)
        self.model.limits.setdefault(user, limit)

    @rule(user=users, limit=limits)
    def update(self, user, limit):
        updated = finish(self.store.update(UserRecord(user, *limit)))
        assert updated is (user in self.model.limits)
        if updated:
            self.model.limits[user] = limit

    @rule(user=users)
    def delete(self, user):
        assert finish(self.store.delete(user)) is (self.model.limits.pop(user, None) is not None)
        self.model.events = [event for event in self.model.events if event.user != user]

    @rule(user=users, requests=st.integers(1, 2), count=tokens)
    def admit(self, user, requests, count):
        cost = Cost(requests, count)
        expected = self.model.outcome(user, self.now, cost)
        assert self.store.admit(user, cost).outcome is expected
        if expected is Outcome.ADMITTED:
            self.model.events.append(Event(user, self.now, cost))

    @rule(batch=st.lists(st.builds(Settlement, users, charges, tokens), max_size=4))
    def settle_many(self, batch):
        expected = sum(self.model.settle(one.user, one.charge_id, self.now, one.tokens) for one in batch)
        assert finish(self.store.settle_many(batch)) == expected

    @invariant()
    def usage_agrees(self):
        for user in USERS:
            usage = finish(self.store.usage(user))
            assert (usage is None) is (user not in self.model.limits)
            if usage is not None:
                assert usage.requests_used == self.model.used(user, self.now, "requests")
                assert usage.tokens_used == self.model.used(user, self.now, "tokens")


TestMemoryAgainstModel = MemoryAgainstModel.TestCase
TestMemoryAgainstModel.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)

"""What is remembered of a refusal, for how long, and for which requests."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ratelimit.users.users import UserRecord
from ratelimit.windows.decision import Decision, Outcome
from ratelimit.windows.exhausted import ExhaustedUsers, scope_of
from ratelimit.windows.limits import Limits

LIMITS = Limits(3, 1000)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def exhausted(clock: Clock) -> ExhaustedUsers:
    return ExhaustedUsers(clock)


def refused(outcome: Outcome = Outcome.REQUESTS_EXCEEDED, retry: float = 40.0, tokens_used: float = 0.0) -> Decision:
    return Decision(outcome, LIMITS, 3.0, tokens_used, retry, 0, 60.0, 20.0)


def test_a_refusal_holds_until_its_time_and_counts_down(clock, exhausted):
    exhausted.remember("lgy", "", refused())
    clock.now += 30
    decision = exhausted.refusal("lgy", "any")
    assert decision == Decision(Outcome.REQUESTS_EXCEEDED, LIMITS, 3.0, 0.0, 10.0, 0, 30.0, 0.0)
    clock.now += 9.99
    assert exhausted.refusal("lgy") is not None
    clock.now += 0.01
    assert exhausted.refusal("lgy") is None
    assert len(exhausted) == 0
    assert exhausted.answered == 2


@pytest.mark.parametrize(
    "outcome", [o for o in Outcome if o not in (Outcome.REQUESTS_EXCEEDED, Outcome.TOKENS_EXCEEDED)]
)
def test_other_outcomes_are_not_remembered(exhausted, outcome):
    exhausted.remember("lgy", "", refused(outcome, tokens_used=1000.0))
    assert exhausted.refusal("lgy") is None


def test_spent_tokens_are_remembered_for_a_second_because_settlements_give_back(clock, exhausted):
    exhausted.remember("lgy", "", refused(Outcome.TOKENS_EXCEEDED, tokens_used=1000.0))
    clock.now += 0.5
    decision = exhausted.refusal("lgy")
    assert decision is not None
    assert decision.retry_after_seconds == 39.5
    clock.now += 0.5
    assert exhausted.refusal("lgy") is None


def test_a_request_that_was_too_large_says_nothing_about_smaller_ones(exhausted):
    exhausted.remember("lgy", "", refused(Outcome.TOKENS_EXCEEDED, tokens_used=999.0), tokens=500)
    assert exhausted.refusal("lgy") is None


@pytest.mark.parametrize(("tokens", "seconds"), [(0, 40), (200, 40), (201, 1), (5000, 1)])
def test_a_wait_that_may_be_for_tokens_holds_a_second_for_requests(clock, exhausted, tokens, seconds):
    exhausted.remember("lgy", "", refused(tokens_used=800.0), tokens=tokens)
    clock.now += seconds - 0.01
    assert exhausted.refusal("lgy") is not None
    clock.now += 0.01
    assert exhausted.refusal("lgy") is None


def test_a_request_as_large_as_the_limit_waits_for_requests_only_when_nothing_is_used(clock, exhausted):
    exhausted.remember("lgy", "", refused(tokens_used=0.0), tokens=50_000)
    clock.now += 39
    assert exhausted.refusal("lgy") is not None


def test_a_refusal_for_one_model_holds_for_that_model(exhausted):
    exhausted.remember("lgy", "small", refused())
    assert exhausted.refusal("lgy") is None
    assert exhausted.refusal("lgy", "large") is None
    assert exhausted.refusal("lgy", "small") is not None
    assert exhausted.refusal("ann", "small") is None


def test_the_scope_is_the_model_only_where_the_user_has_limits_for_it():
    record = UserRecord("lgy", overrides={"small": (1, 0)})
    assert scope_of(record, "small") == "small"
    assert scope_of(record, "large") == ""
    assert scope_of(None, "large") == "large"


def test_a_change_of_the_user_forgets_all_refusals(exhausted):
    exhausted.remember("lgy", "", refused())
    exhausted.remember("lgy", "small", refused())
    exhausted.remember("ann", "", refused())
    exhausted.invalidate("lgy")
    exhausted.invalidate("nobody")
    assert exhausted.refusal("lgy", "small") is None
    assert exhausted.refusal("ann") is not None
    exhausted.clear()
    assert exhausted.refusal("ann") is None


def test_the_users_refused_last_are_kept(clock):
    exhausted = ExhaustedUsers(clock, max_users=2)
    for user in ("a", "b", "a", "c"):
        exhausted.remember(user, "", refused())
    assert [exhausted.refusal(user) is not None for user in "abc"] == [True, False, True]


def test_models_are_bounded_for_each_user(exhausted):
    for number in range(20):
        exhausted.remember("lgy", f"m{number}", refused())
    held = [number for number in range(20) if exhausted.refusal("lgy", f"m{number}")]
    assert held == list(range(12, 20))


USERS = st.sampled_from(["a", "b", "c"])
SCOPES = st.sampled_from(["", "m", "n"])


class AnyOrder(RuleBasedStateMachine):
    """Against a plain list of everything that was ever remembered."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.exhausted = ExhaustedUsers(self.clock, max_users=3)
        self.until: dict[tuple[str, str], float] = {}

    @rule(user=USERS, scope=SCOPES, retry=st.floats(0, 60))
    def remember(self, user: str, scope: str, retry: float) -> None:
        self.exhausted.remember(user, scope, refused(retry=retry))
        if retry > 0:
            self.until[user, scope] = self.clock.now + retry

    @rule(user=USERS)
    def invalidate(self, user: str) -> None:
        self.exhausted.invalidate(user)
        self.until = {key: until for key, until in self.until.items() if key[0] != user}

    @rule(seconds=st.floats(0, 40))
    def time_passes(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule(user=USERS, model=SCOPES)
    def ask(self, user: str, model: str) -> None:
        until = [self.until.get((user, scope), 0.0) for scope in ("", model)]
        expected = next((time for time in until if time > self.clock.now), None)
        decision = self.exhausted.refusal(user, model)
        assert (decision is None) == (expected is None)
        if decision is not None and expected is not None:
            assert decision.retry_after_seconds == pytest.approx(expected - self.clock.now)

    @invariant()
    def it_is_bounded(self) -> None:
        assert len(self.exhausted) <= 3


TestAnyOrder = AnyOrder.TestCase

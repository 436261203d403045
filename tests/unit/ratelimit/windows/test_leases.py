"""What a replica lets in under a lease, in a time that the test keeps; the store's answers are made up."""

from __future__ import annotations

import msgspec
import pytest

from ratelimit import Admission, Decision, Limits, Outcome
from ratelimit.windows.decision import Lease, LeaseWish
from ratelimit.windows.leases import BUSY_REQUESTS, LOST_SECONDS, SHARE, Leases

LIMITS = Limits(1000, 100_000, 0)


class Replica:
    def __init__(self, replicas: int = 1) -> None:
        self.now = 100.25
        self.leases = Leases(lambda: self.now, "r", lambda: replicas)
        self._asked = 0

    def next(self, user: str = "lgy", **changes: object) -> Admission:
        self._asked += 1
        return msgspec.structs.replace(Admission(user, f"c{self._asked}", model="m", tokens=10), **changes)

    def ask(self, user: str = "lgy", **changes: object) -> Decision | None:
        return self.leases.admit(self.next(user, **changes))

    def wish(self, user: str = "lgy", **changes: object) -> LeaseWish | None:
        return self.leases.wish(self.next(user, **changes))

    def busy(self, user: str = "lgy") -> LeaseWish:
        wishes = [self.wish(user) for _ in range(BUSY_REQUESTS)]
        assert wishes[:-1] == [None] * (BUSY_REQUESTS - 1)
        assert wishes[-1] is not None
        return wishes[-1]

    def lease(self, requests: int = 5, tokens: int = 1000, seconds: float = 0.5, user: str = "lgy") -> LeaseWish:
        wish = self.busy(user)
        given = Lease(requests, tokens, 7, seconds, 100_000)
        told = Decision(Outcome.ADMITTED, LIMITS, 50, 500, 0.0, 10, 60.5, 60.5, given)
        self.leases.given(self.next(user), wish, told, self.now)
        return wish


def test_only_the_busy_wish_and_as_much_as_they_sent():
    replica = Replica(replicas=3)
    assert replica.busy() == LeaseWish("r:1", 10, 3 * SHARE)
    assert replica.wish() is None, "one is asked for at a time"
    replica.now += 0.3
    assert replica.wish() is not None


def test_who_was_busy_in_the_last_second_wishes_at_once():
    replica = Replica()
    for _ in range(40):
        replica.wish()
    replica.now += 1.0
    wish = replica.wish()
    assert wish is not None
    assert wish.requests == 50
    replica.now += 2.0
    assert replica.wish() is None, "two seconds ago is long ago"


def test_a_lease_admits_what_it_has_and_tells_it_as_the_store_would():
    replica = Replica()
    replica.lease(requests=3)
    replica.now += 0.1
    decisions = [replica.ask() for _ in range(4)]
    assert decisions[3] is None
    assert [one and (one.outcome, one.requests_used, one.tokens_used) for one in decisions[:3]] == [
        (Outcome.ADMITTED, 51, 510),
        (Outcome.ADMITTED, 52, 520),
        (Outcome.ADMITTED, 53, 530),
    ]
    assert decisions[0] is not None
    assert decisions[0].limits == LIMITS
    assert decisions[0].requests_reset_seconds == pytest.approx(60.4)
    (report,) = replica.leases.ended()
    assert (len(report.charges), report.tokens, report.bucket) == (3, 30, 7)


def test_what_does_not_fit_is_the_stores_business():
    replica = Replica()
    replica.lease(tokens=25)
    assert replica.ask() is not None
    assert replica.ask(tokens=16) is None
    assert replica.ask() is None, "the lease was ended by what did not fit"


def test_what_is_expected_counts_as_the_store_counts_it():
    replica = Replica()
    replica.lease(tokens=1000)
    decision = replica.ask(tokens=10, likely_output=50, max_output=100)
    assert decision is not None
    assert decision.reserved_tokens == 110, "all of an answer whose user is not known, as half of the limit has room"


def test_a_charge_is_admitted_once():
    replica = Replica()
    replica.lease(requests=2)
    one = replica.next()
    assert replica.leases.admit(one) == replica.leases.admit(one)
    assert replica.ask() is not None


def test_a_lease_ends_before_the_stores_bucket_does():
    replica = Replica()
    replica.lease(seconds=0.5)
    assert replica.leases.next_end_seconds == pytest.approx(100.75)
    replica.now += 0.5
    assert replica.ask() is None
    assert [report.lease_id for report in replica.leases.ended()] == ["r:1"]
    assert replica.leases.ended() == [], "each is told once"


def test_one_that_comes_too_late_is_given_back_unused():
    replica = Replica()
    wish = replica.busy()
    asked, replica.now = replica.now, replica.now + 0.6
    given = Decision(Outcome.ADMITTED, LIMITS, lease=Lease(5, 100, 7, 0.5, 1000))
    replica.leases.given(replica.next(), wish, given, asked)
    assert replica.ask() is None
    assert [report.charges for report in replica.leases.ended()] == [{}]


def test_one_that_nobody_heard_of_is_ended_when_it_would_be_over():
    replica = Replica()
    replica.leases.lost(replica.next(), replica.busy())
    assert replica.leases.ended() == []
    replica.now += LOST_SECONDS
    assert [report.lease_id for report in replica.leases.ended()] == ["r:1"]


def test_a_changed_user_asks_the_store():
    replica = Replica()
    replica.lease(user="lgy")
    replica.lease(user="other")
    replica.leases.forget("lgy")
    assert replica.ask("lgy") is None
    assert replica.ask("other") is not None
    replica.leases.end_all()
    assert replica.ask("other") is None
    assert len(replica.leases.ended()) == 2


def test_models_other_names_and_rates_are_not_mixed_up():
    replica = Replica()
    replica.lease()
    assert replica.ask(model="n") is None
    assert replica.ask(other_names=("alias",)) is None
    assert replica.ask(model_requests_per_second=5) is None
    assert replica.wish(model_requests_per_second=5) is None
    assert replica.ask() is not None


def test_what_was_asked_long_ago_is_forgotten():
    replica = Replica()
    for number in range(100):
        replica.wish(f"user-{number}")
    replica.now += 3
    replica.leases.ended()
    assert len(replica.leases._demand) == 0

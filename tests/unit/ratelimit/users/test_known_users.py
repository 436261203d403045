"""What is known of a user, and what an admission may add to it."""

from __future__ import annotations

import pytest

from ratelimit.users.known_users import KnownUsers
from ratelimit.users.users import UserRecord
from ratelimit.windows.decision import Decision, Outcome
from ratelimit.windows.limits import Limits

TOLD = Decision(Outcome.ADMITTED, Limits(7, 70, 2))
LEARNED = UserRecord("lgy", 7, 70, 2)
UNKNOWN = Decision(Outcome.UNKNOWN_USER, None)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def known_record(known: KnownUsers, name: str = "lgy") -> UserRecord | None:
    entry = known.get(name)
    assert entry is not None
    return entry.record


def test_admissions_teach_what_nobody_read():
    known = KnownUsers(Clock())
    known.learn("lgy", TOLD)
    assert known_record(known) == LEARNED
    known.learn("lgy", Decision(Outcome.REQUESTS_EXCEEDED, Limits(8, 80)))
    assert known_record(known) == UserRecord("lgy", 8, 80)
    known.learn("lgy", UNKNOWN)
    assert known_record(known) is None
    known.learn("lgy", Decision(Outcome.DISABLED, None))
    assert known_record(known) == UserRecord("lgy", disabled=True)
    known.learn("ann", Decision(Outcome.MODEL_NOT_ALLOWED, None))
    assert known.get("ann") is None


def test_an_exact_record_gives_way_to_contradiction_only():
    known = KnownUsers(Clock())
    record = UserRecord("lgy", rpm=3, models=("m",))
    known.put("lgy", record)
    known.learn("lgy", TOLD)
    assert known_record(known) == record
    known.learn("lgy", UNKNOWN)
    assert known_record(known) is None
    known.put("ann", None)
    known.learn("ann", UNKNOWN)
    entry = known.get("ann")
    assert entry is not None
    assert entry.exact
    known.learn("ann", TOLD)
    assert known_record(known, "ann") == UserRecord("ann", 7, 70, 2)


def test_a_doubted_record_is_kept_but_not_exact():
    known = KnownUsers(Clock())
    known.put("lgy", LEARNED)
    known.doubt("lgy")
    known.doubt("nobody")
    entry = known.get("lgy")
    assert entry is not None
    assert (entry.record, entry.exact) == (LEARNED, False)


@pytest.mark.parametrize(("seconds", "there"), [(3599.9, True), (3600.0, False)])
def test_an_hour_is_remembered(seconds, there):
    clock = Clock()
    known = KnownUsers(clock)
    known.put("lgy", LEARNED)
    clock.now += seconds
    assert (known.get("lgy") is not None) is there
    assert len(known) == there


def test_the_users_heard_of_last_are_kept():
    known = KnownUsers(Clock(), max_users=2)
    for name in ("a", "b", "a", "c"):
        known.put(name, None)
    assert [known.get(name) is not None for name in "abc"] == [True, False, True]


def test_what_is_told_again_keeps_a_user_known():
    clock = Clock()
    known = KnownUsers(clock, max_users=2)
    for _ in range(1000):
        clock.now += 9
        known.learn("lgy", TOLD)
        assert known_record(known) == LEARNED
    known.learn("ann", TOLD)
    known.learn("lgy", TOLD)
    known.learn("bob", TOLD)
    assert [known.get(name) is not None for name in ("lgy", "ann", "bob")] == [True, False, True]


def test_what_is_told_again_is_not_exact_and_gives_way():
    known = KnownUsers(Clock())
    known.put("lgy", UserRecord("lgy", 7, 70, 2, models=("m",)))
    known.doubt("lgy")
    known.learn("lgy", TOLD)
    assert known_record(known) == LEARNED, "doubted, so that what an admission tells is all that is known"
    known.learn("lgy", TOLD)
    known.learn("lgy", Decision(Outcome.DISABLED, None))
    assert known_record(known) == UserRecord("lgy", disabled=True)
    known.learn("lgy", TOLD)
    assert known_record(known) == LEARNED

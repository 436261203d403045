"""Shares of limits, and how many users are counted."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratelimit import AIBRIX_DEFAULTS, Admission, Limits, Outcome, UserRecord
from ratelimit.outage.last_spent import LastSpent
from ratelimit.outage.local_limits import LocalLimits, Part, share_of, taken
from ratelimit.users.known_users import KnownUsers


def local(known: KnownUsers, replicas: int = 1, max_users: int = 10_000) -> LocalLimits:
    return LocalLimits(lambda: 1000.0, known, lambda: Part(replicas), max_users=max_users)


@pytest.fixture
def known() -> KnownUsers:
    return KnownUsers(lambda: 0.0)


def test_every_limit_is_shared_and_no_limit_stays_none():
    record = UserRecord("lgy", rpm=100, tpm=999, max_parallel=5, models=("m",), overrides={"m": (1, 0)})
    shares = [share_of(record, AIBRIX_DEFAULTS, Part(3, rank)) for rank in range(3)]
    assert shares[0] == UserRecord("lgy", 34, 333, 2, ("m",), overrides={"m": (1, 0)})
    assert [share.rpm for share in shares] == [34, 33, 33]
    assert share_of(UserRecord("lgy"), AIBRIX_DEFAULTS, Part(4)) == UserRecord("lgy", 25, 25_000)


@given(limit=st.integers(1, 2**63 - 1), replicas=st.integers(1, 1000))
def test_all_shares_together_are_the_limit(limit, replicas):
    assert sum(Part(replicas, rank).of(limit) for rank in range(replicas)) == limit


@given(
    limit=st.integers(1, 300),
    replicas=st.integers(1, 9),
    spent=st.dictionaries(st.integers(100, 112), st.integers(1, 60), max_size=13),
)
def test_what_all_replicas_have_left_is_what_was_left_whenever_a_bucket_goes(limit, replicas, spent):
    parts = [Part(replicas, rank) for rank in range(replicas)]
    counted = [taken(spent, limit, part) for part in parts]
    for oldest in range(100, 114):
        left = max(0, limit - sum(count for bucket, count in spent.items() if bucket >= oldest))
        shares = [
            part.of(limit) - sum(count for bucket, count in mine.items() if bucket >= oldest)
            for part, mine in zip(parts, counted, strict=True)
        ]
        assert sum(shares) == left
        assert min(shares) >= 0


def test_a_limit_below_the_number_of_replicas_is_shared_by_so_many(known):
    known.put("lgy", UserRecord("lgy", rpm=2))
    outcomes = [
        LocalLimits(lambda: 1000.0, known, partial(Part, 4, rank)).admit(Admission("lgy", "a")).outcome
        for rank in range(4)
    ]
    assert outcomes.count(Outcome.ADMITTED) == 2


def test_no_replica_seen_counts_as_one(known):
    known.put("lgy", UserRecord("lgy", rpm=2))
    limits = local(known, replicas=0)
    outcomes = [limits.admit(Admission("lgy", str(n))).outcome for n in range(3)]
    assert outcomes == [Outcome.ADMITTED, Outcome.ADMITTED, Outcome.REQUESTS_EXCEEDED]


def test_a_changed_record_holds_at_once_and_what_was_spent_stays_spent(known):
    known.put("lgy", UserRecord("lgy", rpm=2))
    limits = local(known)
    limits.admit(Admission("lgy", "a"))
    known.put("lgy", UserRecord("lgy", rpm=1))
    assert limits.admit(Admission("lgy", "b")).outcome is Outcome.REQUESTS_EXCEEDED
    known.put("lgy", UserRecord("lgy", disabled=True))
    assert limits.admit(Admission("lgy", "c")).outcome is Outcome.DISABLED
    known.put("lgy", None)
    assert limits.admit(Admission("lgy", "d")).outcome is Outcome.UNKNOWN_USER


def test_allowed_models_and_the_models_rate_hold(known):
    known.put("lgy", UserRecord("lgy", models=("m",)))
    limits = local(known, replicas=2)
    assert limits.admit(Admission("lgy", "a", "other")).outcome is Outcome.MODEL_NOT_ALLOWED
    outcomes = [limits.admit(Admission("lgy", str(n), "m", 0, 4)).outcome for n in range(3)]
    assert outcomes == [Outcome.ADMITTED, Outcome.ADMITTED, Outcome.MODEL_RATE_EXCEEDED]


async def test_the_users_who_asked_last_are_counted(known):
    limits = local(known, max_users=3)
    for number in range(50):
        limits.admit(Admission(f"u{number}", "a"))
    assert await limits._store.names(100) == ["u47", "u48", "u49"]
    assert limits.unseen == 50


def test_right_after_an_outage_what_was_admitted_here_does_not_count_twice(known):
    known.put("two", UserRecord("two", rpm=2))
    spent = LastSpent(lambda: 1000.0)
    limits = LocalLimits(lambda: 1000.0, known, Part, last_spent=spent)
    assert limits.check(Admission("two", "a")).outcome is Outcome.ADMITTED
    # The store has admitted it, too, and says so.
    spent.hear("two", Limits(2, 2000), 1_000_000_000, {"": (2, 2000, 1, "1000:1", "1000:9")})
    assert limits.check(Admission("two", "b")).outcome is Outcome.ADMITTED
    assert limits.check(Admission("two", "c")).outcome is Outcome.REQUESTS_EXCEEDED

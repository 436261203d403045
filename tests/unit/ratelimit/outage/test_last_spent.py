"""The last known windows: by which clock, what was forgotten, and how many are kept."""

from __future__ import annotations

import pytest

from ratelimit import Admission, Decision, Outcome, Source, UserRecord
from ratelimit.outage.last_spent import LastSpent, Own
from ratelimit.outage.local_limits import LocalLimits, Part
from ratelimit.users.known_users import KnownUsers
from ratelimit.windows.limits import Limits

SERVER_US = 1_700_000_000 * 1_000_000
BUCKET = 1_700_000_000
LIMITS = Limits(10, 1000)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def spent(clock: Clock) -> LastSpent:
    return LastSpent(clock)


def scope(used: int, requests: str, tokens: str = "") -> tuple[int, int, int, str, str]:
    return (10, 1000, used, requests, tokens)


def local(clock: Clock, spent: LastSpent, part: Part, record: UserRecord) -> LocalLimits:
    known = KnownUsers(clock)
    known.put("lgy", record)
    return LocalLimits(clock, known, lambda: part, last_spent=spent)


def admitted(limits: LocalLimits, count: int, name: str = "a", **values: object) -> int:
    asked = [Admission("lgy", f"{name}{n}", **values) for n in range(count)]  # type: ignore[arg-type]
    return sum(limits.admit(one).outcome is Outcome.ADMITTED for one in asked)


def test_counting_goes_on_from_what_was_last_heard(clock, spent):
    spent.hear("lgy", LIMITS, SERVER_US, {"": scope(7, f"{BUCKET - 20}:5 {BUCKET}:2", f"{BUCKET}:990")})
    limits = local(clock, spent, Part(), UserRecord("lgy", 10, 1000))
    assert admitted(limits, 20) == 3
    # The older bucket stops to count when it would have on the server, and no more than five seconds later.
    clock.now += 38.0
    assert admitted(limits, 20, "b") == 0
    clock.now += 10.0
    assert admitted(limits, 20, "c") == 5


def test_tokens_go_on_too(clock, spent):
    spent.hear("lgy", LIMITS, SERVER_US, {"": scope(1, f"{BUCKET}:1", f"{BUCKET}:990")})
    limits = local(clock, spent, Part(), UserRecord("lgy", 10, 1000))
    assert admitted(limits, 3, tokens=5) == 2


@pytest.mark.parametrize("replicas", [1, 3, 4, 7])
def test_all_replicas_together_give_what_was_left(clock, spent, replicas):
    spent.hear("lgy", LIMITS, SERVER_US, {"": scope(4, f"{BUCKET - 1}:3 {BUCKET}:1")})
    given = [
        admitted(local(clock, spent, Part(replicas, rank), UserRecord("lgy", 10, 1000)), 20) for rank in range(replicas)
    ]
    assert sum(given) == 6


def test_limits_of_a_model_are_no_limits_of_the_user(clock, spent):
    known = KnownUsers(clock)
    limits = LocalLimits(clock, known, Part, last_spent=spent)
    spent.hear("lgy", LIMITS, SERVER_US, {"": scope(1, f"{BUCKET}:1"), "m": (2, 50, 1, f"{BUCKET}:1", "")})
    heard = spent.get("lgy")
    assert heard is not None
    known.learn("lgy", Decision(Outcome.ADMITTED, Limits(2, 50)), heard)
    known_user = known.get("lgy")
    assert known_user is not None
    assert known_user.record == UserRecord("lgy", 10, 1000)
    assert admitted(limits, 5, model="m") == 1
    assert admitted(limits, 20, "b", model="n") == 8


def test_sources_go_on_too(clock, spent):
    source = Source("10.0.0.1")
    spent.hear(source, Limits(20, 20_000), SERVER_US, {"": scope(18, f"{BUCKET}:18")})
    limits = LocalLimits(clock, KnownUsers(clock), Part, last_spent=spent)
    outcomes = [limits.admit(Admission(source, str(n))).outcome for n in range(5)]
    assert outcomes.count(Outcome.ADMITTED) == 2


def test_what_is_heard_between_two_outages_is_where_the_second_begins(clock, spent):
    limits = local(clock, spent, Part(), UserRecord("lgy", 10, 1000))
    spent.hear("lgy", LIMITS, SERVER_US, {"": scope(2, f"{BUCKET}:2")})
    assert admitted(limits, 3) == 3
    clock.now += 1.0
    spent.hear("lgy", LIMITS, SERVER_US + 1_000_000, {"": scope(9, f"{BUCKET}:9")})
    assert admitted(limits, 5, "b") == 0


def test_a_server_that_forgot_is_noticed_and_told(spent):
    spent.hear("lgy", LIMITS, SERVER_US, {"": scope(7, f"{BUCKET - 1}:5 {BUCKET}:2", f"{BUCKET - 1}:50")})
    assert spent.hear("lgy", LIMITS, SERVER_US, {"": scope(8, f"{BUCKET - 1}:5 {BUCKET}:3")}) == []
    (lost,) = spent.hear("lgy", LIMITS, SERVER_US, {"": scope(1, f"{BUCKET}:1", f"{BUCKET}:9")}, Own(1, 9))
    assert set(lost.requests.split()) == {f"{BUCKET - 1}:5", f"{BUCKET}:4"}
    assert (lost.used, lost.model) == (9, "")
    # And again, if it was not told yet.
    (again,) = spent.hear("lgy", LIMITS, SERVER_US, {"": scope(2, f"{BUCKET}:2")}, Own(1, 0))
    assert again.used == 10


def test_what_has_left_the_window_and_what_was_overtaken_is_not_forgotten(spent):
    spent.hear("lgy", LIMITS, SERVER_US, {"": scope(7, f"{BUCKET}:7")})
    assert spent.hear("lgy", LIMITS, SERVER_US - 1, {"": scope(6, f"{BUCKET}:6")}) == []
    later = SERVER_US + 65_000_000
    assert spent.hear("lgy", LIMITS, later, {"": scope(1, f"{BUCKET + 65}:1")}) == []


def test_after_the_servers_clock_was_set_back_it_is_still_heard(clock, spent):
    spent.hear("lgy", LIMITS, SERVER_US, {"": scope(1, f"{BUCKET}:1")})
    clock.now += 30.0
    back = BUCKET - 3600
    assert spent.hear("lgy", LIMITS, back * 1_000_000, {"": scope(10, f"{back}:10")}) == []
    assert admitted(local(clock, spent, Part(), UserRecord("lgy", 10, 1000)), 1) == 0


def test_windows_that_a_stranger_wrote_are_read_as_far_as_they_can_be(spent, clock):
    for text in (b"\xff\xfe", "x:y", "1:" + "9" * 50, ":", f"{'9' * 19}:1"):
        spent.hear("lgy", LIMITS, SERVER_US, {"": (10, 10, 0, text, text)})
        heard = spent.get("lgy")
        assert heard is not None
        assert all(bucket <= clock.now // 1 for bucket in heard.scopes[""].buckets(text))


def test_what_is_kept_is_bounded(clock):
    spent = LastSpent(clock, max_subjects=3)
    for number in range(50):
        spent.hear(f"u{number}", LIMITS, SERVER_US, {"": scope(1, ""), f"m{number}": scope(1, "")})
        spent.hear("u0", LIMITS, SERVER_US, {f"m{number}": scope(1, "")})
    assert len(spent) == 3
    heard = spent.get("u0")
    assert heard is not None
    assert len(heard.scopes) <= 8


def test_debt_counts_as_spent_now(clock, spent):
    spent.hear("lgy", LIMITS, SERVER_US, {"": scope(1, f"{BUCKET}:1", f"={BUCKET}/600 {BUCKET}:300")})
    limits = local(clock, spent, Part(), UserRecord("lgy", 10, 1000))
    assert admitted(limits, 3, tokens=60) == 1


def test_a_record_holds_for_the_name_it_was_found_by(clock, spent):
    limits = local(clock, spent, Part(), UserRecord("another program's", 10, 1000))
    assert admitted(limits, 20) == 10


@pytest.mark.parametrize("text", [f"{BUCKET + 500}:3", f"{BUCKET - 500}:3", f"{10**19 - 1}:3", "1:1 " * 10_000])
def test_buckets_that_cannot_count_are_passed_over(clock, spent, text):
    spent.hear("lgy", LIMITS, SERVER_US, {"": scope(3, text)})
    told = spent.get("lgy").scopes[""]
    assert told.buckets(told.requests) == {}
    # Nor are they taken for what the server has forgotten, or given back to it.
    spent.hear("lgy", LIMITS, SERVER_US, {"": scope(9, f"{BUCKET}:9")})
    (lost,) = spent.hear("lgy", LIMITS, SERVER_US, {"": scope(3, text)})
    assert (lost.requests, lost.used) == (f"{BUCKET}:9", 9)

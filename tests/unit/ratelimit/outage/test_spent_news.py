"""What users have spent, told from replica to replica."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence

import pytest

from ratelimit import Source, StoreUnavailable
from ratelimit.outage.last_spent import LastSpent
from ratelimit.outage.spent_news import ENTRIES_PER_READ, MAX_BYTES, MAX_TURN_BYTES, SpentNews
from ratelimit.outage.store_guard import StoreGuard
from ratelimit.windows.limits import Limits
from ratelimit.windows.spending import bucket_at
from tests.unit.ratelimit.outage.test_last_spent import BUCKET, LIMITS, SERVER_US, Clock, scope


class Stream:
    """What `RedisStore.tell` does."""

    def __init__(self) -> None:
        self.entries: list[bytes] = []
        self.away = False

    async def tell(self, news: bytes, after: str) -> tuple[Sequence[bytes], str]:
        if self.away:
            raise StoreUnavailable("redis", "away")
        if news:
            self.entries.append(news)
        begin = int(after.split("-", maxsplit=1)[0])
        told = self.entries[begin : begin + ENTRIES_PER_READ]
        return told, f"{begin + len(told)}-0"


class Replica:
    def __init__(self, stream: Stream, clock: Callable[[], float], *, others: bool = True) -> None:
        async def ping() -> None: ...

        self.spent = LastSpent(clock)
        self.news = SpentNews(stream, StoreGuard(ping, clock, random.Random(1)), self.spent, lambda: others)
        # Any answer tells how the server's clock goes.
        self.spent.hear("somebody", LIMITS, SERVER_US, {"": scope(1, f"{BUCKET}:1")})


@pytest.fixture
def stream() -> Stream:
    return Stream()


async def both(*replicas: Replica) -> None:
    for _ in range(2):
        for replica in replicas:
            await replica.news.turn()


async def test_a_replica_hears_what_others_let_in(stream):
    one, other = Replica(stream, Clock()), Replica(stream, Clock())
    scopes = {"": scope(90, f"{BUCKET}:90", f"{BUCKET}:9"), "m": scope(4, "")}
    one.spent.hear("lgy", Limits(100, 1000, 3), SERVER_US, scopes)
    one.spent.hear(Source("10.0.0.1"), LIMITS, SERVER_US, {"": scope(5, f"{BUCKET}:5")})
    await both(one, other)
    heard, source = other.spent.get("lgy"), other.spent.get(Source("10.0.0.1"))
    assert heard is not None
    assert source is not None
    assert (heard.limits, heard.scopes["m"].requests_used) == (Limits(100, 1000, 3), 4)
    told = heard.scopes[""]
    assert (told.buckets(told.requests), told.buckets(told.tokens)) == ({bucket_at(1000.0): 90}, {bucket_at(1000.0): 9})
    assert source.scopes[""].requests_used == 5


async def test_what_is_older_than_what_was_heard_here_says_nothing(stream):
    one, other = Replica(stream, Clock()), Replica(stream, Clock())
    one.spent.hear("lgy", LIMITS, SERVER_US, {"": scope(3, f"{BUCKET}:3")})
    other.spent.hear("lgy", LIMITS, SERVER_US + 1, {"": scope(7, f"{BUCKET}:7")})
    await both(one, other)
    heard = other.spent.get("lgy")
    assert heard is not None
    assert heard.scopes[""].requests_used == 7


async def test_nobody_is_told_things_in_the_future_or_long_ago(stream):
    one, other = Replica(stream, Clock()), Replica(stream, Clock())
    for number, seconds in enumerate((-80, 5, 10**9)):
        one.spent.hear(f"u{number}", LIMITS, SERVER_US + seconds * 1_000_000, {"": scope(3, f"{BUCKET}:3")})
    await both(one, other)
    assert [other.spent.get(f"u{number}") for number in range(3)] == [None] * 3


async def test_what_strangers_write_is_passed_over(stream):
    one, other = Replica(stream, Clock()), Replica(stream, Clock())
    for entry in (b"", b"\xff", b"[]", b"{}", b"[[1]]", b'[["\xff",false,1,[1,2,3],{}]]', b"[" * 5000):
        stream.entries.append(entry)
    one.spent.hear("lgy", LIMITS, SERVER_US, {"": scope(3, f"{BUCKET}:3")})
    await both(one, other)
    assert other.spent.get("lgy") is not None


async def test_alone_nothing_is_told_and_nothing_kept_to_be_told(stream):
    alone = Replica(stream, Clock(), others=False)
    await alone.news.turn()
    assert stream.entries == []
    assert alone.spent.take_changed() == []


@pytest.mark.looptime
async def test_it_goes_on_after_the_store_was_away(stream):
    clock = asyncio.get_running_loop().time
    one, other = Replica(stream, clock), Replica(stream, clock)
    tasks = [asyncio.create_task(replica.news.run()) for replica in (one, other)]
    stream.away = True
    await asyncio.sleep(2)
    stream.away = False
    one.spent.hear("lgy", LIMITS, SERVER_US, {"": scope(3, f"{BUCKET}:3")})
    await asyncio.sleep(2)
    assert other.spent.get("lgy") is not None
    for task in tasks:
        task.cancel()


async def test_an_old_window_of_one_model_does_not_pass_for_a_new_one(stream):
    one, other = Replica(stream, Clock()), Replica(stream, Clock())
    one.spent.hear("lgy", LIMITS, SERVER_US + 1, {"": scope(1, ""), "m": scope(1, f"{BUCKET}:1")})
    other.spent.hear("lgy", LIMITS, SERVER_US + 2, {"": scope(2, ""), "m": scope(2, f"{BUCKET}:2")})
    one.spent.hear("lgy", LIMITS, SERVER_US + 3, {"": scope(3, "")})
    await both(one, other)
    heard = other.spent.get("lgy")
    assert heard is not None
    assert (heard.scopes[""].requests_used, heard.scopes["m"].requests_used) == (3, 2)


async def test_more_than_one_entry_takes_is_told_as_far_as_it_goes(stream):
    one, other = Replica(stream, Clock()), Replica(stream, Clock())
    window = " ".join(f"{BUCKET - at}:1000" for at in reversed(range(61)))
    for number in range(1000):
        one.spent.hear(f"user {number}", LIMITS, SERVER_US + number, {"": scope(1, window, window)})
    await both(one, other)
    assert len(stream.entries[0]) <= MAX_BYTES
    assert (other.spent.get("user 0"), other.spent.get("user 999") is None) == (None, False)


async def test_news_from_before_a_user_was_deleted_are_not_taken(stream):
    one, other = Replica(stream, Clock()), Replica(stream, Clock())
    one.spent.hear("lgy", LIMITS, SERVER_US, {"": scope(7, f"{BUCKET}:7")})
    await one.news.turn()
    other.spent.forget("lgy")
    await other.news.turn()
    assert (other.spent.get("lgy"), other.news.taken > 0) == (None, True)
    one.spent.hear("lgy", LIMITS, SERVER_US + 500_000, {"": scope(1, f"{BUCKET}:1")})
    await both(one, other)
    assert other.spent.get("lgy") is not None, "made anew"


async def test_all_that_the_stream_keeps_is_read_in_one_turn(stream):
    one, other = Replica(stream, Clock()), Replica(stream, Clock())
    for number in range(3 * ENTRIES_PER_READ):
        one.spent.hear(f"u{number}", LIMITS, SERVER_US, {"": scope(3, f"{BUCKET}:3")})
        await one.news.turn()
    await other.news.turn()
    assert all(other.spent.get(f"u{number}") is not None for number in range(3 * ENTRIES_PER_READ))


async def test_the_newest_are_read_of_more_than_a_turn_takes(stream):
    one, other = Replica(stream, Clock()), Replica(stream, Clock())
    one.spent.hear("first", LIMITS, SERVER_US, {"": scope(3, f"{BUCKET}:3")})
    await one.news.turn()
    stream.entries += [b"[]" + b" " * (MAX_BYTES - 2)] * (MAX_TURN_BYTES // MAX_BYTES)
    stream.entries.append(b"[]" + b" " * MAX_TURN_BYTES)
    one.spent.hear("last", LIMITS, SERVER_US, {"": scope(3, f"{BUCKET}:3")})
    await one.news.turn()
    await other.news.turn()
    assert (other.spent.get("first"), other.spent.get("last") is None) == (None, False)

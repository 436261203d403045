"""Who hears of changes, and how connections are tried again, in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random

import pytest

from ratelimit import StoreUnavailable
from ratelimit.store.limit_store import UserChange
from ratelimit.users.user_changes import UserChanges

pytestmark = pytest.mark.looptime


def now() -> float:
    return asyncio.get_running_loop().time()


class Feed:
    """`ChangeFeed`. Each connection is how long it holds, or the names it brings, a second apart."""

    def __init__(self, *connections: float | list[str]) -> None:
        self.connections = list(connections)
        self.tried_at: list[float] = []

    async def announce(self, user: str, *, gone: bool = False) -> None: ...

    async def changes(self):
        self.tried_at.append(now())
        connection = self.connections.pop(0) if self.connections else 0.0
        for name in connection if isinstance(connection, list) else ():
            await asyncio.sleep(1)
            yield UserChange(name.removesuffix("!"), name.endswith("!"))
        if isinstance(connection, float):
            await asyncio.sleep(connection)
            raise StoreUnavailable("s", "gone")


class NoJitter(random.Random):
    def random(self) -> float:
        return 0.0


class Ears:
    def __init__(self) -> None:
        self.names: list[str] = []
        self.missed = 0
        self.gone: list[str] = []

    def miss(self) -> None:
        self.missed += 1


async def listen(feed: Feed, seconds: float) -> Ears:
    ears = Ears()
    changes = UserChanges(
        feed, now, NoJitter(), changed=[ears.names.append], missed=[ears.miss], gone=[ears.gone.append]
    )
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await changes.run()
    return ears


async def test_every_listener_hears_every_name():
    ears = await listen(Feed(["a", "b"], ["c"]), 4)
    assert ears.names == ["a", "b", "c"]


async def test_tries_come_less_and_less_often_and_each_failure_says_what_may_be_missed(caplog):
    caplog.set_level(logging.INFO)
    feed = Feed()
    ears = await listen(feed, 20)
    waits = [round(later - earlier, 3) for earlier, later in zip(feed.tried_at, feed.tried_at[1:], strict=False)]
    assert waits == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0], abs=0.002)
    assert ears.missed == len(feed.tried_at)
    assert len(caplog.records) == 1


async def test_a_connection_that_held_is_tried_again_soon(caplog):
    feed = Feed(0.0, 0.0, 0.0, 0.0, 30.0)
    await listen(feed, 31.65)
    assert feed.tried_at[5] - feed.tried_at[4] == pytest.approx(30.1, abs=0.01)
    assert sum(record.levelno == logging.WARNING for record in caplog.records) == 2


async def test_who_remembers_what_was_spent_hears_of_deletions_only():
    ears = await listen(Feed(["a", "b!", "c"]), 3.5)
    assert (ears.names, ears.gone) == (["a", "b", "c"], ["b"])

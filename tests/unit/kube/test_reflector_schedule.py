"""When a reflector lists, watches and waits: a scripted API server in virtual time, exact delays."""

from __future__ import annotations

import asyncio
import json
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from kube.api import ApiRefusedError, ApiUnreachableError
from kube.feed import Feed, Found
from kube.objects import decode_any
from kube.reflector import ABSENT_SECONDS, Reflector
from kube.shelf import Shelf

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    import msgspec

pytestmark = pytest.mark.looptime

LOST = ApiUnreachableError("connection lost")
GONE = {"type": "ERROR", "object": {"code": 410, "reason": "Expired", "message": "too old"}}


class Middle(random.Random):
    """No jitter: waits are 0.2, 0.4, 0.8 ... seconds."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


def event(kind: str, uid: str, version: int) -> dict[str, Any]:
    return {"type": kind, "object": {"metadata": {"uid": uid, "resourceVersion": str(version)}}}


def listed(version: int, *uids: str) -> dict[str, Any]:
    items = [{"metadata": {"uid": uid, "resourceVersion": "1"}} for uid in uids]
    return {"metadata": {"resourceVersion": str(version)}, "items": items}


class Script:
    """An API: answers are taken one after the other. In a watch, numbers are seconds of silence.

    `calls`: when, and what was asked: "list", or "watch VERSION".
    """

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.version = 1000
        self.calls: list[tuple[float, str]] = []
        self.done = asyncio.Event()

    async def get(self, _: str, query: Mapping[str, str]) -> bytes:
        if query["limit"] == "1":
            return json.dumps(listed(self.version)).encode()
        answer = await self._next("list")
        return json.dumps(answer).encode()

    @asynccontextmanager
    async def stream(self, _: str, query: Mapping[str, str], __: float) -> AsyncIterator[AsyncIterator[bytes]]:
        assert query["allowWatchBookmarks"] == "true"
        answer = await self._next(f"watch {query['resourceVersion']}")
        assert isinstance(answer, list)
        yield self._pieces(answer)

    async def _pieces(self, parts: list[object]) -> AsyncIterator[bytes]:
        for part in parts:
            if isinstance(part, float):
                await asyncio.sleep(part)
            elif isinstance(part, Exception):
                raise part
            elif isinstance(part, bytes):
                yield part
            else:
                yield json.dumps(part).encode() + b"\n"

    async def _next(self, call: str) -> object:
        self.calls.append((round(asyncio.get_running_loop().time(), 3), call))
        if not self.answers:
            self.done.set()
            await asyncio.Event().wait()
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class World:
    """A reflector that has played the script to its end."""

    def __init__(self, script: Script, *, optional: bool = False) -> None:
        self.script = script
        self.shelf: Shelf[str] = Shelf()
        self.changes: list[list[str]] = []
        feed = Feed("v1", "things", "", self.shelf, _read, optional)
        self.reflector: Reflector[str] = Reflector(script, feed, "", self._note, Middle())  # type: ignore[arg-type]

    def _note(self) -> None:
        self.changes.append(sorted(self.shelf))

    async def play(self) -> list[tuple[float, str]]:
        task = asyncio.create_task(self.reflector.run())
        await self.script.done.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return self.script.calls


def _read(raw: msgspec.Raw) -> Found[str]:
    metadata = decode_any(raw).metadata
    return Found(metadata.uid, metadata.resource_version, f"{metadata.uid}@{metadata.resource_version}")


async def test_a_watch_goes_on_where_the_last_ended() -> None:
    first = [event("ADDED", "b", 8), event("MODIFIED", "a", 9), event("BOOKMARK", "", 12)]
    world = World(Script(listed(7, "a"), first, [event("DELETED", "b", 13)]))
    assert await world.play() == [(0, "list"), (0, "watch 7"), (0, "watch 12"), (0, "watch 13")]
    assert world.changes == [["a@1"], ["a@1", "b@8"], ["a@9", "b@8"], ["a@9"]]
    assert world.reflector.counts.watch_ends == {"closed": 2}
    assert world.reflector.counts.events == {"added": 1, "modified": 1, "deleted": 1, "bookmark": 1}


async def test_failures_wait_longer_and_longer() -> None:
    world = World(Script(LOST, ApiRefusedError(503, "", "busy"), {"no": "list"}, listed(7), LOST, LOST, [6.0], [1.0]))
    assert await world.play() == [
        (0, "list"),
        (0.2, "list"),
        (0.6, "list"),
        (1.4, "list"),
        (1.4, "watch 7"),
        (1.6, "watch 7"),
        (2.0, "watch 7"),
        (8.0, "watch 7"),
        (9.2, "watch 7"),
    ]
    assert world.reflector.counts.lists == {"unreachable": 1, "refused": 1, "unreadable": 1, "complete": 1}
    assert world.reflector.counts.watch_ends == {"lost": 2, "closed": 2}


async def test_the_server_says_when_to_come_back() -> None:
    world = World(Script(ApiRefusedError(429, "", "slow down", 7.0), listed(1), ApiRefusedError(429, "", "again", 9.0)))
    assert await world.play() == [(0, "list"), (7.0, "list"), (7.0, "watch 1"), (16.0, "watch 1")]


@pytest.mark.parametrize("gone", [[GONE], ApiRefusedError(410, "Expired", "too old")])
async def test_a_forgotten_version_is_listed_anew_at_once(gone: object) -> None:
    world = World(Script(listed(7, "a", "b"), gone, listed(20, "b", "c"), [event("ADDED", "d", 21)]))
    calls = await world.play()
    assert [call for _, call in calls] == ["list", "watch 7", "list", "watch 20", "watch 21"]
    assert calls[2][0] == 0.2
    assert world.changes == [["a@1", "b@1"], ["b@1", "c@1"], ["b@1", "c@1", "d@21"]]
    assert world.reflector.counts.watch_ends["gone"] == 1


async def test_a_server_that_forgets_everything_is_not_run_over() -> None:
    answers: list[object] = []
    for _ in range(4):
        answers += [listed(7, "a"), [GONE]]
    calls = await World(Script(*answers)).play()
    assert [at for at, call in calls if call == "list"] == [0, 0.2, 0.6, 1.4, 3.0]


async def test_events_before_an_error_count() -> None:
    world = World(Script(listed(7), [event("ADDED", "a", 8), {"type": "ERROR", "object": {"code": 500}}]))
    assert await world.play() == [(0, "list"), (0, "watch 7"), (0.2, "watch 8")]
    assert world.changes[-1] == ["a@8"]
    assert world.reflector.counts.watch_ends == {"error": 1}


async def test_a_torn_line_is_asked_for_again() -> None:
    line = json.dumps(event("ADDED", "b", 9)).encode()
    world = World(Script(listed(7), [event("ADDED", "a", 8), line[:20], LOST], [line + b"\n"]))
    assert [call for _, call in await world.play()] == ["list", "watch 7", "watch 8", "watch 9"]
    assert world.changes[-1] == ["a@8", "b@9"]


async def test_rubbish_is_followed_by_a_list() -> None:
    world = World(Script(listed(7, "a"), [b"<html>\n"], listed(9, "a")))
    assert [call for _, call in await world.play()] == ["list", "watch 7", "list", "watch 9"]
    assert world.reflector.counts.watch_ends == {"unreadable": 1}


async def test_a_kind_that_may_not_be_watched_is_listed_now_and_then() -> None:
    forbidden = ApiRefusedError(403, "Forbidden", "no")
    world = World(Script(listed(7, "a"), forbidden, listed(9, "b"), forbidden))
    assert [call for _, call in await world.play()] == ["list", "watch 7", "list", "watch 9", "list"]
    assert world.changes == [["a@1"], ["b@1"]]


@pytest.mark.parametrize("code", [403, 404])
async def test_an_optional_kind_may_be_missing(code: int) -> None:
    world = World(Script(ApiRefusedError(code, "", "not here"), listed(7, "a")), optional=True)
    assert await world.play() == [(0, "list"), (ABSENT_SECONDS, "list"), (ABSENT_SECONDS, "watch 7")]
    assert world.changes == [[], ["a@1"]]


async def test_another_kind_may_not() -> None:
    world = World(Script(ApiRefusedError(403, "Forbidden", "no"), listed(7)))
    assert await world.play() == [(0, "list"), (0.2, "list"), (0.2, "watch 7")]
    assert world.changes == [[]]


async def test_a_kind_that_goes_away_is_looked_for_until_it_returns() -> None:
    missing = ApiRefusedError(404, "NotFound", "no such kind")
    world = World(Script(listed(7, "a"), missing, missing, missing, listed(9, "b")), optional=True)
    calls = await world.play()
    assert [call for _, call in calls] == ["list", "watch 7", "list", "list", "list", "watch 9"]
    assert world.changes == [["a@1"], [], ["b@1"]]
    assert world.reflector.counts.absent == 0


async def test_a_server_that_was_restored_from_a_backup_is_read_anew() -> None:
    """It would let a watch from a later version wait, for hours perhaps, without a word."""
    script = Script(listed(70, "a", "b"), [event("ADDED", "c", 75)], listed(30, "a"), [event("ADDED", "d", 31)])
    script.version = 30
    world = World(script)
    assert [call for _, call in await world.play()] == ["list", "watch 70", "list", "watch 30", "list"]
    assert world.changes[2] == ["a@1"]
    assert world.reflector.counts.watch_ends["restored"] == 2

"""The edge to Redis for replicas: everything of one turn in one round trip, all keys known by name.

Nothing there outlives a minute, and any stranger may have written it: what cannot be read is passed over and counted,
and a key that refuses to be written (another type, an entry from the future) is deleted, so that the next turn works.

    gateway:model:{<model>}:inflight      hash: replica -> ReplicaState; gone 3 s after the last writing of anybody
    gateway:replica:{<replica>}:outcomes  list of ForwardedOutcome; gone 15 s after the last
    gateway:prompts                       stream of PromptNews, the last 128; gone a minute after the last

Polling, not publish and subscribe: ten reads a second of a few small hashes cost less than a message per change and
reader, need no second connection that can be lost unnoticed, and work the same over a cluster and behind sentinels.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from redis.client import NEVER_DECODE

from ratelimit.store.redis_edge import RedisEdge
from ratelimit.store.scripts import is_outage
from ratelimit.store.urls import connect

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gateway_plugin.peers.inbox import Abandoned

INFLIGHT_KEY_MS = 3000
"""Seven times the repetition."""
OUTCOMES_KEY_MS = 15_000
"""Log entries arrive within seconds, or their exchange has ended otherwise."""
MAX_FETCHED = 500
"""Outcomes per turn; ten turns a second are 5,000."""
NEWS_KEPT = 128
"""Entries of the stream; replicas read it ten times a second."""
NEWS_KEY_MS = 60_000
"""Prompts that nobody read for a minute are old."""
MAX_NEWS = 32
"""Entries per turn; each replica writes one."""
OLDEST_NEWS = "0-0"
_NEWS_KEY = "gateway:prompts"

# Outcomes are removed when they have arrived, not when they are read: an answer may be lost on its way. The first of
# those that arrived tells whether they are still there, as the same may be asked twice.
_REMOVE_ARRIVED = "if redis.call('LINDEX', KEYS[1], 0) == ARGV[1] then redis.call('LTRIM', KEYS[1], ARGV[2], -1) end"

# Whoever wrote it may have come back since it was read.
_REMOVE_IF_SAME = "if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then redis.call('HDEL', KEYS[1], ARGV[1]) end"

Command = tuple[str | bytes | int, ...]


@dataclass(frozen=True, slots=True)
class Turn:
    """What a replica says, and what it wants to know."""

    replica: str
    writes: Mapping[str, bytes | None] = field(default_factory=dict)
    """By model; None takes back."""
    outgoing: Mapping[str, Sequence[bytes]] = field(default_factory=dict)
    """Outcomes, by the replica they belong to."""
    arrived: Sequence[bytes] = ()
    """Outcomes that were read before, in this order."""
    news: bytes = b""
    """PromptNews; empty for none."""
    news_after: str = OLDEST_NEWS
    """The last entry of the stream that was read."""
    abandoned: Sequence[Abandoned] = ()
    reads: Sequence[str] = ()
    """Models."""


@dataclass(frozen=True, slots=True)
class Answers:
    """`values` lacks models that could not be read."""

    values: Mapping[str, Mapping[bytes, bytes]]
    outcomes: Sequence[bytes]
    news: Sequence[bytes]
    """Of other replicas."""
    news_after: str
    unreadable: int


class PeerStore(RedisEdge):
    """One connection, for one turn at a time."""

    @classmethod
    def from_url(cls, url: str, timeout_seconds: float) -> PeerStore:
        """See `ratelimit.store.urls`; connects at the first call."""
        return cls(connect(url, timeout_seconds), timeout_seconds, max_connections=1)

    async def exchange(self, turn: Turn) -> Answers:
        """Writes, then reads. Raises StoreUnavailable, also when the server takes no writing at all."""
        said = [*_writes(turn), *_posts(turn), *_news(turn), *map(_removal, turn.abandoned), *_arrived(turn)]
        asked: list[Command] = [("HGETALL", _inflight_key(model)) for model in turn.reads]
        asked.append(("LRANGE", _outcomes_key(turn.replica), 0, MAX_FETCHED - 1))
        asked.append(("XRANGE", _NEWS_KEY, f"({turn.news_after}", "+", "COUNT", MAX_NEWS))
        async with self._edge():
            answers = await self._run([*said, *asked])
            for answer in answers:
                if isinstance(answer, Exception) and is_outage(answer):
                    raise answer
            healed = await self._heal(zip([*said, *asked], answers, strict=True))
        read = _read(turn, answers[len(said) :])
        # A stream that begins anew counts anew: nothing would come after the ids of the old one.
        return replace(read, news_after=OLDEST_NEWS) if _NEWS_KEY in healed else read

    async def _heal(self, turn: Iterable[tuple[Command, object]]) -> set[str | bytes | int]:
        """Returns the keys that were deleted."""
        refusing: set[str | bytes | int] = set()
        for command, answer in turn:
            if isinstance(answer, Exception):
                self._refused(answer)
                refusing.add(command[3] if command[0] == "EVAL" else command[1])
        if refusing:
            await self._run([("DEL", key) for key in refusing])
        return refusing

    async def withdraw(self, replica: str, models: Sequence[str]) -> None:
        """Takes everything back."""
        async with self._edge():
            await self._run([("HDEL", _inflight_key(model), replica) for model in models])

    async def _run(self, commands: Sequence[Command]) -> list[Any]:
        pipeline = self._client.pipeline(transaction=False)
        for command in commands:
            # Values are bytes, even where the URL asks the client to decode.
            pipeline.execute_command(*command, **{NEVER_DECODE: True})
        answers: list[Any] = await pipeline.execute(raise_on_error=False)
        return answers


def _read(turn: Turn, answers: list[Any]) -> Answers:
    *hashes, outcomes, entries = answers
    values = {model: fields for model, fields in zip(turn.reads, hashes, strict=True) if isinstance(fields, dict)}
    fetched = outcomes if isinstance(outcomes, list) else []
    listed = entries if isinstance(entries, list) else []
    told = [fields for _, fields in listed if not (fields and fields.get(b"replica") == turn.replica.encode())]
    news = [fields[b"news"] for fields in told if fields and b"news" in fields]
    unreadable = sum(isinstance(answer, Exception) for answer in answers) + len(told) - len(news)
    return Answers(values, fetched, news, listed[-1][0].decode() if listed else turn.news_after, unreadable)


def _news(turn: Turn) -> list[Command]:
    if not turn.news:
        return []
    entry = ("replica", turn.replica, "news", turn.news)
    return [("XADD", _NEWS_KEY, "MAXLEN", NEWS_KEPT, "*", *entry), ("PEXPIRE", _NEWS_KEY, NEWS_KEY_MS)]


def _writes(turn: Turn) -> list[Command]:
    commands: list[Command] = []
    for model, value in turn.writes.items():
        key = _inflight_key(model)
        if value is None:
            commands.append(("HDEL", key, turn.replica))
        else:
            commands += [("HSET", key, turn.replica, value), ("PEXPIRE", key, INFLIGHT_KEY_MS)]
    return commands


def _posts(turn: Turn) -> list[Command]:
    commands: list[Command] = []
    for replica, values in turn.outgoing.items():
        key = _outcomes_key(replica)
        commands += [("RPUSH", key, *values), ("PEXPIRE", key, OUTCOMES_KEY_MS)]
    return commands


def _arrived(turn: Turn) -> list[Command]:
    if not turn.arrived:
        return []
    return [("EVAL", _REMOVE_ARRIVED, 1, _outcomes_key(turn.replica), turn.arrived[0], len(turn.arrived))]


def _removal(abandoned: Abandoned) -> Command:
    return "EVAL", _REMOVE_IF_SAME, 1, _inflight_key(abandoned.model), abandoned.replica, abandoned.value


def _inflight_key(model: str) -> str:
    return f"gateway:model:{{{quote(model, safe='')}}}:inflight"


def _outcomes_key(replica: str) -> str:
    return f"gateway:replica:{{{replica}}}:outcomes"

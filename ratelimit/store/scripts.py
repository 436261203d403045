"""Lua scripts on a Redis server: sent by hash, and in full only to a server that does not have them yet.

A server forgets its scripts when it restarts or fails over, so any call may find them gone; the full text then runs and
stays there. A call that the server refused with NOSCRIPT has had no effect, so repeating it is safe. The text is the
constants, the shared parts that a script names, and the script itself.
"""

from __future__ import annotations

import hashlib
from functools import partial
from importlib import resources
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from redis.asyncio import Redis
from redis.exceptions import (
    ClusterError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)

from ratelimit.store.kept_connections import KeptConnections
from ratelimit.store.limit_store import MAX_REPLICAS, PARALLEL_SECONDS, RESERVATION_SECONDS, SETTLED_SECONDS
from ratelimit.users.api_keys import MAX_KEYS_PER_USER
from ratelimit.users.usage_rows import MAX_ROWS_PER_DAY
from ratelimit.windows.admission import (
    KEPT_LENGTHS,
    LENGTHS_SECONDS,
    MODELS_PER_SUBJECT,
    SHARE_OF_CEILING,
    SHARE_OF_UNSEEN,
    UNSEEN_OUTPUT,
)
from ratelimit.windows.leases import LEAST_LEASED
from ratelimit.windows.spending import BUCKET_SECONDS, BUCKETS, EARLY_BUCKETS, LONGEST_DEBT_WINDOWS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from redis.asyncio import RedisCluster

    from ratelimit.store.kept_connections import Command

    Client: TypeAlias = Redis | RedisCluster
    Ask: TypeAlias = Callable[[Sequence[Command]], Awaitable[list[Any]]]

_CONSTANTS = {
    "BUCKET_SECONDS": BUCKET_SECONDS,
    "BUCKETS": BUCKETS,
    "EARLY_BUCKETS": EARLY_BUCKETS,
    "LONGEST_DEBT_WINDOWS": LONGEST_DEBT_WINDOWS,
    "SHARE_OF_CEILING": SHARE_OF_CEILING,
    "SHARE_OF_UNSEEN": SHARE_OF_UNSEEN,
    "UNSEEN_OUTPUT": UNSEEN_OUTPUT,
    "KEPT_LENGTHS": KEPT_LENGTHS,
    "LENGTHS_SECONDS": LENGTHS_SECONDS,
    "MODELS_PER_SUBJECT": MODELS_PER_SUBJECT,
    "RESERVATION_SECONDS": RESERVATION_SECONDS,
    "SETTLED_SECONDS": SETTLED_SECONDS,
    "PARALLEL_SECONDS": PARALLEL_SECONDS,
    "MAX_KEYS": MAX_KEYS_PER_USER,
    "MAX_REPLICAS": MAX_REPLICAS,
    "LEAST_LEASED": LEAST_LEASED,
    "MAX_ROWS_PER_DAY": MAX_ROWS_PER_DAY,
}


# What servers answer when they take nothing, or nothing that writes; the library strips the words of some.
_OUTAGES = frozenset({"BUSY", "LOADING", "MASTERDOWN", "MISCONF", "NOREPLICAS", "OOM", "READONLY", "UNKILLABLE"})
_OUTAGE_TYPES = (ClusterError, NoPermissionError, OutOfMemoryError, ReadOnlyError, TryAgainError)


class Script:
    """Files of `ratelimit/store/lua`, the last of which is the script."""

    def __init__(self, *file_names: str) -> None:
        folder = resources.files("ratelimit.store").joinpath("lua")
        parts = [f"local {name} = {value}" for name, value in _CONSTANTS.items()]
        parts += [folder.joinpath(name).read_text(encoding="utf-8") for name in file_names]
        self.text = "\n".join(parts)
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()

    def call(self, keys: Sequence[str], arguments: Sequence[str | int] = ()) -> ScriptCall:
        return ScriptCall(self, (len(keys), *keys, *arguments))


class ScriptCall(NamedTuple):
    """A script, and what it is called with: how many keys, the keys, the arguments."""

    script: Script
    operands: tuple[str | int, ...]


async def run(client: Client, call: ScriptCall) -> Any:  # noqa: ANN401
    try:
        return await client.execute_command("EVALSHA", call.script.sha, *call.operands)
    except NoScriptError:
        return await client.execute_command("EVAL", call.script.text, *call.operands)


async def run_many(ask: Ask, calls: Sequence[ScriptCall]) -> list[Any]:
    """All calls in one pipeline. What one of them is refused is its own answer; that nothing works is raised."""
    answers = await ask([_by_hash(call) for call in calls])
    # A server that has restarted knows no script: the first call of each brings it along, a text of some 8 KB. Of a
    # cluster's servers others may not have got it; they are told with each call.
    for bring in (_first_in_full, _all_in_full):
        missing = [position for position, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if missing:
            again = await ask(bring([calls[at] for at in missing]))
            for position, answer in zip(missing, again, strict=True):
                answers[position] = answer
    for answer in answers:
        if isinstance(answer, Exception) and is_outage(answer):
            raise answer
    return answers


def _by_hash(call: ScriptCall) -> Command:
    return ("EVALSHA", call.script.sha, *call.operands)


def _all_in_full(calls: Sequence[ScriptCall]) -> list[Command]:
    return [("EVAL", call.script.text, *call.operands) for call in calls]


def _first_in_full(calls: Sequence[ScriptCall]) -> list[Command]:
    brought: set[str] = set()
    commands: list[Command] = []
    for call in calls:
        commands += [_by_hash(call)] if call.script.sha in brought else _all_in_full([call])
        brought.add(call.script.sha)
    return commands


def is_outage(error: Exception) -> bool:
    """Whether an error is about the server. Anything else is about one item, and the next may work."""
    if not isinstance(error, ResponseError):
        return True
    return isinstance(error, _OUTAGE_TYPES) or str(error).partition(" ")[0] in _OUTAGES


def pipelines_of(client: Client) -> Ask:
    """How pipelines are sent: a cluster's go to several servers, which its client knows."""
    return KeptConnections(client).ask if isinstance(client, Redis) else partial(_cluster_pipeline, client)


async def _cluster_pipeline(client: RedisCluster, commands: Sequence[Command]) -> list[Any]:
    pipeline = client.pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command(*command)
    answers: list[Any] = await pipeline.execute(raise_on_error=False)
    return answers

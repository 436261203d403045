"""Lua scripts on a Redis server: sent by hash, and in full only to a server that does not have them yet.

A server forgets its scripts when it restarts or fails over, so any call may find them gone; the full text then runs and
stays there. A call that the server refused with NOSCRIPT has had no effect, so repeating it is safe.
"""

from __future__ import annotations

import hashlib
from importlib import resources
from typing import TYPE_CHECKING, Any, TypeAlias

from redis.exceptions import NoScriptError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis

Call: TypeAlias = "tuple[Sequence[str], Sequence[str | int]]"


class Script:
    """One file of `ratelimit/lua`. A call is its keys and its arguments."""

    def __init__(self, file_name: str) -> None:
        self._text = resources.files("ratelimit").joinpath("lua", file_name).read_text(encoding="utf-8")
        self._sha = hashlib.sha1(self._text.encode(), usedforsecurity=False).hexdigest()

    async def run(self, client: Redis, keys: Sequence[str], arguments: Sequence[str | int]) -> Any:  # noqa: ANN401
        try:
            return await client.evalsha(self._sha, len(keys), *keys, *arguments)
        except NoScriptError:
            return await client.eval(self._text, len(keys), *keys, *arguments)

    async def run_many(self, client: Redis, calls: Sequence[Call]) -> list[Any]:
        """All calls in one pipeline; the first error is raised when all have been answered."""
        answers = await _pipeline(client, ("EVALSHA", self._sha), calls)
        missing = [position for position, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if missing:
            again = await _pipeline(client, ("EVAL", self._text), [calls[position] for position in missing])
            for position, answer in zip(missing, again, strict=True):
                answers[position] = answer
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers


async def _pipeline(client: Redis, command: tuple[str, str], calls: Sequence[Call]) -> list[Any]:
    pipeline = client.pipeline(transaction=False)
    for keys, arguments in calls:
        pipeline.execute_command(*command, len(keys), *keys, *arguments)
    return await pipeline.execute(raise_on_error=False)

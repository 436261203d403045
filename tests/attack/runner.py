"""Runs attacks and keeps score."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tests.attack.arena import Arena
from tests.attack.attacks import Attack, Findings

AT_ONCE = 6
"""Attempts under way together: most of an attempt's time is waiting for what may still come."""
ALONE = ("crowds", "identity, user header trusted", "outages")
"""Kinds whose attempts share something: a machine's connections, a source's limit."""
_LONGEST_ATTACK_SECONDS = 120.0


@dataclass
class Score:
    """What became of a number of attacks."""

    attempts: int = 0
    through: dict[str, Findings] = field(default_factory=dict)
    """By attack."""

    def add(self, other: Score) -> None:
        """Both together."""
        self.attempts += other.attempts
        self.through |= other.through


async def attempt(arena: Arena, attacks: Iterable[Attack], *, at_once: int = AT_ONCE) -> Score:
    """Tries each; a mistake of the attack itself counts as having come through."""
    score, waiting = Score(), iter(attacks)

    async def work() -> None:
        for attack in waiting:
            score.attempts += 1
            if findings := await _tried(arena, attack):
                score.through[str(attack)] = findings

    await asyncio.gather(*(work() for _ in range(at_once)))
    return score


async def _tried(arena: Arena, attack: Attack) -> Findings:
    try:
        async with asyncio.timeout(_LONGEST_ATTACK_SECONDS):
            return await attack.run(arena)
    except Exception as error:  # noqa: BLE001 - whatever it is, the others shall run
        return [f"the attack broke off: {type(error).__name__}: {error}"]


async def attempt_kind(arena: Arena, kind: str, attacks: Sequence[Attack]) -> Score:
    """The same for one kind, and what the service looks like afterwards."""
    score = await attempt(arena, attacks, at_once=1 if kind in ALONE else AT_ONCE)
    if damage := await arena.damage():
        score.through[f"{kind}: afterwards"] = damage
    return score

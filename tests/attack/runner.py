"""Runs attacks one after the other, so that what engines see can be told apart, and keeps score."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tests.attack.arena import Arena
from tests.attack.attacks import Attack, Findings

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


async def attempt(arena: Arena, attacks: Iterable[Attack]) -> Score:
    """Tries each; a mistake of the attack itself counts as having come through."""
    score = Score()
    for attack in attacks:
        score.attempts += 1
        try:
            async with asyncio.timeout(_LONGEST_ATTACK_SECONDS):
                findings = await attack.run(arena)
        except Exception as error:  # noqa: BLE001 - whatever it is, the others shall run
            findings = [f"the attack broke off: {type(error).__name__}: {error}"]
        if findings:
            score.through[str(attack)] = findings
    return score


async def attempt_kind(arena: Arena, kind: str, attacks: Sequence[Attack]) -> Score:
    """The same for one kind, and what the service looks like afterwards."""
    score = await attempt(arena, attacks)
    if damage := await arena.damage():
        score.through[f"{kind}: afterwards"] = damage
    return score

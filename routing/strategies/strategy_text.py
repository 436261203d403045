"""What a strategy's text on the wire means.

    name[:weight][,name[:weight]]...

A name or an alias alone is that policy. Several make a `Combined`. Weights are integers from 0 to 1,000,000, 1 when not
said; 0 drops the entry, unread; a strategy named twice has both weights. As in AIBrix, `pd` and `slo...` are exclusive
(the first of them stands alone), and strategies that draw lots cannot be combined.

Clients choose the texts, so their length is bounded, and those seen last are kept parsed, good and bad alike.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from routing.strategies.combined import Combined

if TYPE_CHECKING:
    from collections.abc import Mapping

    from routing.strategies.policy import Policy

MAX_WEIGHT = 1_000_000
MAX_CHARACTERS = 1024
_ENTRY = re.compile(r"\s*([^\s:,]+)\s*(?::\s*([0-9]+)\s*)?")
_DRAW_LOTS = frozenset({"random", "power-of-two"})


class Strategies:
    """The policies by name, alias and combination."""

    def __init__(self, policies: Mapping[str, Policy], aliases: Mapping[str, str], max_cached: int = 256) -> None:
        """`aliases` lead to names of `policies`; a policy's own name wins over an alias."""
        self._named = {alias: policies[name] for alias, name in aliases.items()} | dict(policies)
        self._parsed = lru_cache(maxsize=max_cached)(self._parse)

    def names(self) -> list[str]:
        """All names and aliases, sorted."""
        return sorted(self._named)

    def resolve(self, text: str) -> Policy | None:
        """The policy that a text means, or None when it means none."""
        if text in self._named:
            return self._named[text]
        return self._parsed(text) if len(text) <= MAX_CHARACTERS else None

    def _parse(self, text: str) -> Policy | None:
        entries = _entries(text)
        if not entries:
            return None
        exclusive = next((name for name in entries if name == "pd" or name.startswith("slo")), None)
        return self._combine({exclusive: 1} if exclusive else entries)

    def _combine(self, entries: Mapping[str, int]) -> Policy | None:
        weights: dict[Policy, int] = {}
        for name, weight in entries.items():
            policy = self._named.get(name)
            if policy is None:
                return None
            weights[policy] = weights.get(policy, 0) + weight
        if len(weights) == 1:
            return next(iter(weights))
        return None if any(policy.name in _DRAW_LOTS for policy in weights) else Combined(weights)


def _entries(text: str) -> dict[str, int] | None:
    """Weights above 0 by name, in the order of the text; None when it does not follow the grammar."""
    entries: dict[str, int] = {}
    for part in text.split(","):
        entry = _ENTRY.fullmatch(part)
        if entry is None:
            return None
        name, weight = entry[1], int(entry[2] or "1")
        if weight > MAX_WEIGHT:
            return None
        if weight:
            entries[name] = entries.get(name, 0) + weight
    return entries

"""What a strategy's text on the wire means.

    name[:weight][,name[:weight]]...

A name or an alias alone is that policy. Several make a `Combined`. Weights are integers from 0 to 1,000,000, 1 when not
said; 0 drops the entry, unread; a strategy named twice has both weights. As in AIBrix, strategies that draw lots cannot
be combined. AIBrix's serving modes (`pd`, `slo...`) say how pods work together and not which of them is best: the plain
strategies beside them decide, and where there are none the strategy that their alias leads to.

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
"""Of a strategy in a combination."""
MAX_CHARACTERS = 1024
"""Of a strategy in a header."""
_ENTRY = re.compile(r"\s*([^\s:,]+)\s*(?::\s*([0-9]+)\s*)?")
_SERVING_MODES = frozenset({"pd", "slo", "slo-pack-load", "slo-least-load", "slo-least-load-pulling"})
_DRAW_LOTS = frozenset({"random", "power-of-two"})


class Strategies:
    """The policies by name, alias and combination."""

    def __init__(self, policies: Mapping[str, Policy], aliases: Mapping[str, str], max_cached: int = 256) -> None:
        """`aliases` lead to names of `policies`; a policy's own name wins over an alias."""
        self._named = {alias: policies[name] for alias, name in aliases.items()} | dict(policies)
        self._parsed = lru_cache(maxsize=max_cached)(self._parse)

    def names(self) -> list[str]:
        """All names and aliases, sorted, but for those that are understood only because AIBrix has them."""
        return sorted(self._named.keys() - _SERVING_MODES)

    def resolve(self, text: str) -> Policy | None:
        """The policy that a text means, or None when it means none."""
        if text in self._named:
            return self._named[text]
        return self._parsed(text) if len(text) <= MAX_CHARACTERS else None

    def _parse(self, text: str) -> Policy | None:
        entries = _entries(text)
        if not entries:
            return None
        plain = {name: weight for name, weight in entries.items() if name not in _SERVING_MODES}
        return self._combine(plain or entries)

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

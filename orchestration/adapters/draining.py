"""When an adapter may leave a pod: once nobody uses it there, or after long enough.

told to go -> no new requests -> in flight = 0, or `drain_seconds` passed -> unloaded
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

DRAIN_SECONDS = 30.0
"""How long requests are waited for before an adapter is taken from a pod all the same."""
GIVE_UP_SECONDS = 300.0
"""After so long a deleted adapter's object goes, whatever its pods answered: a dead pod never blocks it."""

Pair = tuple[str, str]
"""A pod and an adapter."""


@dataclass(slots=True)
class Draining:
    """Remembers since when each pair is told to go; pairs that are no longer told to are forgotten at once."""

    drain_seconds: float = DRAIN_SECONDS
    _since: dict[Pair, float] = field(default_factory=dict)

    def drained(self, now: float, going: Collection[Pair], in_flight: Mapping[Pair, int]) -> set[Pair]:
        """Those of `going` that may be unloaded now. A pair is never drained in the call that first names it.

        So the gateway, which is told in the same breath, has had a tick's time to stop sending.
        """
        self._since = {pair: self._since.get(pair, now) for pair in going}
        return {
            pair
            for pair, since in self._since.items()
            if now > since and (not in_flight.get(pair) or now - since >= self.drain_seconds)
        }

    def overdue(self, now: float) -> set[Pair]:
        return {pair for pair, since in self._since.items() if now - since >= GIVE_UP_SECONDS}

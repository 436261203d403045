"""How long to wait before the next try: twice as long after each failure, up to a bound, with jitter.

    seconds = min(longest, first * 2^failures) * uniform(0.5, 1.5), and at least what the server asks for

Jitter keeps the replicas of a gateway, which lost the server in the same moment, from coming back in the same moment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

FIRST_SECONDS = 0.2
"""Until the first new try; doubles."""
LONGEST_SECONDS = 10.0
"""Between two tries: after an outage of any length a change is heard within a quarter of a minute."""
_MOST_DOUBLINGS = 16
"""So that the exponent stays small."""


class Backoff:
    """Of one thing that is tried again and again."""

    def __init__(
        self, rng: random.Random, first_seconds: float = FIRST_SECONDS, longest_seconds: float = LONGEST_SECONDS
    ) -> None:
        self._rng = rng
        self._first_seconds = first_seconds
        self._longest_seconds = longest_seconds
        self._failures = 0

    def next_seconds(self, asked_seconds: float = 0.0) -> float:
        """After one more failure. `asked_seconds` is the server's Retry-After."""
        doubled = self._first_seconds * 2.0 ** min(self._failures, _MOST_DOUBLINGS)
        self._failures += 1
        jittered = min(self._longest_seconds, doubled) * self._rng.uniform(0.5, 1.5)
        return max(jittered, min(asked_seconds, 2 * self._longest_seconds))

    def reset(self) -> None:
        """It works again."""
        self._failures = 0

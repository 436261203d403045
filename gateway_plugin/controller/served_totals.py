"""What was served of one model since the controller began to look, over all replicas of the gateway: it only grows.

Replicas count from their own starts, and forget models that were gone; here what each of them counted between two
looks is added up, so one that starts anew, or goes, takes nothing away.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


class Counted(Protocol):
    """What a replica says of a model; see `http/load_report.py`."""

    @property
    def requests_total(self) -> int: ...
    @property
    def first_token_counts(self) -> Sequence[int]: ...
    @property
    def first_token_seconds_total(self) -> float: ...
    @property
    def ended_total(self) -> int: ...
    @property
    def ended_seconds_total(self) -> float: ...


@dataclass(slots=True)
class ServedTotals:
    requests: int = 0
    first_tokens: int = 0
    first_token_seconds: float = 0.0
    ended: int = 0
    ended_seconds: float = 0.0
    _bounds: Sequence[float] = ()
    _by_bound: dict[float, int] = field(default_factory=dict)
    """First tokens that took at most so many seconds, and more than the bound below it."""

    def add(self, before: Counted, now: Counted, bounds: Sequence[float]) -> None:
        """Two looks at one replica. A count that fell has begun anew."""
        self._bounds = bounds
        self.requests += _grown(before.requests_total, now.requests_total)
        anew = now.ended_total < before.ended_total or sum(now.first_token_counts) < sum(before.first_token_counts)
        self.ended += now.ended_total - (0 if anew else before.ended_total)
        self.ended_seconds += max(0.0, now.ended_seconds_total - (0.0 if anew else before.ended_seconds_total))
        seconds = 0.0 if anew else before.first_token_seconds_total
        self.first_token_seconds += max(0.0, now.first_token_seconds_total - seconds)
        old = before.first_token_counts if not anew else ()
        for place, count in enumerate(now.first_token_counts):
            new = count - (old[place] if place < len(old) else 0)
            self.first_tokens += max(0, new)
            if new > 0 and place < len(bounds):
                self._by_bound[bounds[place]] = self._by_bound.get(bounds[place], 0) + new

    def later_than(self, seconds: float) -> int:
        """First tokens that took longer; a target between two bounds is taken for the one above it."""
        limit = next((bound for bound in self._bounds if bound >= seconds), float("inf"))
        return self.first_tokens - sum(count for bound, count in self._by_bound.items() if bound <= limit)


def _grown(before: int, now: int) -> int:
    return now - before if now >= before else now

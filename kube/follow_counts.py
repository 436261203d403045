"""What happened while a kind of objects was followed, for operators."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class FollowCounts:
    """Of one kind in one scope. `heard_at_seconds`: when the server last said anything, on the loop's clock."""

    resource: str
    scope: str
    events: Counter[str] = field(default_factory=Counter)
    lists: Counter[str] = field(default_factory=Counter)
    watch_ends: Counter[str] = field(default_factory=Counter)
    heard_at_seconds: float = 0.0
    synced: bool = False
    absent: int = 0
    """404: there is no such kind; 403: it may not be seen; 0: it is there."""
    problem: str = ""
    """Why the last try failed; empty while all is well."""

    def __str__(self) -> str:
        return f"{self.resource} in {self.scope or 'all namespaces'}"

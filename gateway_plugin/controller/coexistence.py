"""AIBrix's own controllers beside ours: while theirs live, ours only watch, unless told to take over.

AIBrix's manager holds a Lease that it renews every few seconds. How old a renewal is follows from when it was seen to
change, not from the time in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

AIBRIX_LEASE = "aibrix-controller-manager"
AIBRIX_NAMESPACE = "aibrix-system"
SILENT_SECONDS = 60.0
"""Without a renewal for so long AIBrix's manager is taken for stopped; it renews every 10 s at most."""


@dataclass(slots=True)
class AibrixWatch:
    """Remembers when AIBrix's Lease last changed."""

    _seen: tuple[object, ...] | None = None
    _seen_at: float = 0.0

    def is_active(self, lease_spec: Mapping[str, Any] | None, now: float) -> bool:
        """`lease_spec`: None where there is no such Lease.

        A Lease that is seen for the first time counts as active until it has been silent for long enough.
        """
        if lease_spec is None or not lease_spec.get("holderIdentity"):
            self._seen = None
            return False
        mark = (lease_spec.get("holderIdentity"), lease_spec.get("renewTime"))
        if mark != self._seen:
            self._seen, self._seen_at = mark, now
        return now - self._seen_at < SILENT_SECONDS

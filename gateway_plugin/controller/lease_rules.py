"""Who of several controllers may write: the holder of a Lease, by the rules that Kubernetes' own components follow.

    nobody holds it, or it was not renewed for `LEASE_SECONDS` as seen from here -> take it
    we hold it -> renew it every `RENEW_SECONDS`; write only until `WRITE_SECONDS` after the last renewal that succeeded

The age of another's lease is counted from when this process saw it change, never from the times in it: clocks differ.
`WRITE_SECONDS` is below `LEASE_SECONDS`, so the old holder has stopped before a new one begins. Source: client-go's
documentation of leader election.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

LEASE_SECONDS = 15.0
"""How long a silent holder is believed in: as Kubernetes' own components have it."""
WRITE_SECONDS = 10.0
"""How long a renewal allows writes; five seconds below the above, for a write that is under way."""
RENEW_SECONDS = 2.0
"""Four renewals may fail before writing stops."""


@dataclass(slots=True)
class LeaseHolder:
    """One candidate's view of one Lease."""

    identity: str
    _seen: tuple[object, ...] = ()
    _seen_at: float = 0.0
    _renewed_at: float | None = field(default=None)

    def may_take(self, spec: Mapping[str, Any], now: float) -> bool:
        """Whether to write ourselves into it now: it is ours, nobody's, or its holder is silent."""
        mark = tuple(spec.get(key) for key in ("holderIdentity", "renewTime", "leaseTransitions"))
        if mark != self._seen:
            self._seen, self._seen_at = mark, now
        holder = spec.get("holderIdentity") or ""
        seconds = float(spec.get("leaseDurationSeconds") or LEASE_SECONDS)
        return holder in ("", self.identity) or now - self._seen_at >= seconds

    def taken(self, now: float) -> None:
        """A write of `wanted` that began at `now` has succeeded."""
        self._renewed_at = now

    def lost(self) -> None:
        self._renewed_at = None

    def may_write(self, now: float) -> bool:
        return self._renewed_at is not None and now - self._renewed_at < WRITE_SECONDS

    def wanted(self, spec: Mapping[str, Any], moment: datetime) -> dict[str, Any]:
        """The Lease's spec with us as its holder."""
        text = moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        changes = int(spec.get("leaseTransitions") or 0)
        ours = spec.get("holderIdentity") == self.identity
        return {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": int(LEASE_SECONDS),
            "acquireTime": spec.get("acquireTime") if ours else text,
            "renewTime": text,
            "leaseTransitions": changes if ours else changes + 1,
        }

    def released(self, spec: Mapping[str, Any], moment: datetime) -> dict[str, Any]:
        """For an orderly end: the next one need not wait."""
        return {**self.wanted(spec, moment), "holderIdentity": "", "leaseDurationSeconds": 1}

"""How many clusters each revision of a fleet should have now: one step towards all of them being of the newest.

    new revision   grows to at most    replicas + surge - all
    old revisions  shrink by at most   all - (replicas - unavailable) - those of the new one that are not available,

first those that are not available, then the oldest revision. The formulas are those of Kubernetes' Deployments.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestration.fleets.fleet_spec import FleetSpec


@dataclass(frozen=True, slots=True)
class Revision:
    """One replica set as it is."""

    name: str
    number: int
    wanted: int
    present: int
    """Clusters that exist, those that drain among them."""
    available: int


def sizes(spec: FleetSpec, new: Revision | None, olds: Sequence[Revision]) -> dict[str, int]:
    """By name of the set, a size that differs from its present one; of `new`, which may not exist yet, under ""."""
    if spec.paused:
        return _resized(spec, new, olds)
    if spec.recreate:
        return _recreated(spec, new, olds)
    wanted = new.wanted if new else 0
    every = wanted + sum(old.wanted for old in olds)
    room = max(0, spec.replicas + spec.surge - every)
    grown = min(spec.replicas, wanted + room)
    if new is None or grown != wanted:
        return {new.name if new else "": grown}
    return _shrunk(spec, new, olds, every)


def _recreated(spec: FleetSpec, new: Revision | None, olds: Sequence[Revision]) -> dict[str, int]:
    found = {old.name: 0 for old in olds if old.wanted}
    if found or any(old.present for old in olds):
        return found
    if new is None:
        return {"": spec.replicas}
    return {new.name: spec.replicas} if new.wanted != spec.replicas else {}


def _resized(spec: FleetSpec, new: Revision | None, olds: Sequence[Revision]) -> dict[str, int]:
    """A paused fleet keeps its revisions; its size is that of the one that has clusters, the newest of several."""
    active = max((one for one in (new, *olds) if one is not None and one.wanted), key=_number, default=new)
    if active is None:
        return {}
    others = sum(one.wanted for one in (new, *olds) if one is not None and one is not active)
    wanted = max(0, spec.replicas - others)
    return {active.name: wanted} if active.wanted != wanted else {}


def _shrunk(spec: FleetSpec, new: Revision, olds: Sequence[Revision], every: int) -> dict[str, int]:
    least = spec.replicas - spec.unavailable
    most = every - least - max(0, new.wanted - new.available)
    left = {old.name: old.wanted for old in olds}
    for old in sorted(olds, key=_number):
        cut = max(0, min(old.wanted - old.available, most))
        left[old.name] -= cut
        most -= cut
    spare = min(most, new.available + sum(min(old.available, old.wanted) for old in olds) - least)
    for old in sorted(olds, key=_number):
        cut = max(0, min(left[old.name], spare))
        left[old.name] -= cut
        spare -= cut
    return {old.name: left[old.name] for old in olds if left[old.name] != old.wanted}


def _number(one: Revision) -> int:
    return one.number


def forgotten(olds: Sequence[Revision], history: int) -> list[str]:
    """Old sets beyond the history that have nothing any more, the oldest first."""
    empty = sorted((old for old in olds if not old.wanted and not old.present), key=_number)
    return [old.name for old in empty[: max(0, len(empty) - history)]]

"""Who owns whom, for the garbage collector."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.fake_kubernetes.resources import Resource

    Place = tuple[Resource, tuple[str, str]]


class Owners:
    """By uid, as owner references are."""

    def __init__(self) -> None:
        self._owned: defaultdict[str, set[Place]] = defaultdict(set)
        self._owners: dict[Place, set[str]] = {}

    def put(self, place: Place, body: dict[str, Any]) -> None:
        """Takes note of an object's owner references."""
        owners = {reference["uid"] for reference in body["metadata"].get("ownerReferences") or ()}
        for uid in self._owners.pop(place, set()) - owners:
            self._owned[uid].discard(place)
        for uid in owners:
            self._owned[uid].add(place)
        if owners:
            self._owners[place] = owners

    def remove(self, place: Place, body: dict[str, Any]) -> list[Place]:
        """Takes note of an object's end; what nobody owns any more."""
        for uid in self._owners.pop(place, set()):
            self._owned[uid].discard(place)
        orphaned = []
        for owned in self._owned.pop(body["metadata"]["uid"], set()):
            self._owners[owned].discard(body["metadata"]["uid"])
            if not self._owners[owned]:
                orphaned.append(owned)
        return orphaned

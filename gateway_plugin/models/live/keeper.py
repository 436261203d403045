"""The persistent copy of the catalogue: read at the start, written by the replica that leads.

Whoever takes over the lead compares the copy with what it sees: the difference is what happened while nobody led, and
is told to webhooks, so that a replica may die at any moment without an event being lost.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec

from gateway_plugin.models.catalogue.catalogue import Remembered
from gateway_plugin.models.catalogue.changes import Change
from gateway_plugin.models.store import LEAD_SECONDS
from ratelimit import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from gateway_plugin.models.catalogue.catalogue import Catalogue
    from gateway_plugin.models.store import CatalogueStore

logger = logging.getLogger(__name__)


class CatalogueKeeper:
    """`clock` is monotonic."""

    def __init__(self, catalogue: Catalogue, store: CatalogueStore, replica: str, clock: Callable[[], float]) -> None:
        self._catalogue = catalogue
        self._store = store
        self._replica = replica
        self._clock = clock
        self._dirty: set[str] = set()
        self._leads_until_seconds = float("-inf")

    @property
    def leads(self) -> bool:
        """Whether this replica writes and sends for all."""
        return self._clock() < self._leads_until_seconds

    async def read(self) -> dict[str, Remembered]:
        """The copy. Raises StoreUnavailable."""
        stored = await self._store.read("models")
        kept = {model: _decode(value) for model, value in stored.items()}
        return {model: one for model, one in kept.items() if one is not None}

    def touch(self, changes: Iterable[Change]) -> None:
        """What is to be written."""
        self._dirty.update(facts.id for change in changes if (facts := change.after or change.before) is not None)

    async def lead(self) -> list[Change] | None:
        """Asks for the lead; what happened since the last leader wrote, when it was won just now."""
        led, asked_seconds = self.leads, self._clock()
        if not await self._store.lead(self._replica):
            self._leads_until_seconds = float("-inf")
            return None
        missed = None if led else self._differences(await self.read())
        self._leads_until_seconds = asked_seconds + LEAD_SECONDS
        return missed

    async def write(self) -> None:
        """Brings the copy up to date, if it is ours to write; what could not be written is tried again."""
        if not self.leads:
            # The leader sees what we see.
            self._dirty.clear()
            return
        dirty, self._dirty = self._dirty, set()
        known = self._catalogue.known
        try:
            if dirty:
                puts = {model: msgspec.json.encode(known[model]) for model in dirty if model in known}
                await self._store.write("models", puts, dirty - puts.keys())
        except StoreUnavailable:
            self._dirty |= dirty
            raise

    def _differences(self, kept: Mapping[str, Remembered]) -> list[Change]:
        known = self._catalogue.known
        self._dirty.update(known.keys() ^ kept.keys())
        changes = [Change(None, known[model].facts) for model in known.keys() - kept.keys()]
        changes += [Change(kept[model].facts, None) for model in kept.keys() - known.keys()]
        for model in known.keys() & kept.keys():
            if known[model] != kept[model]:
                self._dirty.add(model)
                changes.append(Change(kept[model].facts, known[model].facts))
        # Where nothing was ever kept, all of it would be news.
        return changes if kept else []


def _decode(value: bytes) -> Remembered | None:
    try:
        return msgspec.json.decode(value, type=Remembered)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None

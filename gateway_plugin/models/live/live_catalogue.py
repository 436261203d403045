"""Keeps the catalogue fresh: looks at the pod table when it has changed, at the store for what other replicas did.

    every 0.25 s   has the pod table, the health of pods or what engines list changed?  -> new snapshot, events
    every second    has another replica changed the registry, webhooks or models?        -> read what changed
    every 2 s      lead; write the persistent copy, if this replica leads

Readers take the snapshot of the moment and never wait for any of it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway_plugin.models.catalogue.access import OPERATOR
from gateway_plugin.models.catalogue.changes import Change, events_for
from gateway_plugin.models.catalogue.facts import Kind
from gateway_plugin.models.catalogue.observing import observe
from gateway_plugin.models.catalogue.registry import CatalogueNames, decode_registry
from gateway_plugin.models.live.event_ring import EventRing
from gateway_plugin.models.live.keeper import CatalogueKeeper
from gateway_plugin.models.webhooks.records import Webhook, decode_webhooks
from ratelimit import StoreUnavailable
from ratelimit.rare_log import RareLog

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping

    from gateway_plugin.models.catalogue.catalogue import Catalogue
    from gateway_plugin.models.catalogue.snapshot import Snapshot
    from gateway_plugin.models.live.event_ring import Numbered
    from gateway_plugin.models.store import CatalogueStore, Part
    from gateway_plugin.models.webhooks.dispatcher import Dispatcher
    from gateway_plugin.pods.engines.known_models import KnownModels
    from routing.pods.pod_table import PodTable

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.25
"""Between two looks at pods and engines."""
SYNC_SECONDS = 1.0
"""Between two looks at what other replicas wrote."""
LEAD_ASK_SECONDS = 2.0
"""Twice and more within a lead, so that one failure loses none."""
# In case a version was missed, and for entries of a writer that died before it could count.
_READ_ALL_SECONDS = 30.0
_SETTLE_SECONDS = 15.0
"""After the start; an engine that has not told its models by then is waited for no longer."""
_MAX_NAMED = 5
"""In one warning."""
_READ_PARTS: tuple[Part, ...] = ("registry", "webhooks", "models")


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the catalogue comes from."""

    table: PodTable
    known: KnownModels
    is_synced: Callable[[], bool] = lambda: True
    """Whether discovery has seen all pods by now."""
    is_settled: Callable[[], bool] = lambda: True
    """Whether the engines have been asked what they serve."""


class LiveCatalogue:
    """Call `load` once, then let `run` follow; `clock` is monotonic."""

    def __init__(
        self,
        catalogue: Catalogue,
        sources: Sources,
        store: CatalogueStore,
        replica: str,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.catalogue = catalogue
        self.store = store
        self.names = CatalogueNames(catalogue, sources.known)
        """Names as requests use them."""
        self.events = EventRing(wall_clock)
        self.wall_clock = wall_clock
        self.webhooks: Mapping[str, Webhook] = {}
        self.dispatcher: Dispatcher | None = None
        """Sends to webhooks; set by whoever runs one."""
        self.removed: list[Callable[[str], object]] = []
        """Told of each model that is gone for good."""
        self._sources = sources
        self._clock = clock
        self._pause = pause
        self._rare = RareLog(logger, clock)
        self._keeper = CatalogueKeeper(catalogue, store, replica, clock)
        self._began_seconds = clock()
        self._seen: tuple[object, ...] = ()
        self._versions: Mapping[str, int] = {}
        self._read_all_at_seconds = 0.0
        self._is_new = True
        """Nothing is remembered, so that everything would be news at first."""
        self._was_synced = False
        self._failing: set[object] = set()
        """What the store failed at when it was last asked."""

    @property
    def snapshot(self) -> Snapshot:
        """The catalogue now."""
        return self.catalogue.snapshot

    async def load(self) -> None:
        """What is remembered, and what is seen already; without the store, the latter alone."""
        try:
            await self._read_all()
        except StoreUnavailable as error:
            self._note_failure(self._sync, error)
        self.catalogue.republish()
        self._is_new = not self.catalogue.known
        for _ in self._look():
            pass

    async def run(self) -> None:
        """Follows until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_pods())
            group.create_task(self._repeat(SYNC_SECONDS, self._sync))
            group.create_task(self._repeat(LEAD_ASK_SECONDS, self._lead))

    async def change(self, part: Part, puts: Mapping[str, bytes], deletes: Iterable[str] = ()) -> None:
        """Writes to the registry or to webhooks; it holds here at once. Raises StoreUnavailable."""
        await self.store.write(part, puts, deletes)
        await self._read(part)

    async def close(self) -> None:
        """Writes what is left to write, and gives up the lead."""
        self.events.close()
        try:
            await self._keeper.write()
            await self.store.close()
        except StoreUnavailable as error:
            logger.warning("the last changes of the catalogue were not kept: %s", error)

    async def _follow_pods(self) -> None:
        while True:
            if self._seen != self._state() or self.catalogue.has_expired():
                for _ in self._look():
                    await asyncio.sleep(0)
            await self._pause(LOOK_SECONDS)

    def _look(self) -> Generator[None, None, None]:
        seen = self._state()
        sources, synced, settled = self._sources, self._sources.is_synced(), self._is_settled()
        world = yield from observe(sources.table, sources.known, synced=synced, settled=settled)
        changes = yield from self.catalogue.update(world)
        self._seen = seen
        self._tell(changes, is_quiet=self._is_new and not self._was_synced)
        self._was_synced = self._was_synced or synced

    def _state(self) -> tuple[object, ...]:
        sources = self._sources
        return sources.table.version, sources.table.health.version, sources.is_synced(), self._is_settled()

    def _is_settled(self) -> bool:
        return self._sources.is_settled() or self._clock() - self._began_seconds > _SETTLE_SECONDS

    def _tell(self, changes: list[Change], *, is_quiet: bool = False) -> None:
        self._keeper.touch(changes)
        for change in changes:
            if change.before is not None and change.after is None:
                for told in self.removed:
                    told(change.before.id)
        if is_quiet:
            return
        if self._is_new and not self._is_settled():
            changes = [change for change in changes if change.before or not _is_adapter(change)]
        numbered = self.events.add(changes)
        if self._keeper.leads:
            self._send(numbered)

    def _send(self, numbered: list[Numbered]) -> None:
        if self.dispatcher is not None:
            self.dispatcher.publish(
                event for one in numbered for event in events_for(one.change, OPERATOR, one.id, one.at_seconds)
            )

    async def _lead(self) -> None:
        missed = await self._keeper.lead()
        if missed:
            self._send(self.events.numbered(missed))
        await self._keeper.write()

    async def _sync(self) -> None:
        if self._clock() >= self._read_all_at_seconds:
            await self._read_all()
            return
        versions = await self.store.versions()
        for part in _READ_PARTS:
            if versions.get(part) != self._versions.get(part):
                await self._read(part)
        self._versions = versions

    async def _read_all(self) -> None:
        versions = await self.store.versions()
        for part in _READ_PARTS:
            await self._read(part)
        self._versions = versions
        self._read_all_at_seconds = self._clock() + _READ_ALL_SECONDS

    async def _read(self, part: Part) -> None:
        if part == "registry":
            registry, unreadable = decode_registry(await self.store.read("registry"))
            if unreadable:
                some = ", ".join(map(repr, unreadable[:_MAX_NAMED]))
                self._rare.error("registry", "%d entries of the registry cannot be read: %s", len(unreadable), some)
            if registry != self.catalogue.registry:
                self.catalogue.registry = registry
                self._tell(self.catalogue.republish())
        elif part == "webhooks":
            self.webhooks, unusable = decode_webhooks(await self.store.read("webhooks"))
            if unusable:
                self._rare.error("webhooks", "%d stored webhooks cannot be used, and hear of nothing", unusable)
            if self.dispatcher is not None:
                self.dispatcher.configure(self.webhooks)
        elif not self._keeper.leads:
            # Who sees for itself needs no hearsay of what there is.
            self.catalogue.remember(await self._keeper.read(), with_unknown=not self._was_synced)
            self._tell(self.catalogue.republish(), is_quiet=not self._was_synced)

    async def _repeat(self, seconds: float, what: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await what()
                self._note_success(what)
            except StoreUnavailable as error:
                self._note_failure(what, error)
            await self._pause(seconds)

    # Reading may work where writing does not, as with a full disk: each is told of when it changes.

    def _note_success(self, what: object) -> None:
        if what in self._failing:
            self._failing.discard(what)
            if not self._failing:
                logger.info("the store of the catalogue is back: %s", self.store.address)

    def _note_failure(self, what: object, error: StoreUnavailable) -> None:
        log = logger.debug if self._failing else logger.warning
        log("the catalogue is not kept, or changes of other replicas are not seen: %s", error)
        self._failing.add(what)


def _is_adapter(change: Change) -> bool:
    return change.after is not None and change.after.kind is Kind.ADAPTER

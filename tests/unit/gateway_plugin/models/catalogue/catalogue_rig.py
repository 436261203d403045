"""A pod table and a catalogue over it, with clocks that tests turn."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway_plugin.models.catalogue.access import EVERYBODY, OPERATOR, Viewer
from gateway_plugin.models.catalogue.catalogue import Catalogue
from gateway_plugin.models.catalogue.changes import Change, events_for
from gateway_plugin.models.catalogue.describing import Describer
from gateway_plugin.models.catalogue.figures import FigureBook
from gateway_plugin.models.catalogue.observing import World, observe
from gateway_plugin.models.catalogue.pages import Page, Pages
from gateway_plugin.models.catalogue.query import parse_list
from gateway_plugin.models.catalogue.usage_windows import LatencyWindows
from gateway_plugin.pods.engines.known_models import EngineReport, KnownModels, ModelCard
from routing.pods.pod_table import PodTable
from routing.profiles import ModelConfig
from routing.spec import AdapterSpec, ClusterState, PodSpec

KEEP_SECONDS = 100.0


def pod(number: int, *models: str, **more: Any) -> PodSpec:
    return PodSpec(f"p{number}", f"10.0.0.{number}:8000", models or ("m",), **more)


class Rig:
    """Time starts at 1000 s since the epoch."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.table = PodTable(lambda: self.now)
        self.known = KnownModels(self.table.apply)
        describer = Describer("us", ("gpu",))
        self.catalogue = Catalogue(lambda: self.now, KEEP_SECONDS, describer)
        self.windows = LatencyWindows(lambda: self.now)
        self.in_flight: dict[str, int] = {}
        self.pages = Pages(FigureBook(self.table, self.windows, lambda: self.in_flight))
        self.synced = self.settled = True

    def serve(
        self, *pods: PodSpec, models: frozenset[str] = frozenset(), adapters: dict[str, AdapterSpec] | None = None
    ) -> list[Change]:
        configs: dict[str, ModelConfig] = {}
        self.known.discovered(ClusterState(tuple(pods), models, configs, adapters or {}))
        return self.look()

    def reports(self, spec: PodSpec, *cards: ModelCard, version: str = "0.11.0") -> list[Change]:
        self.known.reported(spec.address, spec.uid, EngineReport(cards, version))
        self.known.flush()
        return self.look()

    def look(self) -> list[Change]:
        steps = observe(self.table, self.known, synced=self.synced, settled=self.settled)
        world: World = _last(steps)
        changes: list[Change] = _last(self.catalogue.update(world))
        return changes

    def page(self, query: str = "", viewer: Viewer = EVERYBODY) -> Page:
        return self.pages.list(self.catalogue.snapshot, parse_list(query), viewer)

    def listed(self, query: str = "", viewer: Viewer = EVERYBODY) -> list[dict[str, Any]]:
        body: dict[str, Any] = msgspec.json.decode(self.page(query, viewer).body)
        data: list[dict[str, Any]] = body["data"]
        return data

    def ids(self, query: str = "", viewer: Viewer = EVERYBODY) -> list[str]:
        return [model["id"] for model in self.listed(query, viewer)]

    def status(self, model: str = "m") -> str:
        return self.catalogue.snapshot.by_id[model].facts.status.value


def types(changes: list[Change], viewer: Viewer = OPERATOR) -> list[str]:
    """`type id` of each event."""
    events = (event for change in changes for event in events_for(change, viewer, "e", 0.0))
    return [f"{event.type} {event.data.model.id}" for event in events]


def _last(steps: Any) -> Any:
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value

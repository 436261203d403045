"""From two snapshots to events, as each viewer sees them.

A model that becomes visible to somebody was added, for them; whether pods came, or the operator lifted a veil.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from gateway_plugin.models.catalogue.facts import Kind, public_facts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway_plugin.models.catalogue.access import Viewer
    from gateway_plugin.models.catalogue.facts import ModelFacts

ADDED = "model.added"
REMOVED = "model.removed"
STATUS_CHANGED = "model.status_changed"
PODS_CHANGED = "model.pods_changed"
CHANGED = "model.changed"
LOADED = "adapter.loaded"
EVENT_TYPES = (ADDED, REMOVED, STATUS_CHANGED, PODS_CHANGED, CHANGED, LOADED)


class Change(NamedTuple):
    """What happened to one model. `loaded`: pods that can serve it now and could not before."""

    before: ModelFacts | None
    after: ModelFacts | None
    loaded: frozenset[str] = frozenset()


class EventData(Struct, frozen=True, omit_defaults=True):
    """The model after the change (for a removal before it)."""

    model: ModelFacts
    previous_status: str | None = None


class Event(Struct, frozen=True):
    """One event, as it is sent."""

    id: str
    type: str
    created: int
    """Seconds since the epoch."""
    data: EventData


def events_for(change: Change, viewer: Viewer, event_id: str, at_seconds: float) -> Iterator[Event]:
    """What a viewer is told of a change; nothing of models that it may not see."""
    before = change.before if change.before is not None and viewer.sees(change.before) else None
    after = change.after if change.after is not None and viewer.sees(change.after) else None
    facts = after or before
    if facts is None:
        return
    shown = facts if viewer.is_operator else public_facts(facts)
    previous = before.status.value if before is not None and after is not None else None
    for number, kind in enumerate(_types(before, after, change.loaded)):
        told = previous if kind == STATUS_CHANGED else None
        yield Event(f"{event_id}-{number}", kind, int(at_seconds), EventData(shown, told))


def encode_event(event: Event) -> bytes:
    """The JSON of an event."""
    return msgspec.json.encode(event)


def _types(before: ModelFacts | None, after: ModelFacts | None, loaded: frozenset[str]) -> Iterator[str]:
    if after is None:
        yield REMOVED
        return
    if before is None:
        yield ADDED
    elif before.status is not after.status:
        yield STATUS_CHANGED
    elif _pods(before) != _pods(after):
        yield PODS_CHANGED
    elif replace(before, confirmed=after.confirmed, reasons=after.reasons) != after:
        yield CHANGED
    if after.kind is Kind.ADAPTER and loaded:
        yield LOADED


def _pods(facts: ModelFacts) -> tuple[object, ...]:
    return facts.ready_pods, facts.total_pods, {(reason.code, reason.pods) for reason in facts.reasons}

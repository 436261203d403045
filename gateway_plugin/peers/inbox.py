"""What other replicas have written: each value is read once, and a value that nobody renews is thrown away.

A server that expires single fields of a hash cannot be taken for granted, so readers remove what a dead replica left:
a field that has stayed the same for 10 s, and only if it still is the same. No living writer is silent for so long.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from gateway_plugin.peers.wire import MalformedNewsError, read_report

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from routing.pods.elsewhere import Elsewhere

ABANDONED_SECONDS = 10.0
"""A replica that says nothing for so long is gone."""
MAX_REPLICAS = 64
"""Per model. Each of them reads what all others write."""


class Abandoned(NamedTuple):
    """A field to be removed if it still has this value."""

    model: str
    replica: str
    value: bytes


@dataclass(frozen=True, slots=True)
class _Field:
    value: bytes
    since_seconds: float


class Inbox:
    """Between raw hashes and `Elsewhere`."""

    def __init__(self, replica: str, elsewhere: Elsewhere, clock: Callable[[], float]) -> None:
        self.skipped: Counter[str] = Counter({"malformed": 0, "too_many": 0})
        self._own = replica
        self._elsewhere = elsewhere
        self._clock = clock
        self._fields: dict[str, dict[str, _Field]] = {}

    @property
    def hears(self) -> bool:
        """Whether any other replica has told something that still stands."""
        return bool(self._fields)

    def take(self, model: str, values: Mapping[bytes, bytes]) -> None:
        """The whole hash of one model, as it is now."""
        self.skipped["too_many"] += max(0, len(values) - MAX_REPLICAS)
        before, now = self._fields.get(model, {}), {}
        for name, value in islice(values.items(), MAX_REPLICAS):
            replica = name.decode("ascii", errors="replace")
            if replica == self._own:
                continue
            known = before.get(replica)
            if known is None or known.value != value:
                known = _Field(value, self._clock())
                self._read(model, replica, value)
            now[replica] = known
        self._keep(model, before, now)

    def drop_others(self, models: frozenset[str]) -> None:
        """Forgets all but these models."""
        for model in [model for model in self._fields if model not in models]:
            self._keep(model, self._fields[model], {})

    def abandoned(self) -> list[Abandoned]:
        """What dead replicas have left."""
        due = self._clock() - ABANDONED_SECONDS
        return [
            Abandoned(model, replica, field.value)
            for model, fields in self._fields.items()
            for replica, field in fields.items()
            if field.since_seconds < due
        ]

    def _read(self, model: str, replica: str, value: bytes) -> None:
        try:
            self._elsewhere.hear(model, replica, read_report(value))
        except MalformedNewsError:
            self.skipped["malformed"] += 1

    def _keep(self, model: str, before: Mapping[str, _Field], now: dict[str, _Field]) -> None:
        for replica in before:
            if replica not in now:
                self._elsewhere.forget(model, replica)
        if now:
            self._fields[model] = now
        else:
            self._fields.pop(model, None)

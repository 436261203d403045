"""The catalogue at one moment: immutable, sorted by id, with the JSON of every entry made once.

An entry's `mark` is a hash of its facts; lists and their ETags are made of marks, so that figures, which are no facts,
change no ETag of a basic list. Whether a model is confirmed leaves its mark alone: a restart changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec
from msgspec.structs import replace
from xxhash import xxh3_64_digest

from gateway_plugin.models.catalogue.access import grants
from gateway_plugin.models.catalogue.facts import basic_json, public_facts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gateway_plugin.models.catalogue.facts import ModelFacts


class Entry(NamedTuple):
    """One model; `full` and `public` are its facts as operators and users see them, each a JSON object."""

    facts: ModelFacts
    mark: bytes
    basic: bytes
    full: bytes
    public: bytes
    grants: tuple[str, ...]
    """Entries of allow lists that admit it by its labels."""


def new_entry(facts: ModelFacts) -> Entry:
    """The entry of these facts."""
    full, public = msgspec.json.encode(facts), public_facts(facts)
    return Entry(
        facts=facts,
        mark=xxh3_64_digest(full if facts.confirmed else msgspec.json.encode(replace(facts, confirmed=True))),
        basic=basic_json(facts),
        full=full,
        public=full if public is facts else msgspec.json.encode(public),
        grants=grants(facts),
    )


class Snapshot:
    """Readers hold on to one for as long as they need it; nobody changes it."""

    def __init__(self, entries: Iterable[Entry] = (), version: int = 0, modified_at: float = 0.0) -> None:
        self.entries = tuple(sorted(entries, key=lambda entry: entry.facts.id))
        self.ids = [entry.facts.id for entry in self.entries]
        self.by_id: Mapping[str, Entry] = {entry.facts.id: entry for entry in self.entries}
        self.version = version
        """Grows with every change, within one process."""
        self.modified_at = modified_at
        """Seconds since the epoch."""

    def __len__(self) -> int:
        return len(self.entries)

    def __repr__(self) -> str:
        return f"<Snapshot {self.version}: {len(self.entries)} models>"

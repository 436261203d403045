"""Answers, as bytes: lists, pages of them, single models, each with its ETag. Made once, then served from memory.

    ETag of basic lists  = hash(marks of the models on the page, and the page itself): facts, never figures
    ETag of anything else = hash(body)

A page begins after an id, in order of id: a model that exists all the time is on exactly one page, whatever comes and
goes between two of them.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from cachetools import LRUCache
from xxhash import xxh3_64_hexdigest

from gateway_plugin.models.catalogue.facts import BASIC_FIELDS
from gateway_plugin.models.catalogue.query import NO_FILTER, ListQuery, Shape

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gateway_plugin.models.catalogue.access import Viewer
    from gateway_plugin.models.catalogue.figures import FigureBook
    from gateway_plugin.models.catalogue.snapshot import Entry, Snapshot

_MAX_CACHED_BYTES = 32 * 1024 * 1024
"""Of written pages, those used last."""


class Page(NamedTuple):
    """One answer; `etag` is quoted."""

    body: bytes
    etag: str


class Pages:
    """Pages of the newest snapshot; those of former ones fall out of the cache."""

    def __init__(self, figures: FigureBook) -> None:
        self._figures = figures
        self._cache: LRUCache[object, Page] = LRUCache(_MAX_CACHED_BYTES, getsizeof=lambda page: len(page.body) + 512)

    def list(self, snapshot: Snapshot, query: ListQuery, viewer: Viewer) -> Page:
        """A list, or a page of it."""
        version = self._figures_version(query)
        key = (snapshot.version, version, query, viewer)
        page = self._cache.get(key)
        if page is None:
            page = self._cache[key] = self._render(snapshot, query, viewer)
        return page

    def one(self, entry: Entry, shape: Shape, viewer: Viewer) -> Page:
        """A single model."""
        body = self._shown(entry, shape, viewer)
        return Page(body, _etag(body, b"") if shape != Shape() else _etag(entry.mark, b"one"))

    def _figures_version(self, query: ListQuery) -> int:
        if not query.full and not query.fields:
            return 0
        self._figures.refresh()
        return self._figures.version

    def _render(self, snapshot: Snapshot, query: ListQuery, viewer: Viewer) -> Page:
        entries, has_more = _select(snapshot, query, viewer)
        shape = Shape(query.fields, query.full)
        body = _list_json((self._shown(entry, shape, viewer) for entry in entries), entries, has_more=has_more)
        if shape != Shape():
            return Page(body, _etag(body, b""))
        marks = b"".join(entry.mark for entry in entries)
        return Page(body, _etag(marks, b"more" if has_more else b"last"))

    def _shown(self, entry: Entry, shape: Shape, viewer: Viewer) -> bytes:
        if shape == Shape():
            return entry.basic
        if shape.full or shape.fields:
            self._figures.refresh()
        facts = entry.full if viewer.is_operator else entry.public
        figures = self._figures.json(entry.facts.alias_of or entry.facts.id)
        whole = b"".join((facts[:-1], b",", figures[1:]))
        return _only(whole, shape.fields) if shape.fields else whole


def _select(snapshot: Snapshot, query: ListQuery, viewer: Viewer) -> tuple[Sequence[Entry], bool]:
    start = bisect_right(snapshot.ids, query.after) if query.after else 0
    limit = len(snapshot.entries) if query.limit is None else query.limit
    if query.filter == NO_FILTER and viewer.is_operator:
        chosen = snapshot.entries[start : start + limit]
        return chosen, start + limit < len(snapshot.entries)
    found: list[Entry] = []
    for entry in snapshot.entries[start:]:
        if viewer.sees(entry.facts) and query.filter.admits(entry.facts):
            if len(found) == limit:
                return found, True
            found.append(entry)
    return found, False


def _list_json(shown: Iterable[bytes], entries: Sequence[Entry], *, has_more: bool) -> bytes:
    first, last = (entries[0].facts.id, entries[-1].facts.id) if entries else (None, None)
    tail = msgspec.json.encode({"first_id": first, "last_id": last, "has_more": has_more})
    return b"".join((b'{"object":"list","data":[', b",".join(shown), b"],", tail[1:]))


def _only(whole: bytes, fields: tuple[str, ...]) -> bytes:
    known: dict[str, msgspec.Raw] = msgspec.json.decode(whole, type=dict[str, msgspec.Raw])
    return msgspec.json.encode({name: known[name] for name in dict.fromkeys(BASIC_FIELDS + fields) if name in known})


def _etag(content: bytes, about: bytes) -> str:
    return f'"{xxh3_64_hexdigest(about + b"|" + content)}"'

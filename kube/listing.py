"""A complete list of a kind, page by page: all pages show the moment of the first."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import msgspec

from kube.objects import decode_page

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kube.api import Api
    from kube.feed import Feed

Reading = TypeVar("Reading")
_Item = TypeVar("_Item")

PAGE_OBJECTS = 250
"""Of one page of a list, which is read at once."""
OBJECTS_AT_ONCE = 50
"""Some 60 us each; then requests have their turn."""


@dataclass(frozen=True, slots=True)
class Listed(Generic[Reading]):
    """`readings` by uid; `version` is where a watch goes on."""

    version: str
    readings: Mapping[str, Reading]


async def list_all(api: Api, feed: Feed[Reading], path: str) -> Listed[Reading]:
    """Raises ApiError, and DecodeError for what is no list."""
    query = {"limit": str(PAGE_OBJECTS)} | feed.selection()
    readings: dict[str, Reading] = {}
    while True:
        page = decode_page(await api.get(path, query))
        for objects in slices(page.items or []):
            found = map(feed.read, objects)
            readings |= {one.uid: one.reading for one in found if one.uid and one.reading is not None}
            await asyncio.sleep(0)
        if not page.metadata.resource_version:
            raise msgspec.ValidationError("a list without a resourceVersion")
        if not page.metadata.continue_:
            return Listed(page.metadata.resource_version, readings)
        query["continue"] = page.metadata.continue_


def slices(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    """Few enough objects to read at once."""
    for start in range(0, len(items), OBJECTS_AT_ONCE):
        yield items[start : start + OBJECTS_AT_ONCE]

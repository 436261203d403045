"""A kind of objects to follow: where they are, how one of them is read, and where what is read goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import msgspec

Reading = TypeVar("Reading")
_Put_contra = TypeVar("_Put_contra", contravariant=True)


class Found(NamedTuple, Generic[Reading]):
    """An object that was read. Without a uid it cannot even be named; without a reading it is of no interest."""

    uid: str
    version: str
    reading: Reading | None


class Destination(Protocol[_Put_contra]):
    """Where readings are put. All methods say whether that changed anything; a scope is a namespace, or empty."""

    def replace(self, scope: str, readings: Mapping[str, _Put_contra]) -> bool:
        """Takes over a complete list, by uid."""

    def put(self, scope: str, uid: str, reading: _Put_contra | None) -> bool:
        """Takes over one object, None for one that is gone or of no interest."""

    def lose(self, scope: str, code: int) -> bool:
        """There is no such kind (404), or it may not be seen (403)."""


@dataclass(frozen=True, slots=True)
class Feed(Generic[Reading]):
    """A kind of objects, and where what is read of them goes.

    `optional`: a cluster may not have the kind, and this process may not be allowed to see it.
    """

    group_version: str
    plural: str
    selector: str
    shelf: Destination[Reading]
    read: Callable[[msgspec.Raw], Found[Reading]]
    optional: bool = False

    def selection(self) -> dict[str, str]:
        """For the query."""
        return {"labelSelector": self.selector} if self.selector else {}

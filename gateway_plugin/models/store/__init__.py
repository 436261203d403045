"""Where the catalogue, the registry and webhooks are kept: on Redis for all replicas, in a file, or in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Part = Literal["models", "registry", "webhooks", "dead_letters"]
PARTS: tuple[Part, ...] = ("models", "registry", "webhooks", "dead_letters")
LEAD_SECONDS = 5
"""A replica that died leads no longer than this."""


class CatalogueStore(Protocol):
    """Parts are maps of text to bytes. Every verb raises `ratelimit.StoreUnavailable` when it cannot answer in time."""

    @property
    def address(self) -> str:
        """Where it is, as may be shown."""

    async def read(self, part: Part) -> dict[str, bytes]:
        """The whole part."""

    async def write(self, part: Part, puts: Mapping[str, bytes], deletes: Iterable[str] = ()) -> None:
        """Changes single entries."""

    async def versions(self) -> Mapping[str, int]:
        """A number for each part that has ever been written; it grows with every write of any replica."""

    async def lead(self, replica: str) -> bool:
        """Whether this replica leads for the next `LEAD_SECONDS`: one at a time does, as long as it keeps asking."""

    async def close(self) -> None:
        """Ends connections, and gives up the lead."""

"""The body of an answer, bounded in size."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import aiohttp


async def read_at_most(content: aiohttp.StreamReader, most_bytes: int) -> bytes:
    """Until its end, or its first `most_bytes`: one `read` of aiohttp takes only what has arrived."""
    data = bytearray()
    while len(data) < most_bytes and (part := await content.read(most_bytes - len(data))):
        data += part
    return bytes(data)

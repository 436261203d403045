"""For a single replica: in this process, or in a file that outlives it.

The file is one JSON document, `{part: {key: base64}}`, written beside itself, synced and renamed, so that a crash
leaves the old one or the new one. It may hold secrets of webhooks, so only its owner can read it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from gateway_plugin.models.store import PARTS
from ratelimit import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from gateway_plugin.models.store import Part

logger = logging.getLogger(__name__)

_Document = dict[str, dict[str, bytes]]
_MAX_BYTES = 256 * 1024 * 1024
"""Of the file, which is read at once; far beyond 20,000 models."""


class MemoryCatalogueStore:
    """Forgets everything when the process ends."""

    def __init__(self) -> None:
        self.address = "this process's memory"
        self._parts: _Document = {part: {} for part in PARTS}
        self._versions: Counter[str] = Counter()

    async def read(self, part: Part) -> dict[str, bytes]:
        return dict(self._parts[part])

    async def write(self, part: Part, puts: Mapping[str, bytes], deletes: Iterable[str] = ()) -> None:
        for key in deletes:
            self._parts[part].pop(key, None)
        self._parts[part].update(puts)
        self._versions[part] += 1

    async def versions(self) -> Mapping[str, int]:
        return dict(self._versions)

    async def lead(self, replica: str) -> bool:
        return True

    async def close(self) -> None:
        """Nothing to end."""


class FileCatalogueStore(MemoryCatalogueStore):
    """Raises ValueError for a file that can be neither read nor written. One that cannot be understood is set aside."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.address = str(path)
        self._path = path
        self._writing = asyncio.Lock()
        if not path.parent.is_dir():
            raise ValueError(f"{path.parent} is no directory; make it, the file comes by itself")
        self._parts |= _read(path)

    async def write(self, part: Part, puts: Mapping[str, bytes], deletes: Iterable[str] = ()) -> None:
        """What the disk refuses is refused: it holds neither now nor with the next write."""
        async with self._writing:
            deleted = frozenset(deletes)
            entries = {key: value for key, value in self._parts[part].items() if key not in deleted} | dict(puts)
            try:
                await asyncio.to_thread(_replace, self._path, self._parts | {part: entries})
            except OSError as error:
                raise StoreUnavailable(self.address, error.strerror or str(error)) from None
            self._parts[part] = entries
            self._versions[part] += 1


def _read(path: Path) -> _Document:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError(f"{path} is too large to be ours")
        document = msgspec.json.decode(path.read_bytes(), type=_Document)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        _set_aside(path, error)
        return {}
    return {part: entries for part, entries in document.items() if part in PARTS}


def _set_aside(path: Path, error: Exception) -> None:
    aside = path.with_name(f"{path.name}.broken")
    with contextlib.suppress(OSError):
        path.replace(aside)
    logger.error("%s is no catalogue (%s): it is kept as %s, and the start goes on without it", path, error, aside)


def _replace(path: Path, document: _Document) -> None:
    draft = path.with_name(f".{path.name}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(document))
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    # Without it a power cut may bring the old name back.
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

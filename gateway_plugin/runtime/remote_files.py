"""What a place of weights must offer: a list of files, and ranges of their bytes. No I/O here.

A range is read from the version that was listed, or `ChangedError` says that there is another one now.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class DownloadError(Exception):
    """It cannot be had; the text says why. `passing`: another try may succeed."""

    def __init__(self, message: str, *, passing: bool = False, status: int = 502) -> None:
        super().__init__(message)
        self.passing, self.status = passing, status


class ChangedError(DownloadError):
    """The file is not the one that was listed."""


class DiskFullError(DownloadError):
    """What is to come does not fit."""

    def __init__(self, message: str) -> None:
        super().__init__(message, status=507)


class ChecksumError(DownloadError):
    """All bytes are there, and they are wrong."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file as it was listed."""

    name: str
    """Relative, with slashes; checked by `safe_name`."""
    size_bytes: int
    version: str = ""
    """An ETag or the like; without one a broken download is begun anew."""
    checksum: str = ""
    """`sha256:HEX`, or `blob:HEX` for git's SHA-1 of a blob; empty: none is known."""
    ranges: bool = True
    """Whether a part of it can be asked for."""


class RemotePlace(Protocol):
    """Somewhere that has files."""

    async def files(self) -> list[RemoteFile]:
        """All of them. DownloadError when there is nothing, or nobody may see it."""

    def read(self, file: RemoteFile, start: int, end: int) -> AsyncIterator[bytes]:
        """Bytes from `start` up to `end`, that one not included."""

    async def close(self) -> None: ...


def safe_name(name: str) -> str:
    """A name that stays below its directory. DownloadError for any other."""
    parts = name.split("/")
    if not name or any(part in ("", ".", "..") for part in parts) or "\\" in name or "\0" in name or len(name) > 1024:
        raise DownloadError(f"the file name {name[:100]!r} would leave the directory", status=400)
    return name


def wanted_files(files: list[RemoteFile], suffixes: str) -> list[RemoteFile]:
    """Those with one of the suffixes (by commas, or as a JSON list), each name once and safe; DownloadError: none."""
    endings = tuple(part.strip(" \"'[]") for part in suffixes.split(",") if part.strip(" \"'[]"))
    found = {safe_name(one.name): one for one in files if not endings or one.name.endswith(endings)}
    if not found:
        raise DownloadError("there are no files" + (f" that end with {suffixes}" if endings else ""), status=404)
    return sorted(found.values(), key=lambda one: one.name)

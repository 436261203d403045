"""A file that somebody else writes, perhaps slowly, perhaps only in part.

Who writes a file in place empties it first. For a moment it is empty or half there, which may well be YAML, and mean
that nothing is configured. So a change is looked at twice before it is read, and what still looks like a part of a
file is refused where the whole was known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

Version = tuple[int, int, int]
_MISSING: Version = (-1, -1, -1)
_NEVER: Version = (-2, -2, -2)


class WatchedFile:
    """As it is now counts as read, unless it is said not to be.

    A look is one stat, through symbolic links: it notices edits, renames, and the swap of a mounted ConfigMap, on any
    file system.
    """

    def __init__(self, path: Path | None, *, is_read: bool = True) -> None:
        """None: there is no file, and nothing ever changes."""
        self._path = path
        self._seen = self._version()
        self._read = self._seen if is_read else _NEVER

    def has_changed(self) -> bool:
        """One look: whether there is something new, and it was already there at the look before."""
        version = self._version()
        settled, self._seen = version == self._seen, version
        if not settled or version == self._read:
            return False
        self._read = version
        return True

    def was_read(self) -> None:
        """What is there now needs not be told."""
        self._read = self._seen = self._version()

    def _version(self) -> Version:
        try:
            status = self._path.stat() if self._path is not None else None
        except OSError:
            return _MISSING
        return (status.st_mtime_ns, status.st_size, status.st_ino) if status is not None else _MISSING


def without_comments(content: bytes) -> bytes:
    """What YAML reads: a file of comments alone says as little as an empty one. Also takes away `#` lines of a text
    that YAML would keep, which is as good for comparing."""
    lines = [line for line in content.splitlines(keepends=True) if not line.lstrip().startswith((b"#", b"---"))]
    return b"".join(lines)


class ContentShape(NamedTuple):
    """What is remembered of a content that was good."""

    size_bytes: int
    blank: bool
    ends_line: bool


def shape_of(content: bytes) -> ContentShape:
    return ContentShape(len(content), not content.strip(), content.endswith(b"\n"))


def looks_cut_off(before: ContentShape, now: ContentShape) -> str:
    """Why the content seems to be a part of what somebody meant to write; empty where it does not.

    Only against a content that was good: a file may end without a line break, or be empty, if it always was.
    """
    if now.blank and not before.blank:
        return "it is empty, and was not before"
    if not now.blank and now.size_bytes < before.size_bytes and before.ends_line and not now.ends_line:
        return "it is shorter than before, and ends within a line"
    return ""

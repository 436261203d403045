"""Which bytes are still to be read: files cut into parts, less those that a journal says are on the disk.

The journal is lines of JSON: first what is downloaded, then one line for each part, written after its bytes. A line
that was cut off by a crash is the last one, and its part is read again. A journal of another version of any file is
worth nothing.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gateway_plugin.runtime.remote_files import RemoteFile


@dataclass(frozen=True, slots=True, order=True)
class FilePart:
    """Bytes `start` to `end`, that one not included, of the file of that number."""

    file: int
    start: int
    end: int

    @property
    def size_bytes(self) -> int:
        return self.end - self.start


def all_parts(files: Sequence[RemoteFile], part_bytes: int) -> list[FilePart]:
    """A file that has no ranges is one part, an empty one none."""
    found: list[FilePart] = []
    for number, file in enumerate(files):
        step = part_bytes if file.ranges else max(file.size_bytes, 1)
        starts = range(0, file.size_bytes, step)
        found += [FilePart(number, start, min(start + step, file.size_bytes)) for start in starts]
    return found


def journal_head(identity: str, files: Sequence[RemoteFile], part_bytes: int) -> str:
    """What must be equal for parts of an earlier try to count."""
    return json.dumps({"identity": identity, "part_bytes": part_bytes, "files": [asdict(file) for file in files]})


def journal_line(part: FilePart) -> str:
    return json.dumps([part.file, part.start, part.end])


def finished_parts(lines: Iterable[str], head: str) -> set[FilePart]:
    """What an earlier try left, when it was about the same bytes; files without a version may have changed unseen."""
    rest = iter(lines)
    if next(rest, "").strip() != head:
        return set()
    versions = [bool(file["version"] or file["checksum"]) for file in json.loads(head)["files"]]
    found: set[FilePart] = set()
    for line in rest:
        try:
            part = FilePart(*map(int, json.loads(line)))
        except (ValueError, TypeError):
            break
        if part.file < len(versions) and versions[part.file]:
            found.add(part)
    return found


def refusal(need_bytes: int, free_bytes: int, reserve_bytes: int, held_bytes: int, most_bytes: int) -> str | None:
    """Why it does not fit, or None. `held_bytes`: of the others; `most_bytes`: of all, 0 for no such bound."""
    if need_bytes + reserve_bytes > free_bytes:
        return f"{need_bytes} bytes are to come, {free_bytes} are free, of which {reserve_bytes} stay so"
    if most_bytes and held_bytes + need_bytes > most_bytes:
        return f"{need_bytes} bytes are to come, and {held_bytes} of at most {most_bytes} are held"
    return None

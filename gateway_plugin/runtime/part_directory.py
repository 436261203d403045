"""A download on the disk: `.part-NAME` grows, is checked, gets its marker, and only then is called NAME.

Nobody who looks for NAME ever sees less than all of it. A killed process leaves the parts and their journal. One
process at a time works at a name (flock): a second one waits.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from gateway_plugin.runtime.part_plan import FilePart, finished_parts, journal_head, journal_line
from gateway_plugin.runtime.remote_files import ChecksumError, DiskFullError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gateway_plugin.runtime.remote_files import RemoteFile

MARKER = ".aibrix-complete.json"
_PART = ".part-"
_LOCK = ".lock-"
_CHUNK_BYTES = 1 << 20
"""Read at once for a checksum: the page cache's read-ahead is no larger."""
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class PartDirectory:
    """Of one name below `root`. Every method blocks; none is called by two threads for the same part."""

    def __init__(self, root: Path, name: str) -> None:
        self.root, self.target = root, root / name
        self._parts = root / f"{_PART}{name}"
        self._lock_path = root / f"{_LOCK}{name}"
        self._lock: IO[bytes] | None = None
        self._journal: IO[str] | None = None
        self._open: dict[int, int] = {}

    def lock(self) -> bool:
        """Takes the name; False while another process has it."""
        self.root.mkdir(parents=True, exist_ok=True)
        lock = self._lock_path.open("wb")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            return False
        self._lock = lock
        return True

    def is_complete(self, identity: str) -> bool:
        return marker_of(self.target).get("identity") == identity

    def begin(self, identity: str, files: Sequence[RemoteFile], part_bytes: int) -> set[FilePart]:
        """Makes room for all files, and says which parts are there from before."""
        head = journal_head(identity, files, part_bytes)
        path = self._parts / "journal"
        done = finished_parts(path.read_text().splitlines(), head) if path.exists() else set()
        if not done:
            shutil.rmtree(self._parts, ignore_errors=True)
        (self._parts / "files").mkdir(parents=True, exist_ok=True)
        # Anew, without a line that a crash cut off.
        with open_whole(path) as journal:
            journal.write("\n".join([head, *map(journal_line, sorted(done))]) + "\n")
        self._journal = path.open("a")
        with room_errors(self.target):
            for number, file in enumerate(files):
                self._open[number] = self._allocated(file)
        return done

    def _allocated(self, file: RemoteFile) -> int:
        path = self._parts / "files" / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        os.ftruncate(descriptor, file.size_bytes)
        if file.size_bytes:
            try:
                os.posix_fallocate(descriptor, 0, file.size_bytes)
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                    os.close(descriptor)
                    raise
        return descriptor

    def write(self, file: int, offset: int, data: bytes) -> None:
        with room_errors(self.target):
            view = memoryview(data)
            while view:
                written = os.pwrite(self._open[file], view, offset)
                view, offset = view[written:], offset + written

    def done(self, part: FilePart) -> None:
        """Its bytes are on the disk before the journal says so."""
        assert self._journal is not None, "begun"
        with room_errors(self.target):
            os.fdatasync(self._open[part.file])
            self._journal.write(journal_line(part) + "\n")
            self._journal.flush()

    def check(self, number: int, file: RemoteFile) -> None:
        """ChecksumError when its bytes are not what was listed; then all of it is forgotten."""
        if not file.checksum:
            return
        kind, _, wanted = file.checksum.partition(":")
        found = self._digest(number, file.size_bytes, kind)
        if found != wanted.lower():
            self.forget()
            raise ChecksumError(f"{file.name}: {kind} is {found}, and {wanted} was promised; nothing of it was kept")

    def _digest(self, number: int, size_bytes: int, kind: str) -> str:
        # Git names a blob by SHA-1; nobody is kept out by it, a transfer is checked.
        digest = hashlib.sha1(b"blob %d\0" % size_bytes) if kind == "blob" else hashlib.new(kind)  # noqa: S324
        for offset in range(0, size_bytes, _CHUNK_BYTES):
            digest.update(os.pread(self._open[number], _CHUNK_BYTES, offset))
        return digest.hexdigest()

    def finish(self, marker: dict[str, Any]) -> Path:
        """All parts are there and right: from now on it exists."""
        whole = self._parts / "files"
        for descriptor in self._open.values():
            os.fsync(descriptor)
        with room_errors(self.target), open_whole(whole / MARKER) as text:
            json.dump(marker, text)
        old = self.root / f"{_PART}old-{self.target.name}"
        shutil.rmtree(old, ignore_errors=True)
        if self.target.exists():
            self.target.rename(old)
        whole.rename(self.target)
        _sync(self.root)
        self.forget()
        shutil.rmtree(old, ignore_errors=True)
        return self.target

    def forget(self) -> None:
        """No parts, no journal."""
        self._close_files()
        shutil.rmtree(self._parts, ignore_errors=True)

    def close(self) -> None:
        """Gives the name back; parts stay for the next try."""
        self._close_files()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _close_files(self) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()
        if self._journal is not None:
            self._journal.close()
            self._journal = None


@contextlib.contextmanager
def room_errors(target: Path) -> Iterator[None]:
    """A full disk in words."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise DiskFullError(f"{target}: {error.strerror}; what has come stays for the next try") from None
        raise


@contextlib.contextmanager
def open_whole(path: Path) -> Iterator[IO[str]]:
    """Written beside and renamed: a reader sees the old text or the new one."""
    beside = path.with_name(path.name + ".new")
    with beside.open("w") as text:
        yield text
        text.flush()
        os.fsync(text.fileno())
    beside.replace(path)


def marker_of(directory: Path) -> dict[str, Any]:
    """What a complete download says of itself; empty where there is none."""
    try:
        found = json.loads((directory / MARKER).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def held(root: Path) -> dict[str, bool]:
    """Names below `root`: whether each is complete. A directory without our marker was put there by somebody."""
    found: dict[str, bool] = {}
    for path in sorted(root.iterdir()) if root.is_dir() else ():
        if path.is_dir() and path.name.startswith(_PART):
            name = path.name.removeprefix(_PART)
            if not name.startswith("old-"):
                found.setdefault(name, False)
        elif path.is_dir() and not path.name.startswith("."):
            found[path.name] = True
    return found


def allocated_bytes(root: Path, without: str = "") -> int:
    """Of all files below `root`, without those of one name."""
    skipped = (root / without, root / f"{_PART}{without}") if without else ()
    total = 0
    for directory, names, files in os.walk(root):
        names[:] = [name for name in names if Path(directory, name) not in skipped]
        for name in files:
            with contextlib.suppress(OSError):
                total += Path(directory, name).lstat().st_size
    return total


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

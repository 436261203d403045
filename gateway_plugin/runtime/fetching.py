"""One download from the list of files to the finished directory: parts in parallel, each tried a few times."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway_plugin.runtime.part_directory import PartDirectory, allocated_bytes
from gateway_plugin.runtime.part_plan import FilePart, all_parts, refusal
from gateway_plugin.runtime.remote_files import ChangedError, DiskFullError, DownloadError, wanted_files

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gateway_plugin.runtime.remote_files import RemoteFile, RemotePlace

_BACKOFF_SECONDS, _MOST_BACKOFF_SECONDS = 0.25, 15.0
"""Before a part is tried again: doubled each time."""
_LOCK_SECONDS = 0.5
"""Between two looks whether another process has finished with the same name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchRules:
    """How much at once, how often, how much room."""

    part_bytes: int = 64 << 20
    parallel_parts: int = 32
    retries: int = 5
    suffixes: str = ""
    reserve_bytes: int = 0
    most_bytes: int = 0
    force: bool = False
    backoff_seconds: float = _BACKOFF_SECONDS


@dataclass(slots=True)
class Progress:
    """What has come of a download."""

    total_bytes: int = 0
    done_bytes: int = 0
    kept_bytes: int = 0
    """Of an earlier try."""
    retries: int = 0


class Fetch:
    """Of `url` into `root`/`name`; `identity` is its URL and revision in a few letters."""

    def __init__(self, place: RemotePlace, root: Path, name: str, identity: str, url: str, rules: FetchRules) -> None:
        self._place, self._identity, self._url, self._rules = place, identity, url, rules
        self._directory = PartDirectory(root, name)
        self.progress = Progress()

    async def run(self) -> Path:
        """The directory with everything in it. DownloadError says why there is none; parts stay for the next try."""
        try:
            while not await asyncio.to_thread(self._directory.lock):  # noqa: ASYNC110 - another process has it
                await asyncio.sleep(_LOCK_SECONDS)
            if not self._rules.force and self._directory.is_complete(self._identity):
                return self._directory.target
            try:
                return await self._once()
            except ChangedError:
                # What was read is of another version; one new beginning, then it is said.
                self._directory.forget()
                return await self._once()
        finally:
            self._directory.close()
            await self._place.close()

    async def _once(self) -> Path:
        files = wanted_files(await self._place.files(), self._rules.suffixes)
        parts = all_parts(files, self._rules.part_bytes)
        done = await asyncio.to_thread(self._begin, files)
        total = sum(file.size_bytes for file in files)
        kept = sum(part.size_bytes for part in done)
        self.progress = Progress(total, kept, kept)
        await self._read_all(files, [part for part in parts if part not in done])
        for number, file in enumerate(files):
            await asyncio.to_thread(self._directory.check, number, file)
        marker = {"identity": self._identity, "url": self._url, "bytes": total, "files": len(files)}
        marker["finished_unix_seconds"] = int(time.time())
        return await asyncio.to_thread(self._directory.finish, marker)

    def _begin(self, files: Sequence[RemoteFile]) -> set[FilePart]:
        root, total = self._directory.root, sum(file.size_bytes for file in files)
        held = allocated_bytes(root, self._directory.target.name) if self._rules.most_bytes else 0
        free = shutil.disk_usage(root).free + allocated_bytes(root / f".part-{self._directory.target.name}")
        why = refusal(total, free, self._rules.reserve_bytes, held, self._rules.most_bytes)
        if why:
            raise DiskFullError(f"{self._directory.target}: {why}")
        return self._directory.begin(self._identity, files, self._rules.part_bytes)

    async def _read_all(self, files: Sequence[RemoteFile], parts: Sequence[FilePart]) -> None:
        waiting = deque(parts)

        async def work() -> None:
            while waiting:
                part = waiting.popleft()
                await self._read(files[part.file], part)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self._rules.parallel_parts, len(parts))):
                    group.create_task(work())
        except* DownloadError as errors:
            failure = errors.exceptions[0]
            while isinstance(failure, BaseExceptionGroup):
                failure = failure.exceptions[0]
            raise failure from None

    async def _read(self, file: RemoteFile, part: FilePart) -> None:
        tried = 0
        while True:
            try:
                await self._read_once(file, part)
            except DownloadError as error:
                if not error.passing or tried >= self._rules.retries:
                    raise
            else:
                return
            await asyncio.sleep(min(self._rules.backoff_seconds * 2**tried, _MOST_BACKOFF_SECONDS))
            tried += 1
            self.progress.retries += 1

    async def _read_once(self, file: RemoteFile, part: FilePart) -> None:
        offset = part.start
        async for chunk in self._place.read(file, part.start, part.end):
            await asyncio.to_thread(self._directory.write, part.file, offset, chunk)
            offset += len(chunk)
        await asyncio.to_thread(self._directory.done, part)
        self.progress.done_bytes += part.size_bytes

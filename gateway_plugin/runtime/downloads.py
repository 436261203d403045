"""All downloads of one sidecar: one at a time for each directory, what becomes of them, and what is on the disk."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections import OrderedDict
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from gateway_plugin.runtime.fetching import Fetch, FetchRules
from gateway_plugin.runtime.part_directory import held, marker_of
from gateway_plugin.runtime.places import place_of
from gateway_plugin.runtime.remote_files import DownloadError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gateway_plugin.runtime.runtime_settings import RuntimeSettings
    from orchestration.adapters.artifact import Artifact

logger = logging.getLogger(__name__)

_MOST_AT_ONCE = 16
"""Directories that are being filled; more are refused, since all share one line and one disk."""
_MOST_FAILURES = 64
"""Remembered with their reasons, the newest."""


class ModelStatus(StrEnum):
    """AIBrix's words."""

    NOT_EXIST = "not_exist"
    DOWNLOADING = "downloading"
    DOWNLOADED = "downloaded"
    NO_OPERATION = "no_operation"
    """Begun once, and nobody goes on."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class HeldModel:
    """One directory."""

    name: str
    path: str
    source: str
    status: ModelStatus
    done_bytes: int = 0
    total_bytes: int = 0
    error: str = ""


class Downloads:
    """`fetch` waits for its end, `start` does not."""

    def __init__(self, settings: RuntimeSettings) -> None:
        self._settings = settings
        self._running: dict[Path, tuple[Fetch, asyncio.Task[Path], Artifact]] = {}
        self._failures: OrderedDict[Path, str] = OrderedDict()

    def start(
        self, artifact: Artifact, root: Path, name: str, credentials: Mapping[str, str], **changed: bool | str
    ) -> asyncio.Task[Path]:
        """The download, already running or begun now; `changed` are fields of FetchRules. DownloadError: refused."""
        target = root / name
        running = self._running.get(target)
        if running is not None:
            if running[2].identity != artifact.identity:
                raise DownloadError(f"{target} is being filled from {running[2].url}", status=409)
            return running[1]
        if len(self._running) >= _MOST_AT_ONCE:
            raise DownloadError(f"{_MOST_AT_ONCE} downloads are running; try again later", status=429)
        rules = replace(_rules(self._settings), **changed)  # type: ignore[arg-type]  # the caller names its fields
        place = place_of(artifact, self._settings, credentials)
        fetch = Fetch(place, root, name, artifact.identity, artifact.url, rules)
        task = asyncio.create_task(fetch.run(), name=f"download {target}")
        self._running[target] = (fetch, task, artifact)
        self._failures.pop(target, None)
        task.add_done_callback(lambda ended: self._ended(target, ended))
        return task

    async def fetch(self, artifact: Artifact, root: Path, name: str, credentials: Mapping[str, str]) -> Path:
        """Where it is, once all of it is there. A caller that goes away does not end it."""
        return await asyncio.shield(self.start(artifact, root, name, credentials))

    def models(self, root: Path) -> list[HeldModel]:
        """What is below `root`, and what failed to come there."""
        names = held(root)
        names |= {path.name: False for path in (*self._running, *self._failures) if path.parent == root}
        return [self.model(root, name, complete=complete) for name, complete in sorted(names.items())]

    def model(self, root: Path, name: str, *, complete: bool | None = None) -> HeldModel:
        target = root / name
        running = self._running.get(target)
        marker = marker_of(target)
        source = str(marker.get("url", ""))
        if running is not None:
            progress = running[0].progress
            done, total = progress.done_bytes, progress.total_bytes
            return HeldModel(name, str(target), running[2].url, ModelStatus.DOWNLOADING, done, total)
        if complete is None:
            complete = held(root).get(name)
        if complete:
            size = int(marker.get("bytes", 0))
            return HeldModel(name, str(target), source, ModelStatus.DOWNLOADED, size, size)
        status = ModelStatus.NOT_EXIST if complete is None else ModelStatus.NO_OPERATION
        return HeldModel(name, str(target), source, status, error=self._failures.get(target, ""))

    async def remove(self, root: Path, name: str) -> None:
        """A directory that nobody needs; one without our marker is not ours."""
        target = root / name
        if marker_of(target) and target not in self._running:
            await asyncio.to_thread(shutil.rmtree, target, ignore_errors=True)

    async def close(self) -> None:
        """Ends what runs; its parts stay."""
        tasks = [task for _, task, _ in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, target: Path, task: asyncio.Task[Path]) -> None:
        self._running.pop(target, None)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            logger.warning("%s: %s", target, error)
            self._failures[target] = str(error)
            while len(self._failures) > _MOST_FAILURES:
                self._failures.popitem(last=False)


def _rules(settings: RuntimeSettings) -> FetchRules:
    return FetchRules(
        part_bytes=settings.part_bytes,
        parallel_parts=settings.parallel_parts,
        retries=settings.part_retries,
        suffixes=settings.allowed_suffixes,
        reserve_bytes=settings.reserve_bytes,
        most_bytes=settings.most_bytes,
        force=settings.force,
    )

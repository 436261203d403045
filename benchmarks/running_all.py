"""Runs benchmarks as processes, one after another, within a time for all; a broken one does not stop the others."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.chapters import is_there
from benchmarks.report.reading import MEASURED
from benchmarks.results import read
from gateway_plugin.tools.bench.results import ResultError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks.chapters import Chapter

POLL_SECONDS = 0.2
END_SECONDS = 15.0
"""What a benchmark gets to stop its Envoy and Valkey, after each signal."""
WIDE = {"COLUMNS": "140"}
"""Tables in logs; a file has no width."""
_MAX_SAID = 300


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one ended. `said`: MEASURED, or what went wrong."""

    name: str
    said: str
    seconds: float

    @property
    def ok(self) -> bool:
        """It has a result, and nothing in it failed."""
        return self.said == MEASURED


def run_all(
    chapters: Sequence[Chapter],
    out: Path,
    logs: Path,
    arguments: Sequence[str],
    tick: Callable[[Chapter, float], None],
) -> Iterator[Outcome]:
    """Yields an outcome as each ends; `tick` is told how long one has run. Each may use what those before it left."""
    began, allowed_seconds = time.monotonic(), 0.0
    for chapter in chapters:
        allowed_seconds += chapter.seconds
        limit_seconds = allowed_seconds - (time.monotonic() - began)
        yield _run_one(chapter, out, logs / f"{chapter.name}.log", arguments, limit_seconds, tick)


def _run_one(
    chapter: Chapter,
    out: Path,
    log: Path,
    arguments: Sequence[str],
    limit_seconds: float,
    tick: Callable[[Chapter, float], None],
) -> Outcome:
    if not is_there(chapter):
        return Outcome(chapter.name, f"there is no {chapter.module}", 0.0)
    if limit_seconds <= 0:
        return Outcome(chapter.name, "not run: the others took all the time", 0.0)
    result = out / f"{chapter.name}.json"
    result.unlink(missing_ok=True)  # an older one must not be taken for this run's
    log.parent.mkdir(parents=True, exist_ok=True)
    argv = [sys.executable, "-m", chapter.module, "--out", _short(out), *chapter.arguments, *arguments]
    began = time.monotonic()
    with log.open("wb") as output, _process(argv, output.fileno()) as process:
        while process.poll() is None and (seconds := time.monotonic() - began) < limit_seconds:
            tick(chapter, seconds)
            time.sleep(POLL_SECONDS)
        in_time = process.poll() is not None
    seconds = time.monotonic() - began
    if not in_time:
        return Outcome(chapter.name, f"stopped, as it took more than {limit_seconds:.0f} s", seconds)
    return Outcome(chapter.name, _said(process.returncode, log, result), seconds)


def _short(path: Path) -> str:
    """As the command stands in the report."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


@contextlib.contextmanager
def _process(argv: list[str], output: int) -> Iterator[subprocess.Popen[bytes]]:
    """Ends it with all that it has started, also when this process is interrupted."""
    process = subprocess.Popen(argv, stdout=output, stderr=output, env=os.environ | WIDE, start_new_session=True)
    try:
        yield process
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            if process.poll() is not None:
                break
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(END_SECONDS)


def _said(code: int, log: Path, path: Path) -> str:
    """A promise that does not hold is a result like any other; a request that failed is not."""
    try:
        result = read(path)
    except ResultError:
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
        return f"failed with exit code {code}: {lines[-1] if lines else 'it said nothing'}"[:_MAX_SAID]
    if any(result.errors.values()) or result.timeouts:
        return f"measured, but: {result.trouble}"
    if code == 0 or not all(line.holds for line in result.lines):
        return MEASURED
    return f"measured, but ended with exit code {code}"

"""The results of a folder, and what is known of how they were made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.results import RESULTS, Result, read
from gateway_plugin.tools.bench.results import ResultError

if TYPE_CHECKING:
    from pathlib import Path

RUN = "run"
"""The result that `python -m benchmarks` writes about itself: durations and outcomes of all others."""
MEASURED = "measured"


@dataclass(frozen=True, slots=True)
class Folder:
    """Results by name, without the one of the run."""

    path: Path
    results: dict[str, Result]
    run: Result | None

    def outcome(self, name: str) -> str:
        """How the run of a benchmark ended; empty when it was not run with the others."""
        return str(self.run.series["outcomes"].get(name, "")) if self.run else ""

    def seconds(self, name: str) -> float | None:
        """How long it took, when it was run with the others."""
        return self.run.series["seconds"].get(name) if self.run else None


def newest(results: Path = RESULTS) -> Path:
    """The latest folder by name, which is a date; raises ResultError when there is none."""
    folders = sorted({path.parent for path in results.glob("*/*.json")})
    if not folders:
        raise ResultError(f"{results}: no results; `python -m benchmarks` makes them, in a quarter of an hour")
    return folders[-1]


def read_folder(path: Path) -> Folder:
    """Raises ResultError when a file is none, or when there is none at all."""
    results = {result.name: result for result in map(read, sorted(path.glob("*.json")))}
    run = results.pop(RUN, None)
    if not results and run is None:
        raise ResultError(f"{path}: no results in it")
    return Folder(path, results, run)

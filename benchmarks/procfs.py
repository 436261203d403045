"""What a process may use, and what it has used, as the kernel says."""

from __future__ import annotations

import contextlib
import resource
from pathlib import Path

OPEN_FILES = 65536


def raise_open_files() -> None:
    """As many open files as allowed, up to OPEN_FILES; children inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def cpu_seconds(pid: int) -> float:
    """CPU time of all its threads that live, to the nanosecond (`/proc/<pid>/stat` counts ticks of 10 ms)."""
    used = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):  # a thread that ended meanwhile
            used += int((task / "schedstat").read_text().split()[0])
    return used / 1e9


def tree_cpu_seconds(pid: int) -> float:
    """Of a process and those that it started and that live; what ended ones used is lost."""
    used, waiting = 0.0, [pid]
    while waiting:
        parent = waiting.pop()
        with contextlib.suppress(OSError):  # ended meanwhile
            used += cpu_seconds(parent)
            for task in Path(f"/proc/{parent}/task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
    return used


def tree_pss_bytes(pid: int) -> int:
    """Memory in RAM of a process and those that it started, its share of what it shares with others included."""
    used, waiting = 0, [pid]
    while waiting:
        parent = waiting.pop()
        with contextlib.suppress(OSError):  # ended meanwhile
            rollup = Path(f"/proc/{parent}/smaps_rollup").read_text()
            used += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) * 1024
            for task in Path(f"/proc/{parent}/task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
    return used


def rss_bytes(pid: int) -> int:
    """Memory in RAM that is its own: shared pages of binaries do not grow with load."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    lines = (line.split() for line in rollup.splitlines())
    return sum(int(fields[1]) for fields in lines if fields[0] in ("Private_Clean:", "Private_Dirty:")) * 1024

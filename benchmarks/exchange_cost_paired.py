"""`python -m benchmarks.exchange_cost_paired REF [--limits memory] [--stream]`: an exchange's cost beside another's.

Both trees run `benchmarks.exchange_cost` as it stands in each, in a process of their own, and take turns: a slice of
some 50 ms of CPU each, then the other's. Whatever else the machine does meets both, so that the median of the slices'
ratios says 2 % where the times themselves swing by a half. The other commit is checked out for as long as that takes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.results import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

PARTS = ("headers", "body", "end", "access log")
CALLS = 128
"""Of a slice."""
_WARM_UP = 0.1
"""Of the slices, those that are not counted: caches fill, and the interpreter specializes."""
# Between the slices the benchmark of either tree waits for a line; its own progress bar is where it can be made to.
_WORKER = """
import argparse, asyncio, json, sys
import uvloop
from benchmarks import exchange_cost

def turns(numbers, **_):
    for number in numbers:
        sys.stdin.readline()
        yield number
        print("done", flush=True)

exchange_cost.track = turns
arguments = argparse.Namespace(**json.loads(sys.argv[1]))
with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    repeats = runner.run(exchange_cost.measure(arguments, {}))
print(json.dumps(repeats), flush=True)
"""


class Tree:
    """The benchmark of one tree, which works when it is told to."""

    def __init__(self, directory: Path, arguments: dict[str, object]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _WORKER, json.dumps(arguments)],
            cwd=directory,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def turn(self) -> None:
        """One slice."""
        print(file=_open(self._process.stdin), flush=True)
        if _open(self._process.stdout).readline() != "done\n":
            raise SystemExit("the benchmark of one tree has ended: see above")

    def slices(self) -> list[list[float]]:
        """Microseconds by part of each slice, after the last."""
        read: list[list[float]] = json.loads(_open(self._process.stdout).readline())
        return read

    def end(self) -> None:
        """Also one that is not done."""
        self._process.kill()
        self._process.wait()


def _open(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


@contextlib.contextmanager
def checked_out(ref: str) -> Iterator[Path]:
    """A tree of that commit, for a while; a path is taken as it is."""
    if Path(ref).is_dir():
        yield Path(ref)
        return
    with tempfile.TemporaryDirectory() as directory:
        tree = Path(directory) / "tree"
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", str(tree), ref], cwd=ROOT, check=True)
        try:
            yield tree
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(tree)], cwd=ROOT, check=True)


def measured(trees: tuple[Path, Path], arguments: dict[str, object], slices: int) -> list[list[list[float]]]:
    """Of each tree the counted slices."""
    pair = [Tree(tree, arguments) for tree in trees]
    try:
        for number in track(range(slices), description="measuring", transient=True):
            for tree in pair if number % 2 else pair[::-1]:
                tree.turn()
        return [tree.slices()[int(slices * _WARM_UP) :] for tree in pair]
    finally:
        for tree in pair:
            tree.end()


def rows_of(old: list[list[float]], new: list[list[float]]) -> list[tuple[str, float, float, float]]:
    """By part: both medians in microseconds, and the median of the slices' ratios, new by old."""
    rows = []
    for at, part in enumerate((*PARTS, "whole")):
        of_old, of_new = ([one[at] if at < len(PARTS) else sum(one) for one in each] for each in (old, new))
        ratio = statistics.median(mine / other for mine, other in zip(of_new, of_old, strict=True))
        rows.append((part, statistics.median(of_old), statistics.median(of_new), ratio))
    return rows


def main() -> None:
    """Prints one table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.exchange_cost_paired")
    parser.add_argument("ref", help="a commit, or a directory with another tree")
    parser.add_argument("--strategy", default="prefix-cache-and-load")
    parser.add_argument("--pods", type=int, default=4)
    parser.add_argument("--limits", choices=("none", "memory", "valkey"), default="memory")
    parser.add_argument("--stream", action="store_true", help="requests for streams, whose first tokens teach")
    parser.add_argument("--slices", type=int, default=300)
    asked = parser.parse_args()
    arguments: dict[str, object] = {
        "strategy": asked.strategy,
        "pods": asked.pods,
        "limits": asked.limits,
        "stream": asked.stream,
        "calls": CALLS,
        "repeats": asked.slices,
    }
    with checked_out(asked.ref) as tree:
        old, new = measured((tree, ROOT), arguments, asked.slices)
    what = f"{asked.strategy}, {asked.pods} pods, limits: {asked.limits}{', streams' * asked.stream}"
    table = Table("part", f"{asked.ref}, us", "here, us", "here / there", title=what, show_edge=False)
    for part, before, after, ratio in rows_of(old, new):
        table.add_row(part, f"{before:.1f}", f"{after:.1f}", f"{ratio:.3f}")
    Console().print(table)


if __name__ == "__main__":
    main()

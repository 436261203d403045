"""`python -m benchmarks.overhead [--full] [--repeats N] [--peer ...]`: what the gateway adds to Envoy alone.

Real Envoy, and engines that are never the bottleneck; load, engines, Envoy and plugin are processes of their own on one
machine. CPU comes from the kernel (schedstat, nanoseconds), for whole processes. Exits with 1 when a promise does not
hold or a request failed. Peers: see `benchmarks.overhead.peers`.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.overhead import matrix, report
from benchmarks.overhead.measuring import Chain, Measured, Turns
from benchmarks.overhead.peers import Peer, PeerChain, PeerError, read_peer, read_processor
from benchmarks.overhead.variants import MAIN, SUBJECTS, Subject, strategies
from benchmarks.procfs import raise_open_files
from benchmarks.rig import Rig
from benchmarks.running import conclude, options, progress
from benchmarks.upstream import Upstream
from benchmarks.variant import Variant
from gateway_plugin.tools.chain.processes import ProcessError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from benchmarks.overhead.matrix import Rounds

REPEATS = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints, writes."""
    parser = options("overhead", "What the gateway adds to Envoy alone.")
    parser.add_argument("--full", action="store_true", help="the whole matrix; about an hour")
    parser.add_argument("--repeats", type=int, default=None, help=f"rounds over everything ({REPEATS})")
    parser.add_argument("--peer", action="append", default=[], help="name=command,port[,/ready-path]")
    parser.add_argument("--peer-ext-proc", action="append", default=[], help="name=command,port[,mode[,target-header]]")
    arguments = parser.parse_args(argv)
    try:
        peers = [read_peer(text) for text in arguments.peer]
        processors = [read_processor(text) for text in arguments.peer_ext_proc]
        check_names([*(one.name for one in peers), *(one.name for one in processors)])
    except PeerError as error:
        parser.error(str(error))
    raise_open_files()
    repeats = arguments.repeats or (1 if arguments.quick else REPEATS)
    subjects, rounds = selection(arguments, peers, processors)
    with tempfile.TemporaryDirectory() as directory:
        try:
            measured = asyncio.run(measure(subjects, rounds, peers, Path(directory), repeats, quick=arguments.quick))
        except ExceptionGroup as group:
            started, others = group.split((ProcessError, OSError))
            if started is None or others is not None:
                raise
            parser.exit(2, "".join(f"{error}\n" for error in started.exceptions))
    share = matrix.QUICK_SHARE if arguments.quick else 1.0
    loads = {cell.path: without_defaults(cell, share) for cell, _ in rounds}
    return conclude(
        report.as_result(measured, loads, repeats), arguments.out, report.tables(measured), quick=arguments.quick
    )


def check_names(names: Sequence[str]) -> None:
    """Raises PeerError for one that is there already."""
    taken = [subject.name for subject in (*SUBJECTS, *strategies())]
    for name in names:
        if name in taken:
            raise PeerError(f"peer {name!r}: the name is taken")
        taken.append(name)


def without_defaults(cell: matrix.Cell, share: float) -> dict[str, object]:
    """What is sent in a cell."""
    kept = ("requests", "concurrency", "rate_per_second", "body_bytes", "gap_ms")
    return {name: value for name, value in asdict(cell.load(share)).items() if name in kept and value}


def selection(
    arguments: argparse.Namespace, peers: Sequence[Peer], processors: Sequence[Variant]
) -> tuple[list[Subject], list[Rounds]]:
    """What to measure; all subjects, and the cells with those that take part in each."""
    others = [*(Subject(one.name, one) for one in processors), *(Subject(one.name, Variant(one.name)) for one in peers)]
    wanted = [one for one in SUBJECTS if not arguments.quick or one.name in matrix.QUICK_SUBJECTS]
    subjects = [*wanted, *others]
    if arguments.quick:
        return subjects, list(matrix.quick(subjects, strategies()))
    if arguments.full:
        return subjects, list(matrix.everything(subjects, strategies()))
    return subjects, list(matrix.usual(subjects, strategies(), (*MAIN, *(one.name for one in others))))


async def measure(
    subjects: Sequence[Subject],
    rounds: Sequence[Rounds],
    peers: Sequence[Peer],
    directory: Path,
    repeats: int,
    *,
    quick: bool,
) -> Measured:
    """Starts everything, warms it up, and goes round."""
    async with contextlib.AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(Upstream(directory / "engines"))
        chains: dict[str, Chain] = {}

        async def start(name: str, chain: Rig | PeerChain) -> None:
            chains[name] = await stack.enter_async_context(chain)

        async with asyncio.TaskGroup() as group:
            for number, chain in enumerate(all_chains(subjects, peers, upstream, directory).items()):
                await asyncio.sleep(min(number, 1) * 0.3)  # not all imports at once
                group.create_task(start(*chain))
        turns = await stack.enter_async_context(Turns(chains, matrix.QUICK_SHARE if quick else 1.0))
        await turns.warm_up(subjects)
        bar = stack.enter_context(progress())
        task = bar.add_task("overhead", total=repeats * sum(len(several) for _, several in rounds))
        for number in range(repeats):
            await turns.all(rounds, backwards=number % 2 == 1, done=lambda: bar.advance(task))
        return turns.measured


def all_chains(
    subjects: Sequence[Subject], peers: Sequence[Peer], upstream: Upstream, directory: Path
) -> dict[str, Rig | PeerChain]:
    """By name; several subjects may share one."""
    chains: dict[str, Rig | PeerChain] = {
        peer.name: PeerChain(peer, upstream.urls[0], directory / f"peer-{number}") for number, peer in enumerate(peers)
    }
    for number, subject in enumerate(subjects):
        if subject.chain.name not in chains:
            chains[subject.chain.name] = Rig(subject.chain, directory / str(number), upstream)
    return chains


if __name__ == "__main__":
    sys.exit(main())

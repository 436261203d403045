"""`python -m benchmarks.peers [--rounds N] [--peer ...]`: ours and other gateways, the same work, in turns, in one run.

    --peer name=url                     one that runs already; its pods are those of --engine-ports
    --peer-pid name=pid[,pid]           its processes, for their CPU time and memory
    --peer-command name=command,port    a proxy to start (see `benchmarks.overhead.peers`)
    --peer-ext-proc name=command,port[,mode[,target-header]]        a processor to start behind our Envoy
    --peer-ext-proc-limits ...          the same with a Valkey and users with limits, as REDIS_HOST and REDIS_PORT
    --floors                            and what stands between Envoy alone and ours, part by part
    --rounds 0 --idle-seconds 20        idle processes alone; --pods 100 for more engines than four

A command finds the pods' addresses in {pods} and $PODS, one in {upstream} and $UPSTREAM. CPU is that of whole
processes, from the kernel, less what they use while idle. Compare within one run, ratios of minima.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.load import LoadProcess
from benchmarks.overhead.peers import PeerChain, PeerError, read_peer, read_processor
from benchmarks.peers import page
from benchmarks.peers.gateways import FLOORS, OWN, RigGateway, RunningGateway, StartedGateway
from benchmarks.peers.rounds import IDLE_SECONDS, LOADS, Turns, measure
from benchmarks.procfs import raise_open_files
from benchmarks.running import progress
from benchmarks.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.peers.gateways import Gateway
    from benchmarks.peers.rounds import Figures


def main(argv: Sequence[str] | None = None) -> int:
    """Measures and prints; 1 when a request of ours failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description="Ours and other gateways.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--share", type=float, default=1.0, help="of the usual number of requests")
    parser.add_argument(
        "--engine-ports", default="", help="where the four engines listen: a,b,c,d; else any free ports"
    )
    parser.add_argument("--only", default="", help="of ours: names, semicolons between them")
    parser.add_argument("--floors", action="store_true")
    parser.add_argument("--loads", default="", help="of the loads: names, semicolons between them; else all")
    parser.add_argument("--idle-seconds", type=float, default=IDLE_SECONDS)
    parser.add_argument("--pods", type=int, default=4, help="engines, all on this machine")
    for option in ("--peer", "--peer-pid", "--peer-command", "--peer-ext-proc", "--peer-ext-proc-limits"):
        parser.add_argument(option, action="append", default=[])
    arguments = parser.parse_args(argv)
    raise_open_files()
    with tempfile.TemporaryDirectory() as directory:
        try:
            figures = asyncio.run(run(arguments, Path(directory)))
        except PeerError as error:
            parser.error(str(error))
    print("\n".join(page.lines(figures)))
    return int(any(figures[one.name].failures for one in OWN if one.name in figures))


async def run(arguments: argparse.Namespace, directory: Path) -> dict[str, Figures]:
    """Starts everything, and goes round."""
    ports = [int(port) for port in arguments.engine_ports.split(",") if port]
    async with contextlib.AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(Upstream(directory / "engines", arguments.pods, ports=ports))
        gateways = all_gateways(arguments, directory, upstream)
        for gateway in gateways:
            await stack.enter_async_context(gateway)
        sender = await stack.enter_async_context(LoadProcess())
        bar = stack.enter_context(progress())
        wanted = [name.strip() for name in arguments.loads.split(";") if name.strip()]
        loads = {name: load for name, load in LOADS.items() if not wanted or name in wanted}
        turns = Turns(loads, arguments.rounds, arguments.share, arguments.idle_seconds)
        task = bar.add_task("peers", total=len(gateways) * (1 + arguments.rounds * len(loads)))
        return await measure(gateways, sender, turns, lambda: bar.advance(task))


def all_gateways(arguments: argparse.Namespace, directory: Path, upstream: Upstream) -> list[Gateway]:
    """Ours first. Raises PeerError."""
    wanted = [name.strip() for name in arguments.only.split(";") if name.strip()]
    variants = [one for one in (*OWN, *(FLOORS if arguments.floors else ())) if not wanted or one.name in wanted]
    variants += [read_processor(text) for text in arguments.peer_ext_proc]
    variants += [replace(read_processor(text), limits="valkey") for text in arguments.peer_ext_proc_limits]
    gateways: list[Gateway] = [RigGateway(one, directory / str(at), upstream) for at, one in enumerate(variants)]
    for at, text in enumerate(arguments.peer_command):
        peer = read_peer(text)
        chain = PeerChain(peer, upstream.urls[0], directory / f"peer-{at}")
        gateways.append(StartedGateway(peer.name, chain))
    pids = dict(_pairs("--peer-pid", arguments.peer_pid))
    for name, url in _pairs("--peer", arguments.peer):
        gateways.append(RunningGateway(name, url, [int(pid) for pid in pids.get(name, "").split(",") if pid]))
    return gateways


def _pairs(option: str, texts: Sequence[str]) -> list[tuple[str, str]]:
    pairs = [text.partition("=") for text in texts]
    for text, (name, _, value) in zip(texts, pairs, strict=True):
        if not name or not value:
            raise PeerError(f"{option} {text!r}: must be name=value")
    return [(name, value) for name, _, value in pairs]


if __name__ == "__main__":
    sys.exit(main())

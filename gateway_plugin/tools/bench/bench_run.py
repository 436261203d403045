"""Measures every strategy in turn with the same arrivals, shows how it goes, and reports, whatever ends it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING

import uvloop
from rich.console import Console
from rich.table import Table

from gateway_plugin.tools.bench.asks import USER_PREFIX
from gateway_plugin.tools.bench.generator import HOPELESS, Generator
from gateway_plugin.tools.bench.load_client import Client
from gateway_plugin.tools.bench.machine import machine
from gateway_plugin.tools.bench.outcome import result_of
from gateway_plugin.tools.bench.probe import BenchError, probe
from gateway_plugin.tools.bench.progress import shown
from gateway_plugin.tools.bench.prompts import Texts
from gateway_plugin.tools.bench.raw_http import raise_open_files
from gateway_plugin.tools.bench.redaction import redacted_command
from gateway_plugin.tools.bench.results import Result, write
from gateway_plugin.tools.bench.section import page
from gateway_plugin.tools.bench.showing import kinds, labels, rows, warnings
from gateway_plugin.tools.bench.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gateway_plugin.tools.bench.load_plan import LoadPlan

BY_HAND = "stopped by hand"
EXIT_FAILED, EXIT_BY_HAND = 1, 130


def run_bench(plan: LoadPlan) -> int:
    """Exit code: 0 measured, 1 nothing but failures, 130 stopped by hand. Raises BenchError and what a plan raises."""
    console = Console()
    measurement = Measurement(plan, console)
    prepare(plan, console)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(measurement.measure())
    if any(tally.sent for tally in measurement.tallies):
        report(measurement.result(), plan.out, console)
    reasons = [tally.stopped for tally in measurement.tallies]
    if HOPELESS in reasons:
        return EXIT_FAILED
    return EXIT_BY_HAND if measurement.stopped else 0


def prepare(plan: LoadPlan, console: Console) -> None:
    """What would be a pity to find out at the end."""
    if plan.out is None:
        return
    try:
        plan.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BenchError(f"--out {plan.out}: {error.strerror}") from error
    if not has_plots():
        console.print("no plots: they need the extra `bench`: pip install 'gateway-plugin\\[bench]'", style="yellow")


def has_plots() -> bool:
    """Whether the optional library is there."""
    return find_spec("matplotlib") is not None


class Measurement:
    """All runs of a plan, as far as they went."""

    def __init__(self, plan: LoadPlan, console: Console) -> None:
        self._plan = plan
        self._console = console
        self._generator: Generator | None = None
        self._idle: asyncio.Task[None] | None = None
        self.tallies: list[Tally] = []
        self.stopped = False

    def result(self) -> Result:
        """In the common form."""
        about = machine() | {"command": redacted_command(sys.argv)}
        return result_of(self.tallies, self._plan.objective, about, self._plan.about())

    async def measure(self) -> None:
        """Until all is done, or Ctrl-C; a second Ctrl-C ends the process."""
        plan = self._plan
        if next(plan.arrivals.asks(plan.seed), None) is None:
            raise BenchError("no request is due within --seconds")
        user = f"{USER_PREFIX}0" if plan.arrivals.users else ""
        raise_open_files()
        for odd in await probe(plan.target, plan.strategies, user):
            self._console.print(f"note: {odd}", style="yellow", markup=False)
        with contextlib.closing(Client(plan.target, time.perf_counter)) as client, _ctrl_c(self):
            async with shown(self._console, self.tallies):
                await self._all(client)

    def stop(self) -> None:
        """What was measured so far is reported."""
        self.stopped = True
        if self._generator is not None:
            self._generator.stop(BY_HAND)
        if self._idle is not None:
            self._idle.cancel()

    async def _all(self, client: Client) -> None:
        """Strategies in turn within each repeat, so that what changes over time changes for all of them."""
        for repeat in range(self._plan.repeats):
            for strategy in self._plan.strategies:
                if self.tallies:
                    await self._pause()
                if self.stopped:
                    return
                await self._one(client, Tally(strategy, repeat))
                if self.tallies[-1].stopped:
                    return

    async def _one(self, client: Client, tally: Tally) -> None:
        plan, arrivals = self._plan, self._plan.arrivals
        self.tallies.append(tally)
        # Texts of its own: a strategy must not find in caches what the one before it has put there.
        texts = Texts(f"{plan.salt}/{tally.strategy}/{tally.repeat}", plan.block_tokens)
        self._generator = Generator(client, texts, tally, time.perf_counter)
        asks = arrivals.asks(plan.seed + tally.repeat)
        if arrivals.concurrency is None:
            await self._generator.open_loop(asks)
        else:
            await self._generator.closed_loop(asks, arrivals.concurrency, arrivals.bounds.seconds)

    async def _pause(self) -> None:
        self._idle = asyncio.create_task(asyncio.sleep(self._plan.pause_seconds))
        await asyncio.wait([self._idle])


@contextlib.contextmanager
def _ctrl_c(measurement: Measurement) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)

    def stop() -> None:
        for number in numbers:
            loop.remove_signal_handler(number)
        measurement.stop()

    for number in numbers:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def report(result: Result, out: Path | None, console: Console) -> None:
    """The table to the terminal; JSON, page and plots to `out`."""
    table = Table("", *labels(result), show_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows(result):
        table.add_row(*row)
    console.print(table)
    for text in kinds(result):
        console.print(text, style="red", markup=False, highlight=False)
    for text in warnings(result):
        console.print(text, style="bold red", markup=False, highlight=False)
    if out is not None:
        path = write(result, out)
        (out / "report.md").write_text(page(result, out / "images" if has_plots() else None))
        console.print(f"wrote {path} and {out / 'report.md'}", markup=False, highlight=False)

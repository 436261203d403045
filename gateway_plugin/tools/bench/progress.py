"""The live view of a run: what was sent, what came of it, and how fast so far."""

from __future__ import annotations

import asyncio
import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from rich.live import Live
from rich.table import Table

from gateway_plugin.tools.bench.summary import NAMELESS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from rich.console import Console

    from gateway_plugin.tools.bench.tally import Tally

REFRESH_SECONDS = 0.5
_MAX_KINDS = 4


@asynccontextmanager
async def shown(console: Console, tallies: list[Tally]) -> AsyncIterator[None]:
    """While the block runs, on terminals only; `tallies` may grow meanwhile."""
    if not console.is_terminal:
        yield
        return
    # Painted by a task, not by a thread: so it cannot take the time of a request that is due.
    with Live(console=console, auto_refresh=False, transient=True) as live:
        painter = asyncio.create_task(_paint(live, tallies))
        try:
            yield
        finally:
            painter.cancel()


async def _paint(live: Live, tallies: list[Tally]) -> None:
    while True:
        live.update(picture(tallies), refresh=True)
        await asyncio.sleep(REFRESH_SECONDS)


def picture(tallies: list[Tally]) -> Table:
    """One line per run."""
    table = Table("strategy", "sent", "in flight", "done", "failed", "TTFT p50", "TTFT p99", show_edge=False)
    for column in (1, 2, 3, 5, 6):
        table.columns[column].justify = "right"
    for tally in tallies:
        name = tally.strategy or NAMELESS
        table.add_row(
            f"{name} #{tally.repeat + 1}" if tally.repeat else name,
            f"{tally.sent:,}",
            f"{tally.in_flight:,}",
            f"{tally.ended:,}",
            failures(tally),
            milliseconds(tally.first.quantile(0.5, tally.failed)),
            milliseconds(tally.first.quantile(0.99, tally.failed)),
        )
    return table


def failures(tally: Tally) -> str:
    """The most frequent kinds."""
    kinds = [f"{count:,} x {kind}" for kind, count in tally.troubles.most_common(_MAX_KINDS)]
    more = len(tally.troubles) - len(kinds)
    return ", ".join(kinds + ([f"{more} other kinds"] if more > 0 else [])) or "0"


def milliseconds(seconds: float) -> str:
    """Infinite is what has failed."""
    if math.isnan(seconds):
        return "-"
    return "failed" if math.isinf(seconds) else f"{seconds * 1e3:,.0f} ms"

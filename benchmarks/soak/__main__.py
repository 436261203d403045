"""`python -m benchmarks.soak [--requests N] [--store valkey|memory|both]`: many requests, a tenth of them aborted.

JSON answers and short streams side by side; of the aborted requests half end amid their own body, half at any moment
after. Meanwhile pods come and go, and Valkey is killed and started again. Promised: no lease and no parallel slot stays
taken, no reservation outlives its expiry, no request fails; and, after a warm-up of minutes, that memory is stable.
The usual run is too short for that: settled charges are remembered for three minutes. `--requests 100000` is not.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from benchmarks.procfs import raise_open_files
from benchmarks.results import Figure, Line, Result, machine
from benchmarks.rig import Rig
from benchmarks.running import conclude, options, progress
from benchmarks.soak.plan import ABORT_SHARE, CHUNKS, CONCURRENCY, STREAM_SHARE, Plan, variant
from benchmarks.soak.series import series
from benchmarks.soak.soaking import soak
from ratelimit.store.limit_store import SETTLED_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks.soak.soaking import Soaked
    from benchmarks.variant import Limits

REQUESTS = 24_000
LONG_REQUESTS = 60_000
"""From here on memory has as long a warm-up as the stores remember charges."""
LONG_WARM_UP_SECONDS = SETTLED_SECONDS + 30.0
QUICK = Plan(1200, step_requests=600, warm_up_seconds=0, churn_seconds=0.7, restarts=1, down_seconds=0.5)


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints, writes."""
    parser = options("soak", "Many requests, and what they leave behind.")
    parser.add_argument("--requests", type=int, default=REQUESTS, help="after the warm-up")
    parser.add_argument("--store", choices=["memory", "valkey", "both"], default="valkey", help="of the limits")
    arguments = parser.parse_args(argv)
    raise_open_files()
    stores: tuple[Limits, ...] = ("valkey", "memory")
    wanted = [store for store in stores if arguments.store in (store, "both")]
    plans = {store: QUICK if arguments.quick else plan_of(store, arguments.requests) for store in wanted}
    with progress() as bar:
        task = bar.add_task("soak", total=sum(plan.steps for plan in plans.values()))
        results = [one_soak(store, plan, lambda: bar.advance(task)) for store, plan in plans.items()]
    return conclude(as_result(results, plans), arguments.out, tables(results), quick=arguments.quick)


def plan_of(store: Limits, requests: int) -> Plan:
    """A long one for many requests, and for the store in memory."""
    is_long = store == "memory" or requests >= LONG_REQUESTS
    warm_up = LONG_WARM_UP_SECONDS if is_long else Plan(1).warm_up_seconds
    return Plan(requests, warm_up_seconds=warm_up, restarts=max(2, requests // 25_000))


def one_soak(store: Limits, plan: Plan, done: Callable[[], None]) -> Soaked:
    """On a chain of its own."""

    async def run(directory: Path) -> Soaked:
        async with Rig(variant(store), directory) as rig:
            return await soak(rig, plan, done)

    with tempfile.TemporaryDirectory() as directory:
        return asyncio.run(run(Path(directory)))


def as_result(results: Sequence[Soaked], plans: dict[Limits, Plan]) -> Result:
    """In the common form."""
    errors: Counter[str] = Counter()
    for soaked in results:
        errors.update(soaked.errors)
    return Result(
        name="soak",
        machine=machine(),
        load={
            "abort_share": ABORT_SHARE,
            "stream_share": STREAM_SHARE,
            "chunks": CHUNKS,
            "concurrency of each kind": CONCURRENCY,
            "plans": {store: asdict(plan) for store, plan in plans.items()},
        },
        repeats=1,
        figures=[figure for soaked in results for figure in figures(soaked)],
        lines=[line for soaked in results for line in promises(soaked, plans[soaked.store])],
        errors=dict(errors),
        timeouts=sum(soaked.timeouts for soaked in results),
        series={soaked.store: series(soaked) for soaked in results},
    )


def figures(soaked: Soaked) -> Iterator[Figure]:
    """What may be compared."""
    seconds = max(sample.at for sample in soaked.samples) - soaked.began
    yield Figure(f"{soaked.store}/requests per second", "1/s", (round(soaked.completed / seconds, 1),), "higher")
    yield Figure(f"{soaked.store}/memory, most", "MB", (round(max(sample.rss_mb for sample in soaked.samples), 1),))
    growth = soaked.growth
    yield Figure(f"{soaked.store}/growth of memory", "%", (None if growth is None else round(growth * 100, 2),))
    yield Figure(f"{soaked.store}/left to expire", "reservations", (soaked.left.left_to_expire,))


def promises(soaked: Soaked, plan: Plan) -> list[Line]:
    """What must hold; of memory only after a warm-up of minutes."""
    store, left = soaked.store, soaked.left
    lines = [
        Line(f"{store}: requests that failed", sum(soaked.errors.values()) + soaked.timeouts, 0),
        Line(f"{store}: leases left on pods", left.leases, 0),
        Line(f"{store}: exchanges left in flight", left.in_flight, 0),
        Line(f"{store}: parallel slots left", left.slots, 0),
        Line(f"{store}: keys in Valkey that never expire", left.without_expiry, 0),
        Line(f"{store}: reservations left to expire that no abort explains", soaked.left_unexplained, 0),
    ]
    if plan.judges_memory and soaked.growth is not None:
        lines.append(Line(f"{store}: growth of the plugin's memory", soaked.growth * 100, 5, "%"))
    return lines


def tables(results: Sequence[Soaked]) -> Iterator[Table]:
    """For the terminal."""
    table = Table("store", "completed", "aborted", "log entries dropped", "left to expire", "MB", show_edge=False)
    for soaked in results:
        left, rss = soaked.left, [sample.rss_mb for sample in soaked.samples]
        counts = (soaked.completed, soaked.aborted, left.log_entries_dropped, left.left_to_expire)
        table.add_row(soaked.store, *map(str, counts), f"{min(rss):.1f} to {max(rss):.1f}")
    yield table


if __name__ == "__main__":
    sys.exit(main())

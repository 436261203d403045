"""The figures as a table of Markdown: minimum / median of the rounds' sums, and the parts' medians."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.peers.gateways import ALONE
from benchmarks.peers.rounds import LOADS, STEADY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchmarks.peers.gateways import Cpu
    from benchmarks.peers.rounds import Figures

_PARTS = "EBS"


def lines(figures: Mapping[str, Figures]) -> Iterator[str]:
    """One for each gateway."""
    loads = [name for name in LOADS if name != STEADY]
    head = [
        "",
        *(f"{name}, us" for name in loads),
        "TTFB p50 / p99 at 200/s, ms",
        "idle, ms/s",
        "memory, MiB",
        "failed",
    ]
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    alone = figures.get(ALONE)
    for name, one in figures.items():
        cells = [name, *(cpu_cell(one.us.get(load, [])) for load in loads), ttfb_cell(one, alone)]
        failed = ", ".join(f"{what}: {count}" for what, count in one.failures.items()) or "-"
        cells += [f"{one.idle_ms:.1f}", f"{one.pss_bytes / 2**20:.0f}", failed]
        yield "| " + " | ".join(cells) + " |"


def cpu_cell(rounds: list[Cpu]) -> str:
    """ "min / median (E.. B.. S..)", of what there is."""
    if not rounds:
        return "-"
    sums = [sum(one) for one in rounds]
    parts = [median(one[at] for one in rounds) for at in range(len(_PARTS))]
    told = " ".join(f"{name}{part:.0f}" for name, part in zip(_PARTS, parts, strict=True) if part >= 1)
    return f"{min(sums):.0f} / {median(sums):.0f} ({told})"


def ttfb_cell(one: Figures, alone: Figures | None) -> str:
    """Beyond Envoy alone, where that was measured."""
    times = one.ttfb_ms.get(STEADY)
    if not times:
        return "-"
    told = np.quantile(times, [0.5, 0.99])
    if alone is None or alone is one or not alone.ttfb_ms.get(STEADY):
        return f"{told[0]:.2f} / {told[1]:.2f}"
    base = np.quantile(alone.ttfb_ms[STEADY], [0.5, 0.99])
    return f"+{told[0] - base[0]:.2f} / +{told[1] - base[1]:.2f}"

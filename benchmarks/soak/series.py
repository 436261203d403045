"""The curves of a soak, thin enough for a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gateway_plugin.tools.bench.plots import POINTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.soak.soaking import Soaked


def series(soaked: Soaked) -> dict[str, Any]:
    """Curves over seconds since the beginning, and what happened when."""
    began = soaked.began
    samples = soaked.samples[:: -(-len(soaked.samples) // POINTS)]
    ends = max(sample.at for sample in soaked.samples) - began
    width = max(1.0, ends / POINTS)
    return {
        "warm_seconds": round(soaked.warm - began, 1),
        "events": [[round(at - began, 2), what] for at, what in soaked.events],
        "samples": {
            "seconds": [round(sample.at - began, 1) for sample in samples],
            "rss_mb": [round(sample.rss_mb, 2) for sample in samples],
            "in_flight": [sample.in_flight for sample in samples],
            "leases": [sample.leases for sample in samples],
            "unsettled": [sample.unsettled for sample in samples],
        },
        "rate_step_seconds": round(width, 2),
        "completed_per_second": per_second([at - began for one in soaked.outcomes for at in one.ended_at], ends, width),
        "failed_per_second": per_second([at - began for one in soaked.outcomes for at in one.failed_at], ends, width),
        "completed": soaked.completed,
        "aborted": soaked.aborted,
        "left_to_expire": soaked.left.left_to_expire,
    }


def per_second(times_seconds: Sequence[float], ends: float, width_seconds: float) -> list[float]:
    """How many in each step."""
    edges = np.arange(0.0, ends + width_seconds, width_seconds)
    counts, _ = np.histogram(times_seconds, bins=edges)
    return [round(float(count) / width_seconds, 1) for count in counts]

"""Many streams at once, and many clients that go away: the benchmarks `held` and `soak`, small."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks import held
from benchmarks.procfs import raise_open_files
from benchmarks.rig import Rig
from benchmarks.soak.plan import ABORT_SHARE, Plan, variant
from benchmarks.soak.soaking import soak

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.envoy, pytest.mark.redis]

STREAMS = 300


async def test_three_hundred_held_streams() -> None:
    raise_open_files()
    seen = await held.measure(STREAMS, hold_seconds=3)
    assert (seen.open_at_once, seen.completed, seen.errors, seen.timeouts) == (STREAMS, STREAMS, {}, 0)
    assert (seen.overflows, seen.left_in_flight) == ({}, 0)
    # Memory comes in arenas, so few streams pay for more than they use: 3,000 are bound to 40 KB each.
    assert seen.plugin_kb_per_stream < 80


async def test_clients_that_go_away_leave_nothing_in_the_memory_store(tmp_path: Path) -> None:
    async with Rig(variant("memory"), tmp_path) as rig:
        seen = await soak(rig, Plan(400, step_requests=400, warm_up_seconds=0, churn_seconds=0))
    left = seen.left
    assert seen.aborted > 400 * ABORT_SHARE / 2
    assert (seen.completed + seen.aborted, seen.errors, seen.timeouts) == (400, {}, 0)
    assert (left.leases, left.in_flight, left.slots, left.without_expiry) == (0, 0, 0, 0)
    assert (seen.left_unexplained, left.left_to_expire >= 0) == (0, True)
    assert (left.log_entries_dropped, seen.events) == (0, [])

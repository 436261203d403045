"""What is promised of the gateway's cost, and what was measured.

The first goals were set for a plugin on grpc.aio, the second for one on our own transport. Their microseconds are of a
machine on which a bare grpc.aio echo behind the same Envoy cost 291 us of its own and 144 us of Envoy's. On others,
what holds is the ratio to the echo in the same run, so both are told.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from benchmarks.overhead.matrix import BUSY, STREAMS
from benchmarks.overhead.variants import (
    ALONE,
    ECHO,
    FOLLOWED,
    FOLLOWED_GRPCIO,
    FREE,
    LIMITED,
    LUA,
    NATIVE_ECHO,
    WITHOUT_LUA,
)
from benchmarks.results import Line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.overhead.matrix import Cell
    from benchmarks.overhead.measuring import Measured, Round

ECHO_US, ECHO_ENVOY_US = 291.0, 144.0
FREE_US, LIMITED_US, BOTH_US = 80.0, 120.0, 200.0


def plugin(one: Round) -> float:
    """CPU of what Envoy asks."""
    return one.plugin_us


def envoy(one: Round) -> float:
    """CPU of Envoy."""
    return one.envoy_us


def both(one: Round) -> float:
    """Together."""
    return one.envoy_us + one.plugin_us


class _Ratio(NamedTuple):
    what: str
    cell: Cell
    over: str
    under: str
    read: Callable[[Round], float]
    at_most: float


_FREE, _LIMITED = "plain: plugin CPU, no limits", "plain: plugin CPU, limits on Valkey"
_BOTH = "plain: Envoy + plugin CPU, no limits"
_RATIOS = (
    _Ratio("streams: plugin CPU, access_log / ext_proc", STREAMS, LIMITED, FOLLOWED, plugin, 0.1),
    _Ratio("streams: Envoy + plugin CPU, access_log / ext_proc", STREAMS, LIMITED, FOLLOWED, both, 0.25),
    _Ratio("streams: plugin CPU, access_log / ext_proc on grpc.aio", STREAMS, LIMITED, FOLLOWED_GRPCIO, plugin, 0.1),
    _Ratio("streams: Envoy + plugin, access_log / ext_proc on grpc.aio", STREAMS, LIMITED, FOLLOWED_GRPCIO, both, 0.25),
    _Ratio("streams: Envoy CPU of the chain, with Lua / without", STREAMS, FREE, WITHOUT_LUA, envoy, 1.1),
    _Ratio("streams: CPU of Envoy alone, with Lua / without", STREAMS, LUA, ALONE, envoy, 1.1),
    _Ratio("plain: echo CPU, our transport / grpc.aio", BUSY, NATIVE_ECHO, ECHO, plugin, 1 / 8),
    _Ratio(f"{_FREE} / grpc.aio echo, first goal", BUSY, FREE, ECHO, plugin, 1.5),
    _Ratio(f"{_LIMITED} / grpc.aio echo, first goal", BUSY, LIMITED, ECHO, plugin, 2.0),
    _Ratio(f"{_FREE} / grpc.aio echo, second goal", BUSY, FREE, ECHO, plugin, FREE_US / ECHO_US),
    _Ratio(f"{_LIMITED} / grpc.aio echo, second goal", BUSY, LIMITED, ECHO, plugin, LIMITED_US / ECHO_US),
    _Ratio(f"{_BOTH} / Envoy + echo, second goal", BUSY, FREE, ECHO, both, BOTH_US / (ECHO_US + ECHO_ENVOY_US)),
)
_ABSOLUTE = (
    (f"{_FREE}, second goal", FREE, plugin, FREE_US),
    (f"{_LIMITED}, second goal", LIMITED, plugin, LIMITED_US),
    (f"{_BOTH}, second goal", FREE, both, BOTH_US),
)
_ADDED = (
    ("added time to first byte at 200/s, median, first goal", 0.5, 2.0),
    ("added time to first byte at 200/s, p99, first goal", 0.99, 8.0),
    ("added time to first byte at 200/s, median, second goal", 0.5, 0.6),
    ("added time to first byte at 200/s, p99, second goal", 0.99, 2.0),
)


def ratio(measured: Measured, cell: Cell, over: str, under: str, read: Callable[[Round], float]) -> float | None:
    """Median over rounds of one subject's figure over the other's in the same round; None where one is missing."""
    pairs = zip(measured.figure(cell, over, read), measured.figure(cell, under, read), strict=False)
    ratios = [above / below for above, below in pairs if below > 0]
    return statistics.median(ratios) if ratios else None


def added_ms(measured: Measured, subject: str, quantile: float) -> float | None:
    """Of a quantile of all steady requests, beyond Envoy alone; None where one was not measured."""
    with_it, alone = (measured.steady_ttfb_ms.get(name) for name in (subject, ALONE))
    return float(np.quantile(with_it, quantile) - np.quantile(alone, quantile)) if with_it and alone else None


def promises(measured: Measured) -> list[Line]:
    """A smoke run measures only some; the others are left out there."""
    return [line for line in _all(measured) if line.measured is not None]


def _all(measured: Measured) -> Iterator[Line]:
    for what, cell, over, under, read, at_most in _RATIOS:
        yield Line(what, ratio(measured, cell, over, under, read), at_most)
    for what, subject, read, at_most in _ABSOLUTE:
        values = measured.figure(BUSY, subject, read)
        yield Line(what, statistics.median(values) if values else None, at_most, "us")
    for what, quantile, at_most in _ADDED:
        added = [value for name in (FREE, LIMITED) if (value := added_ms(measured, name, quantile)) is not None]
        yield Line(what, max(added, default=None), at_most, "ms")

"""When a quiet connection is pinged, drained or cut off."""

from __future__ import annotations

import pytest

from gateway_plugin.grpc.http2.bounds import Bounds
from gateway_plugin.grpc.http2.message_keeper import Due, Keeper

BOUNDS = Bounds()


def dues(
    keeper: Keeper, until: float, *, greeted: bool = True, streams: int = 1, start: float = 0.0
) -> list[tuple[float, Due]]:
    """What is due at each second."""
    found = (
        (float(now), keeper.due(now, greeted=greeted, streams=streams)) for now in range(int(start), int(until) + 1)
    )
    return [(now, due) for now, due in found if due is not Due.NOTHING]


def test_a_slow_preface():
    keeper = Keeper(BOUNDS, 0.0)
    assert dues(keeper, 11, greeted=False) == [(10.0, Due.ABORT), (11.0, Due.ABORT)]
    assert dues(Keeper(BOUNDS, 0.0), 59) == []


def test_a_silent_peer_is_asked_once_and_then_cut_off():
    keeper = Keeper(BOUNDS, 0.0)
    assert dues(keeper, 80) == [(60.0, Due.PING), (80.0, Due.ABORT)]


def test_an_answer_or_any_sign_of_life_counts():
    keeper = Keeper(BOUNDS, 0.0)
    assert dues(keeper, 70) == [(60.0, Due.PING)]
    keeper.heard_at = 70.0
    assert dues(keeper, 149, start=71) == [(130.0, Due.PING)]


def test_a_peer_that_reads_nothing():
    keeper = Keeper(BOUNDS, 0.0)
    keeper.stalled_at = 50.0
    assert dues(keeper, 80) == [(80.0, Due.ABORT)]
    keeper.stalled_at = None
    keeper.heard_at = 79.0
    assert dues(keeper, 81, start=80) == []


@pytest.mark.parametrize("streams", [0, 1])
def test_an_idle_connection_is_drained(streams: int):
    keeper = Keeper(BOUNDS, 0.0)
    for now in range(0, 1801, 30):
        keeper.heard_at = float(now)  # it answers pings
        due = keeper.due(float(now), greeted=True, streams=streams)
        assert due is (Due.DRAIN if now == 1800 and not streams else Due.NOTHING)
    keeper.heard_at = 1819.0
    assert keeper.due(1819.0, greeted=True, streams=streams) is Due.NOTHING
    assert keeper.due(1820.0, greeted=True, streams=streams) is (Due.NOTHING if streams else Due.ABORT)

"""The backlog of prefill work: it drains with time, and with requests that end early."""

from __future__ import annotations

import pytest

from routing.pods.books import Work
from tests.unit.routing.strategies.strategy_cluster import Cluster


def test_prefill_backlog_drains_with_time():
    cluster = Cluster(1)
    cluster.pods.book(0, Work(prompt_tokens=8000, uncached_tokens=8000))
    assert cluster.view.prefill_backlog_tokens[0] == 8000
    cluster.now += 0.75
    assert cluster.view.prefill_backlog_tokens[0] == pytest.approx(2000)
    cluster.now += 10
    assert cluster.view.prefill_backlog_tokens[0] == 0


def test_an_aborted_prefill_leaves_the_backlog():
    cluster = Cluster(1)
    cluster.pods.book(0, Work(4000, 4000))
    second = cluster.pods.book(0, Work(4000, 4000))
    cluster.now += 0.25
    second.release()
    assert cluster.view.prefill_backlog_tokens[0] == pytest.approx(2000), "only the second one's work goes"
    assert list(cluster.view.inflight_prompt_tokens) == [4000]

"""Own latest bookings stand for what others do meanwhile, so that replicas with equal numbers do not herd."""

from __future__ import annotations

import numpy as np

from benchmarks.routing.cluster import Cluster, equal_pods
from benchmarks.routing.workloads import chats, shared_system_prompt
from routing.pods.columns import Columns
from routing.pods.mirror import WINDOW_SECONDS, Mirror

ROWS = np.array([0, 1])


def test_bookings_of_the_window_count_once_more_for_each_other_replica():
    columns = Columns()
    mirror = Mirror(columns)
    columns.requests_total[0] = 7
    mirror.turn(0.0, 3.0)
    assert mirror.requests(ROWS).tolist() == [0.0, 0.0]
    columns.requests_total[:2] += (2, 1)
    assert mirror.requests(ROWS).tolist() == [6.0, 3.0]
    for tenth in range(1, 5):
        mirror.turn(tenth / 10, 3.0)
        columns.requests_total[1] += 1
    assert mirror.requests(ROWS).tolist() == [0.0, 12.0], f"what was booked {WINDOW_SECONDS} s ago has been told"


def test_nothing_is_mirrored_without_others_or_into_rows_that_changed_hands():
    columns = Columns()
    mirror = Mirror(columns)
    mirror.turn(0.0, 0.0)
    columns.requests_total[0] += 5
    assert mirror.requests(ROWS).tolist() == [0.0, 0.0]
    mirror.turn(0.1, 1.0)
    columns.reset(0, 2)
    assert mirror.requests(ROWS).tolist() == [0.0, 0.0]
    columns.grow()
    columns.requests_total[0] += 5
    assert mirror.requests(ROWS).tolist() == [0.0, 0.0]
    mirror.turn(0.2, 1.0)
    columns.requests_total[0] += 1
    assert mirror.requests(ROWS).tolist() == [1.0, 0.0]


def test_four_replicas_spread_a_steady_stream_as_one_does():
    workload = shared_system_prompt(300, 40.0, documents=0)
    one, four = (
        Cluster("least-request", equal_pods(8), replicas=count, sharing=count > 1).run(workload) for count in (1, 4)
    )
    assert four.ttft.mean < 1.25 * one.ttft.mean
    assert four.request_skew < 1.15


def test_chats_find_their_pod_through_any_replica():
    workload = chats(60, 4.0)
    one, several, alone = (
        Cluster("prefix-cache-and-load", equal_pods(8), replicas=count, sharing=sharing).run(workload)
        for count, sharing in ((1, False), (4, True), (4, False))
    )
    assert several.token_hit_ratio > one.token_hit_ratio - 0.03
    assert several.token_hit_ratio > alone.token_hit_ratio + 0.1

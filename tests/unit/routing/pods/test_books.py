"""What bookings do to a pod's numbers, and the windows of the last minute."""

from __future__ import annotations

import numpy as np
import pytest

from routing.pods.books import RowWindow, Work
from tests.unit.routing.strategies.strategy_cluster import Cluster

ROW = np.array([0])


def test_an_interval_falls_out_of_the_window_a_bucket_at_a_time():
    window = RowWindow(1)
    window.add_interval(0, 3.0, 12.0)
    sums = [window.totals(ROW, now)[0] for now in (12.0, 59.9, 60.0, 65.0, 70.0)]
    assert sums == pytest.approx([9.0, 9.0, 7.0, 2.0, 0.0])


def test_of_an_interval_longer_than_the_window_the_last_55_seconds_count():
    window = RowWindow(1)
    window.add_interval(0, 0.0, 100.0)
    assert window.totals(ROW, 100.0)[0] == pytest.approx(55.0)


def test_rows_that_are_added_begin_at_nothing():
    window = RowWindow(2)
    window.add(1, 3.0, 1.0)
    window.grow(4)
    window.add(3, 5.0, 1.0)
    assert window.totals(np.arange(4), 1.0).tolist() == [0.0, 3.0, 0.0, 5.0]


def test_real_counts_take_the_place_of_expected_ones():
    cluster = Cluster(1)
    lease = cluster.pods.book(0, Work(100, 100, 50))
    lease.release()
    lease.correct(80, 10)
    assert (cluster.view.window_prompt_tokens[0], cluster.view.window_output_tokens[0]) == (80, 10)


def test_prefill_that_will_not_be_done_was_not_booked():
    cluster = Cluster(1)
    cluster.pods.book(0, Work(4000, 4000))
    second = cluster.pods.book(0, Work(3000, 3000))
    cells = cluster.pods.books.cells
    assert (cells.prefill_booked_tokens[0], cells.prefill_queued_tokens[0]) == (7000, 7000)
    second.release()
    assert (cells.prefill_booked_tokens[0], cells.prefill_queued_tokens[0]) == (4000, 4000)


def test_what_others_book_joins_the_queue_and_may_be_taken_back():
    cluster = Cluster(1)
    books, cells = cluster.pods.books, cluster.pods.books.cells
    cluster.pods.book(0, Work(1000, 1000))
    books.booked_elsewhere(0, 1, 300.0)
    books.booked_elsewhere(0, 0, -100.0)
    assert (cells.booked_requests_since_poll[0], cells.booked_tokens_since_poll[0]) == (2, 1300)
    assert cells.prefill_queued_tokens[0] == 1200


def test_others_requests_count_only_where_there_are_others():
    cluster = Cluster(1, inflight_requests=[2], inflight_requests_elsewhere=[3])
    books = cluster.pods.books
    assert (books.requests_of(0), books.inflight_requests(ROW)[0]) == (2, 2)
    books.has_elsewhere = True
    assert (books.requests_of(0), books.inflight_requests(ROW)[0]) == (5, 5)

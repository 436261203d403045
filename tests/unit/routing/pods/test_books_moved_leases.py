"""Envoy went on to another candidate: the booking follows, and what is counted is counted where the work was done."""

from __future__ import annotations

import math

import numpy as np

from routing.pods.books import Work
from routing.pods.pod_table import PodTable
from routing.router import Router
from routing.spec import ClusterState, PodSpec
from routing.strategies.policy import RoutingRequest

PODS = tuple(PodSpec(f"pod-{i}", f"10.0.0.{i}:8000", ("m",)) for i in range(3))


class Site:
    def __init__(self) -> None:
        self.now = 0.0
        self.pods = PodTable(lambda: self.now)
        self.pods.apply(ClusterState(PODS, frozenset()))
        self.router = Router(self.pods, np.random.default_rng(3), candidates=2)

    @property
    def inflight(self) -> list[int]:
        return [int(count) for count in self.pods.columns.inflight_requests[:3]]

    def window(self, row: int) -> float:
        rows = np.array([row])
        return float(self.pods.books.prompt_tokens.totals(rows, self.now)[0])


def test_a_held_lease_moves_with_all_that_it_books():
    site = Site()
    lease = site.pods.book(0, Work(100.0, 80.0, 50.0))
    lease.move(1)
    view = site.pods.view("m")
    assert view.inflight_requests.tolist() == [0.0, 1.0, 0.0]
    assert view.inflight_prompt_tokens.tolist() == [0.0, 100.0, 0.0]
    assert view.inflight_output_tokens.tolist() == [0.0, 50.0, 0.0]
    assert view.prefill_backlog_tokens.tolist() == [0.0, 80.0, 0.0]
    assert lease.release()
    assert not lease.release()
    assert site.inflight == [0, 0, 0]
    assert [site.window(row) for row in range(3)] == [0.0, 100.0, 0.0]


def test_a_released_lease_moves_what_it_counted():
    site = Site()
    lease = site.pods.book(0, Work(100.0, 0.0, 50.0))
    lease.release()
    lease.move(2)
    lease.correct(120.0, 10.0)
    assert [site.window(row) for row in range(3)] == [0.0, 0.0, 120.0]
    assert site.inflight == [0, 0, 0]


def test_moving_to_where_it_is_changes_nothing():
    site = Site()
    lease = site.pods.book(0, Work(100.0, 80.0, 50.0))
    place = lease.place
    lease.move(0)
    assert lease.place is place
    assert not lease.moved
    assert site.inflight == [1, 0, 0]


def test_a_lease_leaves_a_pods_successor_alone():
    site = Site()
    lease = site.pods.book(0, Work(100.0, 80.0, 50.0))
    successors = (PodSpec("pod-0", "10.0.0.0:8000", ("m",), uid="new"), *PODS[1:])
    site.pods.apply(ClusterState(successors, frozenset()))
    row = site.pods.row_of("10.0.0.0:8000")
    assert row is not None
    lease.move(1)
    assert site.inflight[row] == 0 or row == 1
    assert int(site.pods.columns.inflight_requests.sum()) == 1


def test_first_tokens_of_a_moved_request_teach_nothing_of_a_queue():
    site = Site()
    lease = site.pods.book(0, Work(100.0, 80.0, 50.0))
    lease.move(1)
    lease.release()
    lease.first_token_after(9.0)
    assert all(math.isnan(rate) for rate in site.pods.columns.prefill_tokens_per_second[:3])


def test_the_log_moves_the_booking_to_who_served():
    site = Site()
    policy = site.router.policy("least-request")
    assert policy is not None
    booking = site.router.book(policy, RoutingRequest("m", prompt_tokens=100.0), "c")
    other = booking.pods[1]
    row = site.pods.row_of(other.address)
    assert row is not None
    site.router.settle("c", other.address, succeeded=True, prompt=90, cached=0, output=3, model="m", ttft_seconds=0.1)
    assert site.inflight[row] == 1, "its stream has not ended"
    booking.lease.release()
    assert site.inflight == [0, 0, 0]


def test_the_response_tells_it_while_it_runs():
    site = Site()
    policy = site.router.policy("least-request")
    assert policy is not None
    booking = site.router.book(policy, RoutingRequest("m", prompt_tokens=100.0), "c")
    site.router.goes_on_at(booking, booking.pods[1].address)
    site.router.goes_on_at(booking, "192.0.2.1:1")  # nobody's: the booking stays
    row = site.pods.row_of(booking.pods[1].address)
    assert row is not None
    assert site.inflight[row] == 1
    assert sum(site.inflight) == 1


def test_only_the_first_request_in_flight_begins_the_busy_time():
    site = Site()
    site.pods.book(0, Work())
    site.now = 5.0
    site.pods.book(0, Work())
    assert site.pods.columns.busy_since_seconds[0] == 0.0


def test_the_last_of_two_requests_ends_the_busy_time():
    site = Site()
    first, second = site.pods.book(0, Work()), site.pods.book(0, Work())
    site.now = 6.0
    first.release()
    busy = site.pods.books.busy_ratio(np.array([0]))
    assert busy[0] == 6.0 / site.pods.books.busy_seconds.window_seconds
    site.now = 12.0
    second.release()
    assert site.pods.books.busy_ratio(np.array([0]))[0] == 12.0 / site.pods.books.busy_seconds.window_seconds

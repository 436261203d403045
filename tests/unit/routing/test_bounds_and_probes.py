"""A pod on probation and the bound on requests per pod; explained lots; what healthy models pay for a sick one."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from routing.pods.circuit import Failure
from routing.pods.pod_health import PodHealth
from routing.pods.pod_table import PodTable
from routing.router import Booking, Router, SaturatedError
from routing.spec import ClusterState, PodSpec
from routing.strategies.policy import RoutingRequest


class Site:
    """Pods 0 and 1 of one model, 2 and 3 of another; at most one request per pod."""

    def __init__(self, most: int = 1) -> None:
        self.now = 100.0
        self.health = PodHealth(lambda: self.now, random.Random(3))
        self.pods = PodTable(lambda: self.now, health=self.health)
        specs = tuple(PodSpec(f"pod-{n}", f"10.0.0.{n}:8000", ("ab"[n // 2],)) for n in range(4))
        self.pods.apply(ClusterState(specs, frozenset()))
        self.router = Router(self.pods, np.random.default_rng(0), candidates=3, max_inflight_per_pod=most)

    def book(self) -> Booking:
        policy = self.router.policy("least-request")
        assert policy is not None
        return self.router.book(policy, RoutingRequest("a"), "c")

    def half_open(self, row: int) -> None:
        self.health.failed(row, Failure.UNAVAILABLE)
        self.now += 60
        for _, circuit in self.health.due():
            circuit.checked(passed=True)


def test_a_full_pod_on_probation_gets_no_probe():
    site = Site()
    held = site.pods.book(0)
    site.half_open(0)
    assert [pod.name for pod in site.book().pods] == ["pod-1"]
    with pytest.raises(SaturatedError):
        site.book()
    assert not site.router.has_room("a")
    held.release()
    assert site.router.has_room("a"), "the probe has room"


def test_a_probe_with_room_goes_out_although_all_others_are_full():
    site = Site()
    site.pods.book(1)
    site.half_open(0)
    booking = site.book()
    assert [pod.name for pod in booking.pods] == ["pod-0"]
    assert booking.branch == "probe"
    with pytest.raises(SaturatedError):
        site.book()


def test_an_explanation_shows_the_lots_that_it_orders_by():
    site = Site(most=0)
    policy = site.router.policy("power-of-two")
    assert policy is not None
    specs = tuple(PodSpec(f"p{n}", f"10.0.1.{n}:8000", ("many",)) for n in range(20))
    site.pods.apply(ClusterState(specs, frozenset()))
    for _ in range(20):
        explained = site.router.explain(policy, RoutingRequest("many"))
        assert all(candidate.cost == sum(candidate.terms.values()) for candidate in explained)
        drawn = [candidate for candidate in explained if math.isfinite(candidate.cost)]
        assert drawn == explained[:2], "those that were drawn stand first"


def test_models_without_a_sick_pod_are_offered_as_they_are():
    site = Site()
    site.half_open(0)
    healthy = site.pods.ready_rows()["b"]
    offer = site.health.offer(healthy)
    assert offer.rows is healthy
    assert offer.probe is None

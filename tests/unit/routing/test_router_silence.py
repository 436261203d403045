"""Bookings whose log entry comes late, to another replica, or never."""

from __future__ import annotations

import numpy as np
import pytest

from routing.pods.pod_table import PodTable
from routing.router import SILENCE_SECONDS, Router, Settled
from routing.spec import ClusterState, PodSpec
from routing.strategies.policy import RoutingRequest
from routing.unsettled import PENDING_SECONDS

POD = PodSpec("pod-1", "10.0.0.1:8000", ("m",))


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def opened() -> tuple[Clock, Router]:
    clock = Clock()
    pods = PodTable(clock)
    pods.apply(ClusterState((POD,), frozenset()))
    return clock, Router(pods, np.random.default_rng(0))


def ask(router: Router, *blocks: int, charge_id: str = "") -> float:
    """Books a prompt of these blocks; returns how much of it the pod was believed to have."""
    policy = router.policy("prefix-cache")
    assert policy is not None
    tokens = tuple(100.0 * (at + 1) for at in range(len(blocks)))
    request = RoutingRequest("m", prompt_tokens=tokens[-1], prefix=blocks, prefix_tokens=tokens)
    booking = router.book(policy, request, charge_id)
    booking.lease.release()
    return booking.matched_tokens


def settle(router: Router, charge_id: str, *, succeeded: bool) -> bool:
    return router.settle(charge_id, POD.address, succeeded=succeeded, prompt=9, cached=3, output=7, model="m")


def test_a_request_of_whose_end_nobody_tells_is_taken_for_a_success():
    clock, router = opened()
    ask(router, 1, 2, charge_id="a")
    clock.now = SILENCE_SECONDS
    ask(router, 9)
    assert router.silent == 1
    clock.now = 700.0
    assert ask(router, 1, 2) == 200.0, "what is confirmed outlives the ten minutes of a guess"
    assert not settle(router, "a", succeeded=False)


def test_a_word_that_comes_in_time_decides():
    clock, router = opened()
    ask(router, 1, 2, charge_id="a")
    clock.now = SILENCE_SECONDS - 0.1
    assert ask(router, 9) == 0.0
    assert settle(router, "a", succeeded=False)
    clock.now = SILENCE_SECONDS + 1
    assert ask(router, 1, 2) == 0.0
    assert router.silent == 0


def test_a_request_that_is_still_open_is_waited_for():
    clock, router = opened()
    policy = router.policy("prefix-cache")
    assert policy is not None
    request = RoutingRequest("m", prompt_tokens=100.0, prefix=(5,), prefix_tokens=(100.0,))
    booking = router.book(policy, request, "long")
    clock.now = 500.0
    ask(router, 9)
    assert router.silent == 0
    booking.lease.release()
    assert settle(router, "long", succeeded=True)


def test_many_silent_requests_end_over_many_bookings():
    clock, router = opened()
    for number in range(100):
        ask(router, number + 10, charge_id=f"{number}")
    clock.now = SILENCE_SECONDS
    ask(router, 9)
    assert 0 < router.silent < 100
    for _ in range(10):
        ask(router, 9)
    assert router.silent == 100


def test_strangers_are_handed_on():
    _, router = opened()
    strangers: list[Settled] = []
    router.on_stranger = strangers.append
    ask(router, 1, charge_id="mine")
    assert settle(router, "mine", succeeded=True)
    assert not settle(router, "theirs", succeeded=True)
    assert strangers == [Settled("theirs", "m", POD.address, True, 9, 3, 7)]


def test_what_is_never_released_is_given_up_after_an_hour():
    clock, router = opened()
    policy = router.policy("prefix-cache")
    assert policy is not None
    for number in range(3):
        clock.now = float(number)
        router.book(policy, RoutingRequest("m"), f"{number}")
    clock.now = PENDING_SECONDS + 0.5
    ask(router, 9)
    assert [settle(router, f"{number}", succeeded=True) for number in range(3)] == [True, True, True], "without a name"
    for number in range(3):
        clock.now += 1.0
        router.book(policy, RoutingRequest("m"), f"{number}")
    clock.now += PENDING_SECONDS - 0.5
    ask(router, 9, charge_id="last")
    assert [settle(router, f"{number}", succeeded=True) for number in range(3)] == [False, False, True]
    assert settle(router, "last", succeeded=True)


def test_bookings_are_bounded_in_number(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("routing.unsettled.MAX_PENDING", 2)
    clock, router = opened()
    for charge_id in ("a", "b", "c"):
        clock.now += 1.0
        ask(router, 9, charge_id=charge_id)
    assert [settle(router, charge_id, succeeded=True) for charge_id in ("a", "b", "c")] == [False, True, True]


def test_what_is_settled_before_its_release_is_not_silent():
    clock, router = opened()
    policy = router.policy("prefix-cache")
    assert policy is not None
    booking = router.book(policy, RoutingRequest("m"), "early")
    assert settle(router, "early", succeeded=True)
    booking.lease.release()
    clock.now = SILENCE_SECONDS + 1
    ask(router, 9)
    assert router.silent == 0

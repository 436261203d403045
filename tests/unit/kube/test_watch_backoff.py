"""Exact waits, with the randomness given."""

from __future__ import annotations

import random

from kube.backoff import Backoff


class Middle(random.Random):
    """Always the middle of the range."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


def test_it_doubles_up_to_a_bound_and_starts_again() -> None:
    backoff = Backoff(Middle(), first_seconds=0.5, longest_seconds=3.0)
    assert [backoff.next_seconds() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    backoff.reset()
    assert backoff.next_seconds() == 0.5


def test_the_server_may_ask_for_more_but_not_for_ever() -> None:
    backoff = Backoff(Middle(), first_seconds=0.5, longest_seconds=3.0)
    assert backoff.next_seconds(2.0) == 2.0
    assert backoff.next_seconds(3600.0) == 6.0


def test_replicas_do_not_come_back_together() -> None:
    waits = {Backoff(random.Random(seed)).next_seconds() for seed in range(20)}
    assert len(waits) == 20
    assert all(0.1 <= wait <= 0.3 for wait in waits)


def test_a_million_failures_are_no_overflow() -> None:
    backoff = Backoff(Middle())
    assert max(backoff.next_seconds() for _ in range(10_000)) == 10.0

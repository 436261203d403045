"""What two pages say together: queues of prompts told from queues for a slot."""

from __future__ import annotations

import pytest

from routing.pods.books import Work
from routing.pods.pod_table import PodTable
from routing.spec import ClusterState, PodSpec

PAGE = {"running_requests": 32.0, "waiting_requests": 4.0, "prefix_hit_tokens": 0.0}


class Site:
    def __init__(self) -> None:
        self.now = 100.0
        self.table = PodTable(lambda: self.now)
        self.table.apply(ClusterState((PodSpec("pod", "10.0.0.1:8000", ("m",)),), frozenset({"m"})))
        for _ in range(36):
            self.table.book(0, Work(100.0, 100.0, 320.0))

    def page(self, begun_tokens: float, decoded: float, step_seconds: float) -> None:
        self.now += 1.0
        values = {"prefix_query_tokens": begun_tokens, "decoded_tokens": decoded}
        values["decoding_seconds"] = decoded * step_seconds
        self.table.polled(0, self.table.incarnation(0), PAGE | values)

    @property
    def queue_seconds(self) -> float:
        return self.table.books.backlog_of(0, self.now, self.rate) / self.rate

    @property
    def rate(self) -> float:
        return self.table.books.rate_of(0)


def test_requests_that_wait_for_a_slot_say_nothing_of_the_prefill_rate():
    site = Site()
    for number in range(5):
        site.page(100.0 * number, 1600.0, 0.02)
    assert site.rate == 8000.0
    # An answer of 320 tokens takes 6.4 s, 32 run: one ends every 0.2 s, and the next one to come is the fifth.
    assert site.queue_seconds == pytest.approx(5 * 320 * 0.02 / 32, rel=0.01)


def test_requests_that_wait_for_prompts_do():
    site = Site()
    for number in range(5):
        site.page(4000.0 * number, 64.0, 0.5)
    assert site.rate < 6000.0
    assert site.queue_seconds < 0.5

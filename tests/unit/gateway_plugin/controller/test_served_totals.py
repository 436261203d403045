"""What replicas counted, added up: a replica that starts anew takes nothing away, and lateness follows the target."""

from __future__ import annotations

from gateway_plugin.controller.gateway_demand import ModelLoad
from gateway_plugin.controller.served_totals import ServedTotals

BOUNDS = [1.0, 3.0, 10.0]


def load(requests: int, counts: list[int], ended: int) -> ModelLoad:
    return ModelLoad(0, 0, requests, counts, float(sum(counts)), ended, 10.0 * ended)


def test_only_what_is_new_counts_and_a_restart_takes_nothing_away():
    totals, nothing = ServedTotals(), load(0, [0, 0, 0, 0], 0)
    first = load(10, [5, 3, 1, 1], 8)
    totals.add(nothing, first, BOUNDS)
    totals.add(first, first, BOUNDS)
    totals.add(first, load(2, [1, 0, 0, 1], 1), BOUNDS)
    assert (totals.requests, totals.first_tokens, totals.ended, totals.ended_seconds) == (12, 12, 9, 90.0)
    assert totals.first_token_seconds == 12.0


def test_late_is_what_took_longer_than_the_target_or_the_bound_above_it():
    totals = ServedTotals()
    totals.add(load(0, [], 0), load(10, [5, 3, 1, 1], 8), BOUNDS)
    assert [totals.later_than(seconds) for seconds in (1.0, 2.0, 3.0, 5.0, 99.0)] == [5, 2, 2, 1, 1]
    # One bound that nobody met must not be passed over.
    few = ServedTotals()
    few.add(load(0, [], 0), load(2, [1, 0, 1, 0], 2), BOUNDS)
    assert few.later_than(3.0) == 1

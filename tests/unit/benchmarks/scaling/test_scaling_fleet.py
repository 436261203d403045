"""The fleet that autoscalers are compared on: costs, drains and late tokens are what they should be."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.scaling.fleet import Fleet
from benchmarks.scaling.frontier import Point, front, late_at
from benchmarks.scaling.loads import Ask, loads
from benchmarks.scaling.running import engine


@dataclass
class Plan:
    """So many pods from so many seconds on."""

    sizes: dict[float, int]
    tick_seconds: float = 5.0
    spares_busy_pods: bool = True

    def size(self, fleet: Fleet) -> int:
        return next(size for at, size in reversed(self.sizes.items()) if at <= fleet.now)


ASKS = [Ask(float(second), 500, 200) for second in range(600)]


def test_what_stands_still_costs_its_hours_and_answers_all():
    outcome = Fleet(engine(), 60, 12, 0).run(ASKS, Plan({0: 2}), 600)
    assert outcome.requests == 600
    assert 2 * 600 / 3600 <= outcome.gpu_hours < 2 * 640 / 3600
    assert outcome.late_share == 0


def test_a_pod_that_goes_ends_what_it_has_and_one_that_starts_costs():
    outcome = Fleet(engine(), 60, 12, 0).run(ASKS, Plan({0: 2, 100: 1, 200: 3}), 600)
    assert outcome.requests == 600
    assert outcome.changes == 2
    assert 1500 / 3600 <= outcome.gpu_hours < 1600 / 3600  # two for 100 s, one for 100 s, three for 400 s, and drains


def test_no_pod_is_asked_for_beyond_the_most():
    fleet = Fleet(engine(), 60, 3, 0)
    fleet.run(ASKS, Plan({0: 99}), 600)
    assert fleet._made == 3


def test_loads_are_the_same_for_a_seed_and_differ_between_seeds():
    for load in loads(None):
        assert load.asks(1) == load.asks(1)
        assert load.asks(1) != load.asks(2)


def point(hours: float, late: float) -> Point:
    return Point(hours, late, "one", 1.0, 0.0, 1)


def test_the_front_and_what_lies_between():
    curve = front([point(1, 0.5), point(2, 0.1), point(3, 0.2), point(4, 0.0)])
    assert [one.gpu_hours for one in curve] == [1, 2, 4]
    assert late_at(0.5, curve) is None
    assert late_at(3, curve) == 0.05
    assert late_at(9, curve) == 0.0

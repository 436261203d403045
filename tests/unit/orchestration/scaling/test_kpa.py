"""Knative's formula on totals."""

from __future__ import annotations

import random

import pytest

from orchestration.scaling.kpa import Kpa, KpaOptions
from orchestration.scaling.samples import Observation, PodSample, Why
from tests.unit.orchestration.scaling.formulas_by_description import Tick, knative


def seen(at: float, *usages: float | None, replicas: int | None = None, starting: int = 0) -> Observation:
    pods = [PodSample(True, usage) for usage in usages] + [PodSample(False)] * starting
    return Observation(at, len(pods) if replicas is None else replicas, tuple(pods))


@pytest.mark.parametrize(("pods", "usage", "wanted"), [(1, 0.9, 2), (4, 0.9, 8), (8, 0.6, 10)])
def test_a_ratio_adds_up_over_pods(pods: int, usage: float, wanted: int):
    assert Kpa(0.5).recommend(seen(0, *[usage] * pods)).replicas == wanted


def test_it_shrinks_when_the_panic_of_its_start_is_over():
    kpa = Kpa(0.5)
    assert kpa.recommend(seen(0, *[0.3] * 8)).replicas == 8
    assert kpa.recommend(seen(59, *[0.3] * 8)).why == Why.PANIC
    assert kpa.recommend(seen(61, *[0.3] * 8)).replicas == 5


def test_a_restart_in_the_middle_keeps_the_size():
    for usage in (0.0, 0.1, 0.5):
        assert Kpa(0.5).recommend(seen(1000, *[usage] * 6)).replicas >= 6


def test_panic_takes_the_short_window_and_never_shrinks():
    kpa = Kpa(10, KpaOptions(max_up_rate=10))
    for at in range(0, 130, 5):
        kpa.recommend(seen(at, 5))
    burst = kpa.recommend(seen(130, 90))
    assert burst.why == Why.PANIC
    grown = kpa.recommend(seen(135, 90))
    assert grown.replicas > burst.replicas >= 3
    assert kpa.recommend(seen(140, 1)).replicas == grown.replicas


def test_thirty_minutes_of_delay_are_thirty_minutes():
    kpa = Kpa(0.5, KpaOptions(scale_down_delay_seconds=1800))
    sizes = {at: kpa.recommend(seen(at, *[0.9 if at == 0 else 0.1] * 4)).replicas for at in range(0, 2000, 10)}
    assert {sizes[at] for at in range(0, 1800, 10)} == {8}
    assert sizes[1990] < 4


def test_nothing_known_changes_nothing():
    answer = Kpa(0.5).recommend(seen(0, None, None, replicas=7))
    assert (answer.replicas, answer.why) == (7, Why.NO_METRICS)


def test_a_pod_that_tells_nothing_never_makes_it_shrink():
    kpa = Kpa(0.5)
    kpa.recommend(seen(0, *[0.3] * 8))
    assert (
        kpa.recommend(seen(61, *[0.3] * 4, *[None] * 4)).replicas == 7
    )  # (4 * 0.3 + 4 * 0.5 + 8 * 0.3 of t = 0) is out


def test_activation_and_spare():
    assert Kpa(10, KpaOptions(activation_scale=3)).recommend(seen(0, 1)).replicas == 3
    assert Kpa(10, KpaOptions(activation_scale=3)).recommend(seen(0, 0)).replicas == 0
    assert Kpa(10, KpaOptions(spare=15, max_up_rate=9)).recommend(seen(0, 5)).replicas == 2


def trace(rng: random.Random) -> list[Tick]:
    at, ready, level, ticks = 0.0, rng.randint(1, 6), rng.uniform(0, 30), []
    for _ in range(rng.randint(1, 25)):
        at += rng.choice((1, 2, 5, 10, 30))
        level = max(0.0, rng.choice((level, level * rng.uniform(0, 3), rng.uniform(0, 60))))
        ready = max(1, ready + rng.choice((-1, 0, 0, 1, 3)))
        ticks.append(Tick(at, float(round(level)), ready))
    return ticks


@pytest.mark.parametrize("seed", range(10))
def test_it_equals_the_description_on_random_traces(seed: int):
    rng = random.Random(seed)
    for _ in range(1000):
        ticks = trace(rng)
        stable = rng.choice((20, 60, 180))
        options = KpaOptions(
            stable_window_seconds=stable,
            panic_window_seconds=rng.choice((6, 10, 20)),
            panic_threshold=rng.choice((1.5, 2, 3)),
            max_up_rate=rng.choice((1, 2, 10, 1000)),
            max_down_rate=rng.choice((1, 2, 10)),
            scale_down_delay_seconds=rng.choice((0, 30, 300)),
        )
        target = rng.choice((0.5, 1, 4, 10))
        kpa = Kpa(target, options)
        for tick in ticks:
            got = kpa.recommend(seen(tick.at, *[tick.total / tick.ready] * tick.ready)).replicas
        assert got == knative(
            ticks,
            target,
            stable=stable,
            panic=options.panic_window_seconds,
            threshold=options.panic_threshold,
            up=options.max_up_rate,
            down=options.max_down_rate,
            delay=options.scale_down_delay_seconds,
        )

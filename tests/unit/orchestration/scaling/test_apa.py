"""AIBrix's APA, with its tolerances, its window and pods that are still starting."""

from __future__ import annotations

import random

import pytest

from orchestration.scaling.apa import Apa, ApaOptions
from orchestration.scaling.samples import Observation, PodSample, Why
from tests.unit.orchestration.scaling.formulas_by_description import Tick, aibrix_apa


def seen(at: float, *usages: float | None, replicas: int | None = None) -> Observation:
    pods = tuple(PodSample(True, usage) for usage in usages)
    return Observation(at, len(pods) if replicas is None else replicas, pods)


@pytest.mark.parametrize(("usage", "wanted"), [(0.54, 10), (0.56, 12), (0.41, 10), (0.39, 8)])
def test_the_seeds_tolerances(usage: float, wanted: int):
    assert Apa(0.5).recommend(seen(0, *[usage] * 10)).replicas == wanted


@pytest.mark.parametrize(("pods", "usage", "wanted"), [(1, 0.9, 2), (4, 0.9, 8), (8, 0.6, 10), (8, 0.3, 5)])
def test_one_step(pods: int, usage: float, wanted: int):
    assert Apa(0.5).recommend(seen(0, *[usage] * pods)).replicas == wanted


def test_pods_that_start_are_not_asked_for_again():
    apa, replicas = Apa(0.5), 2
    for at in range(0, 100, 10):
        replicas = apa.recommend(seen(at, 0.95, 0.95, replicas=replicas)).replicas
    assert replicas == 4


def test_its_window_is_used():
    apa = Apa(0.5, ApaOptions(window_seconds=30))
    apa.recommend(seen(0, 1.0, 1.0))
    assert apa.recommend(seen(29, 0.0, 0.0)).replicas == 2
    assert apa.recommend(seen(31, 0.0, 0.0)).replicas == 1


def test_nothing_known_changes_nothing():
    answer = Apa(0.5).recommend(seen(0, None, replicas=3))
    assert (answer.replicas, answer.why) == (3, Why.NO_METRICS)


@pytest.mark.parametrize("seed", range(10))
def test_it_equals_the_description_on_random_traces(seed: int):
    rng = random.Random(seed)
    for _ in range(1000):
        options = ApaOptions(
            up_tolerance=rng.choice((0, 0.1, 0.5)),
            down_tolerance=rng.choice((0, 0.1, 0.2)),
            max_up_rate=rng.choice((1, 2, 10)),
            max_down_rate=rng.choice((1, 2, 10)),
            window_seconds=rng.choice((10, 30, 60)),
        )
        target = rng.choice((0.5, 1, 10))
        apa, at, ticks, replicas = Apa(target, options), 0.0, [], rng.randint(1, 10)
        for _ in range(rng.randint(1, 20)):
            at += rng.choice((1, 5, 10, 40))
            ready = rng.randint(1, 8)
            replicas = max(replicas, ready)
            ticks.append(Tick(at, float(rng.randint(0, 40)), ready))
            got = apa.recommend(seen(at, *[ticks[-1].total / ready] * ready, replicas=replicas)).replicas
            expected = aibrix_apa(
                ticks,
                replicas,
                target,
                window=options.window_seconds,
                over=options.up_tolerance,
                under=options.down_tolerance,
                up=options.max_up_rate,
                down=options.max_down_rate,
            )
            assert got == expected
            replicas = got

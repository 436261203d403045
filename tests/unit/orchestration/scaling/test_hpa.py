"""Kubernetes' formula, with pods that tell nothing and pods that are not ready."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.scaling.hpa import Hpa
from orchestration.scaling.samples import Observation, PodSample, Why

HALF = Hpa(0.5)


def seen(*usages: float | None, unready: int = 0, replicas: int | None = None) -> Observation:
    pods = [PodSample(True, usage) for usage in usages] + [PodSample(False)] * unready
    return Observation(0, len(pods) if replicas is None else replicas, tuple(pods))


@pytest.mark.parametrize(
    ("pods", "usage", "wanted"), [(2, 0.8, 4), (2, 0.52, 2), (4, 0.55, 4), (4, 0.25, 2), (3, 0, 0)]
)
def test_the_ratio(pods: int, usage: float, wanted: int):
    assert HALF.recommend(seen(*[usage] * pods)).replicas == wanted


def test_missing_pods_speak_against_every_change():
    assert HALF.recommend(seen(0.1, None)).replicas == 2  # (0.1 + 0.5) / 2 = 0.3: ceil(0.6 * 2)
    assert HALF.recommend(seen(0.9, None)).replicas == 2  # (0.9 + 0) / 2 = 0.45 turns it round
    assert HALF.recommend(seen(0.5, None)).replicas == 2
    assert HALF.recommend(seen(1.0, 1.0, 1.0, None)).replicas == 6


def test_pods_that_start_count_as_idle_when_growing():
    assert HALF.recommend(seen(0.8, 0.8, unready=2)).replicas == 4
    assert HALF.recommend(seen(0.8, 0.8)).replicas == 4


def test_nothing_known_changes_nothing():
    answer = HALF.recommend(seen(None, None, replicas=5))
    assert (answer.replicas, answer.why) == (5, Why.NO_METRICS)


usages = st.lists(st.one_of(st.none(), st.floats(0, 1)), min_size=1, max_size=12)


@given(usages, st.integers(0, 5))
def test_it_never_goes_the_other_way_than_the_pods_that_told_something(told: list[float | None], unready: int):
    what = seen(*told, unready=unready)
    known = [value for value in told if value is not None]
    wanted = HALF.recommend(what).replicas
    if not known:
        assert wanted == what.replicas
    elif sum(known) / len(known) >= 0.5:
        assert wanted >= what.replicas
    else:
        assert wanted <= what.replicas


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0, 0.5))
def test_more_load_never_wants_fewer(told: list[float], more: float):
    before = HALF.recommend(seen(*told)).replicas
    assert HALF.recommend(seen(*[value + more for value in told])).replicas >= before

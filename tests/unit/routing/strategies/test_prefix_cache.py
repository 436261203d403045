"""`prefix-cache`: the longest match within a bound of load."""

from __future__ import annotations

import pytest

from routing.prefix.rendezvous import draws_of_few
from tests.unit.routing.strategies.strategy_cluster import Cluster


def test_match_and_load():
    # The idlest pod has none in flight and one pod holds the best match, so the bound is 6: pod 0 is over it. Loads are
    # requests / (1 + 8).
    cluster = Cluster(3, inflight_requests=[8, 4, 0])
    terms = cluster.terms("prefix-cache", [900, 500, 50], prompt_tokens=1000)
    assert terms[0] == pytest.approx((1, 8 / 9, 0))
    assert terms[1] == pytest.approx((-0.5, 0.02 * 4 / 9, 0))
    assert terms[2] == pytest.approx((1, 0, 0)), "a twentieth is no match"


def test_holders_share_the_bound():
    # Three of them: 2 each. With 4 in flight, even the second is over it.
    cluster = Cluster(3, inflight_requests=[8, 4, 0])
    costs = cluster.costs("prefix-cache", [900, 900, 900], prompt_tokens=1000)
    assert costs == pytest.approx([1 + 8 / 9, 1 + 4 / 9, -0.9])


def test_the_bound_grows_with_the_idlest_pod():
    # 1.25 * 8 + 6 = 16
    cluster = Cluster(2, inflight_requests=[16, 8])
    assert cluster.costs("prefix-cache", [900, 0], prompt_tokens=1000)[0] < 0
    cluster = Cluster(2, inflight_requests=[17, 8])
    assert cluster.costs("prefix-cache", [900, 0], prompt_tokens=1000)[0] > 1


@pytest.mark.parametrize(("options", "matched"), [({}, [100, 0]), ({"minMatchRatio": 0.5}, [500, 0])])
def test_a_match_that_is_just_long_enough(options: dict[str, float], matched: list[float]):
    cluster = Cluster(2)
    assert cluster.costs("prefix-cache", matched, prompt_tokens=1000, options=options)[0] < 0
    assert cluster.costs("prefix-cache", [matched[0] - 1, 0], prompt_tokens=1000, options=options) == [1, 1]


def test_what_nobody_holds_goes_to_the_same_pod_everywhere():
    cluster = Cluster(3)
    addresses = cluster.candidates().address_hash
    terms = cluster.terms("prefix-cache", prompt_tokens=64, prefix=(17,), prefix_tokens=(64.0,))
    expected = [0.001 * (1 - draw) for draw in draws_of_few(addresses, 17)]
    assert [preference for _, _, preference in terms] == pytest.approx(expected)
    assert len(set(expected)) == 3


def test_without_a_prompt_it_is_least_request():
    cluster = Cluster(3, inflight_requests=[2, 0, 1])
    assert cluster.costs("prefix-cache") == pytest.approx([1 + 2 / 3, 1, 1 + 1 / 3])


@pytest.mark.parametrize(
    ("at", "matched", "branch"),
    [
        (0, [900, 0], "prefix_match"),
        (1, [900, 0], "prefix_match_skipped"),
        (1, [0, 900], "prefix_match_skipped"),
        (0, [99, 0], "least_request_fallback"),
    ],
)
def test_why_a_pod_won(at: int, matched: list[float], branch: str):
    cluster = Cluster(2, inflight_requests=[0, 7])
    assert cluster.branch("prefix-cache", at, matched, prompt_tokens=1000) == branch

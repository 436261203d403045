"""Estimates of what cut-off responses had generated."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from gateway_plugin.accounting.cut_off import CutOffTokens
from protos.access_log import FinishedExchange

WHOLE = FinishedExchange(
    charge_id="c",
    user="kim",
    model="m",
    status=200,
    pod_address="a:1",
    duration_seconds=1.0,
    ttft_seconds=None,
    attempts=1,
    client_aborted=False,
)


def streamed(tokens: int, per_token: int, model: str = "m") -> FinishedExchange:
    usage = {"completion_tokens": tokens} if tokens else {}
    return replace(WHOLE, model=model, streamed=True, response_bytes=tokens * per_token, tokens=usage)


def cut(response_bytes: int, model: str = "m", *, is_stream: bool = True) -> FinishedExchange:
    return replace(WHOLE, model=model, streamed=is_stream, response_bytes=response_bytes)


def test_before_anything_is_learned():
    estimates = CutOffTokens()
    assert estimates.generated(cut(2000)) == 10
    assert estimates.generated(cut(2000, is_stream=False)) == 400
    assert estimates.generated(cut(1)) == 1
    assert estimates.generated(cut(0)) == 0


def test_the_models_own_responses_tell_apart_by_form():
    estimates = CutOffTokens()
    estimates.learn(streamed(100, per_token=50))
    assert estimates.generated(cut(2000)) == 40
    assert estimates.generated(cut(2000, model="other")) == 10
    assert estimates.generated(cut(2000, is_stream=False)) == 400


def test_newer_responses_weigh_more_and_longer_ones_too():
    estimates = CutOffTokens()
    for _ in range(200):
        estimates.learn(streamed(100, per_token=60))
    for _ in range(60):
        estimates.learn(streamed(100, per_token=100))
    assert estimates.generated(cut(10_000)) == pytest.approx(100, rel=0.05)
    estimates.learn(streamed(10, per_token=1000))
    assert estimates.generated(cut(10_000)) == pytest.approx(100, rel=0.1)


@pytest.mark.parametrize("entry", [streamed(7, 50), replace(streamed(20, 50), response_bytes=0), cut(500)])
def test_what_tells_nothing_is_passed_over(entry: FinishedExchange):
    estimates = CutOffTokens()
    estimates.learn(entry)
    assert estimates.generated(cut(2000)) == 10


def test_models_are_bounded():
    estimates = CutOffTokens()
    for number in range(2000):
        estimates.learn(streamed(100, 50, model=f"m{number}"))
    assert len(estimates._taught) == 1000


def test_teachers_are_bounded():
    estimates = CutOffTokens()
    for number in range(100):
        estimates.learn(replace(streamed(100, 50), user=f"u{number}"))
    assert [len(teachers) for teachers in estimates._taught.values()] == [32]


def test_one_user_moves_what_holds_for_others_by_little():
    """Ten honest users at 200 bytes a token, and one who asks for log probabilities, ten thousand times."""
    estimates = CutOffTokens()
    for number in range(10):
        estimates.learn(replace(streamed(100, 190 + number), user=f"honest {number}"))
    before = estimates.generated(cut(20_000))
    for _ in range(10_000):
        estimates.learn(replace(streamed(100, 50_000), user="mallory"))
    assert estimates.generated(cut(20_000)) == pytest.approx(before, abs=1)


def test_who_teaches_alone_moves_it_by_a_factor_of_four():
    estimates = CutOffTokens()
    estimates.learn(streamed(100, 50_000))
    assert estimates.generated(cut(8000)) == 10


def test_models_are_bounded_and_the_idle_one_is_forgotten():
    estimates = CutOffTokens()
    for number in range(1000):
        estimates.learn(streamed(10, 50, f"m{number}"))
    assert estimates.generated(cut(2000, "m0")) == 40, "just used"
    estimates.learn(streamed(10, 50, "new"))
    assert estimates.generated(cut(2000, "m1")) == 10, "nothing is known of it"
    assert estimates.generated(cut(2000, "m0")) == 40

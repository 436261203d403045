"""Arrivals: when requests are due, how long they are, and whose."""

from __future__ import annotations

import itertools
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_plugin.tools.bench.asks import Ask, AskBounds, closed, poisson, shaped, with_users
from gateway_plugin.tools.bench.lengths import LONGEST_TOKENS, AskLengths, LengthsError, parse

FIXED = AskLengths("even", 8, 8)


def test_poisson_arrivals_have_the_rate_and_the_spread_of_exponential_gaps() -> None:
    times = [ask.at_seconds for ask in itertools.islice(poisson(20.0, FIXED, FIXED, seed=1), 20_000)]
    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert statistics.mean(gaps) == pytest.approx(0.05, rel=0.03)
    assert statistics.stdev(gaps) == pytest.approx(0.05, rel=0.05)


def test_the_same_seed_gives_the_same_and_another_does_not() -> None:
    lengths = AskLengths("even", 1, 1000)
    first, again, other = (list(itertools.islice(poisson(1.0, lengths, lengths, seed), 50)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_lengths_do_not_depend_on_the_rate() -> None:
    lengths = AskLengths("even", 1, 1000)
    slow, fast = (list(itertools.islice(poisson(rate, lengths, lengths, 1), 50)) for rate in (1.0, 9.0))
    assert [ask.prompt_tokens for ask in slow] == [ask.prompt_tokens for ask in fast]


@given(
    st.lists(st.floats(0, 100), max_size=30).map(sorted), st.none() | st.integers(0, 40), st.none() | st.floats(0, 120)
)
def test_bounds(times: list[float], requests: int | None, seconds: float | None) -> None:
    kept = list(AskBounds(requests, seconds).cut(Ask(at, 1, 1) for at in times))
    in_time = [at for at in times if seconds is None or at <= seconds]
    assert [ask.at_seconds for ask in kept] == in_time[:requests]


def test_bounds_end_what_has_no_end() -> None:
    assert len(list(AskBounds(3).cut(closed(FIXED, FIXED, 0)))) == 3
    assert all(ask.at_seconds <= 5 for ask in AskBounds(seconds=5).cut(poisson(10, FIXED, FIXED, 0)))


def test_a_faster_trace_with_shorter_prompts() -> None:
    asks = [Ask(10.0, 1000, 5, (1, 2)), Ask(20.0, 100, 5, (1,))]
    assert list(shaped(asks, speedup=2.0, longest_prompt_tokens=600)) == [
        Ask(5.0, 600, 5, (1, 2)),
        Ask(10.0, 100, 5, (1,)),
    ]


def test_users_share_the_requests_evenly() -> None:
    users = [ask.user for ask in with_users([Ask(0, 1, 1)] * 3000, users=3, seed=0)]
    assert {name: users.count(name) > 900 for name in set(users)} == {"bench-0": True, "bench-1": True, "bench-2": True}
    assert [ask.user for ask in with_users([Ask(0, 1, 1)], users=0, seed=0)] == [""]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("512", AskLengths("even", 512, 512)),
        ("100-2000", AskLengths("even", 100, 2000)),
        ("exponential:500", AskLengths("exponential", 500)),
        ("lognormal:800:1.5", AskLengths("lognormal", 800, 1.5)),
    ],
)
def test_lengths_are_read(text: str, expected: AskLengths) -> None:
    assert parse(text, "--prompt-tokens") == expected


WRONG = (
    "",
    "0",
    "-5",
    "9-3",
    "many",
    "lognormal:5",
    "exponential:",
    "exponential:nan",
    "normal:5:1",
    "1e3",
    "99999999",
)


@pytest.mark.parametrize("text", WRONG)
def test_wrong_lengths_are_named(text: str) -> None:
    with pytest.raises(LengthsError, match=f"--prompt-tokens {text}: expected 512, 100-2000"):
        parse(text, "--prompt-tokens")


@given(st.text(max_size=30))
def test_any_text_is_lengths_or_an_error(text: str) -> None:
    try:
        lengths = parse(text, "--output-tokens")
    except LengthsError:
        return
    assert 1 <= lengths.draw(random.Random(0)) <= LONGEST_TOKENS


@given(st.integers(1, 1000), st.floats(0, 10), st.integers())
def test_every_drawn_length_can_be_asked_for(first: int, second: float, seed: int) -> None:
    rng = random.Random(seed)
    for lengths in (
        AskLengths("exponential", first),
        AskLengths("lognormal", first, second),
        AskLengths("even", first, 1000),
    ):
        assert 1 <= lengths.draw(rng) <= LONGEST_TOKENS
    assert AskLengths("lognormal", first, 0.0).draw(rng) == first

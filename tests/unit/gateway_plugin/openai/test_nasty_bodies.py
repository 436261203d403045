"""Bodies that are made to cost much: what is allocated and done for them is bounded, whatever they are."""

from __future__ import annotations

import sys

import pytest

from benchmarks.nasty_bodies import Nasty, nasty_bodies, peak_of_reading, read

MIB = 1024 * 1024
SMALL, LARGE = MIB // 4, 4 * MIB
MAX_STEPS = 50_000
"""1024 members, or 1000 parts of a form, which are refused after that."""
SMALL_ONES = list(nasty_bodies(SMALL))
LARGE_ONES = list(nasty_bodies(LARGE))


PAIRS = [pytest.param(*pair, id=pair[0].name) for pair in zip(SMALL_ONES, LARGE_ONES, strict=True)]


@pytest.mark.parametrize(("small", "large"), PAIRS)
def test_no_body_is_turned_into_more_than_twice_its_bytes(small: Nasty, large: Nasty):
    assert peak_of_reading(small) < 2 * len(small.body) + MIB, "small ones are decoded at once"
    assert peak_of_reading(large) < 2 * len(large.body)


@pytest.mark.parametrize(("small", "large"), PAIRS)
def test_no_body_takes_a_step_for_each_of_its_items(small: Nasty, large: Nasty):
    assert steps(small) < MAX_STEPS
    assert steps(large) < MAX_STEPS + 4_000 * len(large.body) / MIB, "and some for each stride in which media may begin"


def steps(nasty: Nasty) -> int:
    """Calls of functions, in Python and in C."""
    count = 0

    def counted(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(counted)
    try:
        read(nasty)
    finally:
        sys.setprofile(None)
    return count


def test_every_outcome_is_a_reading_or_a_refusal():
    assert {read(nasty) for nasty in LARGE_ONES} == {"read", "400"}

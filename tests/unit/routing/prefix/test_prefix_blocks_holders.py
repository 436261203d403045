"""Where rows lose a chain is bisected: the same must be found as by walking it block by block."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from routing.prefix.prefix_blocks import Holders

BLOCKS = tuple(range(1000, 1100))
TOKENS = tuple(64.0 * (at + 1) for at in range(len(BLOCKS)))
DEPTHS = st.lists(st.integers(0, len(BLOCKS)), min_size=1, max_size=20)
LIKELY_DEPTHS = st.lists(st.sampled_from([0, 1, 2, 20, 99, 100]), min_size=1, max_size=20)


def holders_of(depths: list[int]) -> Holders:
    """Row i holds so many blocks; rows between them belong to others, who hold everything."""
    holders = Holders()
    for row, depth in enumerate(depths):
        holders.add(1 << (2 * row), BLOCKS[:depth])
        holders.add(1 << (2 * row + 1), BLOCKS)
    return holders


@given(DEPTHS | LIKELY_DEPTHS, st.integers(0, len(BLOCKS)))
def test_every_row_is_found_as_deep_as_it_holds_the_chain(depths: list[int], asked: int):
    holders, rows = holders_of(depths), np.arange(len(depths), dtype=np.int64) * 2
    expected = [min(depth, asked) for depth in depths]
    assert holders.matched(BLOCKS[:asked], rows).tolist() == expected
    found = holders.matched_tokens(BLOCKS[:asked], TOKENS[:asked], rows)
    assert found.tokens == [(0.0, *TOKENS)[depth] for depth in expected]
    assert found.best_tokens == max(found.tokens)
    assert found.holders == (expected.count(max(expected)) if any(expected) else 1)


def test_what_is_known_of_rows_is_theirs_alone_and_bounded():
    holders = holders_of([100, 3])
    for _ in range(1000):
        both, second = np.array([0, 2], dtype=np.int64), np.array([2], dtype=np.int64)
        assert holders.matched_tokens(BLOCKS[:4], TOKENS[:4], both).tokens == [256.0, 192.0]
        assert holders.matched_tokens(BLOCKS[:4], TOKENS[:4], second).tokens == [192.0]
    assert len(holders._few) <= 256


def test_no_rows_hold_nothing():
    nobody = np.array([], dtype=np.int64)
    found = holders_of([5]).matched_tokens(BLOCKS, TOKENS, nobody)
    assert (found.tokens, found.best_tokens, found.holders) == ([], 0.0, 1)

"""Which pod holds which prefix: matching, recency, capacity, failed and silent requests, rows that change hands."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from routing.prefix.prefix_blocks import PrefixKeys
from routing.prefix.prefix_index import PrefixBooking, PrefixIndex

TTL_SECONDS = 600.0


class Clock:
    now_seconds = 0.0

    def __call__(self) -> float:
        return self.now_seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def make(clock: Clock, **options: Any) -> PrefixIndex:
    return PrefixIndex(clock, ttl_seconds=TTL_SECONDS, **options)


@pytest.fixture
def index(clock: Clock) -> PrefixIndex:
    return make(clock, capacity_tokens=10 * 64)


def chain(name: str) -> PrefixKeys:
    """A block for every letter; names that begin alike share blocks."""
    hashes = tuple(int.from_bytes(name[: i + 1].encode(), "big") for i in range(len(name)))
    return PrefixKeys(hashes, tuple((i + 1) * 64.0 for i in range(len(name))))


def matched(index: PrefixIndex, name: str, *rows: int) -> list[int]:
    found = index.matched_blocks(chain(name).hashes, np.array(rows, dtype=np.int64))
    assert found.dtype == np.int64
    return [int(count) for count in found]


def test_every_row_matches_as_far_as_it_goes(index: PrefixIndex):
    for row, name in ((0, "abcd"), (3, "abxy"), (700, "a"), (5, "zbcd")):
        index.insert(row, chain(name))
    assert matched(index, "abcdef", 3, 0, 700, 5, 9, 64) == [2, 4, 1, 0, 0, 0]
    assert matched(index, "ab", 0, 3) == [2, 2]
    assert index.blocks == 13


def test_rows_that_are_no_candidates_do_not_matter(index: PrefixIndex):
    index.insert(1, chain("abcd"))
    assert matched(index, "abcd", 0, 2, 4000) == [0, 0, 0]


def test_nothing_to_match(index: PrefixIndex):
    index.insert(0, chain("ab"))
    assert matched(index, "") == matched(index, "ab") == []
    assert matched(index, "", 0, 1) == [0, 0]


def test_a_burst_finds_a_prompt_that_is_only_booked(index: PrefixIndex):
    index.book(2, chain("abc"))
    assert matched(index, "abcd", 1, 2) == [0, 3]


def test_leaves_go_before_their_root(index: PrefixIndex):
    index.insert(0, chain("abcdefghij"))
    index.insert(0, chain("xyz"))
    assert matched(index, "abcdefghij", 0) == [6]
    assert matched(index, "xyz", 0) == [3]
    assert index.evicted == 4


def test_a_hit_refreshes_the_whole_chain(index: PrefixIndex):
    for name in ("abcd", "mnop", "abcd", "wxyz"):
        index.insert(0, chain(name))
    assert matched(index, "abcd", 0) == matched(index, "wxyz", 0) == [4]
    assert matched(index, "mnop", 0) == [1]


def test_a_shared_root_outlives_all_branches(index: PrefixIndex):
    for branch in "bcdefghijklm":
        index.insert(0, chain("r" + branch * 3))
    assert matched(index, "r", 0) == [1]
    assert matched(index, "rmmm", 0) == [4]


def test_a_chain_that_just_fits_stays_whole_and_a_longer_one_keeps_its_root(index: PrefixIndex):
    index.insert(0, chain("mn"))
    index.insert(0, chain("abcdefghij"))
    assert matched(index, "abcdefghij", 0) == [10]
    index.insert(0, chain("abcdefghijkl"))
    assert matched(index, "abcdefghijkl", 0) == [10]


def test_capacity_can_change(index: PrefixIndex):
    index.set_capacity(0, 3 * 64)
    index.insert(0, chain("abcdef"))
    index.insert(1, chain("abcdef"))
    assert matched(index, "abcdef", 0, 1) == [3, 6]
    index.set_capacity(1, 64)
    assert matched(index, "abcdef", 0, 1) == [3, 1]
    index.set_capacity(0, 20 * 64)
    index.insert(0, chain("abcdefghijklmno"))
    assert matched(index, "abcdefghijklmno", 0) == [15]


def test_a_dropped_row_starts_empty_with_the_default_capacity(index: PrefixIndex):
    index.set_capacity(0, 64)
    index.insert(0, chain("ab"))
    index.insert(1, chain("ab"))
    index.drop_row(0)
    index.drop_row(9)
    assert matched(index, "ab", 0, 1) == [0, 2]
    index.insert(0, chain("abc"))
    assert matched(index, "abc", 0) == [3]
    assert index.blocks == 5


def test_a_booking_never_touches_the_successor_of_its_pod(index: PrefixIndex, clock: Clock):
    silent, failed, succeeded = (index.book(0, chain("ab")) for _ in range(3))
    index.drop_row(0)
    index.book(0, chain("a"))
    index.take_back(failed)
    index.confirm(succeeded)
    assert matched(index, "ab", 0) == [1]
    clock.now_seconds = TTL_SECONDS - 1
    index.insert(0, chain("a"))
    clock.now_seconds = TTL_SECONDS
    assert matched(index, "ab", 0) == [1]
    assert silent.row == 0
    assert (index.taken_back, index.expired) == (0, 0)


def test_take_back_removes_what_the_booking_added(index: PrefixIndex):
    index.insert(0, chain("ab"))
    index.insert(1, chain("abcd"))
    booking = index.book(0, chain("abcd"))
    index.take_back(booking)
    index.take_back(booking)
    assert matched(index, "abcd", 0, 1) == [2, 4]
    assert index.taken_back == 2


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_blocks_stay_while_another_request_speaks_for_them(index: PrefixIndex, order: tuple[int, ...]):
    bookings = [index.book(0, chain(name)) for name in ("abc", "abcd", "ab")]
    expected = {frozenset({1, 2}): 4, frozenset({0, 1}): 4, frozenset({2}): 2, frozenset({0}): 3, frozenset({0, 2}): 3}
    left = {0, 1, 2}
    for number in order:
        index.take_back(bookings[number])
        left.remove(number)
        assert matched(index, "abcd", 0) == [expected.get(frozenset(left), 0)]
    assert index.blocks == 0


def test_confirmed_blocks_stay_when_another_booking_of_them_fails(index: PrefixIndex, clock: Clock):
    first, second = index.book(0, chain("abc")), index.book(0, chain("abcd"))
    index.confirm(first)
    index.take_back(second)
    clock.now_seconds = 10 * TTL_SECONDS
    assert matched(index, "abcd", 0) == [3]


def test_unconfirmed_blocks_go_after_their_time(index: PrefixIndex, clock: Clock):
    index.book(0, chain("abc"))
    clock.now_seconds = 100.0
    index.confirm(index.book(0, chain("a")))
    index.book(0, chain("ab"))
    clock.now_seconds = TTL_SECONDS - 0.001
    assert matched(index, "abc", 0) == [3]
    clock.now_seconds = TTL_SECONDS
    assert matched(index, "abc", 0) == [2]
    clock.now_seconds = TTL_SECONDS + 100.0
    assert matched(index, "abc", 0) == [1]
    assert index.expired == 2


def test_a_late_success_brings_expired_blocks_back(index: PrefixIndex, clock: Clock):
    booking = index.book(0, chain("abc"))
    clock.now_seconds = TTL_SECONDS
    assert matched(index, "abc", 0) == [0]
    index.confirm(booking)
    assert matched(index, "abc", 0) == [3]


def test_a_long_backlog_of_expired_bookings_shrinks_call_by_call(index: PrefixIndex, clock: Clock):
    for row in range(100):
        index.book(row, chain("ab"))
    clock.now_seconds = TTL_SECONDS
    before = [index.blocks for _ in range(7) if matched(index, "ab", 0)]
    assert before == [168, 136, 104, 72, 40, 8, 0]


def test_pending_blocks_are_bounded_oldest_first(clock: Clock):
    index = make(clock, max_pending_blocks=5)
    index.book(0, chain("abc"))
    index.book(1, chain("abc"))
    assert matched(index, "abc", 0, 1) == [0, 3]
    assert "1 pending" in repr(index)
    for _ in range(10):
        index.book(2, chain(""))
    assert "1 pending" in repr(index)


def test_a_long_prompt_makes_room_among_many_short_ones_over_several_calls(clock: Clock):
    index = make(clock, max_pending_blocks=40)
    for row in range(40):
        index.book(row, chain("a"))
    index.book(40, chain("a" * 40))
    assert index._pending_blocks == 64
    assert matched(index, "a", 20, 39) == [0, 1]
    assert index._pending_blocks == 48
    assert matched(index, "a", 39) == [0]
    assert index._pending_blocks == 40


def test_all_blocks_are_bounded_at_the_expense_of_the_fullest(clock: Clock):
    index = make(clock, max_blocks=12)
    index.insert(0, chain("abcdefgh"))
    index.insert(1, chain("ijk"))
    index.insert(2, chain("lmnop"))
    assert index.blocks == 12
    assert matched(index, "abcdefgh", 0) == [4]
    assert matched(index, "lmnop", 2) == [5]
    index.insert(2, chain("lmnopqrstuvwxyzab"))
    assert index.blocks == 12


def test_recycled_blocks_leave_nothing_behind(index: PrefixIndex):
    held: list[PrefixBooking] = []
    for i in range(300):
        name = f"{i % 7}{i % 11}{i % 13}"
        held.append(index.book(i % 5, chain(name)))
        if i % 3:
            index.confirm(held.pop())
        elif i % 2:
            index.take_back(held.pop(0))
        if i % 17 == 0:
            index.drop_row(i % 5)
    for booking in held:
        index.take_back(booking)
    assert not any(pod.claims() for pod in index._rows.values())
    for row in range(5):
        index.drop_row(row)
    assert (index.blocks, len(index._holders), len(index._pending), index._pending_blocks) == (0, 0, 0, 0)
    assert not any(booking.pod.claims() for booking in held)


def test_repr_counts(index: PrefixIndex, clock: Clock):
    index.insert(0, chain("abcdefghijk"))
    index.take_back(index.book(1, chain("ab")))
    index.book(1, chain("abc"))
    clock.now_seconds = TTL_SECONDS
    index.matched_blocks((), np.array([0]))
    index.book(1, chain("a"))
    assert repr(index) == "<PrefixIndex 11 blocks on 2 pods, 1 pending, 1 evicted, 3 expired, 2 taken back>"

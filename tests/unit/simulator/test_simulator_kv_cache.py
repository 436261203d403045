from __future__ import annotations

from simulator.kv_cache import KvCache


def admit_and_publish(cache: KvCache, hashes: list[int]):
    allocation = cache.admit(hashes, len(hashes), len(hashes))
    assert allocation is not None
    cache.publish(allocation, hashes[len(allocation.hashes) :])
    return allocation


def test_released_blocks_stay_cached_and_count_as_free():
    cache = KvCache(10)
    cache.release(admit_and_publish(cache, [1, 2, 3]))
    assert (cache.held_blocks, cache.idle_blocks, cache.usage) == (0, 3, 0.0)
    again = cache.admit([1, 2, 9], 3, 3)
    assert again is not None
    assert (again.hashes, again.private, cache.idle_blocks, cache.usage) == ([1, 2], 1, 1, 0.3)


def test_shared_blocks_are_held_once():
    cache = KvCache(10)
    first = admit_and_publish(cache, [1, 2, 3])
    second = admit_and_publish(cache, [1, 2, 3, 4])
    assert cache.held_blocks == 4
    cache.release(first)
    assert (cache.held_blocks, cache.idle_blocks) == (4, 0)
    cache.release(second)
    assert (cache.held_blocks, cache.idle_blocks) == (0, 4)


def test_eviction_takes_the_least_recently_released_and_the_end_of_a_prefix_first():
    cache = KvCache(6)
    cache.release(admit_and_publish(cache, [1, 2, 3]))
    cache.release(admit_and_publish(cache, [7, 8, 9]))
    assert cache.admit([], 2, 0) is not None
    hit = cache.admit([1, 2, 3], 3, 3)
    assert hit is not None
    assert hit.hashes == [1]


def test_held_blocks_are_never_evicted():
    cache = KvCache(4)
    held = admit_and_publish(cache, [1, 2, 3])
    assert cache.admit([], 2, 0) is None
    assert cache.grow(held) is True
    assert cache.grow(held) is False
    assert cache.held_blocks == 4


def test_reused_idle_blocks_do_not_count_as_room_for_new_ones():
    cache = KvCache(4)
    cache.release(admit_and_publish(cache, [1, 2, 3]))
    assert cache.admit([1, 2, 3], 5, 3) is None
    assert cache.admit([1, 2, 3], 4, 3) is not None


def test_a_block_computed_twice_at_the_same_time_stays_private_to_the_second():
    cache = KvCache(4)
    first, second = cache.admit([1], 1, 1), cache.admit([1], 1, 1)
    assert first is not None
    assert second is not None
    cache.publish(first, [1])
    cache.publish(second, [1])
    assert (second.hashes, second.private, cache.held_blocks) == ([], 1, 2)
    cache.release(second)
    cache.release(first)
    assert (cache.held_blocks, cache.idle_blocks) == (0, 1)

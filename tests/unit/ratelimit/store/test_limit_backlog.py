"""First in, first out, bounded by number and by age."""

from __future__ import annotations

from ratelimit.store.backlog import Backlog


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def items(taken: list[tuple[float, int]]) -> list[int]:
    return [item for _, item in taken]


def test_the_oldest_is_dropped_and_counted():
    backlog: Backlog[int] = Backlog(Clock(), max_age_seconds=60, max_items=3)
    backlog.put(range(5))
    assert len(backlog) == 3
    assert backlog.dropped == 2
    assert items(backlog.take(2)) == [2, 3]
    assert items(backlog.take(2)) == [4]
    assert items(backlog.take(2)) == []


def test_what_is_put_back_is_first_again_and_keeps_its_age():
    clock = Clock()
    backlog: Backlog[int] = Backlog(clock, max_age_seconds=60, max_items=4)
    backlog.put([0, 1, 2])
    clock.now += 30
    backlog.put([3])
    taken = backlog.take(2)
    backlog.put([4, 5])
    backlog.put_back(taken)
    assert backlog.dropped == 2
    assert items(backlog.take(1)) == [2]
    clock.now += 30
    assert items(backlog.take(9)) == [3, 4, 5]
    backlog.put_back([(clock.now - 60, 9)])
    assert items(backlog.take(9)) == []
    assert backlog.expired == 1

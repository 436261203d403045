"""Who waits for a pod with room, and in which order they get one."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from gateway_plugin.exchange.waiting import LOOK_SECONDS, WaitingRoom


class Timer:
    def __init__(self, call: Callable[[], None]) -> None:
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Room:
    """A waiting room before pods with `places` left, by model."""

    def __init__(self, *, max_length: int = 10, **places: int) -> None:
        self.places = places
        self.timers: list[Timer] = []
        self.looks: list[Timer] = []
        self.resumed: list[str] = []
        self.gave_up: list[str] = []
        self.room = WaitingRoom(
            lambda model: self.places.get(model, 0) > 0, self._later, max_length=max_length, max_wait_seconds=2.0
        )

    def _later(self, seconds: float, call: Callable[[], None]) -> Timer:
        assert seconds in (2.0, LOOK_SECONDS)
        timers = self.timers if seconds == 2.0 else self.looks
        timers.append(Timer(call))
        return timers[-1]

    def enter(self, name: str, user: str, model: str = "m") -> Guest | None:
        guest = Guest(name, self, model)
        return guest if self.room.enter(model, user, guest) else None

    def free(self, count: int, model: str = "m") -> None:
        self.places[model] = self.places.get(model, 0) + count
        self.room.freed()


class Guest:
    def __init__(self, name: str, room: Room, model: str) -> None:
        self.name, self.room, self.model = name, room, model

    def resume(self) -> None:
        self.room.places[self.model] -= 1
        self.room.resumed.append(self.name)

    def give_up(self) -> None:
        self.room.gave_up.append(self.name)


def test_users_take_turns():
    bench = Room()
    for name in ("a1", "a2", "a3", "b1", "c1", "b2"):
        bench.enter(name, name[0])
    bench.free(4)
    assert bench.resumed == ["a1", "b1", "c1", "a2"]
    assert bench.room.lengths() == {"m": 2}
    bench.free(5)
    assert bench.resumed[4:] == ["b2", "a3"]
    assert bench.room.lengths() == {}


def test_a_full_queue_lets_nobody_in_and_others_stay():
    bench = Room(max_length=2)
    assert bench.enter("1", "a") is not None
    assert bench.enter("2", "b") is not None
    assert bench.enter("3", "c") is None
    assert bench.enter("4", "c", "other") is not None, "every model has a queue of its own"
    bench.free(3)
    assert bench.resumed == ["1", "2"]


def test_nobody_fills_a_queue_for_others():
    bench = Room(max_length=4)
    assert all(bench.enter(f"a{number}", "a") for number in range(4))
    assert bench.enter("a4", "a") is None, "of one's own nobody makes room"
    assert bench.enter("b0", "b") is not None
    assert bench.enter("b1", "b") is not None
    assert bench.gave_up == ["a3", "a2"], "the last of the longest line"
    assert bench.enter("b2", "b") is None, "two and two"
    assert bench.enter("c0", "c") is not None
    assert bench.enter("d0", "d") is not None
    assert bench.enter("e0", "e") is None
    bench.free(10)
    assert (bench.resumed, bench.room.lengths()) == (["a0", "b0", "c0", "d0"], {})


def test_who_leaves_is_forgotten_and_may_say_so_twice():
    bench = Room()
    first, _ = bench.enter("1", "a"), bench.enter("2", "a")
    assert first is not None
    bench.room.leave(first)
    bench.room.leave(first)
    assert bench.timers[0].cancelled
    bench.free(1)
    assert bench.resumed == ["2"]


def test_waiting_ends_in_time():
    bench = Room()
    bench.enter("1", "a")
    bench.timers[0].call()
    assert bench.gave_up == ["1"]
    bench.free(1)
    assert bench.resumed == []
    assert bench.room.lengths() == {}


@given(st.lists(st.tuples(st.sampled_from("ELFX"), st.sampled_from("abc"), st.integers(0, 5)), max_size=40))
def test_nobody_is_lost_or_served_twice(actions: list[tuple[str, str, int]]):
    bench = Room(max_length=4)
    inside: dict[str, Guest] = {}
    left: list[str] = []
    for number, (action, user, which) in enumerate(actions):
        if action == "E" and (guest := bench.enter(str(number), user)) is not None:
            inside[guest.name] = guest
        elif action in "LX" and inside:
            guest = inside[sorted(inside)[which % len(inside)]]
            bench.room.leave(guest)
            left.append(guest.name)
        elif action == "F":
            bench.free(1)
        for name in [*bench.resumed, *bench.gave_up, *left]:
            inside.pop(name, None)
        assert sum(bench.room.lengths().values()) == len(inside) <= 4
    assert len(set(bench.resumed)) == len(bench.resumed)
    assert not set(bench.resumed) & {*left, *bench.gave_up}


def test_a_long_queue_of_those_who_end_at_once_ends_without_depth():
    """Each gives its place back before the next is looked for: as one call inside the other, they would overflow."""
    bench = Room(max_length=5_000)

    class Brief(Guest):
        def resume(self) -> None:
            super().resume()
            bench.free(1, self.model)

    for number in range(5_000):
        bench.room.enter("m", "a", Brief(str(number), bench, "m"))
    bench.free(1)
    assert bench.resumed == [str(number) for number in range(5_000)]


def test_who_ends_at_once_may_make_room_before_another_model():
    bench = Room(b=1)

    class Moving(Guest):
        def resume(self) -> None:
            super().resume()
            bench.free(1, "a")

    bench.enter("first", "u", "a")
    bench.room.enter("b", "u", Moving("second", bench, "b"))
    bench.room.freed()
    assert bench.resumed == ["second", "first"]


def test_room_that_others_made_is_looked_for_while_anybody_waits_and_only_then():
    bench = Room(m=0)
    assert not bench.looks
    bench.enter("first", "a")
    bench.enter("second", "b")
    assert len(bench.looks) == 1, "one look for all"
    bench.looks[-1].call()
    assert bench.resumed == []
    bench.places["m"] = 2
    bench.looks[-1].call()
    assert bench.resumed == ["first", "second"]
    assert len(bench.looks) == 2, "nobody waits, nobody looks"
    bench.enter("third", "a")
    assert len(bench.looks) == 3

"""Requests that wait for a pod with room: one short queue per model, in which users take turns.

A user with a hundred waiting requests and a user with one are served alternately; within a user, first come, first
served. A queue is bounded in length, and every wait in time. Nobody can fill it for others: where it is full, the last
of whoever has most there makes room for one of whom fewer wait.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

LOOK_SECONDS = 0.05
"""A pod that another replica, or discovery, made room on is found at the latest after this."""


class Waiter(Protocol):
    """What waits."""

    def resume(self) -> None:
        """A pod has room: book it now, before anybody else can."""

    def give_up(self) -> None:
        """It took too long."""


class Timer(Protocol):
    """As `asyncio.TimerHandle`."""

    def cancel(self) -> None:
        """The call will not be made."""


CallLater = Callable[[float, Callable[[], None]], Timer]


@dataclass(slots=True)
class _Queue:
    """Users in the order of their turns, each with their waiters in the order of arrival."""

    turns: OrderedDict[str, deque[Waiter]] = field(default_factory=OrderedDict)
    length: int = 0

    def put(self, user: str, waiter: Waiter) -> None:
        self.turns.setdefault(user, deque()).append(waiter)
        self.length += 1

    def take(self) -> Waiter:
        """The first of the user whose turn it is; the user's others wait for the next turn."""
        user, waiters = self.turns.popitem(last=False)
        if len(waiters) > 1:
            self.turns[user] = waiters
        self.length -= 1
        return waiters.popleft()

    def last_of_longest(self, user: str) -> Waiter | None:
        """Who goes home for one more of `user`; None where nobody has so many more that this would be fair."""
        longest = max(self.turns.values(), key=len)
        return longest[-1] if len(longest) > len(self.turns.get(user, ())) + 1 else None

    def drop(self, user: str, waiter: Waiter) -> None:
        waiters = self.turns[user]
        waiters.remove(waiter)
        self.length -= 1
        if not waiters:
            del self.turns[user]


class WaitingRoom:
    """The queues of all models. Empty ones are not kept, so there are never more than models in demand."""

    def __init__(
        self,
        has_room: Callable[[str], bool],
        call_later: CallLater,
        *,
        max_length: int,
        max_wait_seconds: float,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._has_room = has_room
        self._call_later = call_later
        self._max_length = max_length
        self._max_wait_seconds = max_wait_seconds
        self._look_seconds = look_seconds
        self.queues: dict[str, _Queue] = {}
        """By model; others ask only whether there are any."""
        self._timers: dict[Waiter, tuple[str, str, Timer]] = {}
        self._looking = False
        self._resuming = False
        self._has_news = False

    @property
    def enabled(self) -> bool:
        """Whether anybody may wait at all."""
        return self._max_length > 0

    def lengths(self) -> dict[str, int]:
        """How many wait for each model."""
        return {model: queue.length for model, queue in self.queues.items()}

    def enter(self, model: str, user: str, waiter: Waiter) -> bool:
        """Lets the waiter wait; False when the queue of the model is full."""
        if not self._has_place(model, user):
            return False
        self.queues.setdefault(model, _Queue()).put(user, waiter)
        timer = self._call_later(self._max_wait_seconds, lambda: self._expire(waiter))
        self._timers[waiter] = (model, user, timer)
        if not self._looking:
            self._looking = True
            self._call_later(self._look_seconds, self._look)
        return True

    def leave(self, waiter: Waiter) -> None:
        """The waiter has gone; safe to call for one that does not wait."""
        found = self._timers.pop(waiter, None)
        if found is not None:
            model, user, timer = found
            timer.cancel()
            self.queues[model].drop(user, waiter)
            self._forget_empty(model)

    def freed(self) -> None:
        """Somewhere a request ended: whoever finds room now is resumed, one after the other.

        Who is resumed may end at once, and say so here: that is noted, and seen to before the first call returns.
        """
        self._has_news = True
        if self._resuming:
            return
        self._resuming = True
        try:
            while self._has_news:
                self._has_news = False
                for model in list(self.queues):
                    self._resume_all(model)
        finally:
            self._resuming = False

    def _look(self) -> None:
        self.freed()
        self._looking = bool(self.queues)
        if self._looking:
            self._call_later(self._look_seconds, self._look)

    def _resume_all(self, model: str) -> None:
        while model in self.queues and self._has_room(model):
            waiter = self.queues[model].take()
            self._timers.pop(waiter)[2].cancel()
            self._forget_empty(model)
            waiter.resume()

    def _has_place(self, model: str, user: str) -> bool:
        queue = self.queues.get(model)
        if queue is None or queue.length < self._max_length:
            return self.enabled
        last = queue.last_of_longest(user)
        if last is None:
            return False
        self._expire(last)
        return True

    def _expire(self, waiter: Waiter) -> None:
        self.leave(waiter)
        waiter.give_up()

    def _forget_empty(self, model: str) -> None:
        if not self.queues[model].length:
            del self.queues[model]

"""Requests for a model that has been scaled to zero: they wait for its first pod, and by waiting they wake it.

`/load` tells how many wait, and the controller scales the model up within a second or two. Bounded per model and in all
in number, in all in bytes of bodies, of which one user may hold half, and each in time; users take turns, and none can
fill the room for others (`waiting.py`).
Envoy waits longer than for other answers when it is told to: once a message, up to its `max_message_timeout`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway_plugin.exchange.waiting import WaitingRoom
from protos.ext_proc import more_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway_plugin.exchange.steps import WaitForPod
    from gateway_plugin.exchange.waiting import CallLater, Waiter

LOOK_FOR_PODS_SECONDS = 0.2
"""A first pod takes tens of seconds to come; a look costs a microsecond for each model that is waited for."""
MAX_HELD = 10_000
"""Requests of all models together, at 10 KB each; names of models that sleep are the operator's, but may be many."""
MARGIN_SECONDS = 1.0
"""By how much Envoy waits longer than a request is held, so that the client hears it from us."""


class HoldingRoom:
    """Of one process."""

    def __init__(
        self,
        has_pods: Callable[[str], bool],
        call_later: CallLater,
        *,
        max_requests: int,
        max_bytes: int,
        max_seconds: float,
    ) -> None:
        self._room = WaitingRoom(
            has_pods,
            call_later,
            max_length=max_requests,
            max_wait_seconds=max_seconds,
            look_seconds=LOOK_FOR_PODS_SECONDS,
        )
        self._max_bytes = max_bytes
        self.held: dict[Waiter, _Held] = {}
        """Others read its length."""
        self.held_bytes = 0
        self._bytes_by_user: dict[str, int] = {}
        """Of those who hold any."""
        self.more_time = more_time(max_seconds + MARGIN_SECONDS)
        """The message to Envoy."""

    def lengths(self) -> dict[str, int]:
        """How many wait for each model."""
        return self._room.lengths()

    def enter(self, step: WaitForPod, waiter: Waiter) -> bool:
        """Lets the waiter wait; False when there is no room for it."""
        if not self._has_room(step):
            return False
        held = _Held(self, waiter, step.turn, step.body_bytes)
        if not self._room.enter(step.model, step.turn, held):
            return False
        self.held[waiter] = held
        self._count(step.turn, step.body_bytes)
        return True

    def _has_room(self, step: WaitForPod) -> bool:
        size = step.body_bytes
        if len(self.held) >= MAX_HELD or self.held_bytes + size > self._max_bytes:
            return False
        return self._bytes_by_user.get(step.turn, 0) + size <= self._max_bytes // 2

    def _count(self, user: str, size: int) -> None:
        self.held_bytes += size
        left = self._bytes_by_user.get(user, 0) + size
        if left:
            self._bytes_by_user[user] = left
        else:
            self._bytes_by_user.pop(user, None)

    def leave(self, waiter: Waiter) -> None:
        """The waiter has gone; safe to call for one that does not wait."""
        held = self.held.get(waiter)
        if held is not None:
            self._room.leave(held)
            self.left(held)

    def left(self, held: _Held) -> None:
        """One fewer."""
        if self.held.pop(held.waiter, None) is not None:
            self._count(held.user, -held.body_bytes)


class _Held:
    """One that waits, with what it takes."""

    __slots__ = ("_room", "body_bytes", "user", "waiter")

    def __init__(self, room: HoldingRoom, waiter: Waiter, user: str, body_bytes: int) -> None:
        self._room, self.waiter, self.user, self.body_bytes = room, waiter, user, body_bytes

    def resume(self) -> None:
        self._room.left(self)
        self.waiter.resume()

    def give_up(self) -> None:
        self._room.left(self)
        self.waiter.give_up()

"""Whether a pod has suddenly become slower, or fast again: the work that it did beside the time that it took.

    speed = work done, in seconds of the pod as it was learned / seconds in which it was at work

over the last lessons, each of 0.6 the weight of the next. A speed that differs from what is believed by more than
`_FACTOR`, and by more work than chance explains, is believed at once: heat, a neighbour, a long batch change a pod
within a second, and averages over a hundred requests would send it work for a minute. What stays is taken into the
averages bit by bit, so that a speed goes back to 1. A pod that had nothing to do gets the benefit of the doubt: its
speed is half of the way back after `_HALF_LIFE_SECONDS`, or nobody would ever find out that it has recovered. Faster
than it ever was it becomes by the averages alone: of much work in little time a late page may speak, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from routing.pods.queues import Queues

# Prompts of unlike length, beside unlike batches, differ by a third in what they get done; half is a change.
_FACTOR = 1.6
_KEPT = 0.6
"""Weight of what was seen, at the next poll."""
_HALF_LIFE_SECONDS = 4.0
"""Until half of a change is forgotten, where nothing is seen."""
# Of two polls a second apart: after half a minute of a changed speed it is the learned one.
_TAKEN_IN = 0.03
_LEAST_SPEED = 0.02
"""Of the learned speed: what is slower is taken for this."""
# A changed speed follows what is seen, too, by so much a lesson: the first sight of a change is half of the old.
_FOLLOWED = 0.3
# Before these the averages themselves are guesses.
_LEARNING_LESSONS = 10


class _State(msgspec.Struct, gc=False):
    speed: float = 1.0
    taken_in: float = 1.0
    work_seconds: float = 0.0
    seconds: float = 0.0
    chance_seconds: float = 0.0
    lessons: int = 0


class Speeds:
    """Of the rows of some books, as multiples of what was learned of them."""

    def __init__(self, books: Queues) -> None:
        self._books = books
        self.on_change: Callable[[int, float], None] = lambda row, stays: None
        """Called with a row whose speed has changed, and how much of that is not to pass."""
        self._states: dict[int, _State] = {}

    def reset(self, row: int) -> None:
        """Gives the row to a new pod."""
        self._states.pop(row, None)

    def of(self, row: int) -> float:
        """1 for a pod that is as it always was, 0.25 for one that takes four times as long."""
        state = self._states.get(row)
        return state.speed if state is not None else 1.0

    def idle(self, row: int, seconds: float) -> None:
        """The pod had nothing to do for so long."""
        state = self._states.get(row)
        if state is not None and state.speed != 1.0:
            before, state.speed = state.speed, state.speed ** (0.5 ** (seconds / _HALF_LIFE_SECONDS))
            state.work_seconds = state.seconds = 0.0
            self._apply(row, state.speed / before, 1.0)

    def seen(self, row: int, work_seconds: float, seconds: float, chance_seconds: float) -> None:
        """Work of so many seconds at the learned speed took so many, give or take what chance explains."""
        state = self._states.get(row)
        if state is None:
            state = self._states[row] = _State()
        state.work_seconds = state.work_seconds * _KEPT + work_seconds
        state.seconds = state.seconds * _KEPT + seconds
        state.chance_seconds = max(state.chance_seconds * _KEPT, chance_seconds)
        state.lessons += 1
        before = state.speed
        if state.lessons > _LEARNING_LESSONS:
            _notice(state, work_seconds, seconds)
        if before == state.speed == 1.0:
            return
        stays = state.speed**_TAKEN_IN
        state.speed /= stays
        state.taken_in = min(1.0, state.taken_in * stays)
        self._apply(row, state.speed * stays / before, stays)

    def _apply(self, row: int, times: float, stays: float) -> None:
        """The pod is so many times as fast as a moment ago, and that much of it is not to pass."""
        books = self._books
        books.set_rate(row, books.rate_of(row) * times)
        books.cells.pace_token_seconds[row] /= stays
        self.on_change(row, stays)


def _notice(state: _State, work_seconds: float, seconds: float) -> None:
    seen = min(max(state.work_seconds / state.seconds, _LEAST_SPEED), 1.0 / state.taken_in)
    sure = abs(state.work_seconds - state.speed * state.seconds) > state.chance_seconds
    if sure and not state.speed / _FACTOR <= seen <= state.speed * _FACTOR:
        state.speed = seen
        state.work_seconds, state.seconds = work_seconds, seconds  # what was before the change tells nothing now
    elif state.speed != 1.0:
        state.speed += _FOLLOWED * (seen - state.speed)

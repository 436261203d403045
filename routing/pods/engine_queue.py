"""What an engine's page says of its queue, set beside the bookings: how much a pod really has left to compute.

An engine takes requests in the order in which they came, so the `waiting` last of those that were booked are the ones
that wait, and what was booked before them is computed, but for the one that is under way:

    tokens of the last `waiting` bookings <= backlog <= those, the one before them, and what was booked a moment ago

Where more wait than were booked here, others (other replicas, clients beside the gateway) sent them, and they count as
the pod's bookings do in the mean.
"""

from __future__ import annotations

from collections import deque

# Of what was booked so shortly before a poll the engine may know nothing yet: network, HTTP, tokenizer.
HANDOVER_SECONDS = 0.1
# One step of an engine with default settings, in which several short prompts are computed together.
STEP_TOKENS = 2048.0
# Far more than an engine lets wait; what is older is certainly computed.
_MAX_LINE = 2048


class WaitingLines:
    """The bookings of each row that may still wait for their prefill, oldest first."""

    def __init__(self) -> None:
        self.lines: list[deque[tuple[float, float]]] = []
        """When each was booked, and its uncached tokens."""

    def grow(self, capacity: int) -> None:
        """Makes room for rows up to `capacity`."""
        self.lines += [deque(maxlen=_MAX_LINE) for _ in range(capacity - len(self.lines))]

    def reset(self, row: int) -> None:
        """Gives the row to a new pod."""
        self.lines[row].clear()

    def join(self, row: int, at_seconds: float, requests: int, tokens: float) -> None:
        """Several requests of a moment, by their sum."""
        if requests > 0:
            self.lines[row].extend([(at_seconds, max(0.0, tokens) / requests)] * min(requests, _MAX_LINE))

    def computed(self, row: int, booked_at_seconds: float) -> None:
        """What was booked at that time, and all before it, has its first token."""
        line = self.lines[row]
        while line and line[0][0] <= booked_at_seconds:
            line.popleft()

    def bounds(
        self,
        row: int,
        waiting: int,
        now: float,
        *,
        computing: bool,
        mean_tokens: float,
        step_tokens: float = STEP_TOKENS,
    ) -> tuple[float, float]:
        """Least and most tokens that are left, when so many wait now; forgets what is computed.

        In the step under way are so many tokens at most, or one prompt.
        """
        line = self.lines[row]
        recent = _recent(line, now - HANDOVER_SECONDS)
        sizes = [tokens for _, tokens in line]
        begun = len(line) - waiting - recent
        under_way = sum(sizes[:begun]) if begun > 0 else 0.0
        while begun > 1 and under_way - line[0][1] >= step_tokens - STEP_TOKENS:
            under_way -= line.popleft()[1]
            begun -= 1
        sizes = sizes[len(sizes) - len(line) :]
        strangers = max(0, waiting - len(sizes))
        least = (sum(sizes[-waiting:]) if waiting else 0.0) + strangers * mean_tokens
        if computing or waiting:
            return least, max(sum(sizes), least + step_tokens)
        return least, sum(sizes[-recent:]) if recent else 0.0


def _recent(line: deque[tuple[float, float]], since_seconds: float) -> int:
    """How many were booked after that."""
    recent = 0
    for at_seconds, _ in reversed(line):
        if at_seconds <= since_seconds:
            break
        recent += 1
    return recent

"""What a first token waits for beside prompts: network, HTTP, the tokenizer, and the step that is under way.

    seconds to the first token = handover + tokens / rate

A line through the first tokens of each pod that met no other prompt; where it meets no tokens is the handover. On a
fast card it is as long as a short prompt takes, and taken for computing it would make the card look half as fast.
"""

from __future__ import annotations

import msgspec

# Between machines of one cluster, with a tokenizer; believed until a few first tokens are known.
DEFAULT_SECONDS = 0.02
# As many first tokens say the same, half of them of short prompts, half of prompts of so many tokens.
_PRIOR_LESSONS = 4.0
# A long turn of a conversation: far enough from none to give the line its slope.
_PRIOR_TOKENS = 4000.0
# The last fifty first tokens make up 63 %.
_KEPT = 0.98
# What is longer is a queue that nobody knew of.
_MOST_SECONDS = 0.2
# Of the time to a first token, at least so much is computing.
_LEAST_SHARE = 0.25


class _Line(msgspec.Struct, gc=False):
    """Weighted sums: x tokens, y seconds."""

    w: float = 0.0
    x: float = 0.0
    xx: float = 0.0
    y: float = 0.0
    xy: float = 0.0

    def add(self, tokens: float, seconds: float) -> None:
        self.w = self.w * _KEPT + 1.0
        self.x = self.x * _KEPT + tokens
        self.xx = self.xx * _KEPT + tokens * tokens
        self.y = self.y * _KEPT + seconds
        self.xy = self.xy * _KEPT + tokens * seconds

    def start(self, rate: float) -> float:
        """Seconds at no tokens, where the prior's points lie on the line of this rate."""
        half = 0.5 * _PRIOR_LESSONS
        far = DEFAULT_SECONDS + _PRIOR_TOKENS / rate
        w, x = self.w + _PRIOR_LESSONS, self.x + half * _PRIOR_TOKENS
        xx = self.xx + half * _PRIOR_TOKENS * _PRIOR_TOKENS
        y, xy = self.y + half * (DEFAULT_SECONDS + far), self.xy + half * _PRIOR_TOKENS * far
        return (y * xx - x * xy) / (w * xx - x * x)


class Handovers:
    """Of the rows of some books."""

    def __init__(self) -> None:
        self._lines: dict[int, _Line] = {}
        self._seconds: dict[int, float] = {}

    def reset(self, row: int) -> None:
        """Gives the row to a new pod."""
        self._lines.pop(row, None)
        self._seconds.pop(row, None)

    def seconds(self, row: int) -> float:
        """Of the row's pod."""
        return self._seconds.get(row, DEFAULT_SECONDS)

    def computing(self, row: int, ttft_seconds: float) -> float:
        """What of the time to a first token its prompt, and those before it, took to compute."""
        return max(ttft_seconds - self.seconds(row), ttft_seconds * _LEAST_SHARE)

    def lesson(self, row: int, tokens: float, ttft_seconds: float, rate: float) -> None:
        """So many tokens alone had their first token so long after they were booked; `rate` is believed."""
        line = self._lines.get(row)
        if line is None:
            line = self._lines[row] = _Line()
        line.add(tokens, ttft_seconds)
        self._seconds[row] = min(max(line.start(rate), 0.0), _MOST_SECONDS)

"""Steps of one batch, taken at once: when each of them ends, without looking at each.

    end of step k = began + k * first + growth * k * (k - 1) / 2

A decode step is as long as the one before and what one more token of context costs each of its sequences.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, sqrt


@dataclass(slots=True)
class Leap:
    """`steps` steps from `began_at_seconds` on; the first one lasts `first_seconds`."""

    began_at_seconds: float
    first_seconds: float
    growth_seconds: float
    steps: int

    @property
    def ends_at_seconds(self) -> float:
        """The end of the last step."""
        return self.after(self.steps)

    def after(self, steps: int) -> float:
        """When so many of the steps are done."""
        return self.began_at_seconds + steps * self.first_seconds + self.growth_seconds * (0.5 * steps * (steps - 1))

    def until(self, seconds: float) -> int:
        """The first step, counted from 1, that does not end before this time."""
        steps = max(1, ceil(self._real_steps(seconds) - 1e-6))
        while self.after(steps) < seconds:
            steps += 1
        while steps > 1 and self.after(steps - 1) >= seconds:
            steps -= 1
        return steps

    def done_by(self, seconds: float) -> int:
        """How many of the steps have ended by this time."""
        if seconds >= self.ends_at_seconds:
            return self.steps
        steps = self.until(seconds)
        return steps if self.after(steps) <= seconds else steps - 1

    def skip(self, steps: int) -> None:
        """These steps are past; the leap begins after them."""
        self.began_at_seconds = self.after(steps)
        self.first_seconds += self.growth_seconds * steps
        self.steps -= steps

    def _real_steps(self, seconds: float) -> float:
        """As a fraction, where the end of a step would be at this time."""
        half, passed = 0.5 * self.growth_seconds, seconds - self.began_at_seconds
        if passed <= 0.0:
            return 1.0
        if half <= 0.0:
            return passed / self.first_seconds
        linear = self.first_seconds - half
        return (sqrt(linear * linear + 4.0 * half * passed) - linear) / (2.0 * half)

"""A run so far: what the live view shows, and what is reported in the end."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gateway_plugin.tools.bench.quantiles import Sketch

if TYPE_CHECKING:
    from gateway_plugin.tools.bench.sample import Sample

HOPELESS_AFTER = 20
"""So many failures and not one answer: nothing will be learned from more."""
_MAX_KINDS = 50


@dataclass(slots=True)
class Tally:
    """Counts and samples of one run with one strategy."""

    strategy: str
    repeat: int = 0
    samples: list[Sample] = field(default_factory=list)
    in_flight: int = 0
    ended: int = 0
    troubles: Counter[str] = field(default_factory=Counter)
    messages: dict[str, str] = field(default_factory=dict)
    """The first one of each kind of failure."""
    first: Sketch = field(default_factory=Sketch)
    gaps: Sketch = field(default_factory=Sketch)
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    """Of this process, while it ran."""
    stopped: str = ""
    """Why it ended before its time; empty while it runs, and when it did not."""

    @property
    def sent(self) -> int:
        """Requests."""
        return len(self.samples)

    @property
    def failed(self) -> int:
        """Of those that have ended."""
        return sum(self.troubles.values())

    @property
    def hopeless(self) -> bool:
        """Enough have failed, and none was answered."""
        return self.ended >= HOPELESS_AFTER and self.failed == self.ended

    def send(self, sample: Sample) -> None:
        """A request goes out; the sample is filled in later."""
        self.samples.append(sample)
        self.in_flight += 1

    def give_up(self) -> None:
        """A request was cut short by the measurement."""
        self.in_flight -= 1

    def end(self, sample: Sample, gaps_seconds: list[float]) -> None:
        """A request was answered, or has failed."""
        self.in_flight -= 1
        self.ended += 1
        if sample.trouble:
            kind = sample.trouble if len(self.troubles) < _MAX_KINDS else "other"
            self.troubles[kind] += 1
            self.messages.setdefault(kind, sample.message)
        elif sample.first_seconds is not None:
            self.first.add(sample.first_seconds)
        for gap in gaps_seconds:
            self.gaps.add(gap)

"""Counters, gauges and histograms of one thread, as prometheus_client exposes them.

The library's own take a lock at every step, and three objects; these are a fifth of the time. They are for whoever
counts and answers scrapes on one event loop.
"""

from __future__ import annotations

import os
import time
from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

_TELLS_CREATED = os.environ.get("PROMETHEUS_DISABLE_CREATED_SERIES", "False").lower() not in ("true", "1", "t")
"""As the library reads it."""

PART_CHILDREN = 100
"""Histograms of so many take some 5 ms to write."""
Sample = tuple[str, dict[str, str], float]
"""Suffix of the name, labels beside the family's, value."""


class Child(Protocol):
    """One series, or one histogram."""

    def samples(self) -> Iterable[Sample]:
        """As of now."""


class Count:
    """What only grows."""

    __slots__ = ("_created_seconds", "value")

    def __init__(self) -> None:
        self.value = 0.0
        self._created_seconds = time.time()

    def inc(self, amount: float = 1.0) -> None:
        self.value += amount

    def samples(self) -> Iterator[Sample]:
        yield "_total", {}, self.value
        yield from _created(self._created_seconds)


class Level:
    """What goes up and down."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def inc(self) -> None:
        self.value += 1.0

    def dec(self) -> None:
        self.value -= 1.0

    def samples(self) -> Iterator[Sample]:
        yield "", {}, self.value


class Spread:
    """A histogram: how often what was observed was at most each bound (and above those before), and the sum."""

    __slots__ = ("_bounds", "_counts", "_created_seconds", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = (*bounds, float("inf"))
        self._counts = [0] * len(self._bounds)
        self._sum = 0.0
        self._created_seconds = time.time()

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def samples(self) -> Iterator[Sample]:
        for bound, count in zip(self._bounds, accumulate(self._counts), strict=True):
            yield "_bucket", {"le": _text(bound)}, count
        yield "_count", {}, sum(self._counts)
        yield "_sum", {}, self._sum
        yield from _created(self._created_seconds)


C = TypeVar("C", bound=Child)


class Family(Collector, Generic[C]):
    """A metric and its children by label values. A family without labels has one child from the start."""

    def __init__(self, kind: str, name: str, text: str, labels: Sequence[str], new_child: Callable[[], C]) -> None:
        self._kind, self._name, self._text, self._labels = kind, name, text, tuple(labels)
        self._new_child = new_child
        self._children: dict[tuple[str, ...], C] = {}
        if not labels:
            self.labels()

    def labels(self, *values: str) -> C:
        """The child of these values, which stays until `forget`. Callers see to it that values are few."""
        try:
            return self._children[values]
        except KeyError:
            return self._added(values)

    def _added(self, values: tuple[str, ...]) -> C:
        if len(values) != len(self._labels):
            raise ValueError(f"{self._name} has labels {self._labels}, not {len(values)}")
        child = self._children[values] = self._new_child()
        return child

    def forget(self, label: str, value: str) -> None:
        """Removes every child that has this value; who holds one counts in vain. Families without the label stay."""
        if label not in self._labels:
            return
        position = self._labels.index(label)
        for values in [values for values in self._children if values[position] == value]:
            del self._children[values]

    def items(self) -> Iterable[tuple[tuple[str, ...], C]]:
        """All children so far."""
        return self._children.items()

    def describe(self) -> Iterator[Metric]:
        """The name, for registries."""
        yield Metric(self._name, self._text, self._kind)

    def collect(self) -> Iterator[Metric]:
        """The metric as of now, in several parts where there are many children: see `metrics_page`."""
        children = list(self._children.items())
        for start in range(0, max(len(children), 1), PART_CHILDREN):
            metric = Metric(self._name, self._text, self._kind)
            for values, child in children[start : start + PART_CHILDREN]:
                labels = dict(zip(self._labels, values, strict=True))
                for suffix, more, value in child.samples():
                    metric.add_sample(self._name + suffix, labels | more, value)
            yield metric


def _text(bound: float) -> str:
    return str(floatToGoString(bound))  # type: ignore[no-untyped-call]  # of the library's untyped helpers


def _created(seconds: float) -> Iterator[Sample]:
    if _TELLS_CREATED:
        yield "_created", {}, seconds

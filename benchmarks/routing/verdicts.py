"""Who wins where, and by more than chance: one strategy's number over the best other's, over the same seeds.

    ratio = mean over seeds of ours / mean over seeds of theirs,  theirs: the other strategy whose mean is best

Its interval is the middle 95 % of what resampled seeds give (bootstrap, both strategies on the same seeds); of one seed
there is none. The best of many others is partly luck, so that a ratio a little above 1 is what an equal would get.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Cells = dict[str, dict[str, dict[str, list[float]]]]
"""Numbers of all seeds, by condition, strategy and kind."""
OURS = "prefix-cache-and-load"
JUDGED = ("TTFT mean", "TTFT p99", "end to end p99")
TOLERANCE = 1.05
_RESAMPLED = 1000


@dataclass(frozen=True, slots=True)
class Verdict:
    """One kind of number under one condition."""

    where: str
    kind: str
    ours: float
    best: float
    best_strategy: str
    least: float
    most: float
    """Of the ratio: 95 %; NaN of one seed."""

    @property
    def ratio(self) -> float:
        """Below 1 where ours is better."""
        return self.ours / self.best

    @property
    def is_lost(self) -> bool:
        """By more than 5 %, whether or not by chance."""
        return self.ratio > TOLERANCE

    @property
    def is_by_chance(self) -> bool:
        """Whether the interval holds 1, or there is none."""
        return not self.least > 1.0

    def __str__(self) -> str:
        interval = "" if np.isnan(self.least) else f" [{self.least:.2f}-{self.most:.2f}]"
        return (
            f"{self.where}, {self.kind}: {self.ratio:.2f}{interval} "
            f"({self.ours:.3f} against {self.best:.3f} s of {self.best_strategy})"
        )


def verdicts(cells: Cells, ours: str = OURS) -> Iterator[Verdict]:
    """All conditions in which ours and some product's strategy were measured."""
    for where, strategies in cells.items():
        others = {
            name: kinds for name, kinds in strategies.items() if name != ours and not name.startswith("clairvoyant")
        }
        if ours in strategies and others:
            for kind in JUDGED:
                yield _verdict(where, kind, strategies[ours][kind], {name: each[kind] for name, each in others.items()})


def regret(cells: Cells, where: str, strategy: str, kind: str) -> float:
    """A strategy's mean over the better clairvoyant's; NaN without any."""
    known = [np.mean(kinds[kind]) for name, kinds in cells[where].items() if name.startswith("clairvoyant")]
    return float(np.mean(cells[where][strategy][kind]) / min(known)) if known else float("nan")


def _verdict(where: str, kind: str, ours: list[float], others: Mapping[str, list[float]]) -> Verdict:
    best_strategy = min(others, key=lambda name: np.mean(others[name]))
    theirs = others[best_strategy]
    least, most = _interval(np.array(ours), np.array(theirs))
    return Verdict(where, kind, float(np.mean(ours)), float(np.mean(theirs)), best_strategy, least, most)


def _interval(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float]:
    if len(ours) < 2:
        return float("nan"), float("nan")
    drawn = np.random.default_rng(0).integers(len(ours), size=(_RESAMPLED, len(ours)))
    ratios = ours[drawn].mean(axis=1) / theirs[drawn].mean(axis=1)
    least, most = np.quantile(ratios, (0.025, 0.975)).tolist()
    return least, most

"""Which of many pods are worth the formula: a strategy never prices more than `MAX_PRICED` of them.

    holders      of the prompt's longest match, the cheapest 6 by the strategy's scan; 2 of those with a shorter match
    cheapest     10 by the scan: the least loaded, by the one or two columns that weigh most in the formula
    rendezvous   the pod that every replica would choose for a prompt that nobody holds
    random       all others: whoever the scan misjudges is met now and then, and replicas do not all meet at one pod

The scan reads whole columns with numpy, a few microseconds for a thousand pods; a formula in Python takes as long for
two. Ties of the scan are broken by where it begins, which is drawn. Power of d choices (Mitzenmacher 2001) says why a
few dozen are enough: the best of 24 is hardly worse than the best of all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from routing.prefix.rendezvous import draws

if TYPE_CHECKING:
    from collections.abc import Callable

    from routing.pods.columns import FloatColumn
    from routing.pods.pod_view import PodView

MAX_PRICED = 32
"""Up to here all are priced."""
_LISTED = 24
_CHEAPEST, _BEST_HOLDERS, _OTHER_HOLDERS = 10, 6, 2


def shortlist(pods: PodView, scan: FloatColumn, cold_block: int | None, draw: Callable[[], float]) -> PodView:
    """Of more pods than that `_LISTED`, in their order; `cold_block` is what rendezvous hashing goes by, or None."""
    count = len(pods)
    chosen = set(_lowest(scan, _CHEAPEST, draw))
    if pods.best_match_tokens:
        chosen.update(_holders(pods, scan, draw))
    if cold_block is not None:
        chosen.add(int(draws(pods.address_hash, cold_block).argmax()))
    while len(chosen) < _LISTED:
        chosen.add(int(draw() * count))
    return pods.shortlist(np.array(sorted(chosen)))


def _holders(pods: PodView, scan: FloatColumn, draw: Callable[[], float]) -> list[int]:
    matched = pods.matched_tokens
    held = np.flatnonzero(matched)
    if len(held) <= _BEST_HOLDERS + _OTHER_HOLDERS:
        every: list[int] = held.tolist()
        return every
    of_held = matched[held]
    best = held[of_held == pods.best_match_tokens]
    chosen: list[int] = best[_lowest(scan[best], _BEST_HOLDERS, draw)].tolist()
    if len(best) < len(held):
        others = held[of_held < pods.best_match_tokens]
        chosen += others[_lowest(-matched[others], _OTHER_HOLDERS, draw)].tolist()
    return chosen


def _lowest(values: FloatColumn, count: int, draw: Callable[[], float]) -> list[int]:
    """Positions of the lowest values, NaN last; among equal ones those behind a drawn place."""
    size = len(values)
    if size <= count:
        return list(range(size))
    start = int(draw() * size)
    rolled = np.concatenate((values[start:], values[:start]))
    lowest: list[int] = rolled.argpartition(count)[:count].tolist()
    return [(position + start) % size for position in lowest]

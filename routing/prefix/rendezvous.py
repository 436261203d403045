"""Rendezvous hashing: every pod draws a number from a key, the highest wins; losing a pod moves only that pod's keys.

The draw is splitmix64's finaliser over the pod's address hash and the key, all pods at once. Without a finaliser,
addresses that differ only in their last character would share the keys unevenly (50/25/25 % over three ports).
Reference: Thaler and Ravishankar 1998; Steele, Lea and Flood 2014 for splitmix64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from routing.pods.columns import FloatColumn, HashColumn

_64_BITS = 0xFFFF_FFFF_FFFF_FFFF
_FACTOR_1, _FACTOR_2 = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_MULTIPLIER_1, _MULTIPLIER_2 = np.uint64(_FACTOR_1), np.uint64(_FACTOR_2)
_2_TO_53 = 2.0**53
_27, _30, _31, _11 = (np.uint64(shift) for shift in (27, 30, 31, 11))


def draws(address_hash: HashColumn, key: int) -> FloatColumn:
    """One number per pod, 0 <= x < 1, the same on every replica."""
    mixed = address_hash ^ np.uint64(key & _64_BITS)
    mixed = (mixed ^ (mixed >> _30)) * _MULTIPLIER_1
    mixed = (mixed ^ (mixed >> _27)) * _MULTIPLIER_2
    mixed ^= mixed >> _31
    return (mixed >> _11).astype(np.float64) / _2_TO_53


def draws_of_few(address_hashes: Iterable[int], key: int) -> list[float]:
    """`draws` without numpy."""
    key &= _64_BITS
    drawn = []
    for address_hash in address_hashes:
        mixed = address_hash ^ key
        mixed = (mixed ^ mixed >> 30) * _FACTOR_1 & _64_BITS
        mixed = (mixed ^ mixed >> 27) * _FACTOR_2 & _64_BITS
        drawn.append(((mixed ^ mixed >> 31) >> 11) / _2_TO_53)
    return drawn

"""Rendezvous hashing: every pod draws a number from a key, the highest wins; losing a pod moves only that pod's keys.

The draw is splitmix64's finaliser over the pod's address hash and the key, all pods at once. Without a finaliser,
addresses that differ only in their last character would share the keys unevenly (50/25/25 % over three ports).
Reference: Thaler and Ravishankar 1998; Steele, Lea and Flood 2014 for splitmix64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

import numpy as np

if TYPE_CHECKING:
    from routing.columns import FloatColumn, HashColumn

_64_BITS = 0xFFFF_FFFF_FFFF_FFFF
_FACTOR_1, _FACTOR_2 = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_MULTIPLIER_1, _MULTIPLIER_2 = np.uint64(_FACTOR_1), np.uint64(_FACTOR_2)
_27, _30, _31, _11 = (np.uint64(shift) for shift in (27, 30, 31, 11))


@overload
def draws(address_hash: int, key: int) -> float: ...
@overload
def draws(address_hash: HashColumn, key: int) -> FloatColumn: ...
def draws(address_hash: HashColumn | int, key: int) -> FloatColumn | float:
    """One number per pod, 0 <= x < 1, the same on every replica."""
    if isinstance(address_hash, int):
        return _draw(address_hash, key)
    mixed = address_hash ^ np.uint64(key & _64_BITS)
    mixed = (mixed ^ (mixed >> _30)) * _MULTIPLIER_1
    mixed = (mixed ^ (mixed >> _27)) * _MULTIPLIER_2
    mixed ^= mixed >> _31
    return (mixed >> _11).astype(np.float64) / 2.0**53


def _draw(address_hash: int, key: int) -> float:
    mixed = address_hash ^ key & _64_BITS
    mixed = (mixed ^ mixed >> 30) * _FACTOR_1 & _64_BITS
    mixed = (mixed ^ mixed >> 27) * _FACTOR_2 & _64_BITS
    mixed ^= mixed >> 31
    return (mixed >> 11) / 2.0**53

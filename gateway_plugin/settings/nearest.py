"""What somebody may have meant by a name that nobody knows."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_ALIKE_RATIO = 0.75


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """ "; did you mean x?", or nothing where none is alike."""
    by_lower = {one.lower(): one for one in known}
    found = get_close_matches(name.lower(), by_lower, 1, _ALIKE_RATIO)
    return f"; did you mean {by_lower[found[0]]}?" if found else ""

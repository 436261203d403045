"""What the router says: a booking, an explanation, or why there is none."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from routing.pods.books import Lease
    from routing.spec import PodSpec


class UnknownModelError(LookupError):
    """Nobody serves, or is configured to serve, this model."""


class NoReadyPodError(LookupError):
    """The model is known, but none of its pods can take this request."""


class SaturatedError(LookupError):
    """Every pod that could take this request has as many as it may have."""


class Booking(msgspec.Struct, frozen=True, gc=False):
    """The chosen pods, best first, with the lease on the first of them; a client's filter may make them repeat."""

    pods: tuple[PodSpec, ...]
    lease: Lease
    branch: str
    matched_tokens: float
    weighed: tuple[Weighed, ...] = ()
    """The first and the runner-up, where the router was to tell."""


class Weighed(msgspec.Struct, frozen=True, gc=False):
    """What a strategy said of a pod when it chose."""

    pod: PodSpec
    cost: float
    terms: tuple[float, ...]
    """In the strategy's unit, in the order of its `term_names`."""
    names: tuple[str, ...]
    matched_tokens: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """One pod in an explanation: its place, its cost, and the cost's terms."""

    pod: PodSpec
    place: int | None
    """None for a pod that is not offered to requests now."""
    health: str
    """"closed" is well; else "open", "half_open" or "asleep"."""
    cost: float = math.nan
    terms: dict[str, float] = field(default_factory=dict)
    matched_tokens: float = 0.0
    learned: dict[str, str] = field(default_factory=dict)
    """What is known of the pod, in words, and how old that is."""

"""What an admission asks for, what was decided about it, and what it turned out to cost."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

import msgspec

from ratelimit.users.subjects import Subject  # noqa: TC001 - whoever builds admissions of their types reads them

if TYPE_CHECKING:
    from ratelimit.windows.limits import Limits
    from ratelimit.windows.quotas import QuotaState


class Outcome(Enum):
    ADMITTED = "admitted"
    UNKNOWN_USER = "unknown_user"
    DISABLED = "disabled"
    MODEL_NOT_ALLOWED = "model_not_allowed"
    REQUESTS_EXCEEDED = "requests_exceeded"
    TOKENS_EXCEEDED = "tokens_exceeded"
    PARALLEL_EXCEEDED = "parallel_exceeded"
    MODEL_RATE_EXCEEDED = "model_rate_exceeded"
    QUOTA_EXCEEDED = "quota_exceeded"


class LeaseWish(msgspec.Struct, frozen=True, gc=False):
    """What a replica asks for along with an admission: at most one of so many `parts` of what is left."""

    id: str
    requests: int
    parts: int


class Lease(msgspec.Struct, frozen=True):
    """What the store gave: so much may be spent until its bucket ends, `seconds` after it was asked."""

    requests: int
    tokens: int
    bucket: int
    seconds: float
    tokens_limit: int
    """The least of those that hold."""
    lengths: tuple[int, ...] = ()
    """Of the subject's last answers of the model: the typical one, the longest, and all; empty: none is known."""


class Admission(msgspec.Struct, frozen=True, gc=False):
    """One request that wants in; a rate of zero is no limit.

    `tokens` it costs for certain. Where it generates any, each of its `choices` costs `likely_output` more, if its
    subject has not been seen yet, and `max_output` at most; 0 where it generates none (see `admission`).

    `other_names`: what else than the model's name may stand for it in a user's allow list, without control characters.
    """

    subject: Subject
    charge_id: str
    model: str = ""
    tokens: int = 0
    model_requests_per_second: int = 0
    other_names: tuple[str, ...] = ()
    likely_output: int = 0
    max_output: int = 0
    choices: int = 1
    wish: LeaseWish | None = None


class Decision(msgspec.Struct, frozen=True, gc=False):
    """The outcome, and for requests and tokens each the scope (user, or user and model) that has least left.

    What is used includes this admission if it was admitted. `reset` is the time until the window is empty again. Limits
    are None, and only the wait is told, where the user's were not reached: unknown, disabled, model not allowed, and in
    a cluster the model's rate.
    """

    outcome: Outcome
    limits: Limits | None
    requests_used: float = 0.0
    tokens_used: float = 0.0
    retry_after_seconds: float = 0.0
    reserved_tokens: int = 0
    requests_reset_seconds: float = 0.0
    tokens_reset_seconds: float = 0.0
    lease: Lease | None = None
    quota: QuotaState | None = None
    """The one that refuses, else the one with the least left; None where there are none."""


UNKNOWN_USER = Decision(Outcome.UNKNOWN_USER, None)


class Leased(msgspec.Struct, frozen=True):
    """One request that was let in under a lease, and what it reserved."""

    admission: Admission
    reserved: int
    at_seconds: float


class Report(msgspec.Struct):
    """What became of a lease."""

    lease_id: str
    subject: Subject
    model: str
    bucket: int = 0
    """The store's."""
    charges: dict[str, Leased] = msgspec.field(default_factory=dict)
    """By charge id."""

    @property
    def tokens(self) -> int:
        """Reserved by all of them."""
        return sum(one.reserved for one in self.charges.values())


class Settlement(msgspec.Struct, frozen=True, gc=False):
    """The tokens that an exchange turned out to cost, and what its admission had reserved of them.

    `output`: what it generated of them, over all choices, as the engine says; it teaches what to expect of the subject.
    """

    subject: Subject
    charge_id: str
    tokens: int
    reserved: int = 0
    model: str = ""
    output: int = 0


class Usage(msgspec.Struct, frozen=True):
    """What a user has spent in the last minute, over all models, and how many requests hold a slot now."""

    limits: Limits
    requests_used: float
    tokens_used: float
    parallel: int = 0
    quotas: tuple[QuotaState, ...] = ()
    """The user's own and the group's."""

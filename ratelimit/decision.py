"""What an admission asks for, what was decided about it, and what it turned out to cost."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

import msgspec

from ratelimit.subjects import Subject  # noqa: TC001 - whoever builds admissions of their types reads them

if TYPE_CHECKING:
    from ratelimit.limits import Limits


class Outcome(Enum):
    ADMITTED = "admitted"
    UNKNOWN_USER = "unknown_user"
    DISABLED = "disabled"
    MODEL_NOT_ALLOWED = "model_not_allowed"
    REQUESTS_EXCEEDED = "requests_exceeded"
    TOKENS_EXCEEDED = "tokens_exceeded"
    PARALLEL_EXCEEDED = "parallel_exceeded"
    MODEL_RATE_EXCEEDED = "model_rate_exceeded"


class Admission(msgspec.Struct, frozen=True, gc=False):
    """One request that wants in. `tokens` is the reservation it would like; a rate of zero is no limit.

    `other_names`: what else than the model's name may stand for it in a user's allow list, without control characters.
    """

    subject: Subject
    charge_id: str
    model: str = ""
    tokens: int = 0
    model_requests_per_second: int = 0
    other_names: tuple[str, ...] = ()


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


class Settlement(msgspec.Struct, frozen=True, gc=False):
    """The tokens that an exchange turned out to cost, and what its admission had reserved of them."""

    subject: Subject
    charge_id: str
    tokens: int
    reserved: int = 0
    model: str = ""


class Usage(msgspec.Struct, frozen=True):
    """What a user has spent in the last minute, over all models, and how many requests hold a slot now."""

    limits: Limits
    requests_used: float
    tokens_used: float
    parallel: int = 0

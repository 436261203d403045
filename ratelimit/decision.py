"""What an admission costs, and what was decided about it."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from ratelimit.limits import Limits


class Outcome(Enum):
    ADMITTED = "admitted"
    UNKNOWN_USER = "unknown_user"
    REQUESTS_EXCEEDED = "requests_exceeded"
    TOKENS_EXCEEDED = "tokens_exceeded"


class Cost(msgspec.Struct, frozen=True):
    """What an admission debits. Zero tokens: they are settled once the response has told how many there were."""

    requests: int = 1
    tokens: int = 0


class Decision(msgspec.Struct, frozen=True):
    """The outcome, the user's limits (None when unknown) and what is used, this admission included if admitted."""

    outcome: Outcome
    limits: Limits | None
    requests_used: float
    tokens_used: float
    retry_after_seconds: float


class Usage(msgspec.Struct, frozen=True):
    limits: Limits
    requests_used: float
    tokens_used: float


class Settlement(msgspec.Struct, frozen=True):
    """The tokens that one admitted exchange turned out to cost. `charge_id` makes charging it twice harmless."""

    user: str
    charge_id: str
    tokens: int


NOTHING = Cost(requests=0, tokens=0)
UNKNOWN_USER = Decision(Outcome.UNKNOWN_USER, None, 0.0, 0.0, 0.0)

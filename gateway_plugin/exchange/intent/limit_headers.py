"""OpenAI's rate limit headers: `x-ratelimit-limit|remaining|reset-requests|tokens`; a reset is "1m30s" or "250ms"."""

from __future__ import annotations

from functools import lru_cache
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ratelimit import Decision

_MAX_TEXTS = 256


def decision_headers(decision: Decision) -> dict[str, str]:
    """What a limited user has left; nothing for whoever has no limits."""
    limits = decision.limits
    if limits is None:
        return {}
    requests_left = int(limits.requests_per_minute - decision.requests_used)
    tokens_left = int(limits.tokens_per_minute - decision.tokens_used)
    return {
        "x-ratelimit-limit-requests": str(limits.requests_per_minute),
        "x-ratelimit-remaining-requests": str(requests_left) if requests_left > 0 else "0",
        "x-ratelimit-reset-requests": duration(decision.requests_reset_seconds),
        "x-ratelimit-limit-tokens": str(limits.tokens_per_minute),
        "x-ratelimit-remaining-tokens": str(tokens_left) if tokens_left > 0 else "0",
        "x-ratelimit-reset-tokens": duration(decision.tokens_reset_seconds),
    }


def duration(seconds: float) -> str:
    """As OpenAI writes it, "0s", "250ms", "6m0s": milliseconds below a second, then whole seconds, rounded up."""
    if seconds < 1.0:
        milliseconds = ceil(max(0.0, seconds) * 1000)
        return f"{milliseconds}ms" if 0 < milliseconds < 1000 else _whole_seconds(milliseconds // 1000)
    return _whole_seconds(ceil(seconds))


@lru_cache(_MAX_TEXTS)
def _whole_seconds(seconds: int) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"

"""OpenAI's rate limit headers: `x-ratelimit-limit|remaining|reset-requests|tokens`; a reset is "1m30s" or "250ms"."""

from __future__ import annotations

from functools import lru_cache
from math import ceil

_MAX_TEXTS = 256


def limit_headers(
    requests_limit: int,
    requests_used: float,
    requests_reset_seconds: float,
    tokens_limit: int,
    tokens_used: float,
    tokens_reset_seconds: float,
) -> dict[str, str]:
    """All six headers."""
    requests_left, tokens_left = int(requests_limit - requests_used), int(tokens_limit - tokens_used)
    return {
        "x-ratelimit-limit-requests": str(requests_limit),
        "x-ratelimit-remaining-requests": str(requests_left) if requests_left > 0 else "0",
        "x-ratelimit-reset-requests": duration(requests_reset_seconds),
        "x-ratelimit-limit-tokens": str(tokens_limit),
        "x-ratelimit-remaining-tokens": str(tokens_left) if tokens_left > 0 else "0",
        "x-ratelimit-reset-tokens": duration(tokens_reset_seconds),
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

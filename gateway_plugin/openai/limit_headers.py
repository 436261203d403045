"""OpenAI's rate limit headers: `x-ratelimit-limit|remaining|reset-requests|tokens`; a reset is "1m30s" or "250ms"."""

from __future__ import annotations

from math import ceil


def limit_headers(kind: str, limit: int, used: float, reset_seconds: float) -> dict[str, str]:
    """The three headers of "requests" or "tokens"."""
    return {
        f"x-ratelimit-limit-{kind}": str(limit),
        f"x-ratelimit-remaining-{kind}": str(max(0, int(limit - used))),
        f"x-ratelimit-reset-{kind}": duration(reset_seconds),
    }


def duration(seconds: float) -> str:
    """As OpenAI writes it: milliseconds below a second, then whole seconds, rounded up."""
    if seconds < 1.0:
        return f"{ceil(max(0.0, seconds) * 1000)}ms"
    minutes, rest = divmod(ceil(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"

"""The admission rule, and the account of a decision.

    requests: refused when used + cost > limit
    tokens:   refused when used >= limit, or when a cost is given and used + cost > limit

All limits are checked before any is debited, so a refusal costs nothing. When both are spent, requests are named, as
AIBrix does. The wait that a refusal suggests is the longer of both; a cost of zero tokens waits for room for one, so
that it is admitted then. `lua/admit.lua` judges by the same rule on the server; the rest is told here for every store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ratelimit.decision import NOTHING, Cost, Decision, Outcome, Usage
from ratelimit.window import Counter, seconds_until_fits, used

if TYPE_CHECKING:
    from ratelimit.limits import Limits


class Reading(NamedTuple):
    """A user's counters before an admission, `elapsed_seconds` into the current window."""

    requests: Counter
    tokens: Counter
    elapsed_seconds: float


def judge(reading: Reading, limits: Limits, cost: Cost) -> Outcome:
    if used(reading.requests, reading.elapsed_seconds) + cost.requests > limits.requests_per_minute:
        return Outcome.REQUESTS_EXCEEDED
    tokens_used = used(reading.tokens, reading.elapsed_seconds)
    if tokens_used >= limits.tokens_per_minute or tokens_used + cost.tokens > limits.tokens_per_minute:
        return Outcome.TOKENS_EXCEEDED
    return Outcome.ADMITTED


def account(outcome: Outcome, reading: Reading, limits: Limits, cost: Cost) -> Decision:
    admitted = outcome is Outcome.ADMITTED
    debit = cost if admitted else NOTHING
    return Decision(
        outcome=outcome,
        limits=limits,
        requests_used=used(reading.requests, reading.elapsed_seconds) + debit.requests,
        tokens_used=used(reading.tokens, reading.elapsed_seconds) + debit.tokens,
        retry_after_seconds=0.0 if admitted else _wait_seconds(reading, limits, cost),
    )


def usage_of(decision: Decision) -> Usage | None:
    """What a decision about a cost of nothing says about the user."""
    if decision.limits is None:
        return None
    return Usage(decision.limits, decision.requests_used, decision.tokens_used)


def _wait_seconds(reading: Reading, limits: Limits, cost: Cost) -> float:
    elapsed = reading.elapsed_seconds
    return max(
        seconds_until_fits(reading.requests, elapsed, cost.requests, limits.requests_per_minute),
        seconds_until_fits(reading.tokens, elapsed, max(cost.tokens, 1), limits.tokens_per_minute),
    )

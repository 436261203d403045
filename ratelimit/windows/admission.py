"""The admission rule, for a store that counts in this process; `lua/admit.lua` is the same rule on a server.

    must fit, booked = what is expected under the smallest token limit (`expected`)
    requests: refused unless one more fits               in any scope: the user, and the user with the model
    tokens:   refused unless max(must fit, 1) fits       in any scope (`window`)
    parallel: refused when every slot is taken
    model:    refused when it was admitted `model_requests_per_second` times in the last second

All are checked before any is debited, so a refusal costs nothing. When several are spent, the first in this order is
named; the wait that a refusal suggests is the longest of all, so that waiting it out is enough unless others spend. A
slot is given back at no known time: the wait for it is 1 s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ratelimit.windows.decision import Decision, Outcome
from ratelimit.windows.limits import Limits
from ratelimit.windows.window import NO_LIMIT, Window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ratelimit.users.users import UserRecord

PARALLEL_RETRY_SECONDS = 1.0


class Scope(NamedTuple):
    """Who is limited, to what, and what was spent."""

    requests_limit: int
    tokens_limit: int
    requests: Window
    tokens: Window


class Question(NamedTuple):
    """An admission, and everything that decides about it."""

    scopes: Sequence[Scope]
    needed: int
    """Tokens that must fit; at least 1."""
    reservation: int
    slots_taken: int
    max_parallel: int
    model_wait_seconds: float


def refused_by_record(record: UserRecord, model: str, other_names: Sequence[str] = ()) -> Outcome | None:
    """Why the record alone forbids it. No model named: nothing to forbid."""
    if record.disabled:
        return Outcome.DISABLED
    if model and record.models and model not in record.models and not any(n in record.models for n in other_names):
        return Outcome.MODEL_NOT_ALLOWED
    return None


def override_of(record: UserRecord, model: str) -> tuple[int, int] | None:
    """(requests, tokens) per minute that hold for this model on top, or None."""
    override = record.overrides.get(model) if model else None
    return override and (override[0] or NO_LIMIT, override[1] or NO_LIMIT)


def judge(question: Question) -> Outcome:
    for scope in question.scopes:
        if not scope.requests.fits(1, scope.requests_limit):
            return Outcome.REQUESTS_EXCEEDED
    for scope in question.scopes:
        if not scope.tokens.fits(question.needed, scope.tokens_limit):
            return Outcome.TOKENS_EXCEEDED
    if 0 < question.max_parallel <= question.slots_taken:
        return Outcome.PARALLEL_EXCEEDED
    return Outcome.MODEL_RATE_EXCEEDED if question.model_wait_seconds > 0 else Outcome.ADMITTED


def wait_seconds(question: Question, now_seconds: float) -> float:
    waits = [question.model_wait_seconds]
    for scope in question.scopes:
        waits.append(scope.requests.seconds_until_fits(now_seconds, 1, scope.requests_limit))
        waits.append(scope.tokens.seconds_until_fits(now_seconds, question.needed, scope.tokens_limit))
    if 0 < question.max_parallel <= question.slots_taken:
        waits.append(PARALLEL_RETRY_SECONDS)
    return max(waits)


def account(
    outcome: Outcome, scopes: Sequence[Scope], limits: Limits, now_seconds: float, *, reserved: int, wait: float
) -> Decision:
    """The decision, told by the scope with the least left, for requests and tokens each; `limits`: the user's own."""
    requests = tokens = scopes[0]
    if len(scopes) > 1:
        requests, tokens = min(scopes, key=_requests_left), min(scopes, key=_tokens_left)
        limits = Limits(requests.requests_limit, tokens.tokens_limit, limits.max_parallel)
    return Decision(
        outcome,
        limits,
        requests.requests.used,
        tokens.tokens.used,
        wait,
        reserved,
        requests.requests.seconds_until_empty(now_seconds),
        tokens.tokens.seconds_until_empty(now_seconds),
    )


def _requests_left(scope: Scope) -> int:
    return scope.requests_limit - scope.requests.used


def _tokens_left(scope: Scope) -> int:
    return scope.tokens_limit - scope.tokens.used

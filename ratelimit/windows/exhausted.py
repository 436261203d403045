"""Users who are over a limit until a known time, remembered here so that refusing them again asks nobody.

    requests: until the wait that the store named is over; nothing gives requests back earlier. But 1 s at most when
              the tokens that were asked for did not fit either: the wait may be theirs
    quota:    1 s at most, as tokens: flood or not, the store is asked once a second
    tokens:   only when the limit is spent in full, and 1 s at most: a settlement may give tokens back at any time, and
              a request that was too large says nothing about a smaller one
    parallel, model rate: never, they may pass at the next moment

What is held is bounded: 10,000 users, those refused last, and for each the last 8 scopes. A scope is a model for which
the user has limits of its own, else "": a refusal that holds for whatever is asked for (`scope_of`).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, TypeVar

import msgspec

from ratelimit.windows.decision import Decision, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from ratelimit.users.subjects import Subject
    from ratelimit.users.users import UserRecord

K = TypeVar("K")
V = TypeVar("V")

MAX_TOKEN_REFUSAL_SECONDS = 1.0
"""A refusal for tokens is remembered no longer: settlements give back at any time."""
_MAX_SCOPES_PER_USER = 8
"""All, and the models with limits of their own."""


class _Refusal(msgspec.Struct, frozen=True):
    decision: Decision
    at: float
    until: float


class ExhaustedUsers:
    """`clock` is monotonic."""

    def __init__(self, clock: Callable[[], float], max_users: int = 10_000) -> None:
        self._clock = clock
        self._max_users = max_users
        self._refusals: OrderedDict[Subject, OrderedDict[str, _Refusal]] = OrderedDict()
        self.answered = 0

    def __len__(self) -> int:
        return len(self._refusals)

    def __repr__(self) -> str:
        return f"ExhaustedUsers({len(self)} users, answered {self.answered})"

    def remember(self, subject: Subject, scope: str, decision: Decision, *, tokens: int = 0) -> None:
        """Any decision may be offered; what is not a lasting refusal is passed over. `tokens`: what was asked for."""
        seconds = _lasting_seconds(decision, tokens)
        if seconds <= 0:
            return
        now = self._clock()
        scopes = self._refusals.get(subject, OrderedDict())
        _put(scopes, scope, _Refusal(decision, now, now + seconds), _MAX_SCOPES_PER_USER)
        _put(self._refusals, subject, scopes, self._max_users)

    def refusal(self, subject: Subject, model: str = "") -> Decision | None:
        """The refusal that still holds, its waiting times counted down; None: ask the store."""
        scopes = self._refusals.get(subject)
        if scopes is None:
            return None
        now = self._clock()
        for scope in ("", model):
            refusal = scopes.get(scope)
            if refusal is not None and now < refusal.until:
                self.answered += 1
                return _counted_down(refusal.decision, now - refusal.at)
        self._forget_ended(subject, scopes, now)
        return None

    def invalidate(self, user: str) -> None:
        """The user's record was changed or deleted."""
        self._refusals.pop(user, None)

    def clear(self) -> None:
        """Changes may have been missed."""
        self._refusals.clear()

    def _forget_ended(self, subject: Subject, scopes: OrderedDict[str, _Refusal], now: float) -> None:
        for scope in [scope for scope, refusal in scopes.items() if refusal.until <= now]:
            del scopes[scope]
        if not scopes:
            del self._refusals[subject]


def scope_of(record: UserRecord | None, model: str) -> str:
    """What a refusal of this user for `model` holds for; the model, to be on the safe side, when nothing is known."""
    return model if record is None or model in record.overrides else ""


def _put(entries: OrderedDict[K, V], key: K, value: V, max_entries: int) -> None:
    entries[key] = value
    entries.move_to_end(key)
    if len(entries) > max_entries:
        entries.popitem(last=False)


def _lasting_seconds(decision: Decision, tokens: int) -> float:
    limits = decision.limits
    if decision.outcome is Outcome.QUOTA_EXCEEDED and _is_spent(decision):
        return min(decision.retry_after_seconds, MAX_TOKEN_REFUSAL_SECONDS)
    if limits is None or decision.outcome not in (Outcome.REQUESTS_EXCEEDED, Outcome.TOKENS_EXCEEDED):
        return 0.0
    limit, used = limits.tokens_per_minute, decision.tokens_used
    briefly = min(decision.retry_after_seconds, MAX_TOKEN_REFUSAL_SECONDS)
    if decision.outcome is Outcome.TOKENS_EXCEEDED:
        return briefly if used >= limit else 0.0
    fits = used + min(max(tokens, 1), limit) <= limit
    return decision.retry_after_seconds if fits else briefly


def _is_spent(decision: Decision) -> bool:
    """In full: a request that was too large says nothing about a smaller one."""
    return decision.quota is not None and decision.quota.used >= decision.quota.limit


def _counted_down(decision: Decision, seconds: float) -> Decision:
    return msgspec.structs.replace(
        decision,
        retry_after_seconds=max(0.0, decision.retry_after_seconds - seconds),
        requests_reset_seconds=max(0.0, decision.requests_reset_seconds - seconds),
        tokens_reset_seconds=max(0.0, decision.tokens_reset_seconds - seconds),
    )

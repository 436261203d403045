"""What may be spent in an hour, a day, a month of the calendar, and what was: beside the minute, and kept far longer.

    requests: refused unless one more is at most the quota
    tokens:   refused unless what must fit is (see `admission`), so that a quota is exceeded by no more than answers in
              flight cost beyond what was likely; what is booked and what is corrected are as with the minute

A counter has two periods, the current one and the last: what was admitted in the last is corrected there, and nothing
is ever taken out of another period than it was put into. Older corrections are passed over. `lua/tenancy.lua` does the
same on a server, by the server's clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from ratelimit.windows.periods import PERIODS, Period

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Quotas: TypeAlias = "Mapping[str, tuple[int, int]]"
"""By period, requests and tokens; 0: no limit."""


KINDS = ("requests", "tokens")


class QuotaState(NamedTuple):
    """The quota with the least left, for a decision and its headers."""

    scope: str
    """Whose: user, group."""
    period: str
    kind: str
    """requests or tokens."""
    limit: int
    used: int
    reset_seconds: float
    """Until the period is over."""
    returns_at_seconds: int
    """When that is, since 1970."""


class Counter:
    """What was spent in one period and the last, by one scope."""

    __slots__ = ("before", "now", "start")

    def __init__(self) -> None:
        self.start = 0
        self.now = [0, 0]
        self.before: tuple[int, list[int]] = (0, [0, 0])

    def roll(self, start: int) -> None:
        """A period begins; what was the current one is the last."""
        if start > self.start:
            self.before = (self.start, self.now)
            self.start, self.now = start, [0, 0]

    def add(self, at_seconds: float, requests: int, tokens: int) -> None:
        """Books to the period of that moment; never below nothing."""
        if at_seconds >= self.start:
            counts = self.now
        elif at_seconds >= self.before[0]:
            counts = self.before[1]
        else:
            return
        counts[0] = max(0, counts[0] + requests)
        counts[1] = max(0, counts[1] + tokens)


class AskedQuotas(NamedTuple):
    """One scope's quotas, and its counters by period."""

    scope: str
    quotas: Quotas
    counters: Mapping[Period, Counter]


def states_of(asked: Iterable[AskedQuotas], ends: Mapping[Period, int], now: float) -> tuple[QuotaState, ...]:
    """Every quota there is. `ends`: when each period is over, by the clock of `now`."""
    return tuple(
        QuotaState(one.scope, period, kind, limit, one.counters[period].now[at], ends[period] - now, ends[period])
        for one in asked
        for period in PERIODS
        for at, (kind, limit) in enumerate(zip(KINDS, one.quotas.get(period, (0, 0)), strict=True))
        if limit
    )


def judge_quotas(states: Iterable[QuotaState], needed: int) -> QuotaState | None:
    """The quota without room that returns last; None: all have room."""
    return last_to_return(state for state in states if not has_room(state, needed))


def has_room(state: QuotaState, needed: int) -> bool:
    """For one request of so many tokens."""
    return state.used + (needed if state.kind == "tokens" else 1) <= state.limit


def last_to_return(refusing: Iterable[QuotaState]) -> QuotaState | None:
    """The first of those whose period ends last."""
    return max(refusing, key=lambda state: state.reset_seconds, default=None)


def tightest(states: Iterable[QuotaState]) -> QuotaState | None:
    """The one of which the smallest share is left."""
    return min(states, key=lambda state: (state.limit - state.used) / state.limit, default=None)


class ToldQuotas(NamedTuple):
    """What a server says of quotas along with a decision."""

    refused: QuotaState | None
    group: str
    states: tuple[QuotaState, ...]


def read_told(text: str, now_seconds: float) -> ToldQuotas:
    """`told_quotas` of `lua/tenancy.lua`; `now_seconds` is the server's."""
    refusal, group, *lines = text.split("\n")
    states: list[QuotaState] = []
    for line in lines:
        who, period, *numbers = line.split(" ")
        requests_limit, requests, tokens_limit, tokens, over = map(int, numbers)
        for kind, limit, used in ((KINDS[0], requests_limit, requests), (KINDS[1], tokens_limit, tokens)):
            if limit:
                states.append(QuotaState(who, period, kind, limit, used, over - now_seconds, over))
    refused = next((one for one in states if refusal and [one.scope, one.period, one.kind] == refusal.split(" ")), None)
    return ToldQuotas(refused, group, tuple(states))

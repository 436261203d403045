"""Tokens per user with exponential decay: bounded in number and age, and no counter needs touching to decay.

    value(t) = sum of tokens * 0.5 ** ((t - t_token) / 60 s)

All counters decay alike, so they are kept in the units of one reference time, where they only ever grow, and scaled
when they are read. The reference moves on before numbers get large. A user who has been away for two minutes is
forgotten: contention is among those who are here.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

HALF_LIFE_SECONDS = 60.0
"""What a user was served a minute ago counts half."""
ACTIVE_SECONDS = 120.0
"""Users that were served lately are compared."""
MAX_USERS = 10_000
"""Those served last."""
_MAX_HALVINGS = 64.0
"""Then nothing is left."""
# After a long silence all counters are nothing anyway; floats end at 2 ** 1023.
_MAX_EXPONENT = 1000.0
# The extremes of many users take long to find, and change little: they are looked for this often.
_EXTREMES_SECONDS = 1.0
_FEW_USERS = 64
"""Are looked at each time; of more, the extremes are kept."""


class _Counter(NamedTuple):
    value: float
    active_at_seconds: float


class TokenCounters:
    """The least recently active users are forgotten first."""

    def __init__(self, clock: Callable[[], float], max_users: int = MAX_USERS) -> None:
        self._clock = clock
        self._max_users = max_users
        self._reference_seconds = clock()
        self._counters: OrderedDict[str, _Counter] = OrderedDict()
        self._least = self._most = 0.0
        self._extremes_at_seconds = -_EXTREMES_SECONDS
        self._changed = False

    def value(self, user: str) -> float:
        """Decayed tokens of a user; 0 for a stranger."""
        counter = self._counters.get(user)
        return counter.value / self._growth() if counter else 0.0

    def extremes(self) -> tuple[float, float]:
        """The smallest and the largest counter of active users; zeros when there are none."""
        now = self._clock()
        few = len(self._counters) <= _FEW_USERS
        if self._changed and (few or now - self._extremes_at_seconds >= _EXTREMES_SECONDS):
            self._forget(now)
            values = [counter.value for counter in self._counters.values()]
            self._least, self._most = (min(values), max(values)) if values else (0.0, 0.0)
            self._extremes_at_seconds, self._changed = now, False
        growth = self._growth()
        return self._least / growth, self._most / growth

    def add(self, user: str, tokens: float) -> None:
        """Counts tokens now; a correction may be negative, a counter is not."""
        self._rebase()
        known = self._counters.get(user)
        value = max(0.0, (known.value if known else 0.0) + tokens * self._growth())
        self._counters[user] = _Counter(value, self._clock())
        self._counters.move_to_end(user)
        if len(self._counters) > self._max_users:
            self._counters.popitem(last=False)
        self._changed = True

    def __len__(self) -> int:
        return len(self._counters)

    def _forget(self, now: float) -> None:
        while self._counters:
            user, counter = next(iter(self._counters.items()))
            if now - counter.active_at_seconds <= ACTIVE_SECONDS:
                return
            del self._counters[user]

    def _growth(self) -> float:
        halvings = (self._clock() - self._reference_seconds) / HALF_LIFE_SECONDS
        growth: float = 2.0 ** min(halvings, _MAX_EXPONENT)
        return growth

    def _rebase(self) -> None:
        if self._clock() - self._reference_seconds < _MAX_HALVINGS * HALF_LIFE_SECONDS:
            return
        growth = self._growth()
        for user, counter in self._counters.items():
            self._counters[user] = counter._replace(value=counter.value / growth)
        self._least, self._most = self._least / growth, self._most / growth
        self._reference_seconds = self._clock()

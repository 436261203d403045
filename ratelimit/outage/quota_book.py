"""Quotas while the store is away: each replica lets through its share of what was left when it last heard of them.

    a replica admits while    what it admitted itself + cost <= share(limit - spent)        of user and group each

`spent` is what the store said along with its last decision about the subject, or about another member of its group.
What other replicas spent since then is not in it: so over an outage all of them together let through at most what was
left, and so much of what was spent elsewhere, since a replica last heard, as is its share. What was let in is told to
the store when it is back, as requests of the minute are, and counts in the period in which it was let in.

A period that ends meanwhile begins anew with a share of the whole quota.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    from ratelimit.users.subjects import Subject
    from ratelimit.windows.decision import Admission
    from ratelimit.windows.quotas import QuotaState, ToldQuotas

MAX_SCOPES = 20_000
"""Users and groups of which quotas are remembered: those heard of last."""

Name: TypeAlias = "tuple[str, Hashable]"


class _Known(NamedTuple):
    states: tuple[QuotaState, ...]
    at_seconds: float
    spent: list[int]
    """Requests and tokens that were let in here since."""


class QuotaBook:
    """`clock` is monotonic."""

    def __init__(self, clock: Callable[[], float], max_scopes: int = MAX_SCOPES) -> None:
        self._clock = clock
        self._max_scopes = max_scopes
        self._known: OrderedDict[Name, _Known] = OrderedDict()
        self._groups: OrderedDict[Subject, str] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def hear(self, subject: Subject, told: ToldQuotas) -> None:
        """What came with a decision of the store."""
        now = self._clock()
        for scope, name in self._names(subject, told.group):
            states = tuple(state for state in told.states if state.scope == scope)
            if states:
                _put(self._known, (scope, name), _Known(states, now, [0, 0]), self._max_scopes)
        if told.group:
            _put(self._groups, subject, told.group, self._max_scopes)
        else:
            self._groups.pop(subject, None)

    def refusal(self, admission: Admission, tokens: int, share: Callable[[int], int]) -> QuotaState | None:
        """The quota of which this replica's share is spent."""
        now = self._clock()
        for known in self._of(admission):
            for state in known.states:
                at = state.kind == "tokens"
                lasts = state.reset_seconds - (now - known.at_seconds)
                left = share(max(0, state.limit - state.used) if lasts > 0 else state.limit)
                if known.spent[at] + (tokens if at else 1) > left:
                    return state._replace(used=state.limit, reset_seconds=max(lasts, 1.0))
        return None

    def book(self, admission: Admission, tokens: int) -> None:
        """It was let in here."""
        for known in self._of(admission):
            known.spent[0] += 1
            known.spent[1] += tokens

    def forget(self, subject: Subject) -> None:
        """The user was changed or deleted."""
        self._known.pop(("user", subject), None)
        self._groups.pop(subject, None)

    def _of(self, admission: Admission) -> Iterator[_Known]:
        subject = admission.subject
        for name in self._names(subject, self._groups.get(subject, "")):
            known = self._known.get(name)
            if known is not None:
                yield known

    def _names(self, subject: Subject, group: str) -> Iterator[Name]:
        yield "user", subject
        if group:
            yield "group", group


def _put(entries: OrderedDict, key: Hashable, value: object, most: int) -> None:  # type: ignore[type-arg]
    entries[key] = value
    entries.move_to_end(key)
    if len(entries) > most:
        entries.popitem(last=False)

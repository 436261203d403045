"""What was used, by whom, of which model: the rows of the usage ledger, and how they are summed up.

    day x user x group x model -> requests by outcome, tokens that engines told, tokens that had to be estimated

Tokens that an engine named and those that were estimated, of answers that were cut off, stand apart: the former can be
compared with the engines' own counters, and never exceed them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MORE = "(more)"
"""Stands for users, groups and models for whom a day had no room: sums stay whole."""
MAX_ROWS_PER_DAY = 100_000
"""Some 10 MB of a server's memory."""


class UsedBy(NamedTuple):
    """Of a day. Empty names: nobody in particular, no group."""

    day: str
    """As 2026-11-27, in the zone of quotas."""
    user: str
    group: str
    model: str


class Used(NamedTuple):
    """Requests by what became of them, and tokens. Prompt tokens include the cached ones."""

    succeeded: int = 0
    failed: int = 0
    aborted: int = 0
    prompt: int = 0
    cached: int = 0
    output: int = 0
    estimated: int = 0
    """Prompt and output of answers that never named their usage, as they are charged."""

    @property
    def requests(self) -> int:
        """Whatever became of them."""
        return self.succeeded + self.failed + self.aborted

    def plus(self, other: Used) -> Used:
        """Both together."""
        return Used(*(mine + others for mine, others in zip(self, other, strict=True)))


NOTHING_USED = Used()


class UsageBatch(NamedTuple):
    """What one writer tells at once. A batch may be told again, but none before the last one was heard of."""

    writer: str
    """One process, for as long as it lives."""
    number: int
    """Counts up from 1."""
    rows: Mapping[tuple[str, str, str], Used]
    """By day, user and model: the store knows who is in which group."""


class LedgerStore(Protocol):
    """Where a ledger is kept."""

    async def write_usage(self, batch: UsageBatch, retention_days: int) -> bool:
        """False when this batch was written before; StoreUnavailable."""
        ...

    async def read_usage(self, days: Sequence[str]) -> Mapping[UsedBy, Used]:
        """All rows of these days; StoreUnavailable."""
        ...


def sum_up(rows: Mapping[UsedBy, Used], by: Iterable[str]) -> dict[UsedBy, Used]:
    """Sums over all fields that are not named in `by`; those are empty then."""
    kept = frozenset(by)
    sums: dict[UsedBy, Used] = {}
    for who, used in rows.items():
        key = UsedBy(*(value if name in kept else "" for name, value in zip(UsedBy._fields, who, strict=True)))
        sums[key] = sums.get(key, NOTHING_USED).plus(used)
    return sums

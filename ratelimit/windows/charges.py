"""What a store in this process remembers of every charge id, so that repeating a call changes nothing.

    open     admitted: in which bucket, what was reserved; 600 s
    settled  180 s; `owed` is what a settlement that came before its admission left for the admission to debit
    ended    released without an admission; 180 s. An admission that comes after all takes no slot

Bounded: beyond `max_charges` of a kind the oldest is forgotten. A settlement of a forgotten charge is booked again.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeAlias, TypeVar

from ratelimit.store.limit_store import RESERVATION_SECONDS, SETTLED_SECONDS

if TYPE_CHECKING:
    from ratelimit.users.subjects import Subject

ChargeKey: TypeAlias = "tuple[Subject, str]"
T = TypeVar("T")


class Open(NamedTuple):
    bucket: int
    reserved: int
    choices: int = 1


class Closed(NamedTuple):
    """A charge that is settled (then `owed` counts), or only ended. `admitted`: its request was debited."""

    settled: bool
    admitted: bool = False
    owed: int = 0


class Charges:
    """All charges of a store, by subject and charge id."""

    def __init__(self, max_charges: int) -> None:
        self._open: _Remembered[Open] = _Remembered(RESERVATION_SECONDS, max_charges)
        self._closed: _Remembered[Closed] = _Remembered(SETTLED_SECONDS, max_charges)

    def __repr__(self) -> str:
        return f"{len(self._open)} open and {len(self._closed)} closed charges"

    def get(self, key: ChargeKey, now_seconds: float) -> Open | Closed | None:
        return self._open.get(key, now_seconds) or self._closed.get(key, now_seconds)

    def open(self, key: ChargeKey, charge: Open, now_seconds: float) -> None:
        self._closed.drop(key)
        self._open.put(key, charge, now_seconds)

    def close(self, key: ChargeKey, charge: Closed, now_seconds: float) -> None:
        self._open.drop(key)
        self._closed.put(key, charge, now_seconds)


class _Remembered(Generic[T]):
    """Values for some seconds each, oldest first."""

    def __init__(self, seconds: float, max_entries: int) -> None:
        self._seconds = seconds
        self._max_entries = max_entries
        self._entries: OrderedDict[ChargeKey, tuple[float, T]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: ChargeKey, now_seconds: float) -> T | None:
        entry = self._entries.get(key)
        return entry[1] if entry and now_seconds - entry[0] < self._seconds else None

    def put(self, key: ChargeKey, value: T, now_seconds: float) -> None:
        self._entries.pop(key, None)
        while self._entries and self._is_over(next(iter(self._entries.values())), now_seconds):
            self._entries.popitem(last=False)
        self._entries[key] = (now_seconds, value)

    def drop(self, key: ChargeKey) -> None:
        self._entries.pop(key, None)

    def _is_over(self, oldest: tuple[float, T], now_seconds: float) -> bool:
        return len(self._entries) >= self._max_entries or now_seconds - oldest[0] >= self._seconds

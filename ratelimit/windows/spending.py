"""What users and sources spent and hold, for a store that counts in this process.

Bounded by the users, and by their limits; and by the number of sources that are counted.
"""

from __future__ import annotations

import math
from bisect import bisect_right, insort
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from ratelimit.store.limit_store import PARALLEL_SECONDS
from ratelimit.windows.expected import LENGTHS_SECONDS, MODELS_PER_SUBJECT, with_length
from ratelimit.windows.window import BUCKETS, Window

if TYPE_CHECKING:
    from ratelimit.users.subjects import Subject
    from ratelimit.windows.expected import Lengths


class Spent(NamedTuple):
    requests: Window
    tokens: Window

    def roll(self, bucket: int, tokens_limit: int) -> None:
        self.requests.roll(bucket)
        self.tokens.roll(bucket, tokens_limit)


class _Account:
    def __init__(self) -> None:
        self.bucket = 0
        self.by_model: dict[str, Spent] = {}

    def owes_until(self) -> int:
        return max(spent.tokens.owes_until() for spent in self.by_model.values()) if self.by_model else 0


class Accounts:
    """Windows by subject and model ("": all models); those of subjects that have been idle for two windows and owe
    nothing are dropped, and beyond `max_accounts` those that asked least lately."""

    def __init__(self, max_accounts: float = math.inf) -> None:
        self._max_accounts = max_accounts
        self._accounts: OrderedDict[Subject, _Account] = OrderedDict()

    def __len__(self) -> int:
        return len(self._accounts)

    def spent(self, subject: Subject, model: str, bucket: int, tokens_limit: int) -> Spent:
        account = self._accounts.get(subject)
        if account is None or account.bucket != bucket:
            account = self._touch(subject, account or _Account(), bucket)
        spent = account.by_model.get(model)
        if spent is None:
            spent = account.by_model[model] = Spent(Window(), Window())
        spent.roll(bucket, tokens_limit)
        return spent

    def drop(self, subject: Subject) -> None:
        self._accounts.pop(subject, None)

    def _touch(self, subject: Subject, account: _Account, bucket: int) -> _Account:
        account.bucket = bucket
        self._accounts[subject] = account
        self._accounts.move_to_end(subject)
        while len(self._accounts) > self._max_accounts:
            self._accounts.popitem(last=False)
        while (oldest := next(iter(self._accounts.values()))).bucket <= bucket - 2 * BUCKETS:
            idle, _ = self._accounts.popitem(last=False)
            if oldest.owes_until() > bucket:
                oldest.bucket = bucket - BUCKETS
                self._accounts[idle] = oldest
        return account


class LastLengths:
    """Of the last answers, by model, of the subjects that were told of last; for an hour after a subject's last one."""

    def __init__(self, max_subjects: int = 10_000) -> None:
        self._max_subjects = max_subjects
        self._subjects: OrderedDict[Subject, tuple[float, dict[str, Lengths]]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._subjects)

    def get(self, subject: Subject, model: str, now_seconds: float) -> Lengths | None:
        return self._by_model(subject, now_seconds).get(model)

    def learn(self, subject: Subject, model: str, output: int, now_seconds: float) -> None:
        by_model = self._by_model(subject, now_seconds)
        if model not in by_model and len(by_model) >= MODELS_PER_SUBJECT:
            by_model = {}
        by_model[model] = with_length(by_model.get(model), output)
        self._subjects[subject] = now_seconds, by_model
        self._subjects.move_to_end(subject)
        if len(self._subjects) > self._max_subjects:
            self._subjects.popitem(last=False)

    def drop(self, subject: Subject) -> None:
        self._subjects.pop(subject, None)

    def _by_model(self, subject: Subject, now_seconds: float) -> dict[str, Lengths]:
        told = self._subjects.get(subject)
        return told[1] if told is not None and now_seconds - told[0] < LENGTHS_SECONDS else {}


class Slots:
    """Which charges hold a parallel slot, and until when at most."""

    def __init__(self) -> None:
        self._taken: dict[Subject, dict[str, float]] = {}

    def taken(self, subject: Subject, now_seconds: float) -> int:
        return sum(until > now_seconds for until in self._taken.get(subject, {}).values())

    def take(self, subject: Subject, charge_id: str, now_seconds: float) -> None:
        slots = self._taken.setdefault(subject, {})
        slots.pop(charge_id, None)
        # The oldest come first.
        while slots and slots[oldest := next(iter(slots))] <= now_seconds:
            del slots[oldest]
        slots[charge_id] = now_seconds + PARALLEL_SECONDS

    def give_back(self, subject: Subject, charge_id: str) -> bool:
        """False when the charge holds none."""
        slots = self._taken.get(subject)
        if slots is None:
            return False
        held = slots.pop(charge_id, None) is not None
        if not slots:
            del self._taken[subject]
        return held

    def drop(self, subject: Subject) -> None:
        self._taken.pop(subject, None)


class ModelRates:
    """When a model's requests of the last second were admitted, sorted: at most as many as its limit."""

    def __init__(self) -> None:
        self._admitted: dict[str, list[float]] = {}

    def wait_seconds(self, model: str, limit: int, now_seconds: float) -> float:
        """Until another request fits; a second at most, also after the clock was set back."""
        times = self._admitted.get(model)
        if not limit or not times:
            return 0.0
        del times[: bisect_right(times, now_seconds - 1)]
        return min(times[-limit] + 1 - now_seconds, 1.0) if len(times) >= limit else 0.0

    def admit(self, model: str, now_seconds: float) -> None:
        insort(self._admitted.setdefault(model, []), now_seconds)

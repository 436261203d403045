"""What users spent and hold, for a store that counts in this process. Bounded by the users, and by their limits."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import OrderedDict
from typing import NamedTuple

from ratelimit.store import PARALLEL_SECONDS
from ratelimit.window import BUCKETS, Window


class Spent(NamedTuple):
    requests: Window
    tokens: Window

    def roll(self, bucket: int) -> None:
        self.requests.roll(bucket)
        self.tokens.roll(bucket)


class _Account:
    def __init__(self) -> None:
        self.bucket = 0
        self.by_model: dict[str, Spent] = {}


class Accounts:
    """Windows by user and model ("": all models); those of users who have been idle for two windows are dropped."""

    def __init__(self) -> None:
        self._accounts: OrderedDict[str, _Account] = OrderedDict()

    def __len__(self) -> int:
        return len(self._accounts)

    def spent(self, user: str, model: str, bucket: int) -> Spent:
        account = self._accounts.get(user)
        if account is None or account.bucket != bucket:
            account = self._touch(user, account or _Account(), bucket)
        spent = account.by_model.get(model)
        if spent is None:
            spent = account.by_model[model] = Spent(Window(), Window())
        spent.roll(bucket)
        return spent

    def drop(self, user: str) -> None:
        self._accounts.pop(user, None)

    def _touch(self, user: str, account: _Account, bucket: int) -> _Account:
        account.bucket = bucket
        self._accounts[user] = account
        self._accounts.move_to_end(user)
        while next(iter(self._accounts.values())).bucket <= bucket - 2 * BUCKETS:
            self._accounts.popitem(last=False)
        return account


class Slots:
    """Which charges hold a parallel slot, and until when at most."""

    def __init__(self) -> None:
        self._taken: dict[str, dict[str, float]] = {}

    def taken(self, user: str, now_seconds: float) -> int:
        return sum(until > now_seconds for until in self._taken.get(user, {}).values())

    def take(self, user: str, charge_id: str, now_seconds: float) -> None:
        slots = {held: until for held, until in self._taken.get(user, {}).items() if until > now_seconds}
        self._taken[user] = slots | {charge_id: now_seconds + PARALLEL_SECONDS}

    def give_back(self, user: str, charge_id: str) -> bool:
        """False when the charge holds none."""
        slots = self._taken.get(user)
        if slots is None:
            return False
        held = slots.pop(charge_id, None) is not None
        if not slots:
            del self._taken[user]
        return held

    def drop(self, user: str) -> None:
        self._taken.pop(user, None)


class ModelRates:
    """When a model's requests of the last second were admitted, sorted: at most as many as its limit."""

    def __init__(self) -> None:
        self._admitted: dict[str, list[float]] = {}

    def wait_seconds(self, model: str, limit: int, now_seconds: float) -> float:
        """Until another request fits."""
        times = self._admitted.get(model)
        if not limit or not times:
            return 0.0
        del times[: bisect_right(times, now_seconds - 1)]
        return times[-limit] + 1 - now_seconds if len(times) >= limit else 0.0

    def admit(self, model: str, now_seconds: float) -> None:
        insort(self._admitted.setdefault(model, []), now_seconds)

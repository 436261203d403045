"""What users and sources spent and hold, for a store that counts in this process: windows, and whose they are.

A window is a minute in buckets of one second: what was spent in the last 60 s is never told too low, and debt is paid
off.

A bucket holds what was spent in [b, b + 1) of the clock. Every bucket that overlaps the last 60 s counts in full:

    used(now) = debt + sum of the buckets b with  now // 1 - 61 < b

which are the current bucket and the sixty before it. A cost fits when

    used + cost <= limit,  or  used <= limit and used in the last 59 buckets + cost <= limit

The second half lets one cost in a second or two early, so that nobody is told to wait for a whole minute, which clients
do not do: the wait is 59 s at most. So no span of 60 s holds more than the limit and one cost.

Debt is what was spent beyond the limit, by an answer that turned out longer than what was reserved for it. It counts as
used, and moves into the buckets that come as soon as these have room, as if it had been spent only then: a limit's
worth in each minute. What is given back pays debt first. Of more than a day's worth the rest is forgiven.

Example: 70 spent at 3 s, 30 at 48 s, limit 100. At 50 s a cost of 20 does not fit. The bucket of 3 s is not among the
last 59 at 62 s: the wait is 12 s; a cost of 80 also needs the bucket of 48 s to go, at 107 s: 57 s. If 150 more turn
out to be spent at 50 s, 250 are used and 150 are debt: 70 of it are in the bucket of 64 s, 30 in that of 109 s, and
the last 50 in that of 125 s, until 186 s.

Degradation: after a clock was set back, buckets of up to 61 s in the future still count; later ones are dropped.

Accounts, parallel slots and rates are bounded by the users, and by their limits; and by the number of sources that are
counted.
"""

from __future__ import annotations

import math
from bisect import bisect_right, insort
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from ratelimit.store.limit_store import PARALLEL_SECONDS

if TYPE_CHECKING:
    from ratelimit.users.subjects import Subject


WINDOW_SECONDS = 60
"""Limits are per minute."""
BUCKET_SECONDS = 1
"""Of which the window is made, each counted whole while any of it is inside."""
BUCKETS = WINDOW_SECONDS // BUCKET_SECONDS + 1
EARLY_BUCKETS = BUCKETS - 2
"""Those that count for a cost which is let in early."""
LONGEST_WAIT_SECONDS = 59.0
"""Clients pass over a minute or more, and retry at once."""
NO_LIMIT = 2**63 - 1
"""No sum reaches it."""
LONGEST_DEBT_WINDOWS = 24 * 60
"""As many windows pay for what was spent too much, and no more: nobody pays for ever, and nothing is kept for ever."""


class Window:
    """What one scope spent of one kind, by bucket."""

    __slots__ = ("_bucket", "_counts", "_limit", "_newest", "_pruned_at", "debt", "used")

    def __init__(self) -> None:
        self._bucket = self._pruned_at = self._newest = 0
        self._counts: dict[int, int] = {}
        self._limit = NO_LIMIT
        self.debt = 0
        self.used = 0

    def roll(self, bucket: int, limit: int = NO_LIMIT) -> None:
        """Makes `used` what it is when `bucket` is the current one; `limit` is what debt is paid by."""
        if bucket != self._bucket:
            if self.debt:
                self._pay(bucket, limit)
            self._bucket = bucket
            self.used = sum(self._counting().values()) + self.debt

    def add(self, bucket: int, count: int, limit: int = NO_LIMIT) -> None:
        """Spends, beyond the limit as debt; or gives back when negative, at most what is owed and the bucket holds."""
        if self._pruned_at != self._bucket:
            self._pruned_at = self._bucket
            self._counts = self._counting()
        if count < 0:
            if self.debt:
                paid = min(self.debt, -count)
                self.debt -= paid
                self.used -= paid
                count += paid
            self._put(bucket, max(count, -self._counts.get(bucket, 0)))
            if self.debt:
                self._move_debt(limit)
            return
        room = limit - self.used + self.debt
        fits = count if count <= room else max(0, room)
        self._put(bucket, fits)
        if count > fits:
            self._limit = limit
            owed = min(self.debt + count - fits, max(self.debt, _longest_debt(limit)))
            self.used += owed - self.debt
            self.debt = owed

    def fits(self, cost: int, limit: int) -> bool:
        """Whether so much may be spent now, or a little early."""
        if self.used + cost <= limit:
            return True
        return self.used <= limit and self._used_lately() + cost <= limit

    def seconds_until_fits(self, now_seconds: float, cost: int, limit: int) -> float:
        """How long until `fits` when nothing else is spent; a larger cost waits for an empty window. 59 s at most, even
        if debt takes longer."""
        cost = min(cost, limit)
        if self.fits(cost, limit):
            return 0.0
        if self.debt:
            return self._seconds_until_paid(now_seconds, cost, limit)
        late = self._end_of(self.used - limit, BUCKETS)
        early = self._end_of(self._used_lately() + cost - limit, EARLY_BUCKETS)
        return min(max(late, early) - now_seconds, LONGEST_WAIT_SECONDS)

    def seconds_until_empty(self, now_seconds: float) -> float:
        """How long until nothing is used any more when nothing else is spent."""
        if not self.used:
            return 0.0
        newest = self._newest
        if newest not in self._counts or not counts_at(newest, self._bucket):
            newest = max(self._counting(), default=self._bucket)
        minutes = -(-self.debt // max(self._limit, 1))
        return float((newest + BUCKETS * (1 + minutes)) * BUCKET_SECONDS) - now_seconds

    def owes_until(self) -> int:
        """The last bucket before which debt may be left; 0: there is none."""
        return self._bucket + BUCKETS * (2 + self.debt // max(self._limit, 1)) if self.debt else 0

    def _put(self, bucket: int, count: int) -> None:
        after = self._counts.get(bucket, 0) + count
        self.used += count
        if after:
            self._counts[bucket] = after
            if bucket > self._newest:
                self._newest = bucket
        else:
            self._counts.pop(bucket, None)

    def _move_debt(self, limit: int) -> None:
        moved = min(self.debt, max(0, limit - self.used + self.debt))
        self.debt -= moved
        self.used -= moved
        self._put(self._bucket, moved)

    def _pay(self, bucket: int, limit: int) -> None:
        """Debt moves into the buckets between, each as it comes."""
        self._limit = limit
        self._forgive(limit)
        at, limit = self._bucket, max(limit, 1)
        used = sum(count for held, count in self._counts.items() if counts_at(held, at))
        newest = max(self._counts, default=at)
        while self.debt and at < bucket:
            windows = min((bucket - at) // BUCKETS, self.debt // limit)
            if windows and used <= limit and newest <= at:
                # In a whole window exactly the limit is paid, in the places of what was there before.
                self.debt -= limit * windows
                at += BUCKETS * windows
                self._counts = {held + BUCKETS * windows: count for held, count in self._counts.items()}
                continue
            at += 1
            used -= self._counts.get(at - BUCKETS, 0)
            moved = min(self.debt, max(0, limit - used))
            if moved:
                self._counts[at] = self._counts.get(at, 0) + moved
                self.debt -= moved
                used += moved
        self._counts = {held: count for held, count in self._counts.items() if counts_at(held, bucket)}
        self._newest = max(self._counts, default=0)

    def _forgive(self, limit: int) -> None:
        """What was owed under a larger limit, too."""
        self.debt = min(self.debt, _longest_debt(limit))

    def _seconds_until_paid(self, now_seconds: float, cost: int, limit: int) -> float:
        ahead = Window()
        ahead._bucket, ahead._counts, ahead.debt, ahead.used = self._bucket, dict(self._counts), self.debt, self.used
        for bucket in range(self._bucket + 1, self._bucket + EARLY_BUCKETS + 1):
            ahead.roll(bucket, limit)
            if ahead.fits(cost, limit):
                return bucket * BUCKET_SECONDS - now_seconds
        return LONGEST_WAIT_SECONDS

    def _used_lately(self) -> int:
        first = self._bucket - EARLY_BUCKETS
        return self.used - sum(self._counts.get(first - early, 0) for early in range(BUCKETS - EARLY_BUCKETS))

    def _end_of(self, excess: int, buckets: int) -> float:
        """When so much has left the last `buckets`."""
        end = 0.0
        if excess <= 0:
            return end
        for bucket, count in sorted(self._counting().items()):
            if bucket <= self._bucket - buckets:
                continue
            excess -= count
            end = float((bucket + buckets) * BUCKET_SECONDS)
            if excess <= 0:
                break
        return end

    def _counting(self) -> dict[int, int]:
        return {at: count for at, count in self._counts.items() if counts_at(at, self._bucket)}


def bucket_at(now_seconds: float) -> int:
    """The current bucket."""
    return int(now_seconds // BUCKET_SECONDS)


def _longest_debt(limit: int) -> int:
    return max(limit, 1) * LONGEST_DEBT_WINDOWS


def counts_at(bucket: int, current: int) -> bool:
    """Does a bucket count when another is the current one?"""
    return current - BUCKETS < bucket <= current + BUCKETS


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

"""A minute in buckets of five seconds: what was spent in the last 60 s is never told too low.

A bucket holds what was spent in [5 b, 5 b + 5) of the clock. Every bucket that overlaps the last 60 s counts in full:

    used(now) = sum of the buckets b with  now // 5 - 13 < b

which are the current bucket and the twelve before it: between 60 and 65 s. So whatever is admitted under a limit, no
span of 60 s, wherever it begins, holds more than the limit; two weighted windows of 60 s would let through up to twice
of it. The price: what was spent blocks up to 5 s longer than a minute.

Example: 70 spent at 3 s, 30 at 48 s, limit 100. At 50 s a cost of 20 does not fit. The bucket of 3 s (b = 0) counts
until 65 s, so the wait is 15 s; a cost of 80 also needs the bucket of 48 s (b = 9) to go, at 110 s: 60 s.

Degradation: after a clock was set back, buckets of up to 65 s in the future still count; later ones are dropped.
"""

from __future__ import annotations

WINDOW_SECONDS = 60
BUCKET_SECONDS = 5
BUCKETS = WINDOW_SECONDS // BUCKET_SECONDS + 1
NO_LIMIT = 2**63 - 1


class Window:
    """What one scope spent of one kind, by bucket."""

    __slots__ = ("_bucket", "_counts", "_pruned_at", "used")

    def __init__(self) -> None:
        self._bucket = self._pruned_at = 0
        self._counts: dict[int, int] = {}
        self.used = 0

    def roll(self, bucket: int) -> None:
        """Makes `used` what it is when `bucket` is the current one."""
        if bucket != self._bucket:
            self._bucket = bucket
            self.used = sum(self._counting().values())

    def add(self, bucket: int, count: int) -> None:
        """Spends, or gives back when negative, at most what the bucket holds."""
        if self._pruned_at != self._bucket:
            self._pruned_at = self._bucket
            self._counts = self._counting()
        before = self._counts.get(bucket, 0)
        after = max(0, before + count)
        self.used += after - before
        if after:
            self._counts[bucket] = after
        else:
            self._counts.pop(bucket, None)

    def seconds_until_fits(self, now_seconds: float, cost: int, limit: int) -> float:
        """How long until `used + cost <= limit` when nothing else is spent; a larger cost waits for an empty window."""
        excess = self.used + min(cost, limit) - limit
        wait_seconds = 0.0
        for bucket, count in sorted(self._counting().items()):
            if excess <= 0:
                break
            excess -= count
            wait_seconds = _end_seconds(bucket) - now_seconds
        return wait_seconds

    def seconds_until_empty(self, now_seconds: float) -> float:
        if not self.used:
            return 0.0
        newest = max(self._counts)
        if not counts_at(newest, self._bucket):
            newest = max(self._counting())
        return _end_seconds(newest) - now_seconds

    def _counting(self) -> dict[int, int]:
        return {at: count for at, count in self._counts.items() if counts_at(at, self._bucket)}


def bucket_at(now_seconds: float) -> int:
    return int(now_seconds // BUCKET_SECONDS)


def counts_at(bucket: int, current: int) -> bool:
    """Does a bucket count when another is the current one?"""
    return current - BUCKETS < bucket <= current + BUCKETS


def _end_seconds(bucket: int) -> float:
    """When a bucket stops counting."""
    return float((bucket + BUCKETS) * BUCKET_SECONDS)

"""Limits while the store is away: each replica lets through its share of what the store last said was left.

    share(x) = x // replicas, and 1 more where rank < x % replicas        all shares together are x

    a replica admits while    what it admitted itself + cost <= share(limit - spent)        in any minute

`spent` is the user's last known window (`last_spent`), which goes on ageing, so that what it held comes back as it
would have on the store. So all replicas together admit at most what was left: a user gets at most its limit, and beyond
it what was in flight when the store went: admitted there, and not yet told. Shares of requests, tokens, slots and the
model's rate are made alike; of slots, those count that exchanges of this replica hold, whoever admitted them.

A user who was last heard not to exist is refused; one never heard of is let in under the default limits. What is
counted here ends with the outage (`end`), when the store was told all of it.
"""

from __future__ import annotations

from collections import OrderedDict
from math import inf
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from ratelimit.store.memory import MemoryStore
from ratelimit.users.known_users import Known
from ratelimit.users.subjects import Source
from ratelimit.users.users import UserRecord
from ratelimit.windows.decision import Decision, Outcome
from ratelimit.windows.limits import AIBRIX_DEFAULTS, LimitDefaults, effective_limits, source_record
from ratelimit.windows.spending import NO_LIMIT, Slots, bucket_at

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ratelimit.outage.last_spent import Heard, LastSpent, Told
    from ratelimit.outage.quota_book import QuotaBook
    from ratelimit.users.known_users import KnownUsers
    from ratelimit.users.subjects import Subject
    from ratelimit.windows.decision import Admission, Settlement


class Part(NamedTuple):
    """Which of how many equal parts."""

    replicas: int = 1
    rank: int = 0

    def of(self, amount: int) -> int:
        each, left = divmod(amount, max(1, self.replicas))
        return each + (self.rank < left)


class _Seed(NamedTuple):
    """What of a scope's last known windows counts here, by bucket, and when it was heard."""

    at_seconds: float
    requests: Mapping[int, int]
    tokens: Mapping[int, int]


_NOTHING = _Seed(-inf, {}, {})


class LocalLimits:
    """`clock` is monotonic; at most `max_users` users are counted, those who asked last, and as many sources."""

    def __init__(
        self,
        clock: Callable[[], float],
        known: KnownUsers,
        part: Callable[[], Part],
        defaults: LimitDefaults = AIBRIX_DEFAULTS,
        *,
        last_spent: LastSpent | None = None,
        quota_book: QuotaBook | None = None,
        max_users: int = 10_000,
    ) -> None:
        self.admitted = 0
        self.refused = 0
        self.unseen = 0
        self._clock = clock
        self._known = known
        self._last_spent = last_spent
        self._quota_book = quota_book
        self._part = part
        self._defaults = defaults
        self._max_users = max_users
        self._slots = Slots()
        self.end()

    def change_defaults(self, defaults: LimitDefaults) -> None:
        """What holds from now on; what is decided here during an outage begins anew."""
        self._defaults = defaults
        self.end()

    def end(self) -> None:
        """The store decides again, and knows all that was admitted here."""
        self._store = MemoryStore(self._clock, self._defaults, max_sources=self._max_users, slots=self._slots)
        self._users: OrderedDict[str, UserRecord] = OrderedDict()
        self._seeds: OrderedDict[tuple[Subject, str], _Seed] = OrderedDict()
        self._sources_part = Part()

    def __len__(self) -> int:
        """How many users and sources are counted, or were begun with."""
        return len(self._users) + len(self._seeds)

    def admit(self, admission: Admission) -> Decision:
        """Goes on from what was last heard of the subject, also if that was since it asked here last."""
        return self._admit(admission, goes_on=True)

    def check(self, admission: Admission) -> Decision:
        """As `admit`, right after an outage: what the store says now includes what was admitted here, so that it cannot
        be added to it."""
        return self._admit(admission, goes_on=False)

    async def settle_many(self, settlements: Sequence[Settlement]) -> int:
        return await self._store.settle_many(settlements)

    def spend(self, subject: Subject, model: str, requests: int, tokens: int) -> None:
        """Counts what was admitted under leases that the store has not heard of."""
        now = bucket_at(self._clock())
        for scope in ("", model) if model else ("",):
            self._store.spend(subject, scope, {now: requests}, {now: tokens})

    def hold(self, subject: Subject, charge_id: str) -> None:
        """The store has given a parallel slot to an exchange of this replica, which holds it also in an outage."""
        self._slots.take(subject, charge_id, self._clock())

    def release(self, subject: Subject, charge_id: str) -> None:
        """Gives a slot back, whoever had given it."""
        self._store.release(subject, charge_id)

    def _admit(self, admission: Admission, *, goes_on: bool) -> Decision:
        part, subject = self._part(), admission.subject
        heard = self._last_spent.get(subject) if self._last_spent is not None else None
        record = source_record(self._defaults) if isinstance(subject, Source) else self._last_known(subject, heard)
        if record is None:
            self._forget(subject)
            decision = Decision(Outcome.UNKNOWN_USER, None)
        elif not self._has_part(record, admission.model, part):
            decision = self._refusal(record)
        else:
            self._begin(subject, record, part)
            for model in ("", admission.model) if admission.model in record.overrides else ("",):
                self._seed((subject, model), record, heard, part, goes_on=goes_on)
            decision = self._judge_quotas(admission, record, part) or self._judge(admission, part)
        self._count(decision)
        return decision

    def _judge_quotas(self, admission: Admission, record: UserRecord, part: Part) -> Decision | None:
        book = self._quota_book
        quota = book.refusal(admission, max(admission.tokens, 1), part.of) if book is not None else None
        if quota is None:
            return None
        limits = effective_limits(record, self._defaults)
        wait = quota.reset_seconds
        return Decision(Outcome.QUOTA_EXCEEDED, limits, retry_after_seconds=wait, quota=quota)

    def _judge(self, admission: Admission, part: Part) -> Decision:
        rate = admission.model_requests_per_second
        if rate:
            rate = max(1, part.of(rate))
        decision = self._store.admit(msgspec.structs.replace(admission, model_requests_per_second=rate))
        if self._quota_book is not None and decision.outcome is Outcome.ADMITTED:
            self._quota_book.book(admission, decision.reserved_tokens)
        return decision

    def _has_part(self, record: UserRecord, model: str, part: Part) -> bool:
        """A limit that is less than the number of replicas is shared by so many of them."""
        limits = effective_limits(record, self._defaults)
        all_limits = (*msgspec.structs.astuple(limits), *record.overrides.get(model, ()))
        return all(part.of(limit) for limit in all_limits if limit)

    def _refusal(self, record: UserRecord) -> Decision:
        limits = effective_limits(record, self._defaults)
        return Decision(Outcome.REQUESTS_EXCEEDED, limits, limits.requests_per_minute, 0, 1.0)

    def _count(self, decision: Decision) -> None:
        if decision.outcome is Outcome.ADMITTED:
            self.admitted += 1
        else:
            self.refused += 1

    def _last_known(self, user: str, heard: Heard | None) -> UserRecord | None:
        known = self._known.get(user)
        if known is None:
            self.unseen += 1
            if heard is None:
                return UserRecord(user)
            # By other replicas.
            known = Known(UserRecord(user, *msgspec.structs.astuple(heard.limits)), 0.0, exact=False)
        if known.record is None or known.exact or heard is None:
            return known.record
        told = {model: _override(scope) for model, scope in heard.scopes.items() if model}
        return msgspec.structs.replace(known.record, overrides=known.record.overrides | told)

    def _begin(self, subject: Subject, record: UserRecord, part: Part) -> None:
        if isinstance(subject, Source):
            if part != self._sources_part:
                self._sources_part = part
                self._store.put_sources(share_of(record, self._defaults, part))
            return
        if record.name != subject:
            # Another program wrote it.
            record = msgspec.structs.replace(record, name=subject)
        share = share_of(record, self._defaults, part)
        if self._users.get(subject) != share:
            self._store.put(share)
            self._users[subject] = share
        self._users.move_to_end(subject)
        if len(self._users) > self._max_users:
            self._forget(next(iter(self._users)))

    def _seed(
        self, key: tuple[Subject, str], record: UserRecord, heard: Heard | None, part: Part, *, goes_on: bool
    ) -> None:
        told = heard.scopes.get(key[1]) if heard is not None else None
        before = self._seeds.get(key)
        if told is None:
            # Counted from nothing: what the store says of it later may be what was admitted here.
            self._seeds.setdefault(key, _NOTHING)
            return
        if before is not None and (before.at_seconds >= told.at_seconds or not goes_on):
            return
        limits = effective_limits(record, self._defaults)
        requests_limit, tokens_limit = limits.requests_per_minute, limits.tokens_per_minute
        if key[1]:
            requests_limit, tokens_limit = (limit or NO_LIMIT for limit in record.overrides[key[1]])
        seed = _Seed(
            told.at_seconds,
            taken(told.buckets(told.requests), requests_limit, part),
            taken(told.buckets(told.tokens), tokens_limit, part),
        )
        self._store.spend(
            *key,
            _difference(seed.requests, before and before.requests),
            _difference(seed.tokens, before and before.tokens),
        )
        self._seeds[key] = seed
        if len(self._seeds) > 2 * self._max_users:
            self._seeds.popitem(last=False)

    def _forget(self, subject: Subject) -> None:
        share = self._users.pop(subject, None) if isinstance(subject, str) else None
        if share is not None:
            self._store.drop(share.name)
            for model in ("", *share.overrides):
                self._seeds.pop((subject, model), None)


def share_of(record: UserRecord, defaults: LimitDefaults, part: Part) -> UserRecord:
    """The record with this replica's part of each limit, at least 1: 0 says "no limit"."""
    limits = effective_limits(record, defaults)

    def share(limit: int) -> int:
        return max(1, part.of(limit)) if limit else 0

    return msgspec.structs.replace(
        record,
        rpm=share(limits.requests_per_minute),
        tpm=share(limits.tokens_per_minute),
        max_parallel=share(record.max_parallel),
        overrides={model: (share(requests), share(tokens)) for model, (requests, tokens) in record.overrides.items()},
        # Of these `quota_book` knows the shares.
        group="",
        quotas={},
    )


def taken(buckets: Mapping[int, int], limit: int, part: Part) -> dict[int, int]:
    """What of a window counts against this replica's share: share(limit) - taken = share(limit - spent), now and each
    time its oldest bucket goes."""
    whole, spent, before, result = part.of(limit), 0, 0, {}
    for bucket in sorted(buckets, reverse=True):
        spent += buckets[bucket]
        now = whole - part.of(max(0, limit - spent))
        if now > before:
            result[bucket] = now - before
        before = now
    return result


def _difference(new: Mapping[int, int], old: Mapping[int, int] | None) -> dict[int, int]:
    old = old or {}
    return {bucket: new.get(bucket, 0) - old.get(bucket, 0) for bucket in new.keys() | old.keys()}


def _override(told: Told) -> tuple[int, int]:
    requests, tokens = told.requests_limit, told.tokens_limit
    return (requests if requests < NO_LIMIT else 0, tokens if tokens < NO_LIMIT else 0)

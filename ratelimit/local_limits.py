"""Limits while the store is away: each replica lets through its share of what is known of a user.

    share = max(1, limit // replicas)        for requests, tokens, slots and the model's rate alike

With `replicas` of them all deciding so, a user gets at most the limit, or one request per replica where that is more.
A user who was last heard not to exist is refused; one never heard of is let in under the default limits.

A decision names no reservation: the store knows none, so whoever settles the exchange there has to charge all of it.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import msgspec

from ratelimit.decision import Outcome
from ratelimit.limits import AIBRIX_DEFAULTS, LimitDefaults, effective_limits, source_record
from ratelimit.memory import MemoryStore
from ratelimit.subjects import Source
from ratelimit.users import UserRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ratelimit.decision import Admission, Decision, Settlement
    from ratelimit.known_users import KnownUsers
    from ratelimit.subjects import Subject


class LocalLimits:
    """`clock` gives seconds since the epoch; at most `max_users` users are counted, those who asked last, and as many
    sources."""

    def __init__(
        self,
        clock: Callable[[], float],
        known: KnownUsers,
        replicas: Callable[[], int],
        defaults: LimitDefaults = AIBRIX_DEFAULTS,
        *,
        max_users: int = 10_000,
    ) -> None:
        self.admitted = 0
        self.refused = 0
        self.unseen = 0
        self._known = known
        self._replicas = replicas
        self._defaults = defaults
        self._max_users = max_users
        self._store = MemoryStore(clock, defaults, max_sources=max_users)
        self._sources_shared_by = 1
        self._seeded: OrderedDict[str, UserRecord] = OrderedDict()

    def admit(self, admission: Admission) -> Decision:
        replicas = max(1, self._replicas())
        if isinstance(admission.subject, Source):
            self._seed_sources(replicas)
        else:
            self._seed(admission.subject, self._last_known(admission.subject), replicas)
        rate = _share(admission.model_requests_per_second, replicas)
        decision = self._store.admit(msgspec.structs.replace(admission, model_requests_per_second=rate))
        if decision.outcome is Outcome.ADMITTED:
            self.admitted += 1
        else:
            self.refused += 1
        return msgspec.structs.replace(decision, reserved_tokens=0)

    async def settle_many(self, settlements: Sequence[Settlement]) -> int:
        return await self._store.settle_many(settlements)

    def release(self, subject: Subject, charge_id: str) -> None:
        self._store.release(subject, charge_id)

    def _last_known(self, user: str) -> UserRecord | None:
        known = self._known.get(user)
        if known is not None:
            return known.record
        self.unseen += 1
        return UserRecord(user)

    def _seed(self, user: str, record: UserRecord | None, replicas: int) -> None:
        if record is None:
            self._forget(user)
            return
        share = share_of(record, self._defaults, replicas)
        if self._seeded.get(user) != share:
            self._store.put(share)
            self._seeded[user] = share
        self._seeded.move_to_end(user)
        if len(self._seeded) > self._max_users:
            self._forget(next(iter(self._seeded)))

    def _seed_sources(self, replicas: int) -> None:
        if replicas != self._sources_shared_by:
            self._sources_shared_by = replicas
            self._store.put_sources(share_of(source_record(self._defaults), self._defaults, replicas))

    def _forget(self, user: str) -> None:
        if self._seeded.pop(user, None) is not None:
            self._store.drop(user)


def share_of(record: UserRecord, defaults: LimitDefaults, replicas: int) -> UserRecord:
    limits = effective_limits(record, defaults)
    return msgspec.structs.replace(
        record,
        rpm=_share(limits.requests_per_minute, replicas),
        tpm=_share(limits.tokens_per_minute, replicas),
        max_parallel=_share(record.max_parallel, replicas),
        overrides={
            model: (_share(requests, replicas), _share(tokens, replicas))
            for model, (requests, tokens) in record.overrides.items()
        },
    )


def _share(limit: int, replicas: int) -> int:
    # 0 says "no limit".
    return max(1, limit // replicas) if limit else 0

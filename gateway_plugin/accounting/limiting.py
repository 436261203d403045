"""The limiter as the gateway uses it: one store, what guards it, and what is remembered beside it.

    redis:  ResilientLimits -> BatchingLimits -> RedisStore,  exhausted users and key owners remembered
    memory: MemoryStore, which answers at once

Requests in nobody's name may be limited by their source: the same store counts it, in a key space of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import secrets
import time
from typing import TYPE_CHECKING

import msgspec

from ratelimit import (
    Admission,
    CorruptUserRecord,
    Decision,
    LimitDefaults,
    MemoryStore,
    Outcome,
    RedisStore,
    Settlement,
    Source,
    StoreUnavailable,
)
from ratelimit.outage.last_spent import LastSpent
from ratelimit.outage.local_limits import LocalLimits, Part
from ratelimit.outage.quota_book import QuotaBook
from ratelimit.outage.replicas import Replicas
from ratelimit.outage.resilience import ResilientLimits, StoreDown
from ratelimit.outage.spent_news import SpentNews
from ratelimit.outage.store_guard import StoreGuard
from ratelimit.store.batching import BatchingLimits
from ratelimit.store.memory_ledger import MemoryLedger
from ratelimit.users.key_owners import KeyOwners
from ratelimit.users.known_users import KnownUsers
from ratelimit.users.user_cache import UserCache
from ratelimit.users.user_changes import UserChanges
from ratelimit.windows.decision import UNKNOWN_USER
from ratelimit.windows.exhausted import ExhaustedUsers, scope_of
from ratelimit.windows.leases import Leases
from ratelimit.windows.limits import source_record
from ratelimit.windows.periods import Calendar, zone_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from gateway_plugin.settings.settings import Settings
    from ratelimit import LimitStore, Subject, UserRecord
    from ratelimit.users.usage_rows import LedgerStore

logger = logging.getLogger(__name__)

_SPENT = (Outcome.REQUESTS_EXCEEDED, Outcome.TOKENS_EXCEEDED, Outcome.QUOTA_EXCEEDED)


class GiveBack(msgspec.Struct, frozen=True):
    """What an ended exchange holds of somebody's limits; nobody waits for it."""

    subject: Subject
    charge_id: str
    model: str
    slot: bool
    """A parallel slot."""
    refund: bool
    """The reservation, because the request never reached a pod."""
    reserved_tokens: int


def defaults_of(settings: Settings) -> LimitDefaults:
    """What holds for whoever has no limits of their own."""
    users = settings.users
    return LimitDefaults(users.default_rpm, users.default_tokens_per_request, settings.identity.anonymous_rpm)


class Limiting:
    """Admissions, key owners, and the background work behind them. Raises ValueError for a URL that is none."""

    def __init__(self, settings: Settings) -> None:
        self.defaults = defaults_of(settings)
        self.store: MemoryStore | RedisStore
        self.limits: LimitStore
        self.ledger: LedgerStore
        self.resilient: ResilientLimits | None = None
        self.exhausted: ExhaustedUsers | None = None
        self.refusal: Callable[[Subject, str], Decision | None] = self._refusal
        """Of a subject and a model, that still holds, without asking anybody: a user is gone, or has spent all."""
        self._known = KnownUsers(time.monotonic)
        self._users: UserCache | None = None
        self.admit: Callable[[Admission], Decision | Awaitable[Decision]]
        """As `LimitStore.admit`; a lasting refusal is remembered."""
        self._guard: StoreGuard | None = None
        self._changes: UserChanges | None = None
        self._replicas: Replicas | None = None
        self._news: SpentNews | None = None
        self._reads: set[asyncio.Task[None]] = set()
        self._owners: KeyOwners | None = None
        self._local: LocalLimits | None = None
        if settings.redis.effective_url:
            self._use_redis(settings)
        else:
            calendar = Calendar(zone_of(settings.users.quota_time_zone))
            self.store = self.limits = MemoryStore(
                time.monotonic, self.defaults, wall_clock=time.time, calendar=calendar
            )
            self.ledger = MemoryLedger(self.store.read)
            self.admit = self.limits.admit
            self.refusal = self.store.refusal

    def _use_redis(self, settings: Settings) -> None:
        store = RedisStore.from_url(
            settings.redis.effective_url,
            self.defaults,
            timeout_seconds=settings.redis.timeout_seconds,
            calendar=Calendar(zone_of(settings.users.quota_time_zone)),
        )
        rng, known = random.Random(), self._known
        guard = StoreGuard(
            store.ping, time.monotonic, rng, name=store.address, timeout_seconds=settings.users.limiter_timeout_seconds
        )
        replicas = self._replicas = Replicas(store, f"{settings.process.replica}-{secrets.token_hex(4)}")
        last_spent = store.last_spent = LastSpent(time.monotonic)
        quota_book = store.quota_book = QuotaBook(time.monotonic)
        local = self._local = LocalLimits(
            time.monotonic,
            known,
            lambda: Part(replicas.seen, replicas.rank),
            self.defaults,
            last_spent=last_spent,
            quota_book=quota_book,
        )
        leases = Leases(time.monotonic, replicas.name, lambda: replicas.seen)
        policy = StoreDown(settings.users.store_down)
        # No batch is asked for longer than any call may take, nor given up while somebody waits for it.
        timeout_seconds = min(settings.redis.timeout_seconds, 2 * settings.users.limiter_timeout_seconds)
        batching = BatchingLimits(store, timeout_seconds=timeout_seconds)
        resilient = self.resilient = ResilientLimits(
            batching, guard, known, local, time.monotonic, policy, last_spent=last_spent, leases=leases
        )
        self.exhausted = ExhaustedUsers(time.monotonic)
        self.resilient.refused.append(self._refused)
        # A refusal by a share of the limits says nothing once the store decides again.
        guard.recovered.append(self.exhausted.clear)
        self._guard = guard
        self._news = SpentNews(store, guard, last_spent, lambda: replicas.seen > 1)
        self._users = UserCache(store, guard, known, time.monotonic)
        self._owners = KeyOwners(self._user_of_key, time.monotonic)
        self._changes = UserChanges(
            store,
            time.monotonic,
            rng,
            changed=[
                self.exhausted.invalidate,
                self._users.invalidate,
                self._owners.forget,
                resilient.forget_leases,
                quota_book.forget,
            ],
            missed=[
                self.exhausted.clear,
                self._users.invalidate_all,
                self._owners.doubt_all,
                resilient.forget_leases,
            ],
            # Who is changed has spent what it has spent.
            gone=[last_spent.forget],
        )
        self.store, self.limits, self.admit, self.ledger = store, resilient, self._admit, store

    def _admit(self, admission: Admission) -> Decision | Awaitable[Decision]:
        assert self.resilient is not None
        return self.resilient.admit_at_once(admission) or self.resilient.admit(admission)

    def change_defaults(self, defaults: LimitDefaults) -> None:
        """What holds for whoever has no limits of their own, from now on."""
        self.defaults = defaults
        self.store.change_defaults(defaults)
        if self._local is not None:
            self._local.change_defaults(defaults)
        if self.exhausted is not None:
            self.exhausted.clear()

    async def run(self) -> None:
        """Follows users and replicas until cancelled; returns at once where there are no others."""
        if self._changes is not None and self._replicas is not None and self._news is not None:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._changes.run())
                group.create_task(self._replicas.run())
                group.create_task(self._news.run())

    @property
    def refused_items(self) -> int:
        """What Redis refused of one user alone, or had forgotten."""
        return self.store.refused_items if isinstance(self.store, RedisStore) else 0

    @property
    def is_shared(self) -> bool:
        """Whether limits are kept in a store of several replicas."""
        return self.resilient is not None

    @property
    def replicas(self) -> int:
        """How many replicas share the store, this one included, as far as is known."""
        return self._replicas.seen if self._replicas is not None else 1

    def _refusal(self, subject: Subject, model: str) -> Decision | None:
        if not isinstance(subject, Source) and self._is_missing(subject):
            return UNKNOWN_USER
        return self.exhausted.refusal(subject, model) if self.exhausted is not None else None

    def _is_missing(self, user: str) -> bool:
        known = self._users.peek(user) if self._users is not None else None
        return known is not None and known.record is None

    def is_known(self, user: str) -> bool:
        """Whether the user was heard of in the last hour; whoever is gone since then is refused by the admission."""
        known = self._known.get(user)
        return known is not None and known.record is not None

    async def has_user(self, user: str) -> bool:
        """Whether there is such a user; true, too, where that cannot be told now: the admission decides then."""
        try:
            return await self.record_of(user) is not None
        except (StoreUnavailable, CorruptUserRecord):
            return True

    def _refused(self, admission: Admission, decision: Decision) -> None:
        if decision.outcome not in _SPENT or self._users is None:
            return
        subject = admission.subject
        if isinstance(subject, Source):
            self._remember(admission, decision, source_record(self.defaults))
        elif (known := self._users.peek(subject)) is not None:
            self._remember(admission, decision, known.record)
        else:
            read = self._read_and_remember(self._users, subject, admission, decision)
            task = asyncio.get_running_loop().create_task(read)
            self._reads.add(task)
            task.add_done_callback(self._reads.discard)

    async def _read_and_remember(self, users: UserCache, user: str, admission: Admission, decision: Decision) -> None:
        # Nothing is remembered of a user who cannot be read.
        with contextlib.suppress(StoreUnavailable, CorruptUserRecord):
            self._remember(admission, decision, await users.get(user))

    def _remember(self, admission: Admission, decision: Decision, record: UserRecord | None) -> None:
        assert self.exhausted is not None
        scope = scope_of(record, admission.model)
        # A wait for the least that is asked for says nothing of requests; one for the most might.
        tokens = admission.tokens + admission.max_output * admission.choices
        self.exhausted.remember(admission.subject, scope, decision, tokens=tokens)

    async def give_back(self, back: GiveBack) -> None:
        """Never raises: what cannot be told now expires by itself."""
        try:
            if back.slot:
                answer = self.limits.release(back.subject, back.charge_id)
                if answer is not None:
                    await answer
            if back.refund:
                refund = Settlement(back.subject, back.charge_id, 0, back.reserved_tokens, back.model)
                await self.settle_many([refund])
        except StoreUnavailable as error:
            logger.debug("not given back: %s", error)

    async def settle_many(self, settlements: Sequence[Settlement]) -> int:
        """Charges what exchanges cost; how many had not been charged before. Raises StoreUnavailable."""
        return await self.limits.settle_many(settlements)

    async def owner_of_key(self, key_sha256: str, source: str = "") -> str | None:
        """Whose API key this is; see `KeyOwners`. `source` is who asks."""
        if self._owners is None:
            return await self.store.user_of_key(key_sha256)
        return await self._owners.owner_of(key_sha256, source)

    async def _user_of_key(self, key_sha256: str) -> str | None:
        if self._guard is None:
            return await self.store.user_of_key(key_sha256)
        # As the record that is read next: both, and the admission, must end in time.
        half_seconds = self._guard.timeout_seconds / 2
        return await self._guard.call(lambda: self.store.user_of_key(key_sha256), timeout_seconds=half_seconds)

    async def record_of(self, user: str) -> UserRecord | None:
        """What is stored of a user, None for nobody; the last that was known while the store is away, else
        StoreUnavailable."""
        return await (self.store.read(user) if self._users is None else self._users.get(user))

    async def health(self) -> tuple[bool, str]:
        """Whether admissions can be decided, and who decides them."""
        try:
            await self.limits.ping()
        except StoreUnavailable as error:
            policy = self.resilient.policy if self.resilient is not None else StoreDown.CLOSED
            return policy is not StoreDown.CLOSED, f"store_down: {policy.value}; {error}"
        return True, "ok"

    async def close(self) -> None:
        """Ends connections and tasks."""
        await self.limits.close()

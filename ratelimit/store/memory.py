"""Limits, users and keys in this process: exact for one replica, gone when it ends.

What is held is bounded by the users, their limits, `max_sources`, and `max_charges` (see `admission`). A source that is
forgotten because more than `max_sources` others asked meanwhile begins anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from ratelimit.store.memory_tenancy import MemoryTenancy
from ratelimit.users.api_keys import MemoryKeys, NoSuchUser
from ratelimit.users.subjects import Source, check_subject
from ratelimit.users.users import UserRecord, check_user_name
from ratelimit.windows.admission import (
    Charges,
    Closed,
    LastLengths,
    Open,
    Question,
    Scope,
    account,
    expected,
    judge,
    override_of,
    refused_by_record,
    wait_seconds,
)
from ratelimit.windows.decision import UNKNOWN_USER, Admission, Decision, Outcome, Settlement, Usage
from ratelimit.windows.limits import AIBRIX_DEFAULTS, LimitDefaults, effective_limits, source_record
from ratelimit.windows.periods import Calendar
from ratelimit.windows.spending import NO_LIMIT, Accounts, ModelRates, Slots, bucket_at, counts_at

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ratelimit.store.limit_store import Replay
    from ratelimit.users.api_keys import NewKey
    from ratelimit.users.groups import GroupRecord
    from ratelimit.users.subjects import Subject
    from ratelimit.windows.admission import Expected
    from ratelimit.windows.limits import Limits
    from ratelimit.windows.spending import Spent
    from ratelimit.windows.tenant import Tenant

_SETTLED = Closed(settled=True, admitted=True)
"""What becomes of nearly every charge."""


class _Known(NamedTuple):
    """A record, and what it comes to with the defaults of the store."""

    record: UserRecord
    limits: Limits


class MemoryStore(MemoryKeys):
    """`LimitStore`, `UserStore`, `KeyStore` and `GroupStore`; `clock` is monotonic, `wall_clock` (else `clock`) dates
    API keys, and has the calendar.

    Windows must not follow the wall clock: one that is set forward would open all limits, one set back close them.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        defaults: LimitDefaults = AIBRIX_DEFAULTS,
        *,
        max_charges: int = 100_000,
        max_sources: int = 10_000,
        wall_clock: Callable[[], float] | None = None,
        slots: Slots | None = None,
        calendar: Calendar | None = None,
    ) -> None:
        super().__init__(wall_clock or clock)
        self._clock = clock
        self._defaults = defaults
        self._users: dict[str, _Known] = {}
        self._accounts = Accounts()
        self._sources = Accounts(max_sources)
        self.put_sources(source_record(defaults))
        self._slots = slots if slots is not None else Slots()
        self._lengths = LastLengths()
        self._rates = ModelRates()
        self._charges = Charges(max_charges)
        self.tenancy = MemoryTenancy(wall_clock or clock, calendar or Calendar())

    def __repr__(self) -> str:
        return f"MemoryStore({len(self._users)} users, {len(self._accounts)} accounts, {self._charges!r})"

    def admit(self, admission: Admission) -> Decision:
        known = self._known(admission.subject)
        if known is None:
            check_subject(admission.subject)
            return UNKNOWN_USER
        refusal = refused_by_record(known.record, admission.model, admission.other_names)
        if refusal:
            return Decision(refusal, None)
        tenant = self._tenant(known.record, admission)
        refusal = self.tenancy.refusal(tenant, admission) if tenant is not None else None
        if refusal:
            return Decision(refusal, None)
        return self._judge(admission, known, tenant, self._clock())

    def _tenant(self, record: UserRecord, admission: Admission) -> Tenant | None:
        # Sources are in no group.
        subject = admission.subject
        if isinstance(subject, Source) or not (record.group or record.quotas):
            return None
        return self.tenancy.of(record, subject)

    def refusal(self, subject: Subject, model: str) -> Decision | None:
        """What can be said before an admission: that there is no such user."""
        return None if self._known(subject) is not None else UNKNOWN_USER

    def _known(self, subject: Subject) -> _Known | None:
        return self._every_source if isinstance(subject, Source) else self._users.get(subject)

    def _spent(self, subject: Subject, model: str, bucket: int, tokens_limit: int) -> Spent:
        accounts = self._sources if isinstance(subject, Source) else self._accounts
        return accounts.spent(subject, model, bucket, tokens_limit)

    def _tokens_limit(self, subject: Subject, model: str) -> int:
        known = self._known(subject)
        if known is None:
            return NO_LIMIT
        override = override_of(known.record, model)
        return override[1] if override else known.limits.tokens_per_minute

    def _judge(self, admission: Admission, known: _Known, tenant: Tenant | None, now: float) -> Decision:
        record = known.record
        charge = self._charges.get((admission.subject, admission.charge_id), now)
        scopes = self._scopes(admission, known, bucket_at(now))
        if tenant is not None:
            scopes += self.tenancy.scopes(tenant, bucket_at(now))
        reserved, wait, quota = 0, 0.0, None
        if isinstance(charge, Open):
            outcome, reserved = Outcome.ADMITTED, charge.reserved
        elif charge and charge.admitted:
            outcome = Outcome.ADMITTED
        else:
            question = self._question(admission, record, scopes, charge, now)
            question = self._with_group(question, tenant, charge, now)
            outcome = judge(question)
            quota = self.tenancy.exhausted(tenant, question.needed) if tenant is not None else None
            if quota is not None:
                outcome, wait = Outcome.QUOTA_EXCEEDED, quota.reset_seconds
            elif outcome is Outcome.ADMITTED:
                reserved = question.reservation
                self._debit(admission, question, charge, tenant, now)
            else:
                wait = wait_seconds(question, now)
        decision = account(outcome, scopes, known.limits, now, reserved=reserved, wait=wait)
        if tenant is None:
            return decision
        return msgspec.structs.replace(decision, quota=quota or self.tenancy.tightest(tenant))

    def _with_group(self, question: Question, tenant: Tenant | None, charge: Closed | None, now: float) -> Question:
        if tenant is None or charge is not None:
            return question
        taken, slots = self.tenancy.slots_taken(tenant, now)
        return question._replace(group_slots_taken=taken, group_max_parallel=slots)

    def _scopes(self, admission: Admission, known: _Known, bucket: int) -> list[Scope]:
        limits, subject, model = known.limits, admission.subject, admission.model
        spent = self._spent(subject, "", bucket, limits.tokens_per_minute)
        scopes = [Scope(limits.requests_per_minute, limits.tokens_per_minute, *spent)]
        override = override_of(known.record, model)
        if override:
            scopes.append(Scope(*override, *self._spent(subject, model, bucket, override[1])))
        return scopes

    def _question(
        self, admission: Admission, record: UserRecord, scopes: list[Scope], charge: Closed | None, now: float
    ) -> Question:
        limit = min(scope.tokens_limit for scope in scopes)
        must_fit, reservation = self._expected(admission, charge, limit, now)
        return Question(
            scopes,
            max(must_fit, 1),
            reservation,
            self._slots.taken(admission.subject, now) if record.max_parallel and charge is None else 0,
            record.max_parallel,
            self._rates.wait_seconds(admission.model, admission.model_requests_per_second, now),
        )

    def _expected(self, admission: Admission, charge: Closed | None, limit: int, now: float) -> Expected:
        if charge and charge.settled:
            return expected(charge.owed, 0, 0, 1, None, limit)
        lengths = self._lengths.get(admission.subject, admission.model, now) if admission.max_output else None
        tokens, output = max(admission.tokens, 0), admission.likely_output
        return expected(tokens, output, admission.max_output, admission.choices, lengths, limit)

    def _debit(
        self, admission: Admission, question: Question, charge: Closed | None, tenant: Tenant | None, now: float
    ) -> None:
        bucket = bucket_at(now)
        for scope in question.scopes:
            scope.requests.add(bucket, 1)
            scope.tokens.add(bucket, question.reservation, scope.tokens_limit)
        if question.max_parallel and charge is None:
            self._slots.take(admission.subject, admission.charge_id, now)
        if admission.model_requests_per_second:
            self._rates.admit(admission.model, now)
        key = (admission.subject, admission.charge_id)
        booked_in = self.tenancy.book(tenant, key[1], question.reservation, now) if tenant is not None else None
        if charge and charge.settled:
            self._charges.close(key, Closed(settled=True, admitted=True), now)
        else:
            self._charges.open(key, Open(bucket, question.reservation, admission.choices, booked_in), now)

    async def settle(self, settlement: Settlement) -> bool:
        return await self.settle_many([settlement]) == 1

    async def settle_many(self, settlements: Sequence[Settlement]) -> int:
        for settlement in settlements:
            check_subject(settlement.subject)
        now = self._clock()
        bucket = bucket_at(now)
        return sum([self._settle(settlement, now, bucket) for settlement in settlements])

    def _settle(self, settlement: Settlement, now: float, bucket: int) -> bool:
        key = (settlement.subject, settlement.charge_id)
        charge = self._charges.get(key, now)
        if isinstance(charge, Closed) and charge.settled:
            return False
        tokens = max(settlement.tokens, 0)
        if settlement.output > 0:
            choices = charge.choices if isinstance(charge, Open) else 1
            self._lengths.learn(settlement.subject, settlement.model, -(-settlement.output // choices), now)
        if isinstance(charge, Open):
            self._book(settlement, charge.bucket, tokens - charge.reserved, bucket)
            if charge.booked_in is not None:
                more = tokens - charge.reserved
                self.tenancy.correct(charge.booked_in, key[1], charge.bucket, bucket, more)
            self._charges.close(key, _SETTLED, now)
        else:
            owed = min(tokens, max(settlement.reserved, 0))
            self._book(settlement, bucket, tokens - owed, bucket)
            self._charges.close(key, Closed(settled=True, owed=owed), now)
        self._slots.give_back(*key)
        return True

    def _book(self, settlement: Settlement, at: int, tokens: int, bucket: int) -> None:
        if tokens > 0 and not counts_at(at, bucket):
            # The reservation counts no more: what exceeds it is spent now.
            at = bucket
        if not tokens:
            return
        subject, model = settlement.subject, settlement.model
        known = self._known(subject)
        limit = known.limits.tokens_per_minute if known else NO_LIMIT
        self._spent(subject, "", bucket, limit).tokens.add(at, tokens, limit)
        override = override_of(known.record, model) if known else None
        if override:
            self._spent(subject, model, bucket, override[1]).tokens.add(at, tokens, override[1])

    def replay(self, replay: Replay) -> None:
        """Books what was decided elsewhere, whatever the limits say; once per charge id."""
        admission, reserved = replay.admission, replay.reserved
        known, now = self._known(admission.subject), self._clock()
        key = (admission.subject, admission.charge_id)
        charge = self._charges.get(key, now)
        if known is None or isinstance(charge, Open) or (charge and charge.admitted):
            return
        owed = charge is not None and charge.settled
        reserved = charge.owed if charge is not None and owed else reserved
        at, tenant, booked_in = bucket_at(now - replay.age_seconds), self._tenant(known.record, admission), None
        if tenant is not None:
            booked_in = self.tenancy.book(tenant, key[1], reserved, now, age_seconds=replay.age_seconds)
        if counts_at(at, bucket_at(now)):
            more = self.tenancy.scopes(tenant, bucket_at(now)) if tenant is not None else []
            for scope in (*self._scopes(admission, known, bucket_at(now)), *more):
                scope.requests.add(at, 1)
                scope.tokens.add(at, reserved, scope.tokens_limit)
        if known.record.max_parallel and charge is None:
            self._slots.take(*key, now)
        if owed:
            self._charges.close(key, Closed(settled=True, admitted=True), now)
        else:
            self._charges.open(key, Open(at, reserved, admission.choices, booked_in), now)

    def spend(self, subject: Subject, model: str, requests: Mapping[int, int], tokens: Mapping[int, int]) -> None:
        """Counts what was spent elsewhere, by bucket of this store's clock; negative counts take back."""
        spent = self._spent(subject, model, bucket_at(self._clock()), self._tokens_limit(subject, model))
        for window, counts in ((spent.requests, requests), (spent.tokens, tokens)):
            for bucket, count in counts.items():
                if counts_at(bucket, bucket_at(self._clock())):
                    window.add(bucket, count)

    def release(self, subject: Subject, charge_id: str) -> None:
        check_subject(subject)
        key, now = (subject, charge_id), self._clock()
        charge = self._charges.get(key, now)
        if isinstance(charge, Open) and charge.booked_in is not None:
            self.tenancy.release(charge.booked_in, charge_id)
        if not self._slots.give_back(*key) and self._charges.get(key, now) is None:
            self._charges.close(key, Closed(settled=False), now)

    async def usage(self, user: str) -> Usage | None:
        check_user_name(user)
        known = self._users.get(user)
        if known is None:
            return None
        now = self._clock()
        spent = self._accounts.spent(user, "", bucket_at(now), known.limits.tokens_per_minute)
        quotas = self.tenancy.states(known.record, user)
        return Usage(known.limits, spent.requests.used, spent.tokens.used, self._slots.taken(user, now), quotas)

    async def ping(self) -> None:
        """There is nothing that could be away."""

    async def close(self) -> None:
        """There is nothing to close."""

    def put(self, record: UserRecord) -> None:
        """Creates or replaces it, at once."""
        check_user_name(record.name)
        self._users[record.name] = _Known(record, effective_limits(record, self._defaults))

    def put_sources(self, record: UserRecord) -> None:
        """What holds for each source from now on; the record's name says nothing."""
        self._every_source = _Known(record, effective_limits(record, self._defaults))

    def change_defaults(self, defaults: LimitDefaults) -> None:
        """What holds for whoever has no limits of their own, from now on; what was spent stays spent."""
        self._defaults = defaults
        self._users = {
            name: _Known(known.record, effective_limits(known.record, defaults)) for name, known in self._users.items()
        }
        self.put_sources(source_record(defaults))

    def drop(self, name: str) -> bool:
        """As `delete`, at once."""
        check_user_name(name)
        self._accounts.drop(name)
        self._slots.drop(name)
        self._lengths.drop(name)
        self._drop_keys(name)
        self.tenancy.drop_user(name)
        return self._users.pop(name, None) is not None

    async def create(self, record: UserRecord) -> bool:
        check_user_name(record.name)
        if record.name in self._users:
            return False
        self.put(record)
        return True

    async def read(self, name: str) -> UserRecord | None:
        check_user_name(name)
        known = self._users.get(name)
        return known.record if known is not None else None

    async def update(self, record: UserRecord) -> bool:
        check_user_name(record.name)
        if record.name not in self._users:
            return False
        self.put(record)
        return True

    async def change(self, name: str, change: Callable[[UserRecord], UserRecord]) -> UserRecord | None:
        record = await self.read(name)
        if record is not None:
            self.put(record := change(record))
        return record

    async def create_key(self, user: str, label: str = "", expires_at: int | None = None) -> NewKey:
        check_user_name(user)
        if user not in self._users:
            raise NoSuchUser(user)
        return await super().create_key(user, label, expires_at)

    async def delete(self, name: str) -> bool:
        return self.drop(name)

    async def create_group(self, group: GroupRecord) -> bool:
        if group.name in self.tenancy.groups:
            return False
        self.tenancy.put_group(group)
        return True

    async def read_group(self, name: str) -> GroupRecord | None:
        return self.tenancy.groups.get(name)

    async def change_group(self, name: str, change: Callable[[GroupRecord], GroupRecord]) -> GroupRecord | None:
        group = self.tenancy.groups.get(name)
        if group is not None:
            self.tenancy.put_group(group := change(group))
        return group

    async def delete_group(self, name: str) -> bool:
        return self.tenancy.drop_group(name)

    async def groups(self) -> list[GroupRecord]:
        return sorted(self.tenancy.groups.values(), key=lambda group: group.name)

    async def names(self, limit: int) -> list[str]:
        return sorted(self._users)[:limit]

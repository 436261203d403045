"""Groups and quotas, for the store in this process (a server's: `lua/tenancy.lua`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ratelimit.users.groups import GroupRecord, GroupRules, check_group_name, rules_of
from ratelimit.windows.admission import Scope
from ratelimit.windows.decision import Outcome
from ratelimit.windows.periods import PERIODS, Calendar
from ratelimit.windows.quotas import AskedQuotas, Counter, QuotaState, judge_quotas, states_of, tightest
from ratelimit.windows.spending import NO_LIMIT, Accounts, Slots, counts_at
from ratelimit.windows.tenant import BookedIn, Tenant

if TYPE_CHECKING:
    from collections.abc import Callable

    from ratelimit.users.users import UserRecord
    from ratelimit.windows.decision import Admission
    from ratelimit.windows.periods import Period
    from ratelimit.windows.quotas import Quotas

_NO_RULES = GroupRules()


class MemoryTenancy:
    """`wall_clock`: seconds since 1970, for the calendar."""

    def __init__(self, wall_clock: Callable[[], float], calendar: Calendar) -> None:
        self.groups: dict[str, GroupRecord] = {}
        self.calendar = calendar
        self._wall_clock = wall_clock
        self._counters: dict[tuple[str, str], dict[Period, Counter]] = {}
        self._groups_spent = Accounts()
        self._slots = Slots()

    def of(self, record: UserRecord, user: str) -> Tenant | None:
        """None: nothing holds but the user's own limits."""
        group = self.groups.get(record.group) if record.group else None
        if group is None and not record.quotas:
            return None
        rules = rules_of(group) if group is not None else _NO_RULES
        asked = [self._asked("user", user, record.quotas)]
        if group is not None:
            asked.append(self._asked("group", group.name, group.quotas))
        return Tenant(record.group if group is not None else "", rules, tuple(asked))

    def refusal(self, tenant: Tenant, admission: Admission) -> Outcome | None:
        """What the group forbids whatever was spent."""
        if tenant.rules.disabled:
            return Outcome.DISABLED
        allowed, names = tenant.rules.models, (admission.model, *admission.other_names)
        if admission.model and allowed and not any(name in allowed for name in names):
            return Outcome.MODEL_NOT_ALLOWED
        return None

    def scopes(self, tenant: Tenant, bucket: int) -> list[Scope]:
        """The group's minute, where it has a limit."""
        if not tenant.rules.rpm and not tenant.rules.tpm:
            return []
        return [_scope(tenant.rules, self._groups_spent, tenant.group, bucket)]

    def slots_taken(self, tenant: Tenant | None, now: float) -> tuple[int, int]:
        """How many exchanges of the group hold one, and how many may; 0: any number."""
        if tenant is None or not tenant.rules.max_parallel:
            return 0, 0
        return self._slots.taken(tenant.group, now), tenant.rules.max_parallel

    def exhausted(self, tenant: Tenant, needed: int) -> QuotaState | None:
        """The quota that refuses."""
        return judge_quotas(self._states(tenant), needed)

    def tightest(self, tenant: Tenant) -> QuotaState | None:
        """For headers."""
        return tightest(self._states(tenant))

    def states(self, record: UserRecord, user: str) -> tuple[QuotaState, ...]:
        """All quotas of a user and of its group."""
        tenant = self.of(record, user)
        return self._states(tenant) if tenant is not None else ()

    def book(self, tenant: Tenant, charge_id: str, tokens: int, now: float, *, age_seconds: float = 0.0) -> BookedIn:
        """One request. Its windows are booked with the user's own."""
        at = self._wall_clock() - age_seconds
        for one in tenant.asked:
            for counter in one.counters.values():
                counter.add(at, 1, tokens)
        if tenant.rules.max_parallel:
            self._slots.take(tenant.group, charge_id, now)
        return BookedIn(tenant, at)

    def correct(self, booked: BookedIn, charge_id: str, at: int, bucket: int, tokens: int) -> None:
        """What it cost more than was booked, or less; `at`: the bucket of its admission."""
        tenant = booked.tenant
        if tenant.group:
            self._slots.give_back(tenant.group, charge_id)
        for scope in self.scopes(tenant, bucket) if tokens else ():
            scope.tokens.add(at if counts_at(at, bucket) else bucket, tokens, scope.tokens_limit)
        for one in tenant.asked if tokens else ():
            for counter in one.counters.values():
                counter.add(booked.at_seconds, 0, tokens)

    def release(self, booked: BookedIn, charge_id: str) -> None:
        """The group's slot."""
        if booked.tenant.group:
            self._slots.give_back(booked.tenant.group, charge_id)

    def put_group(self, group: GroupRecord) -> None:
        """Creates or replaces it."""
        check_group_name(group.name)
        self.groups[group.name] = group

    def drop_group(self, name: str) -> bool:
        """With what it has spent."""
        self._groups_spent.drop(name)
        self._slots.drop(name)
        self._counters.pop(("group", name), None)
        return self.groups.pop(name, None) is not None

    def drop_user(self, user: str) -> None:
        """With what it has spent."""
        self._counters.pop(("user", user), None)

    def _asked(self, scope: str, name: str, quotas: Quotas) -> AskedQuotas:
        if not quotas:
            return AskedQuotas(scope, {}, {})
        now = self._wall_clock()
        spans, counters = self.calendar.spans(now), self._counters.setdefault((scope, name), {})
        held: dict[Period, Counter] = {}
        for period in PERIODS:
            if period in quotas:
                counter = held[period] = counters.setdefault(period, Counter())
                counter.roll(spans[period].at(now)[0])
        return AskedQuotas(scope, quotas, held)

    def _states(self, tenant: Tenant) -> tuple[QuotaState, ...]:
        now = self._wall_clock()
        ends = {period: span.at(now)[1] for period, span in self.calendar.spans(now).items()}
        return states_of(tenant.asked, ends, now)


def _scope(rules: GroupRules, accounts: Accounts, name: str, bucket: int) -> Scope:
    tokens_limit = rules.tpm or NO_LIMIT
    return Scope(rules.rpm or NO_LIMIT, tokens_limit, *accounts.spent(name, "", bucket, tokens_limit))

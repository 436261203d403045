"""Every store against a model that keeps every booking and adds them up from the definition, in virtual time.

A server keeps its own time. So its scripts run behind a shim, which tells them the test's clock, and lets keys expire
by that clock, too. Time moves in quarters of a second, so that sums of floats are exact and can be compared with `==`.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ratelimit import (
    Admission,
    Decision,
    LimitDefaults,
    Limits,
    MemoryStore,
    Outcome,
    RedisStore,
    Settlement,
    Source,
    UserRecord,
)
from tests.integration.limits.virtual_time import set_clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from ratelimit import Subject

USERS = ("lgy", "用{户}", "10.0.0.1")
SOURCE = Source("10.0.0.1")
SOURCE_RECORD = UserRecord("", 4, 24)
DEFAULTS = LimitDefaults(source_requests_per_minute=4, tokens_per_request=6)
NO_LIMIT = 2**63 - 1
START = 100_000.0
Key: TypeAlias = "tuple[Subject, str, str]"


@dataclass
class Charge:
    admitted: bool = False
    settled: bool = False
    ended: bool = False
    bucket: int = 0
    reserved: int = 0
    choices: int = 1
    owed: int = 0
    forgotten_at: float = 0.0


@dataclass
class Model:
    now: float = START
    latest: float = START
    has_forgotten: bool = False
    records: dict[str, UserRecord] = field(default_factory=dict)
    bookings: dict[Key, dict[int, int]] = field(default_factory=dict)
    debts: dict[Key, int] = field(default_factory=dict)
    debtors: set[Subject] = field(default_factory=set)
    lengths: dict[Subject, tuple[float, dict[str, list[int]]]] = field(default_factory=dict)
    charges: dict[tuple[Subject, str], Charge] = field(default_factory=dict)
    slots: dict[tuple[Subject, str], float] = field(default_factory=dict)
    rates: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def remembers_all(self) -> bool:
        """Whether nothing has left its window by the latest time a store was told, when it may have been dropped."""
        oldest = int(self.latest) - 61
        return (
            not self.debts
            and all(told + 3600 > self.latest for told, _ in self.lengths.values())
            and all(charge.forgotten_at > self.latest for charge in self.charges.values())
            and all(bucket > oldest for booked in self.bookings.values() for bucket in booked)
            and all(at > self.latest - 1 for times in self.rates.values() for at in times)
        )

    def buckets(self, user: Subject, model: str, kind: str, at: float) -> dict[int, int]:
        booked, current = self.bookings.get((user, model, kind), {}), int(at)
        return {bucket: count for bucket, count in booked.items() if count and current - 61 < bucket <= current + 61}

    def put(self, key: Key, bucket: int, count: int) -> None:
        if not count:
            return
        booked = self.bookings.setdefault(key, {})
        booked[bucket] = booked.get(bucket, 0) + count

    def used(self, user: Subject, model: str, kind: str) -> int:
        debt = self.debts.get((user, model, kind), 0)
        return sum(self.buckets(user, model, kind, self.now).values()) + debt

    def book(self, user: Subject, scope: tuple[str, int], kind: str, bucket: int, count: int) -> None:
        key = (user, scope[0], kind)
        current, debt = int(self.now), self.debts.pop(key, 0)
        if count < 0:
            paid = min(debt, -count)
            held = self.buckets(*key, self.now).get(bucket, 0)
            self.put(key, bucket, max(count + paid, -held))
            bucket, count = current, debt - paid
        elif debt:
            count, bucket = count + debt, current
        room = max(0, scope[1] - sum(self.buckets(*key, self.now).values()))
        self.put(key, bucket, min(count, room))
        if count > room:
            self.debts[key] = count - room
            self.debtors.add(user)

    def move_to(self, now: float) -> None:
        """Debt is paid in each second that has room."""
        before, self.now = int(self.now), now
        for key, owed in list(self.debts.items()):
            debt = owed
            record = self.record_of(key[0])
            assert record is not None
            limit = {name: tpm for name, _, tpm in self.scopes(record, key[1])}[key[1]]
            for second in range(before + 1, int(now) + 1):
                moved = min(debt, max(0, limit - sum(self.buckets(*key, float(second)).values())))
                self.put(key, second, moved)
                debt -= moved
                if not debt:
                    break
            self.debts.pop(key)
            if debt:
                self.debts[key] = debt

    def learned(self, subject: Subject) -> dict[str, list[int]]:
        told, by_model = self.lengths.get(subject, (0.0, {}))
        return by_model if told + 3600 > self.now else {}

    def expected(self, asked: Admission, charge: Charge, limit: int) -> tuple[int, int]:
        """What must fit, and what is booked."""
        if charge.settled or not asked.max_output:
            tokens = min(charge.owed if charge.settled else asked.tokens, limit)
            return max(tokens, 1), tokens
        last = sorted(self.learned(asked.subject).get(asked.model, []))
        most = asked.max_output * asked.choices
        if last:
            typical = min(last[(len(last) - 1) // 2], asked.max_output) * asked.choices
            longest = min(last[-1], asked.max_output) * asked.choices
        else:
            typical = min(asked.likely_output, asked.max_output) * asked.choices
            longest = most if most <= limit // 2 else min(most, max(256 * asked.choices, limit // 8))
        fits = min(asked.tokens + min(typical, limit // 2), limit)
        share = min(asked.max_output * asked.choices, limit) // 4
        return max(fits, 1), max(fits, min(asked.tokens + max(longest, share), limit))

    def charge(self, key: tuple[Subject, str]) -> Charge:
        charge = self.charges.get(key)
        if charge and charge.forgotten_at <= self.now:
            self.has_forgotten = True
            charge = None
        return charge or Charge()

    def parallel(self, user: Subject) -> int:
        return sum(until > self.now for (owner, _), until in self.slots.items() if owner == user)

    def record_of(self, subject: Subject) -> UserRecord | None:
        return SOURCE_RECORD if isinstance(subject, Source) else self.records.get(subject)

    def scopes(self, record: UserRecord, model: str) -> list[tuple[str, int, int]]:
        found = [("", record.rpm, record.tpm)]
        if model in record.overrides:
            rpm, tpm = record.overrides[model]
            found.append((model, rpm or NO_LIMIT, tpm or NO_LIMIT))
        return found

    def wait(self, user: Subject, scope: str, kind: str, cost: int, limit: int) -> float:
        """The first moment at which it fits, found by trying all of them."""
        cost, key = min(cost, limit), (user, scope, kind)
        kept = self.now, self.bookings, self.debts
        self.bookings = {key: dict(self.bookings.get(key, {}))}
        self.debts = {key: self.debts[key]} if key in self.debts else {}
        for at in [self.now, *(float(int(self.now) + second) for second in range(1, 59 + 1))]:
            self.move_to(at)
            used = self.used(*key)
            lately = used - sum(n for bucket, n in self.buckets(*key, at).items() if bucket <= int(at) - 59)
            if used + cost <= limit or (used <= limit and lately + cost <= limit):
                wait = at - kept[0]
                break
        else:
            wait = 59.0
        self.now, self.bookings, self.debts = kept
        return wait

    def reset(self, user: Subject, scope: str, kind: str, limit: int) -> float:
        buckets = self.buckets(user, scope, kind, self.now)
        minutes = -(-self.debts.get((user, scope, kind), 0) // limit)
        return max(buckets) + 61.0 * (1 + minutes) - self.now if buckets else 0.0

    def admit(self, asked: Admission) -> Decision:
        record = self.record_of(asked.subject)
        if record is None:
            return Decision(Outcome.UNKNOWN_USER, None)
        if record.disabled:
            return Decision(Outcome.DISABLED, None)
        if record.models and asked.model and asked.model not in record.models:
            return Decision(Outcome.MODEL_NOT_ALLOWED, None)
        key = (asked.subject, asked.charge_id)
        charge, scopes = self.charge(key), self.scopes(record, asked.model)
        outcome, reserved, wait = Outcome.ADMITTED, charge.reserved, 0.0
        if not charge.admitted:
            needed, reserved = self.expected(asked, charge, min(tpm for _, _, tpm in scopes))
            outcome, wait = self.judge(asked, record, charge, scopes, needed)
            if outcome is Outcome.ADMITTED:
                self.debit(asked, record, charge, scopes, reserved)
            else:
                reserved = 0
        return self.told(outcome, asked.subject, record, scopes, wait, reserved)

    def judge(self, asked, record, charge, scopes, needed) -> tuple[Outcome, float]:
        refusals: list[tuple[Outcome, float]] = []
        for kind, cost, outcome in (
            ("requests", 1, Outcome.REQUESTS_EXCEEDED),
            ("tokens", needed, Outcome.TOKENS_EXCEEDED),
        ):
            for scope, rpm, tpm in scopes:
                wait = self.wait(asked.subject, scope, kind, cost, rpm if kind == "requests" else tpm)
                refusals += [(outcome, wait)] if wait else []
        has_ended = charge.settled or charge.ended
        if record.max_parallel and not has_ended and self.parallel(asked.subject) >= record.max_parallel:
            refusals.append((Outcome.PARALLEL_EXCEEDED, 1.0))
        limit = asked.model_requests_per_second
        last_second = [at for at in sorted(self.rates[asked.model]) if at > self.now - 1]
        if limit and len(last_second) >= limit:
            refusals.append((Outcome.MODEL_RATE_EXCEEDED, min(last_second[-limit] + 1 - self.now, 1.0)))
        return (refusals[0][0], max(wait for _, wait in refusals)) if refusals else (Outcome.ADMITTED, 0.0)

    def debit(self, asked, record, charge, scopes, reserved) -> None:
        key, bucket = (asked.subject, asked.charge_id), int(self.now)
        for scope, _, tpm in scopes:
            self.book(asked.subject, (scope, NO_LIMIT), "requests", bucket, 1)
            self.book(asked.subject, (scope, tpm), "tokens", bucket, reserved)
        if record.max_parallel and not charge.settled and not charge.ended:
            self.slots[key] = self.now + 3600
        if asked.model_requests_per_second:
            self.rates[asked.model].append(self.now)
        if charge.settled:
            self.charges[key] = Charge(admitted=True, settled=True, forgotten_at=self.now + 180)
        else:
            self.charges[key] = Charge(
                True, bucket=bucket, reserved=reserved, choices=asked.choices, forgotten_at=self.now + 600
            )

    def told(self, outcome, user, record, scopes, wait, reserved) -> Decision:
        by_requests = min(scopes, key=lambda one: one[1] - self.used(user, one[0], "requests"))
        by_tokens = min(scopes, key=lambda one: one[2] - self.used(user, one[0], "tokens"))
        return Decision(
            outcome,
            Limits(by_requests[1], by_tokens[2], record.max_parallel),
            self.used(user, by_requests[0], "requests"),
            self.used(user, by_tokens[0], "tokens"),
            wait,
            reserved,
            self.reset(user, by_requests[0], "requests", by_requests[1]),
            self.reset(user, by_tokens[0], "tokens", by_tokens[2]),
        )

    def settle(self, one: Settlement) -> bool:
        key, current = (one.subject, one.charge_id), int(self.now)
        charge = self.charge(key)
        if charge.settled:
            return False
        owed = 0 if charge.admitted else min(one.tokens, one.reserved)
        booked = one.tokens - (charge.reserved if charge.admitted else owed)
        bucket = charge.bucket if charge.admitted else current
        if bucket <= current - 61 and booked > 0:
            bucket = current
        record = self.record_of(one.subject)
        scopes = [(name, tpm) for name, _, tpm in self.scopes(record, one.model)] if record else [("", NO_LIMIT)]
        for scope in scopes if booked else []:
            self.book(one.subject, scope, "tokens", bucket, booked)
        if one.output:
            by_model = dict(self.learned(one.subject))
            each = -(-one.output // (charge.choices if charge.admitted else 1))
            by_model[one.model] = [*by_model.get(one.model, []), each][-8:]
            self.lengths[one.subject] = self.now, by_model
        self.slots.pop(key, None)
        self.charges[key] = Charge(admitted=charge.admitted, settled=True, owed=owed, forgotten_at=self.now + 180)
        return True

    def release(self, user: Subject, charge_id: str) -> None:
        key = (user, charge_id)
        charge = self.charge(key)
        if self.slots.pop(key, None) is None and charge == Charge():
            self.charges[key] = Charge(ended=True, forgotten_at=self.now + 180)

    def delete(self, user: str) -> bool:
        self.bookings = {key: booked for key, booked in self.bookings.items() if key[0] != user}
        self.debts = {key: debt for key, debt in self.debts.items() if key[0] != user}
        self.debtors.discard(user)
        self.lengths.pop(user, None)
        self.slots = {key: until for key, until in self.slots.items() if key[0] != user}
        return self.records.pop(user, None) is not None


users = st.sampled_from(USERS)
subjects = st.one_of(users, st.just(SOURCE))
charge_ids = st.sampled_from(["a", "b", "c", "d"])
models = st.sampled_from(["", "m", "n"])
tokens = st.integers(0, 40)
limits = st.integers(1, 60)
records = st.builds(
    UserRecord,
    users,
    rpm=st.integers(1, 6),
    tpm=limits,
    max_parallel=st.integers(0, 2),
    models=st.sampled_from([(), (), ("m",)]),
    disabled=st.sampled_from([False, False, False, True]),
    overrides=st.dictionaries(st.just("m"), st.tuples(st.integers(0, 4), st.integers(0, 40))),
)
steps = st.sampled_from([0.25, 0.75, 2.5, 30.0, 58.0, 60.0, 62.5, 120.0, 605.0, 3605.0])
outputs = st.integers(0, 60)
admissions = st.builds(
    Admission,
    subjects,
    charge_ids,
    models,
    tokens,
    st.integers(0, 2),
    st.just(()),
    st.integers(0, 20),
    st.sampled_from([0, 0, 3, 30, 500]),
    st.integers(1, 3),
)
settlements = st.builds(Settlement, subjects, charge_ids, tokens | st.just(300), tokens, models, outputs)


class StoreAgainstModel(RuleBasedStateMachine):
    """`self.store` and `self.finish` come from the kind of store."""

    store: Any
    finish: Callable[[Any], Any]

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()

    def clock_moved(self) -> None:
        """Tells the store's own clock."""

    @initialize(rpm=st.integers(1, 6), tpm=limits, max_parallel=st.integers(0, 2))
    def begin(self, rpm, tpm, max_parallel):
        self.create(UserRecord(USERS[0], rpm, tpm, max_parallel, overrides={"m": (3, 20)}))
        for name in USERS[1:]:
            self.create(UserRecord(name, rpm, tpm))

    @rule(step=steps)
    def wait(self, step):
        self.model.move_to(self.model.now + step)
        self.model.latest = max(self.model.latest, self.model.now)
        self.clock_moved()

    # What was forgotten comes back to no store for certain; a jump of more than half a minute is nobody's clock.
    @precondition(lambda self: not self.model.has_forgotten and self.model.latest - self.model.now < 30)
    @rule(step=st.sampled_from([0.25, 5.0, 7.5]))
    def set_clock_back(self, step):
        if self.model.remembers_all():
            self.model.now -= step
            self.clock_moved()

    @rule(record=records)
    def create(self, record):
        assert self.finish(self.store.create(record)) is (record.name not in self.model.records)
        self.model.records.setdefault(record.name, record)

    @rule(record=records)
    def update(self, record):
        if record.name in self.model.debtors:
            # Stores work out what was paid when they are asked next, and by which of two limits is their own business.
            kept = self.model.records[record.name]
            record = msgspec.structs.replace(record, tpm=kept.tpm, overrides=kept.overrides)
        updated = self.finish(self.store.update(record))
        assert updated is (record.name in self.model.records)
        if updated:
            self.model.records[record.name] = record

    @rule(user=users)
    def delete(self, user):
        assert self.finish(self.store.delete(user)) is self.model.delete(user)

    @rule(asked=admissions)
    def admit(self, asked):
        assert self.finish(self.store.admit(asked)) == self.model.admit(asked)

    @rule(batch=st.lists(settlements, min_size=1, max_size=3))
    def settle(self, batch):
        assert self.finish(self.store.settle_many(batch)) == sum([self.model.settle(one) for one in batch])

    @rule(user=subjects, charge_id=charge_ids)
    def release(self, user, charge_id):
        self.finish(self.store.release(user, charge_id))
        self.model.release(user, charge_id)

    @invariant()
    def balances_agree(self) -> None:
        for user in USERS:
            usage = self.finish(self.store.usage(user))
            assert (usage is None) is (user not in self.model.records)
            if usage is not None:
                assert usage.requests_used == self.model.used(user, "", "requests")
                assert usage.tokens_used == self.model.used(user, "", "tokens")
                assert usage.parallel == self.model.parallel(user)


def walk_the_edges(machine: StoreAgainstModel) -> None:
    """What the search does not always come upon."""
    user = USERS[1]
    machine.begin(rpm=6, tpm=40, max_parallel=0)
    # All is spent, to the last token: a request of unknown cost is refused.
    machine.admit(Admission(user, "a", tokens=40))
    machine.admit(Admission(user, "b"))
    # What is given back after its window takes nothing from what was spent since.
    machine.wait(120.0)
    machine.admit(Admission(user, "c", tokens=30))
    machine.settle([Settlement(user, "a", 10, reserved=40)])
    machine.balances_agree()
    # Nor does what a deleted user had reserved.
    machine.delete(user)
    machine.create(UserRecord(user, 6, 40))
    machine.admit(Admission(user, "d", tokens=5))
    machine.settle([Settlement(user, "c", 0, reserved=30)])
    machine.admit(Admission(user, "e", tokens=7))
    machine.balances_agree()


def finish_at_once(answer: Any) -> Any:
    """What the memory store answers; its coroutines never wait."""
    if not asyncio.iscoroutine(answer):
        return answer
    try:
        answer.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("the memory store waited")


class MemoryAgainstModel(StoreAgainstModel):
    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryStore(lambda: self.model.now, DEFAULTS)
        self.finish = finish_at_once


def test_the_memory_store_against_the_model():
    walk_the_edges(MemoryAgainstModel())
    run_state_machine_as_test(
        MemoryAgainstModel, settings=settings(max_examples=150, stateful_step_count=40, deadline=None)
    )


@pytest.mark.timeout(300)  # thousands of round trips to a server that shares the machine
@pytest.mark.usefixtures("virtual_time")
def test_a_server_against_the_model(server):
    with server.client() as client, asyncio.Runner() as runner:
        store = RedisStore.from_url(server.url, DEFAULTS, timeout_seconds=5)

        class ServerAgainstModel(StoreAgainstModel):
            def __init__(self) -> None:
                super().__init__()
                self.store = store
                self.finish = runner.run
                client.flushall()
                self.clock_moved()

            def clock_moved(self) -> None:
                set_clock(client, self.model.now)

        walk_the_edges(ServerAgainstModel())
        run_state_machine_as_test(
            ServerAgainstModel, settings=settings(max_examples=100, stateful_step_count=30, deadline=None)
        )
        runner.run(store.close())

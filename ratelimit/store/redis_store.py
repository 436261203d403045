"""Limits, users and keys on a Redis or Valkey server, shared by all replicas of the gateway and with AIBrix.

An admission is one round trip, and many are one pipeline: `lua/admit.lua` reads the record, judges and debits by the
server's clock. Repeating a call whose answer was lost is safe, by its charge id.

In a cluster a model's rate lives in another slot than the user, so no script can see both. Only there, and only for a
model that has a rate, the model is asked first and the user second, in a round trip of its own; when the user is
refused, the model gets its request back. So nobody is ever admitted beyond a limit; for a moment a request that will be
refused takes a place. Where both would refuse, the model's rate is named.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec
from redis.asyncio import RedisCluster

from ratelimit.outage.last_spent import Own
from ratelimit.outage.replicas import GONE_SECONDS
from ratelimit.outage.spent_news import ENTRIES_PER_READ, MAX_READS, OLDEST
from ratelimit.store.redis_edge import text
from ratelimit.store.redis_groups import RedisGroups
from ratelimit.store.redis_keys import charge_key, keys_of, model_rate_key
from ratelimit.store.redis_ledger import RedisLedger
from ratelimit.store.redis_users import RedisKeys, RedisUsers
from ratelimit.store.scripts import Script, is_outage, run, run_many
from ratelimit.store.urls import connect
from ratelimit.users.subjects import Source
from ratelimit.users.users import CorruptUserRecord
from ratelimit.windows.decision import Admission, Decision, Lease, Outcome, Settlement, Usage
from ratelimit.windows.limits import AIBRIX_DEFAULTS, LimitDefaults, Limits
from ratelimit.windows.periods import Calendar
from ratelimit.windows.quotas import read_told, tightest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ratelimit.outage.last_spent import LastSpent, Scope, Text
    from ratelimit.outage.quota_book import QuotaBook
    from ratelimit.store.kept_connections import Command
    from ratelimit.store.limit_store import Answer, Replay
    from ratelimit.store.scripts import ScriptCall
    from ratelimit.store.urls import Server
    from ratelimit.users.subjects import Subject
    from ratelimit.windows.decision import Report

_ADMIT = Script(
    "window.lua",
    "record.lua",
    "tenancy.lua",
    "expected.lua",
    "model_rate.lua",
    "leases.lua",
    "heard.lua",
    "admit.lua",
)
_LEASE_REPORT = Script("window.lua", "record.lua", "heard.lua", "lease_report.lua")
_RESTORE = Script("window.lua", "restore.lua")
_FORGOTTEN = RuntimeError("the server has forgotten what a user had spent; it is told again")
_REPLAY = Script("window.lua", "record.lua", "tenancy.lua", "heard.lua", "replay.lua")
_SETTLE = Script("window.lua", "record.lua", "tenancy.lua", "expected.lua", "settle.lua")
_USAGE = Script("window.lua", "record.lua", "tenancy.lua", "usage.lua")
_MODEL_ADMIT = Script("window.lua", "model_rate.lua", "model_admit.lua")
_RELEASE = Script("release.lua")
_BEAT = Script("replicas.lua")
# A URL may ask the client to decode.
_OUTCOMES = {name: outcome for outcome in Outcome for name in (outcome.value, outcome.value.encode())}
_CORRUPT = ("corrupt_record", b"corrupt_record")
_NAME_SEPARATOR = "\n"
# In the answer to an admission that was judged.
_PARALLEL_AT, _RESERVED_AT, _LEASE_AT, _QUOTAS_AT, _WINDOWS_AT = 3, 7, 10, 11, 12
_REPLICAS_KEY = "gateway:replicas"
_SPENT_KEY = "gateway:spent"
_SPENT_ENTRIES = ENTRIES_PER_READ * MAX_READS
_SPENT_MS = 10_000
"""Of the stream of what was spent: 50 turns."""


class RedisStore(RedisUsers, RedisKeys, RedisGroups, RedisLedger):
    """`BatchStore`, `UserStore`, `KeyStore`, `GroupStore`, `LedgerStore` and `ChangeFeed`."""

    def __init__(
        self,
        server: Server,
        defaults: LimitDefaults = AIBRIX_DEFAULTS,
        *,
        timeout_seconds: float = 0.5,
        max_connections: int = 32,
        calendar: Calendar | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(server, timeout_seconds, max_connections)
        self.calendar = calendar or Calendar()
        """Replicas must agree on its zone."""
        self._wall_clock = wall_clock
        self.quota_book: QuotaBook | None = None
        """Hears what is left of quotas, if anybody wants to know."""
        self.last_spent: LastSpent | None = None
        """Hears the windows that come with answers, if anybody wants to know."""
        self._to_restore: list[ScriptCall] = []
        self._is_cluster = isinstance(server.client, RedisCluster)
        self.change_defaults(defaults)

    def change_defaults(self, defaults: LimitDefaults) -> None:
        """What holds for whoever has no limits of their own, from the next call on; replicas must agree on them."""
        self._defaults = (defaults.requests_per_minute, defaults.tokens_per_request)
        self._source_defaults = (defaults.source_requests_per_minute, defaults.tokens_per_request)

    @classmethod
    def from_url(
        cls,
        url: str,
        defaults: LimitDefaults = AIBRIX_DEFAULTS,
        *,
        timeout_seconds: float = 0.5,
        max_connections: int = 32,
        calendar: Calendar | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> RedisStore:
        """See `urls`; connects at the first call."""
        server = connect(url, timeout_seconds)
        return cls(
            server,
            defaults,
            timeout_seconds=timeout_seconds,
            max_connections=max_connections,
            calendar=calendar,
            wall_clock=wall_clock,
        )

    def _periods(self) -> str:
        return self.calendar.text(self._wall_clock())

    def __repr__(self) -> str:
        return f"RedisStore({self.address})"

    async def beat(self, replica: str) -> tuple[int, int]:
        """`ReplicaStore`."""
        async with self._edge():
            seen, rank = await run(self._client, _BEAT.call([_REPLICAS_KEY], [replica, GONE_SECONDS]))
        return int(seen), int(rank)

    async def admit(self, admission: Admission) -> Decision:
        answer = (await self._in_time(self.admit_many([admission])))[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def admit_many(self, admissions: Sequence[Admission]) -> list[Answer]:
        calls = [self._admit_call(admission) for admission in admissions]
        if self._is_cluster and any(admission.model_requests_per_second for admission in admissions):
            async with self._edge():
                return await self._admit_in_two_steps(admissions, calls)
        decisions = self._decisions(admissions, await self._run_untimed(calls))
        await self._restore()
        return decisions

    async def _admit_in_two_steps(self, admissions: Sequence[Admission], calls: Sequence[ScriptCall]) -> list[Answer]:
        waits_us = await self._ask_models(admissions)
        passed = [position for position in range(len(admissions)) if not waits_us.get(position)]
        told = await run_many(self._ask_all, [calls[at] for at in passed])
        asked = self._decisions([admissions[at] for at in passed], told)
        answers: dict[int, Answer] = dict(zip(passed, asked, strict=True))
        refused = [admissions[at] for at in passed if at in waits_us and not _is_admitted(answers[at])]
        await self._give_back_to_models(refused)
        return [answers.get(at) or _model_refusal(waits_us[at]) for at in range(len(admissions))]

    async def _ask_models(self, admissions: Sequence[Admission]) -> dict[int, int]:
        """How long each model asks to wait, by the position of the admission; 0: it has taken the request."""
        limited = [at for at, admission in enumerate(admissions) if admission.model_requests_per_second]
        answers = await run_many(self._ask_all, [_model_call(admissions[at]) for at in limited])
        # A rate that cannot be read limits nobody: it is no user's fault.
        waits_us = [0 if self._is_refused(answer) else answer for answer in answers]
        return dict(zip(limited, waits_us, strict=True))

    async def _give_back_to_models(self, admissions: Sequence[Admission]) -> None:
        for admission in admissions:
            await self._client.zrem(model_rate_key(admission.model), _charge(admission))

    def _admit_call(self, admission: Admission) -> ScriptCall:
        record, prefix = keys_of(admission.subject)
        rate, charge_id, model = admission.model_requests_per_second, admission.charge_id, admission.model
        keys: tuple[str, ...] = (record, prefix, charge_key(prefix, charge_id))
        if rate and not self._is_cluster:
            keys += (model_rate_key(model),)
        tokens = max(admission.tokens, 0)
        names = _NAME_SEPARATOR.join(("", *admission.other_names, "")) if admission.other_names else ""
        is_source = isinstance(admission.subject, Source)
        defaults = self._source_defaults if is_source else self._defaults
        output = admission.likely_output, admission.max_output, admission.choices
        wish = admission.wish
        wished = (wish.id, wish.requests, wish.parts) if wish is not None else ()
        more = (*output, self._periods(), *wished)
        return _ADMIT.call(keys, (*defaults, charge_id, model, tokens, rate, names, int(is_source), *more))

    def _decisions(self, admissions: Sequence[Admission], answers: Sequence[list[Any] | Exception]) -> list[Answer]:
        decisions: list[Answer] = []
        for admission, answer in zip(admissions, answers, strict=True):
            if isinstance(answer, Exception):
                decisions.append(self._refused(answer))
            else:
                decision: Answer = _decision(admission, answer)
                if len(answer) > _WINDOWS_AT:
                    if answer[_QUOTAS_AT]:
                        decision = self._hear_quotas(admission, decision, answer)
                    own = Own(1, answer[_RESERVED_AT]) if _is_admitted(decision) else Own(0, 0)
                    if not self._hear(admission, answer[_PARALLEL_AT], answer[_WINDOWS_AT:], own):
                        decision = self._refused(_FORGOTTEN)
                decisions.append(decision)
        return decisions

    def _hear_quotas(self, admission: Admission, decision: Answer, answer: list[Any]) -> Answer:
        assert isinstance(decision, Decision)
        told = read_told(text(answer[_QUOTAS_AT]), int(answer[_WINDOWS_AT]) / 1e6)
        if self.quota_book is not None:
            self.quota_book.hear(admission.subject, told)
        return msgspec.structs.replace(decision, quota=told.refused or tightest(told.states))

    def _hear(self, admission: Admission, max_parallel: Text, windows: list[Any], own: Own) -> bool:
        """False when the server has forgotten what it had said before; then it is told again."""
        if self.last_spent is None:
            return True
        server_us, rpm, tpm, used, requests, tokens, *more = windows
        limits = Limits(int(rpm), int(tpm), int(max_parallel))
        scopes: dict[str, Scope] = {"": (limits.requests_per_minute, limits.tokens_per_minute, used, requests, tokens)}
        if more:
            scopes[admission.model] = (int(more[0]), int(more[1]), *more[2:])
        lost = self.last_spent.hear(admission.subject, limits, server_us, scopes, own)
        keys = keys_of(admission.subject)
        self._to_restore += [_RESTORE.call(keys, (one.model, one.requests, one.tokens)) for one in lost]
        return not lost

    async def tell(self, news: bytes, after: str) -> tuple[Sequence[bytes], str]:
        """`NewsStore`."""
        commands: list[Command] = []
        if news:
            commands.append(("XADD", _SPENT_KEY, "MAXLEN", _SPENT_ENTRIES, "*", "news", news))
            commands.append(("PEXPIRE", _SPENT_KEY, _SPENT_MS))
        commands.append(("XRANGE", _SPENT_KEY, f"({after}", "+", "COUNT", ENTRIES_PER_READ))
        async with self._edge():
            answers = await self._ask_all(commands)
            for answer in answers:
                if isinstance(answer, Exception) and is_outage(answer):
                    raise answer
            if sum(map(self._is_refused, answers)):
                await self._client.delete(_SPENT_KEY)
                # What begins anew counts anew: nothing would come after the largest id.
                return [], OLDEST
        entries = answers[-1]
        told = [_field_of(fields) for _, fields in entries]
        return [one for one in told if one is not None], text(entries[-1][0]) if entries else after

    async def _restore(self) -> None:
        if not self._to_restore:
            return
        calls, self._to_restore = self._to_restore, []
        for answer in await self._run_untimed(calls):
            self._is_refused(answer)

    async def replay_many(self, replays: Sequence[Replay]) -> None:
        answers = await self._run_many([self._replay_call(replay) for replay in replays])
        for replay, answer in zip(replays, answers, strict=True):
            if not self._is_refused(answer) and len(answer) > 1:
                self._hear(replay.admission, answer[1], answer[2:], Own(1, replay.reserved))
        await self._restore()

    def _replay_call(self, replay: Replay) -> ScriptCall:
        admission, age_us = replay.admission, round(replay.age_seconds * 1e6)
        record, prefix = keys_of(admission.subject)
        keys = (record, prefix, charge_key(prefix, admission.charge_id))
        asked = (admission.charge_id, admission.model, replay.reserved, age_us, admission.choices)
        what = (*asked, self._periods())
        if isinstance(admission.subject, Source):
            return _REPLAY.call(keys, (*self._source_defaults, *what, 1))
        return _REPLAY.call(keys, (*self._defaults, *what))

    def _is_refused(self, answer: object) -> bool:
        """Notes it."""
        if not isinstance(answer, Exception):
            return False
        self._refused(answer)
        return True

    async def settle(self, settlement: Settlement) -> bool:
        return await self.settle_many([settlement]) == 1

    async def settle_many(self, settlements: Sequence[Settlement]) -> int:
        """A charge that is refused is lost; the others are told all the same."""
        by_subject: dict[Subject, list[Settlement]] = {}
        for settlement in settlements:
            by_subject.setdefault(settlement.subject, []).append(settlement)
        answers = await self._run_many([self._settle_call(*one) for one in by_subject.items()])
        return sum(int(answer) for answer in answers if not self._is_refused(answer))

    def _settle_call(self, subject: Subject, settlements: Sequence[Settlement]) -> ScriptCall:
        record, prefix = keys_of(subject)
        is_source = isinstance(subject, Source)
        defaults = self._source_defaults if is_source else self._defaults
        keys: list[str] = [record, prefix]
        told: list[str | int] = [*defaults, int(is_source)]
        for one in settlements:
            keys.append(charge_key(prefix, one.charge_id))
            told += one.charge_id, one.model, max(one.tokens, 0), max(one.reserved, 0), max(one.output, 0)
        return _SETTLE.call(keys, told)

    async def report_many(self, reports: Sequence[Report]) -> None:
        """`BatchStore`."""
        answers = await self._run_many([self._report_call(report) for report in reports])
        for report, answer in zip(reports, answers, strict=True):
            if not self._is_refused(answer) and len(answer) > 1:
                self._hear(Admission(report.subject, "", report.model), answer[1], answer[2:], Own(0, 0))
        await self._restore()

    def _report_call(self, report: Report) -> ScriptCall:
        keys = keys_of(report.subject)
        is_source = isinstance(report.subject, Source)
        defaults = self._source_defaults if is_source else self._defaults
        charges = [charge_key(keys.counters, charge_id) for charge_id in report.charges]
        costs = [cost for one in report.charges.values() for cost in (one.reserved, one.admission.choices)]
        what = (*defaults, report.lease_id, report.model, report.bucket, int(is_source))
        return _LEASE_REPORT.call((*keys, *charges), (*what, *costs))

    async def release(self, subject: Subject, charge_id: str) -> None:
        _, prefix = keys_of(subject)
        call = _RELEASE.call((f"{prefix}:parallel", charge_key(prefix, charge_id)), (charge_id,))
        answer = (await self._run_many([call]))[0]
        if isinstance(answer, Exception):
            raise self._refused(answer)

    async def usage(self, user: str) -> Usage | None:
        keys = keys_of(user)
        answer = (await self._run_many([_USAGE.call(keys, (*self._defaults, self._periods()))]))[0]
        if isinstance(answer, Exception):
            raise self._refused(answer)
        if answer[0] in _CORRUPT:
            raise CorruptUserRecord(keys.record)
        if _OUTCOMES[answer[0]] is Outcome.UNKNOWN_USER:
            return None
        quotas = read_told(text(answer[7]), self._wall_clock()).states
        requests, tokens, parallel = answer[4:7]
        return Usage(_limits(answer), requests, tokens, parallel, quotas)


def _decision(admission: Admission, answer: list[Any]) -> Decision | CorruptUserRecord:
    name = answer[0]
    if name in _CORRUPT:
        return CorruptUserRecord(keys_of(admission.subject).record)
    if len(answer) == 1:
        return Decision(_OUTCOMES[name], None)
    _, rpm, tpm, parallel, requests, tokens, wait_us, reserved, requests_us, tokens_us, lease = answer[:_QUOTAS_AT]
    limits = Limits(int(rpm), int(tpm), int(parallel))
    outcome, wait = _OUTCOMES[name], wait_us / 1e6
    given = _lease(text(lease)) if lease else None
    return Decision(outcome, limits, requests, tokens, wait, reserved, requests_us / 1e6, tokens_us / 1e6, given)


def _lease(told: str) -> Lease:
    requests, tokens, bucket, left_us, limit, *lengths = map(int, told.split())
    return Lease(requests, tokens, bucket, left_us / 1e6, limit, tuple(lengths))


def _field_of(entry: object) -> bytes | None:
    """The news in an entry of the stream, a list of names and values or a map; None where a stranger wrote it."""
    pairs = entry.items() if isinstance(entry, dict) else zip(*[iter(entry or ())] * 2, strict=False)  # type: ignore[call-overload]
    for name, value in pairs:
        if name in (b"news", "news"):
            return value.encode() if isinstance(value, str) else bytes(value)
    return None


def _limits(answer: list[Any]) -> Limits:
    return Limits(int(answer[1]), int(answer[2]), int(answer[3]))


def _is_admitted(answer: Answer) -> bool:
    return isinstance(answer, Decision) and answer.outcome is Outcome.ADMITTED


def _model_refusal(wait_us: int) -> Decision:
    return Decision(Outcome.MODEL_RATE_EXCEEDED, None, retry_after_seconds=wait_us / 1e6)


def _charge(admission: Admission) -> str:
    """What a model's rate knows a charge by: as in `lua/admit.lua`, unique among all users."""
    return charge_key(keys_of(admission.subject).counters, admission.charge_id)


def _model_call(admission: Admission) -> ScriptCall:
    arguments = (_charge(admission), admission.model_requests_per_second)
    return _MODEL_ADMIT.call((model_rate_key(admission.model),), arguments)

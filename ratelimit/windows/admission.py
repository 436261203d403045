"""An admission from question to charge, as a store in this process decides it; `lua/admit.lua` does on a server.

    must fit, booked = what is expected under the smallest token limit (below)
    requests: refused unless one more fits               in any scope: the user, and the user with the model
    tokens:   refused unless max(must fit, 1) fits       in any scope (`spending`)
    parallel: refused when every slot is taken
    model:    refused when it was admitted `model_requests_per_second` times in the last second

All are checked before any is debited, so a refusal costs nothing. When several are spent, the first in this order is
named; the wait that a refusal suggests is the longest of all, so that waiting it out is enough unless others spend. A
slot is given back at no known time: the wait for it is 1 s.

Of what a request is expected to cost, some must fit, and some is booked until its end is known. What it surely costs is
its prompt. Of what it generates only the ceiling is known, and clients send ceilings a thousand times what they get; so
the user's own last answers of the model tell what is likely. Per choice:

    typical = the median of the user's last 8,  long = the longest of them,  both at most the ceiling
              before there are any: what is usual (`likely_output`), and the ceiling, if half of the limit has room for
              it, else 256 or an eighth of the limit
    must fit = prompt + min(choices x typical, limit / 2)
    booked   = prompt + max(choices x long, min(choices x ceiling, limit) / 4)
    neither more than the limit

Half of the limit, so that one long answer does not shut out the short ones after it: who had two that were longer has
no room for a third anyway. A quarter of the ceiling, until it is known how the answer ended, so that whoever teaches
short answers first cannot have more than 5 long ones in flight (4, and one that just fitted), however large the limit;
and who asks one after the other, as people and agents do, never notices:

    spent in any 60 s  <=  limit + 5 x max(limit, choices x ceiling + what the prompt was estimated too low)

What was spent too much is debt (`spending`), so that over any time the limit holds, but for that.

Every charge id is remembered, so that repeating a call changes nothing:

    open     admitted: in which bucket, what was reserved; 600 s
    settled  180 s; `owed` is what a settlement that came before its admission left for the admission to debit
    ended    released without an admission; 180 s. An admission that comes after all takes no slot

Bounded: beyond `max_charges` of a kind the oldest is forgotten. A settlement of a forgotten charge is booked again.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeAlias, TypeVar

from ratelimit.store.limit_store import RESERVATION_SECONDS, SETTLED_SECONDS
from ratelimit.windows.decision import Decision, Outcome
from ratelimit.windows.limits import Limits
from ratelimit.windows.spending import NO_LIMIT, Window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ratelimit.users.subjects import Subject
    from ratelimit.users.users import UserRecord
    from ratelimit.windows.tenant import BookedIn


PARALLEL_RETRY_SECONDS = 1.0
"""Nobody knows when a request ends; as often as clients should ask."""
# For requests that name no ceiling: engines go on to the end of their context, and answers end long before.
UNKNOWN_CEILING = 8192
SHARE_OF_CEILING = 4
SHARE_OF_UNSEEN = 8
UNSEEN_OUTPUT = 256
KEPT_LENGTHS = 8
"""Last answers of a user by model, of which what is likely is made."""
LENGTHS_SECONDS = 3600
"""How long after the last answer its length is remembered."""
MODELS_PER_SUBJECT = 64
"""Whose lengths are kept, those used last."""

ChargeKey: TypeAlias = "tuple[Subject, str]"
T = TypeVar("T")


class Scope(NamedTuple):
    """Who is limited, to what, and what was spent."""

    requests_limit: int
    tokens_limit: int
    requests: Window
    tokens: Window


class Question(NamedTuple):
    """An admission, and everything that decides about it."""

    scopes: Sequence[Scope]
    needed: int
    """Tokens that must fit; at least 1."""
    reservation: int
    slots_taken: int
    max_parallel: int
    model_wait_seconds: float
    group_slots_taken: int = 0
    group_max_parallel: int = 0

    @property
    def is_full(self) -> bool:
        """Whether a slot is wanted that there is not."""
        return 0 < self.max_parallel <= self.slots_taken or 0 < self.group_max_parallel <= self.group_slots_taken


def refused_by_record(record: UserRecord, model: str, other_names: Sequence[str] = ()) -> Outcome | None:
    """Why the record alone forbids it. No model named: nothing to forbid."""
    if record.disabled:
        return Outcome.DISABLED
    if model and record.models and model not in record.models and not any(n in record.models for n in other_names):
        return Outcome.MODEL_NOT_ALLOWED
    return None


def override_of(record: UserRecord, model: str) -> tuple[int, int] | None:
    """(requests, tokens) per minute that hold for this model on top, or None."""
    override = record.overrides.get(model) if model else None
    return override and (override[0] or NO_LIMIT, override[1] or NO_LIMIT)


def judge(question: Question) -> Outcome:
    for scope in question.scopes:
        if not scope.requests.fits(1, scope.requests_limit):
            return Outcome.REQUESTS_EXCEEDED
    for scope in question.scopes:
        if not scope.tokens.fits(question.needed, scope.tokens_limit):
            return Outcome.TOKENS_EXCEEDED
    if question.is_full:
        return Outcome.PARALLEL_EXCEEDED
    return Outcome.MODEL_RATE_EXCEEDED if question.model_wait_seconds > 0 else Outcome.ADMITTED


def wait_seconds(question: Question, now_seconds: float) -> float:
    waits = [question.model_wait_seconds]
    for scope in question.scopes:
        waits.append(scope.requests.seconds_until_fits(now_seconds, 1, scope.requests_limit))
        waits.append(scope.tokens.seconds_until_fits(now_seconds, question.needed, scope.tokens_limit))
    if question.is_full:
        waits.append(PARALLEL_RETRY_SECONDS)
    return max(waits)


def account(
    outcome: Outcome, scopes: Sequence[Scope], limits: Limits, now_seconds: float, *, reserved: int, wait: float
) -> Decision:
    """The decision, told by the scope with the least left, for requests and tokens each; `limits`: the user's own."""
    requests = tokens = scopes[0]
    if len(scopes) > 1:
        requests, tokens = min(scopes, key=_requests_left), min(scopes, key=_tokens_left)
        limits = Limits(requests.requests_limit, tokens.tokens_limit, limits.max_parallel)
    return Decision(
        outcome,
        limits,
        requests.requests.used,
        tokens.tokens.used,
        wait,
        reserved,
        requests.requests.seconds_until_empty(now_seconds),
        tokens.tokens.seconds_until_empty(now_seconds),
    )


def _requests_left(scope: Scope) -> int:
    return scope.requests_limit - scope.requests.used


def _tokens_left(scope: Scope) -> int:
    return scope.tokens_limit - scope.tokens.used


class Lengths(NamedTuple):
    """Of a subject's last answers of a model: the newest last, at most `KEPT_LENGTHS`."""

    typical: int
    longest: int
    last: tuple[int, ...]


class Expected(NamedTuple):
    """Tokens, at most the limit."""

    must_fit: int
    booked: int


def expected(tokens: int, output: int, ceiling: int, choices: int, lengths: Lengths | None, limit: int) -> Expected:
    """`tokens` are certain; `output` is usual, and `ceiling` the most, for each choice. No ceiling: nothing more."""
    if ceiling <= 0:
        return Expected(min(tokens, limit), min(tokens, limit))
    typical = min(lengths.typical if lengths else output, ceiling) * choices
    most = ceiling * choices
    if lengths:
        longest = min(lengths.longest, ceiling) * choices
    else:
        longest = most if most <= limit // 2 else min(max(UNSEEN_OUTPUT * choices, limit // SHARE_OF_UNSEEN), most)
    share = min(most, limit) // SHARE_OF_CEILING
    must_fit = tokens + min(typical, limit // 2)
    return Expected(min(must_fit, limit), min(max(must_fit, tokens + max(longest, share)), limit))


def with_length(lengths: Lengths | None, output: int) -> Lengths:
    """What is known after one more answer."""
    last = (*(lengths.last if lengths else ()), output)[-KEPT_LENGTHS:]
    ordered = sorted(last)
    return Lengths(ordered[(len(ordered) - 1) // 2], ordered[-1], last)


class LastLengths:
    """Of the last answers, by model, of the subjects that were told of last; for an hour after a subject's last one."""

    def __init__(self, max_subjects: int = 10_000) -> None:
        self._max_subjects = max_subjects
        self._subjects: OrderedDict[Subject, tuple[float, dict[str, Lengths]]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._subjects)

    def get(self, subject: Subject, model: str, now_seconds: float) -> Lengths | None:
        return self._by_model(subject, now_seconds).get(model)

    def learn(self, subject: Subject, model: str, output: int, now_seconds: float) -> None:
        by_model = self._by_model(subject, now_seconds)
        if model not in by_model and len(by_model) >= MODELS_PER_SUBJECT:
            by_model = {}
        by_model[model] = with_length(by_model.get(model), output)
        self._subjects[subject] = now_seconds, by_model
        self._subjects.move_to_end(subject)
        if len(self._subjects) > self._max_subjects:
            self._subjects.popitem(last=False)

    def drop(self, subject: Subject) -> None:
        self._subjects.pop(subject, None)

    def _by_model(self, subject: Subject, now_seconds: float) -> dict[str, Lengths]:
        told = self._subjects.get(subject)
        return told[1] if told is not None and now_seconds - told[0] < LENGTHS_SECONDS else {}


class Open(NamedTuple):
    bucket: int
    reserved: int
    choices: int = 1
    booked_in: BookedIn | None = None


class Closed(NamedTuple):
    """A charge that is settled (then `owed` counts), or only ended. `admitted`: its request was debited."""

    settled: bool
    admitted: bool = False
    owed: int = 0


class Charges:
    """All charges of a store, by subject and charge id."""

    def __init__(self, max_charges: int) -> None:
        self._open: _Remembered[Open] = _Remembered(RESERVATION_SECONDS, max_charges)
        self._closed: _Remembered[Closed] = _Remembered(SETTLED_SECONDS, max_charges)

    def __repr__(self) -> str:
        return f"{len(self._open)} open and {len(self._closed)} closed charges"

    def get(self, key: ChargeKey, now_seconds: float) -> Open | Closed | None:
        return self._open.get(key, now_seconds) or self._closed.get(key, now_seconds)

    def open(self, key: ChargeKey, charge: Open, now_seconds: float) -> None:
        self._closed.drop(key)
        self._open.put(key, charge, now_seconds)

    def close(self, key: ChargeKey, charge: Closed, now_seconds: float) -> None:
        self._open.drop(key)
        self._closed.put(key, charge, now_seconds)


class _Remembered(Generic[T]):
    """Values for some seconds each, oldest first."""

    def __init__(self, seconds: float, max_entries: int) -> None:
        self._seconds = seconds
        self._max_entries = max_entries
        self._entries: OrderedDict[ChargeKey, tuple[float, T]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: ChargeKey, now_seconds: float) -> T | None:
        entry = self._entries.get(key)
        return entry[1] if entry and now_seconds - entry[0] < self._seconds else None

    def put(self, key: ChargeKey, value: T, now_seconds: float) -> None:
        entries = self._entries
        entries.pop(key, None)
        due_seconds = now_seconds - self._seconds
        while entries and (next(iter(entries.values()))[0] <= due_seconds or len(entries) >= self._max_entries):
            entries.popitem(last=False)
        entries[key] = (now_seconds, value)

    def drop(self, key: ChargeKey) -> None:
        self._entries.pop(key, None)

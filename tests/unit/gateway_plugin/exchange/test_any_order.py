"""Messages in any order, legal or not, answers at any moment, ends in between: nothing is held when all is over.

Calls get what a transport may hand on (nothing more while one is busy, nothing after its end), and of it whatever
somebody could send. Every exchange is a booking, a reservation, a slot, a place among uploads or waiters: afterwards
the ledger is empty, what was admitted went on to a pod or came back to its user, once, and nobody was answered twice.
"""

from __future__ import annotations

import asyncio
import gzip
import os
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import HealthCheck, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gateway_plugin.accounting.limiting import GiveBack
from gateway_plugin.exchange.intent.identity import IdentityRules
from gateway_plugin.exchange.processor import ProcessCall
from gateway_plugin.exchange.uploads import UploadBounds
from gateway_plugin.grpc.calls import TooMuch
from protos.ext_proc import ProcessingRequest
from ratelimit import Admission, CorruptUserRecord, Decision, Outcome, StoreUnavailable
from tests.unit.gateway_plugin.exchange.bench import ADMITTED, BODY, LIMITS, body, headers
from tests.unit.gateway_plugin.exchange.test_processor import FakeCall, Process

Question = asyncio.Future[Any]
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "80"))
"""More find more: 5,000 take five minutes."""
ANSWERS = [
    ADMITTED,
    Decision(Outcome.REQUESTS_EXCEEDED, LIMITS, 3.0, 40.0, 0.0, 0, 60.0, 59.5),
    Decision(Outcome.DISABLED, None),
    StoreUnavailable("store", "away"),
    CorruptUserRecord("kim"),
    RuntimeError("a bug"),
]
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "user": st.sampled_from(["kim", "nobody", "x" * 5000, "\u2603"]),
        "authorization": st.sampled_from(["Bearer gw-" + "k" * 43, "Bearer ", "Basic eA=="]),
        "content-encoding": st.sampled_from(["gzip", "br", "identity"]),
        "content-length": st.sampled_from(["0", "12", "-1", "9" * 40, str(3 << 20)]),
        "model": st.sampled_from(["m", "empty", "nowhere", ""]),
        "routing-strategy": st.sampled_from(["least-request", "prefix-cache-and-load", "no such", "a,b,,"]),
        "x-forwarded-for": st.sampled_from(["10.1.1.1", "::1, 10.0.0.1", ",,,"]),
        "x-request-id": st.sampled_from(["mine", "\x7f", "y" * 900]),
        ":path": st.sampled_from(["/v1/chat/completions", "/v1/embeddings", "/v1/models", "/metrics", "", "*"]),
        ":method": st.sampled_from(["POST", "GET", "OPTIONS", ""]),
        "content-type": st.sampled_from(["application/json", "multipart/form-data; boundary=b", "\xff"]),
    },
)
BODIES = st.one_of(
    st.sampled_from(
        [
            BODY,
            BODY.replace(b'"m"', b'"empty"'),
            BODY.replace(b'"m"', b'"nowhere"'),
            BODY[:-1] + b',"stream":true}',
            BODY[:-1] + b',"model":"m"}',
            gzip.compress(BODY, mtime=0),
            gzip.compress(b"\0" * 600_000, mtime=0),
            b" " * 300_000 + BODY,
            gzip.compress(BODY, mtime=0)[:-9],
            b'{"model":"m","messages":[' + b"0," * 200_000 + b"0]}",
            b"",
            b"[" * 5000,
        ]
    ),
    st.binary(max_size=60),
)


def _other(kind: str) -> bytes:
    message = ProcessingRequest()
    if kind == "response_headers":
        header = message.response_headers.headers.headers.add()
        header.key, header.raw_value = ":status", b"\xff200"
    elif kind == "response_body":
        message.response_body.body = b"data: {}\n\n"
    elif kind:
        getattr(message, kind).SetInParent()
    return bytes(message.SerializeToString())


OTHERS = [_other(kind) for kind in ("response_headers", "response_body", "request_trailers", "response_trailers", "")]
OTHERS += [b"\xff\xff", b"\x0a\x02\x08", body(b"x")[:-1], headers()[:-3], b"\x9a\x3e\x01a"]


class Asker:
    """The limiter, which answers when it is told to."""

    def __init__(self) -> None:
        self.admissions: list[Admission] = []
        self.answers: list[Question] = []
        self.looked_up: list[Question] = []
        self.given_back: list[GiveBack] = []

    def admit(self, admission: Admission) -> Question:
        self.admissions.append(admission)
        return self._asked(self.answers)

    def owner_of_key(self, key_sha256: str, source: str) -> Question:
        return self._asked(self.looked_up)

    def has_user(self, user: str) -> Question:
        return self._asked(self.looked_up)

    async def give_back(self, back: GiveBack) -> None:
        self.given_back.append(back)

    def _asked(self, questions: list[Question]) -> Question:
        questions.append(asyncio.get_running_loop().create_future())
        return questions[-1]


@dataclass(eq=False)
class Open:
    """A call that has not ended, as the transport knows it."""

    call: FakeCall
    handler: ProcessCall
    busy: Question | None = None
    half_closed: bool = False

    @property
    def takes_messages(self) -> bool:
        return self.call.status is None and not self.half_closed and (self.busy is None or self.busy.done())


class AnyOrder(RuleBasedStateMachine):
    """What the world may do to one process."""

    @initialize(
        ends_calls=st.booleans(),
        room=st.sampled_from([0, 1]),
        queue=st.sampled_from([0, 2]),
        by_key=st.booleans(),
        follows=st.booleans(),
        max_exchanges=st.sampled_from([0, 4]),
    )
    def start(self, ends_calls: bool, room: int, queue: int, by_key: bool, follows: bool, max_exchanges: int) -> None:
        self.loop = asyncio.new_event_loop()
        self.now = 0.0
        self.open: list[Open] = []
        self.closed: list[Open] = []
        self.limiter = Asker()

        async def made() -> Process:
            rules = IdentityRules(frozenset({"api-key", "header"}) if by_key else frozenset({"header"}))
            uploads = UploadBounds(total=6, per_source=5, seconds=10.0, total_bytes=16 << 20)
            process = Process(
                max_inflight_per_pod=room,
                max_queue_length=queue,
                max_wait_seconds=3600.0,
                ends_calls=ends_calls and not follows,
                uploads=uploads,
                unpacked_bytes=1 << 20,
                max_exchanges=max_exchanges,
            )
            services = replace(
                process.services,
                rules=replace(process.services.rules, identity=rules, max_body_bytes=500_000),
                clock=lambda: self.now,
                is_known=lambda user: user == "kim",
                follows_responses=follows,
            )
            process.services = process.processor.services = services
            process.processor.uploads._clock = lambda: self.now
            process.processor.limiter = self.limiter  # type: ignore[assignment]  # a fake of what the calls use
            return process

        self.process = self.loop.run_until_complete(made())

    def note(self) -> None:
        for one in self.open:
            event(one.handler._exchange.phase.value)

    def turn(self, act=lambda: None) -> None:
        """One thing happens, and the loop turns until it is quiet."""

        async def done() -> None:
            act()
            for _ in range(4):
                await asyncio.sleep(0)

        self.loop.run_until_complete(done())

    def pick(self, number: int) -> Open | None:
        return self.open[number % len(self.open)] if self.open else None

    def deliver(self, number: int, message: bytes) -> None:
        one = self.pick(number)
        if one is not None and one.takes_messages:
            self.turn(lambda: setattr(one, "busy", one.handler.received(message)))

    @rule()
    def begin(self) -> None:
        if len(self.open) < 12:
            self.turn(lambda: self.open.append(Open(*self.process.begin())))

    @rule(user=st.sampled_from(["", "", "kim"]), number=st.integers(1, 4))
    def clients_come(self, user: str, number: int) -> None:
        """As most do."""
        for _ in range(number):
            self.ask(user, BODY, packed=False)

    @rule(user=st.sampled_from(["", "kim"]))
    def a_large_packed_body_comes(self, user: str) -> None:
        self.ask(user, b" " * 300_000 + BODY, packed=True)
        self.unpacking_ends()

    @rule(user=st.sampled_from(["", "kim"]), content=BODIES, packed=st.booleans())
    def ask(self, user: str, content: bytes, packed: bool) -> None:
        if len(self.open) < 12:
            self.begin()
            values = {"content-encoding": "gzip"} if packed else {}
            self.deliver(len(self.open) - 1, headers(user=user, **values))
            self.deliver(len(self.open) - 1, body(gzip.compress(content, mtime=0) if packed else content))

    @rule(number=st.integers(0, 11), end=st.booleans(), values=HEADERS)
    def send_headers(self, number: int, end: bool, values: dict[str, str]) -> None:
        self.deliver(number, headers(end, **values))

    @rule(number=st.integers(0, 11), content=BODIES)
    def send_body(self, number: int, content: bytes) -> None:
        self.deliver(number, body(content))

    @rule(number=st.integers(0, 11), message=st.sampled_from(OTHERS))
    def send_other(self, number: int, message: bytes) -> None:
        self.deliver(number, message)

    @rule(number=st.integers(0, 11), what=st.sampled_from(TooMuch))
    def send_too_much(self, number: int, what: TooMuch) -> None:
        one = self.pick(number)
        if one is not None and one.takes_messages:
            self.turn(lambda: one.handler.message_refused("too much", what))
            one.call.finish(8, "too much")

    @rule(number=st.integers(0, 11))
    def half_close(self, number: int) -> None:
        one = self.pick(number)
        if one is not None and one.takes_messages:
            one.half_closed = True
            self.turn(one.handler.half_closed)

    @rule(number=st.integers(0, 11))
    def end(self, number: int) -> None:
        one = self.pick(number)
        if one is not None:
            self.open.remove(one)
            self.closed.append(one)
            self.turn(one.handler.ended)

    @rule(number=st.integers(0, 40), answer=st.sampled_from(ANSWERS), end_too=st.booleans())
    def answer(self, number: int, answer: Decision | Exception, end_too: bool) -> None:
        """The limiter answers; perhaps in the very turn in which a client leaves."""
        asked = [one for one in self.limiter.answers if not one.done()]
        if asked:
            self._tell(asked[number % len(asked)], answer, ends=end_too)

    @rule(number=st.integers(0, 40), found=st.sampled_from(["kim", None, "error"]))
    def look_up(self, number: int, found: str | None) -> None:
        asked = [one for one in self.limiter.looked_up if not one.done()]
        if asked:
            self._tell(asked[number % len(asked)], StoreUnavailable("store", "x") if found == "error" else found)

    def _tell(self, asked: Question, answer: object, *, ends: bool = False) -> None:
        who = next((one for one in self.open if one.handler._asked is asked), None)

        def act() -> None:
            if isinstance(answer, Exception):
                asked.set_exception(answer)
            else:
                asked.set_result(answer)
            if ends and who is not None:
                self.open.remove(who)
                self.closed.append(who)
                who.handler.ended()

        self.turn(act)

    @rule(seconds=st.sampled_from([0.5, 11.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.turn(self.process.processor.uploads.expire)

    @rule(number=st.integers(1, 40))
    def log_comes(self, number: int) -> None:
        self.turn(lambda: self.process.processor.parked.release(f"id-{number}"))

    @rule()
    def unpacking_ends(self) -> None:
        async def quiet() -> None:
            await asyncio.sleep(0.005)

        self.loop.run_until_complete(quiet())

    @invariant()
    def what_is_counted_is_what_is_there(self) -> None:
        processor = self.process.processor
        assert processor._open_calls == len(self.open)
        assert 0 <= len(processor.uploads.waiting) <= min(6, len(self.open))
        assert 0 <= processor.unpacked.held_bytes <= 1 << 20
        assert processor.working >= 0
        assert self.process.inflight() <= len(self.open) + len(processor.parked.exchanges)

    @invariant()
    def every_phase_is_seen(self) -> None:
        self.note()

    @invariant()
    def nobody_is_answered_twice(self) -> None:
        for one in [*self.open, *self.closed]:
            immediate = [message for message in one.call.sent if message.HasField("immediate_response")]
            assert len(immediate) <= 1
            assert not immediate or one.call.sent[-1] is immediate[0], "nothing is said after a refusal"

    def teardown(self) -> None:
        if not hasattr(self, "loop"):
            return
        try:
            for one in self.open:
                self.turn(one.handler.ended)
            self.open.clear()
            for number in range(1, 200):
                self.process.processor.parked.release(f"id-{number}")
            self.unpacking_ends()
            self._nothing_is_left()
        finally:
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.process.processor.unpacked._threads.shutdown()
            self.loop.close()

    def _nothing_is_left(self) -> None:
        process, processor = self.process, self.process.processor
        assert (process.inflight(), processor.open_exchanges, processor.working) == (0, 0, 0)
        assert (processor.uploads.waiting, processor.uploads.large_bytes, processor.unpacked.held_bytes) == ({}, 0, 0)
        assert (processor.waiting.lengths(), processor.holding.lengths()) == ({}, {})
        assert processor.idle.is_set()
        admitted = [
            admission.charge_id
            for admission, answer in zip(self.limiter.admissions, self.limiter.answers, strict=True)
            if answer.done() and not answer.cancelled() and not answer.exception() and answer.result() is ADMITTED
        ]
        refunded = [back.charge_id for back in self.limiter.given_back if back.refund]
        sent_on = [story.charge_id for story in process.services.stories.routed]
        assert len(refunded) == len(set(refunded)), "a reservation comes back once"
        assert set(refunded) <= set(admitted)
        assert set(admitted) <= set(refunded) | set(sent_on), "what was admitted went on, or came back"


AnyOrder.TestCase.settings = settings(
    max_examples=EXAMPLES, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)


TestAnyOrder = AnyOrder.TestCase

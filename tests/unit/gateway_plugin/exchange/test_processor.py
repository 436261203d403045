"""One ext_proc call without a transport: what is answered at once, what waits, and what every end gives back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from gateway_plugin.accounting.limiting import GiveBack
from gateway_plugin.exchange.collaborators import ProcessorBounds
from gateway_plugin.exchange.processor import ExternalProcessor, ProcessCall
from gateway_plugin.grpc.calls import INTERNAL, OK, UNAVAILABLE
from protos import ext_proc
from protos.access_log import FinishedExchange
from protos.ext_proc import ProcessingResponse
from ratelimit import Admission, Decision, Outcome, StoreUnavailable
from routing.router import Router
from tests.unit.gateway_plugin.exchange.bench import ADMITTED, Bench, body, headers


class FakeCall:
    traceparent = ""
    fingerprint = b""

    def __init__(self) -> None:
        self.sent: list[ProcessingResponse] = []
        self.status: tuple[int, str] | None = None

    def send(self, message: bytes) -> None:
        self.sent.append(ProcessingResponse.FromString(message))

    def finish(self, status: int = OK, text: str = "") -> None:
        self.status = self.status or (status, text)


class FakeLimiter:
    """Answers when the test says so."""

    def __init__(self) -> None:
        self.answers: list[asyncio.Future[Decision]] = []
        self.given_back: list[GiveBack] = []

    def admit(self, admission: Admission) -> asyncio.Future[Decision]:
        self.answers.append(asyncio.get_running_loop().create_future())
        return self.answers[-1]

    async def has_user(self, user: str) -> bool:
        return user == "kim"

    async def give_back(self, back: GiveBack) -> None:
        self.given_back.append(back)


class Process(Bench):
    """A processor over two pods of model "m"."""

    def __init__(self, *, max_inflight_per_pod: int = 0, **bounds: Any) -> None:
        super().__init__(default_strategy="least-request")
        self.router = Router(self.pods, self.rng, 2, max_inflight_per_pod)
        self.services = replace(
            self.services, router=self.router, may_wait=bool(bounds.get("max_queue_length")), new_id=self._new_id
        )
        self.limiter = FakeLimiter()
        self.finished: list[FinishedExchange] = []
        self.processor = ExternalProcessor(
            self.services,
            self.limiter,  # type: ignore[arg-type]  # a fake of what the calls use
            self.finished.append,
            ProcessorBounds(**bounds),
        )
        self.ids = 0

    def _new_id(self) -> str:
        self.ids += 1
        return f"id-{self.ids}"

    def begin(self) -> tuple[FakeCall, ProcessCall]:
        (method,) = self.processor.methods().values()
        call = FakeCall()
        handler = method(call)
        assert isinstance(handler, ProcessCall)
        return call, handler

    def ask(self, user: str = "") -> tuple[FakeCall, ProcessCall]:
        call, handler = self.begin()
        handler.received(headers(user=user))
        if len(call.sent) == 1 and call.sent[0].HasField("request_headers"):
            handler.received(body())
        return call, handler


def status_of(call: FakeCall) -> int:
    """0 for a request that was sent on."""
    return int(call.sent[-1].immediate_response.status.code)


async def test_an_exchange_is_answered_at_once_and_given_back_at_its_end():
    process = Process()
    call, handler = process.ask()
    assert (len(call.sent), call.status, process.inflight()) == (2, None, 1)
    assert not process.processor.idle.is_set()
    handler.half_closed()
    handler.ended()
    assert (call.status, process.inflight(), process.processor.open_exchanges) == ((OK, ""), 0, 0)
    assert process.processor.idle.is_set()


async def test_an_admission_is_waited_for():
    process = Process()
    call, handler = process.begin()
    handler.received(headers(user="kim"))
    busy = handler.received(body())
    assert busy is not None
    assert len(call.sent) == 1
    process.limiter.answers[0].set_result(ADMITTED)
    await busy
    assert status_of(call) == 0
    assert process.inflight() == 1
    handler.ended()
    assert process.inflight() == 0


async def test_a_client_that_leaves_while_the_limiter_is_asked():
    process = Process()
    _, handler = process.ask("kim")
    handler.ended()
    assert process.limiter.answers[0].cancelled()
    await asyncio.sleep(0)
    assert process.inflight() == 0


@pytest.mark.parametrize("ends_calls", [False, True])
async def test_a_client_that_leaves_in_the_very_turn_of_the_answer(ends_calls: bool):
    process = Process(ends_calls=ends_calls)
    call, handler = process.ask("kim")
    process.limiter.answers[0].set_result(ADMITTED)
    handler.ended()
    await asyncio.sleep(0.01)
    assert (process.inflight(), process.processor.open_exchanges) == (0, 0)
    assert len(call.sent) == 1, "only the body was asked for"
    (back,) = process.limiter.given_back
    assert (back.subject, back.refund, back.reserved_tokens) == ("kim", True, 40)


@pytest.mark.parametrize("error", [StoreUnavailable("store", "away"), None])
async def test_a_client_that_leaves_in_the_very_turn_of_a_refusal(error: StoreUnavailable | None):
    process = Process()
    _, handler = process.ask("kim")
    if error is not None:
        process.limiter.answers[0].set_exception(error)
    else:
        process.limiter.answers[0].set_result(Decision(Outcome.DISABLED, None))
    handler.ended()
    await asyncio.sleep(0.01)
    assert (process.inflight(), process.processor.open_exchanges, process.limiter.given_back) == (0, 0, [])


async def test_errors_of_the_limiter_are_answers():
    process = Process()
    for error, status in ((StoreUnavailable("redis", "away"), 503), (ValueError("bug"), 500)):
        call, handler = process.ask("kim")
        process.limiter.answers[-1].set_exception(error)
        await asyncio.sleep(0)
        assert status_of(call) == status
        assert call.status == (OK, "")
        handler.ended()


async def test_nonsense_ends_the_call():
    call, handler = Process().begin()
    handler.received(b"\xff\xff")
    assert call.status == (INTERNAL, "not a ProcessingRequest")
    handler.ended()


async def test_one_exchange_too_many_is_told_to_come_back():
    process = Process(max_exchanges=2)
    calls = [process.ask() for _ in range(3)]
    assert [status_of(call) for call, _ in calls] == [0, 0, 503]
    refused = calls[2][0].sent[-1].immediate_response
    sent = {header.header.key: header.header.raw_value for header in refused.headers.set_headers}
    assert sent["retry-after"] == b"1"
    assert b'"code":"overloaded"' in refused.body
    for _, handler in calls:
        handler.ended()
    assert status_of(process.ask()[0]) == 0


async def test_full_pods_refuse_unless_requests_may_wait():
    process = Process(max_inflight_per_pod=1)
    calls = [process.ask() for _ in range(3)]
    assert [status_of(call) for call, _ in calls] == [0, 0, 503]
    assert process.inflight() == 2


async def test_a_request_waits_for_a_pod_with_room():
    process = Process(max_inflight_per_pod=1, max_queue_length=1, max_wait_seconds=5.0)
    first, _ = process.ask(), process.ask()
    waiting, _ = process.ask()
    assert len(waiting.sent) == 1, "the body is not answered yet"
    assert status_of(process.ask()[0]) == 503, "the queue is full"
    first[1].ended()
    assert (len(waiting.sent), status_of(waiting), process.inflight()) == (2, 0, 2)


async def test_nobody_waits_for_ever_or_for_a_client_that_left():
    process = Process(max_inflight_per_pod=1, max_queue_length=5, max_wait_seconds=0.01)
    held = [process.ask(), process.ask()]
    late, late_handler = process.ask()
    _, left = process.ask()
    left.ended()
    await asyncio.sleep(0.05)
    assert status_of(late) == 503
    late_handler.ended()
    for _, handler in held:
        handler.ended()
    assert (process.inflight(), process.processor.open_exchanges) == (0, 0)


async def test_what_fails_while_it_waits_is_not_resumed(monkeypatch: pytest.MonkeyPatch):
    process = Process(max_inflight_per_pod=1, max_queue_length=5, max_wait_seconds=60.0)
    held = [process.ask(), process.ask()]
    waiting, handler = process.ask()

    def fails(message: bytes) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(ext_proc, "parsed", fails)
    handler.received(body())
    assert status_of(waiting) == 500
    handler.ended()
    for _, holder in held:
        holder.ended()
    assert (process.inflight(), process.processor.waiting.lengths()) == (0, {})


async def test_what_waited_in_vain_is_given_back_to_its_user():
    process = Process(max_inflight_per_pod=1, max_queue_length=5, max_wait_seconds=0.01)
    process.ask(), process.ask()
    call, handler = process.ask("kim")
    process.limiter.answers[-1].set_result(ADMITTED)
    await asyncio.sleep(0.05)
    assert status_of(call) == 503
    handler.ended()
    await asyncio.sleep(0)
    (back,) = process.limiter.given_back
    assert (back.subject, back.refund, back.reserved_tokens) == ("kim", True, 40)


@pytest.mark.parametrize("told", [True, False])
async def test_calls_may_end_before_their_exchanges(told: bool):
    process = Process(ends_calls=True)
    call, handler = process.ask()
    assert call.status == (OK, "")
    handler.ended()
    assert (process.inflight(), process.processor.open_exchanges) == (1, 1)
    process.processor.parked.release("id-2" if told else "another's")
    assert process.inflight() == (0 if told else 1)


async def test_a_client_that_leaves_before_the_reply_is_not_parked():
    process = Process(ends_calls=True)
    _, handler = process.ask("kim")
    handler.ended()
    assert process.processor.open_exchanges == 0


async def test_a_process_about_to_stop_takes_no_new_calls():
    process = Process()
    process.processor.refuses_calls = True
    call, handler = process.begin()
    assert call.status == (UNAVAILABLE, "this replica takes no calls now")
    handler.ended()
    assert process.processor.idle.is_set()


async def in_headers(process: Process) -> tuple[FakeCall, ProcessCall]:
    return process.begin()


async def in_body(process: Process) -> tuple[FakeCall, ProcessCall]:
    call, handler = process.begin()
    handler.received(headers())
    return call, handler


async def in_admitting(process: Process) -> tuple[FakeCall, ProcessCall]:
    return process.ask("kim")


async def in_waiting(process: Process) -> tuple[FakeCall, ProcessCall]:
    return process.ask()


async def in_held(process: Process) -> tuple[FakeCall, ProcessCall]:
    return process.ask()


async def in_done(process: Process) -> tuple[FakeCall, ProcessCall]:
    call, handler = process.begin()
    handler.received(headers())
    handler.received(body(b"no JSON"))
    return call, handler


@pytest.mark.parametrize("reach", [in_headers, in_body, in_admitting, in_waiting, in_held, in_done])
async def test_whatever_a_client_waits_for_its_leaving_leaves_nothing(
    reach: Callable[[Process], Awaitable[tuple[FakeCall, ProcessCall]]],
):
    full = reach is in_waiting
    process = Process(max_inflight_per_pod=1 if full else 0, max_queue_length=3, max_wait_seconds=60.0)
    held = [process.ask() for _ in range(2)] if full else []
    before = (process.inflight(), process.processor.working)
    call, handler = await reach(process)
    phase = handler._exchange.phase.value
    assert phase == reach.__name__.removeprefix("in_")
    said = len(call.sent)
    handler.ended()
    await asyncio.sleep(0)
    assert len(call.sent) == said, "nobody is there to be told"
    assert (process.inflight(), process.processor.working) == before
    assert (len(process.processor.uploads.waiting), process.processor.waiting.lengths()) == (0, {})
    assert all(answer.cancelled() for answer in process.limiter.answers)
    for _, holder in held:
        holder.ended()
    assert (process.inflight(), process.processor.open_exchanges) == (0, 0)
    assert process.processor.idle.is_set()


async def test_a_user_is_looked_for_before_the_body_is_asked_for():
    process = Process()
    process.processor.services = replace(process.services, is_known=lambda _: False)
    asked = {}
    for user in ("kim", "nobody"):
        call, handler = process.begin()
        busy = handler.received(headers(user=user))
        assert busy is not None
        assert not call.sent
        await busy
        asked[user] = call.sent[0].mode_override.request_body_mode, call.sent[0].immediate_response.status.code
        handler.ended()
    assert asked == {"kim": (2, 0), "nobody": (0, 401)}
    assert not process.processor.uploads.waiting

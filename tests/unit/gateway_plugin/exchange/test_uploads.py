"""Who waits for a body: counted apart from work, by source, and not for ever."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_plugin.exchange.intent.identity import UNKNOWN
from gateway_plugin.exchange.uploads import UNKNOWN_LENGTH_BYTES, UploadBounds, Uploads, announced_bytes
from gateway_plugin.grpc.calls import TooMuch
from gateway_plugin.openai.response_ids import new_response_id
from tests.unit.gateway_plugin.exchange.bench import body, headers
from tests.unit.gateway_plugin.exchange.test_processor import Process, status_of


class Upload:
    def __init__(self) -> None:
        self.timed_out = False

    def upload_timed_out(self) -> None:
        self.timed_out = True


def uploads_at(now: list[float], **bounds: Any) -> Uploads:
    return Uploads(UploadBounds(**bounds), lambda: now[0])


def test_a_source_has_a_bound_below_that_of_all():
    uploads = uploads_at([0.0], total=5, per_source=3)
    entered = [uploads.enter("10.0.0.1", Upload()) for _ in range(5)]
    assert entered == [True, True, True, False, False]
    assert [uploads.enter("10.0.0.2", Upload()) for _ in range(3)] == [True, True, False]
    assert len(uploads.waiting) == 5


def test_without_a_source_only_the_bound_of_all_counts():
    uploads = uploads_at([0.0], total=3, per_source=1)
    assert [uploads.enter(UNKNOWN, Upload()) for _ in range(4)] == [True, True, True, False]


def test_zero_is_no_bound():
    now = [0.0]
    uploads = uploads_at(now)
    assert all(uploads.enter("10.0.0.1", Upload()) for _ in range(100))
    now[0] = 1e9
    uploads.expire()
    assert len(uploads.waiting) == 100


def test_who_takes_too_long_is_told_and_makes_room():
    now = [0.0]
    uploads = uploads_at(now, per_source=2, seconds=10.0)
    early, late = Upload(), Upload()
    uploads.enter("10.0.0.1", early)
    now[0] = 5.0
    uploads.enter("10.0.0.1", late)
    now[0] = 9.9
    uploads.expire()
    assert (early.timed_out, late.timed_out) == (False, False)
    now[0] = 10.0
    uploads.expire()
    assert (early.timed_out, late.timed_out, len(uploads.waiting)) == (True, False, 1)
    assert uploads.enter("10.0.0.1", Upload())


def test_large_bodies_are_bounded_in_bytes_and_small_ones_never_wait_for_them():
    mib = 1 << 20
    uploads = uploads_at([0.0], total_bytes=100 * mib)
    large = [Upload() for _ in range(4)]
    assert [uploads.enter("10.0.0.1", one, 20 * mib) for one in large] == [True, True, False, False]
    assert uploads.enter("10.0.0.2", Upload(), 50 * mib)
    assert not uploads.enter("10.0.0.3", Upload(), 20 * mib), "90 of 100 are announced"
    assert uploads.enter("10.0.0.1", Upload(), announced_bytes("1000"))
    uploads.leave(large[0])
    assert uploads.enter("10.0.0.3", Upload(), 20 * mib)
    assert uploads.large_bytes == 90 * mib


def test_a_source_that_sends_large_bodies_all_the_time_waits_and_others_do_not():
    mib, now = 1 << 20, [0.0]
    uploads = uploads_at(now, source_bytes_per_second=10 * mib)

    def sends(source: str, size: int, announced: int) -> bool:
        upload = Upload()
        if not uploads.enter(source, upload, announced):
            return False
        uploads.leave(upload, size)
        return True

    large = 15 * mib
    sends("10.0.0.9", 10, 0)
    assert [sends("10.0.0.1", large, large) for _ in range(3)] == [True, True, False], "20 MiB at once, and one beyond"
    assert not sends("10.0.0.1", 2 * mib, UNKNOWN_LENGTH_BYTES), "whoever does not say how much may mean as much"
    assert sends("10.0.0.1", 1000, 0)
    at_once = [uploads.enter("10.0.0.4", Upload(), large) for _ in range(4)]
    assert at_once == [True, True, False, False], "what is announced counts before it comes"
    assert sends("10.0.0.2", large, large)
    assert all(sends(UNKNOWN, large, large) for _ in range(9))
    now[0] = 1.0
    assert not sends("10.0.0.1", large, large)
    now[0] = 1.1
    sends("10.0.0.9", 10, 0)
    assert [sends("10.0.0.1", large, large), sends("10.0.0.1", large, large)] == [True, False]
    now[0] = 100.0
    assert all(sends("10.0.0.3", 1000, UNKNOWN_LENGTH_BYTES) for _ in range(99)), "short ones count for nothing"


def test_a_source_that_is_alone_waits_for_nobody_and_is_not_long_in_debt():
    mib, now = 1 << 20, [0.0]
    uploads = uploads_at(now, source_bytes_per_second=10 * mib)

    def sends(source: str, size: int) -> bool:
        upload = Upload()
        entered = uploads.enter(source, upload, size)
        uploads.leave(upload, size)
        return entered

    assert all(sends("10.0.0.1", 64 * mib) for _ in range(20))
    assert sends("10.0.0.2", 0)
    assert not sends("10.0.0.1", 2 * mib), "somebody else is there"
    now[0] = 0.9
    assert not sends("10.0.0.1", 2 * mib)
    now[0] = 2.0
    assert sends("10.0.0.1", 2 * mib), "nobody else was for a second"
    now[0] = 4.3
    assert sends("10.0.0.2", 0)
    assert sends("10.0.0.1", 2 * mib), "a debt of two seconds at most"


def test_accounts_of_sources_are_bounded():
    uploads = uploads_at([0.0], source_bytes_per_second=1)
    for number in range(10_050):
        upload = Upload()
        uploads.enter(str(number), upload, 2 << 20)
        uploads.leave(upload, 2 << 20)
    assert len(uploads._accounts) == 10_000
    assert uploads.enter("0", Upload(), 2 << 20)
    assert not uploads.enter("10049", Upload(), 2 << 20)


@pytest.mark.parametrize(
    ("said", "counted"),
    [
        ("", UNKNOWN_LENGTH_BYTES),
        ("0", 0),
        ("1048576", 0),
        ("1048577", 1048577),
        ("-5", UNKNOWN_LENGTH_BYTES),
        ("9" * 19, UNKNOWN_LENGTH_BYTES),
        ("\u0663", UNKNOWN_LENGTH_BYTES),
    ],
)
def test_what_a_body_counts_for(said: str, counted: int):
    assert announced_bytes(said) == counted


async def test_who_announces_too_much_is_refused_before_a_byte_is_sent():
    process = Process(uploads=UploadBounds(total_bytes=40_000_000))

    def sent(length: str) -> int:
        call, handler = process.begin()
        handler.received(headers(x_forwarded_for="10.9.9.9", content_length=length))
        return status_of(call)

    assert [sent("15000000"), sent("15000000"), sent("500")] == [0, 503, 0]


async def test_a_large_body_that_came_is_booked():
    process = Process(uploads=UploadBounds(source_bytes_per_second=1 << 20))

    def sent() -> int:
        process.begin()[1].received(headers(x_forwarded_for="10.9.9.8"))
        call, handler = process.begin()
        handler.received(headers(x_forwarded_for="10.9.9.9"))
        if not status_of(call):
            handler.received(body(b" " * 3_000_000))
        return status_of(call)

    assert [sent(), sent()] == [400, 503]


@pytest.mark.parametrize(
    ("path", "method"),
    [("/v1/responses/{id}", "DELETE"), ("/v1/responses/{id}/cancel", "POST")],
)
async def test_a_body_is_counted_also_where_it_says_nothing(path: str, method: str):
    process = Process(uploads=UploadBounds(per_source=1))

    def sent() -> tuple[int, int]:
        call, handler = process.begin()
        kept = new_response_id("10.0.0.1:8000", "lgy", "id")
        asked = {":path": path.format(id=kept), ":method": method, "user": "lgy", "content-length": "500"}
        handler.received(headers(x_forwarded_for="10.9.9.9", **asked))
        return status_of(call), len(process.processor.uploads.waiting)

    assert [sent(), sent()] == [(0, 1), (503, 1)]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4), st.sampled_from("abc"))))
def test_counts_are_those_of_who_waits(moves: list[tuple[bool, int, str]]):
    uploads = uploads_at([0.0], total=4, per_source=2)
    guests = [Upload() for _ in range(5)]
    inside: dict[int, str] = {}
    for enters, number, source in moves:
        if not enters:
            uploads.leave(guests[number])
            inside.pop(number, None)
        elif number not in inside:
            may = len(inside) < 4 and Counter(inside.values())[source] < 2
            assert uploads.enter(source, guests[number]) is may
            if may:
                inside[number] = source
    assert len(uploads.waiting) == len(inside)


async def test_who_still_sends_its_body_is_no_work():
    process = Process(max_exchanges=1)
    half_sent = [process.begin() for _ in range(5)]
    for _, handler in half_sent:
        handler.received(headers())
    assert (process.processor.working, len(process.processor.uploads.waiting)) == (0, 5)
    call, handler = process.ask()
    assert status_of(call) == 0, "waiting does not fill the gateway"
    assert process.processor.working == 1
    half_sent[0][1].received(body())
    assert status_of(half_sent[0][0]) == 503, "a body makes work of it, and there is too much"
    half_sent.pop(0)[1].ended()
    handler.ended()
    half_sent[0][1].received(body())
    assert status_of(half_sent[0][0]) == 0
    for _, handler in half_sent:
        handler.ended()
    assert (process.processor.working, len(process.processor.uploads.waiting), process.inflight()) == (0, 0, 0)


async def test_one_source_cannot_take_all_places():
    process = Process(uploads=UploadBounds(total=10, per_source=2))

    def sent(source: str) -> int:
        call, handler = process.begin()
        handler.received(headers(x_forwarded_for=f"1.2.3.4, {source}"))
        return status_of(call)

    assert [sent("10.9.9.9") for _ in range(3)] == [0, 0, 503]
    assert sent("10.9.9.8") == 0, "others are not concerned"


async def test_a_body_that_does_not_come_is_408_and_gives_everything_back():
    process = Process(uploads=UploadBounds(seconds=1.0))
    now = [0.0]
    process.processor.uploads._clock = lambda: now[0]
    call, handler = process.begin()
    handler.received(headers())
    now[0] = 1.0
    process.processor.uploads.expire()
    assert status_of(call) == 408
    assert b"request_timeout" in call.sent[-1].immediate_response.body
    assert call.status == (0, "")
    handler.ended()
    assert (process.processor.working, len(process.processor.uploads.waiting)) == (0, 0)


async def test_a_client_that_leaves_while_it_uploads_leaves_nothing():
    process = Process(uploads=UploadBounds(per_source=1))
    for _ in range(3):
        call, handler = process.begin()
        handler.received(headers(x_forwarded_for="10.9.9.9"))
        assert status_of(call) == 0
        handler.ended()
    assert len(process.processor.uploads.waiting) == 0


@pytest.mark.parametrize(
    ("what", "status", "code"),
    [(TooMuch.MESSAGE, 413, b"request_too_large"), (TooMuch.MEMORY, 503, b"overloaded")],
)
async def test_a_body_that_the_transport_does_not_take(
    what: TooMuch, status: int, code: bytes, caplog: pytest.LogCaptureFixture
):
    process = Process()
    for _ in range(3):
        call, handler = process.begin()
        handler.received(headers())
        handler.message_refused("a message of 66 bytes exceeds the limit of 65", what)
        assert (status_of(call), call.status) == (status, (0, ""))
        assert code in call.sent[-1].immediate_response.body
        handler.ended()
    assert len(process.processor.uploads.waiting) == 0
    said = [record for record in caplog.records if "grpc_max_message_bytes" in record.getMessage()]
    assert len(said) == (1 if what is TooMuch.MESSAGE else 0), "once a minute"

"""Compressed bodies: unpacked within bounds, sent on as what they say, and never on the loop where they are long."""

from __future__ import annotations

import gzip
import zlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_plugin.exchange.intent.unpacking import Unpacking
from gateway_plugin.exchange.phases import Phase
from gateway_plugin.exchange.steps import Admit, Unpack
from gateway_plugin.exchange.unpacked import UnpackedBodies
from gateway_plugin.openai.errors import ApiError
from ratelimit import Decision, Outcome
from tests.unit.gateway_plugin.exchange.bench import (
    ADMITTED,
    BODY,
    LIMITS,
    Bench,
    body,
    error,
    headers,
    mutation,
    reply,
)

MIB = 1024 * 1024
PACKED = gzip.compress(BODY, mtime=0)


def new_body(step: object) -> bytes:
    content: bytes = reply(step).message.request_body.response.body_mutation.body
    return content


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [("gzip", PACKED), ("GZIP", PACKED), ("x-gzip", PACKED), ("deflate", zlib.compress(BODY))],
)
def test_the_engine_gets_what_was_counted(encoding: str, packed: bytes):
    exchange = Bench(default_strategy="random").exchange()
    exchange.receive(headers(content_encoding=encoding))
    step = exchange.receive(body(packed))
    changed, removed = mutation(step)
    assert new_body(step) == BODY
    assert changed["content-length"] == str(len(BODY))
    assert removed == ["content-encoding"]


def test_a_model_in_the_headers_does_not_let_it_pass_unread():
    exchange = Bench(default_strategy="random").exchange()
    exchange.receive(headers(model="m", content_encoding="gzip"))
    assert exchange.phase is Phase.BODY
    assert new_body(exchange.receive(body(PACKED))) == BODY


def test_usage_is_asked_for_in_what_it_says():
    exchange = Bench(default_strategy="random").exchange()
    exchange.receive(headers(user="kim", content_encoding="gzip"))
    step = exchange.receive(body(gzip.compress(BODY[:-1] + b',"stream":true}')))
    assert isinstance(step, Admit)
    assert new_body(exchange.admitted(ADMITTED)).startswith(b'{"stream_options":{"include_usage":true}')


def test_who_asks_comes_first():
    bench = Bench(default_strategy="random", limited=True)
    bench.refusals["kim"] = Decision(Outcome.REQUESTS_EXCEEDED, LIMITS)
    assert error(bench.exchange().receive(headers(user="kim", content_encoding="gzip")))[0] == 429


def test_long_ones_are_for_a_thread():
    exchange = Bench(default_strategy="random").exchange()
    exchange.receive(headers(content_encoding="gzip"))
    long = BODY[:-1] + b" " * MIB + b"}"
    step = exchange.receive(body(gzip.compress(long)))
    assert isinstance(step, Unpack)
    assert exchange.phase is Phase.UNPACKING
    assert new_body(exchange.unpacked(step.unpack())) == long


@pytest.mark.parametrize(
    ("packed", "status", "message"),
    [
        (PACKED[:-4], 400, "it is not complete"),
        (PACKED + b"x", 400, "something follows it"),
        (PACKED + PACKED, 400, "something follows it"),
        (PACKED[:12] + b"\xff\xff\xff" + PACKED[15:], 400, "it is damaged"),
        (PACKED[:-8] + b"\0" * 8, 400, "it is damaged"),
        (zlib.compress(BODY), 400, "it is damaged"),
        (gzip.compress(b"\0" * 4 * MIB, mtime=0), 400, "it becomes more than 100 times as long"),
    ],
)
def test_bodies_that_cannot_be_unpacked(packed: bytes, status: int, message: str):
    exchange = Bench(default_strategy="random").exchange()
    exchange.receive(headers(content_encoding="gzip"))
    try:
        step = exchange.receive(body(packed))
        if isinstance(step, Unpack):
            step.unpack()
        told, said, _ = error(step)
    except ApiError as refused:
        told, said = refused.status, {"message": refused.message}
    assert told == status
    assert message in said["message"]


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "gzip,identity", "compress", "gzip;q=1"])
def test_other_codings_are_415_and_told_which_there_are(encoding: str):
    exchange = Bench(default_strategy="random").exchange()
    exchange.receive(headers(content_encoding=encoding))
    status, _, sent = error(exchange.receive(body(PACKED)))
    assert (status, sent["accept-encoding"]) == (415, "gzip, deflate")


def test_as_long_as_a_body_may_be():
    content = bytes(range(256)) * 4096
    packed = gzip.compress(content)
    assert Unpacking("gzip", packed, len(content)).finish() == content
    with pytest.raises(ApiError) as caught:
        Unpacking("gzip", packed, len(content) - 1).finish()
    assert caught.value.status == 413


@given(st.binary(max_size=200), st.integers(0, 40), st.sampled_from(["gzip", "deflate"]))
def test_no_bytes_raise_anything_else(noise: bytes, at: int, encoding: str):
    for packed in (noise, PACKED[:at] + noise + PACKED[at:], PACKED[:at] + noise):
        with suppress(ApiError):
            Unpacking(encoding, packed, MIB).finish()


def test_what_is_unpacked_has_a_bound_in_the_process():
    bodies = UnpackedBodies(100)
    assert bodies.enter(60)
    assert not bodies.enter(41)
    assert bodies.enter(40)
    bodies.leave(60)
    assert bodies.enter(60)

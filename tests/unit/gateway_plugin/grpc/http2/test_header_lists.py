"""Which header lists a call may open with."""

from __future__ import annotations

import pytest

from gateway_plugin.grpc.http2.fields import MalformedError, read_head

CALL = ((b":method", b"POST"), (b":path", b"/a/B"), (b":scheme", b"http"), (b"content-type", b"application/grpc"))


@pytest.mark.parametrize("at", range(4))
def test_a_value_may_be_empty(at: int):
    # Envoy's tracer sends `tracestate` so, amid others.
    more = [(b"te", b"trailers"), (b"traceparent", b"00-1-2-01"), (b"x-a", b"b")]
    more.insert(at, (b"tracestate", b""))
    assert read_head((*CALL, *more)).path == b"/a/B"


@pytest.mark.parametrize("value", [b" a", b"a ", b"\ta", b"a\t", b"a\nb", b"a\rb", b"a\0b", b"\n", b" "])
def test_a_value_must_be_one(value: bytes):
    with pytest.raises(MalformedError):
        read_head((*CALL, (b"x-a", b"b"), (b"x-b", value), (b"x-c", b"d")))


def test_the_span_of_a_call_is_read():
    assert read_head((*CALL, (b"traceparent", b"00-1-2-01"))).traceparent == b"00-1-2-01"
    assert read_head(CALL).traceparent == b""

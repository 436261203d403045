"""HTTP heads that do not come, in virtual time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from gateway_plugin.grpc.listeners import PunctualHttp

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

pytestmark = pytest.mark.looptime

HEAD = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"


class Transport(asyncio.Transport):
    """Notes what is written, and when it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed_at: float | None = None

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def is_closing(self) -> bool:
        return self.closed_at is not None

    def close(self) -> None:
        if self.closed_at is None:
            self.closed_at = asyncio.get_running_loop().time()

    def pause_reading(self) -> None:
        """Nothing is read here."""

    def resume_reading(self) -> None:
        """Nothing is read here."""


async def slow_app(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Thinks for a minute."""
    await asyncio.sleep(60)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


def connected() -> tuple[PunctualHttp, Transport]:
    config = uvicorn.Config(slow_app, log_config=None, access_log=False, lifespan="off")
    protocol, transport = PunctualHttp(config, ServerState(), {}), Transport()
    protocol.connection_made(transport)
    return protocol, transport


async def drip(protocol: PunctualHttp, transport: Transport, data: bytes) -> None:
    """A byte a second, as long as anybody listens."""
    for at in range(len(data)):
        if transport.is_closing():
            return
        protocol.data_received(data[at : at + 1])
        await asyncio.sleep(1)


async def test_who_says_nothing_is_left():
    _, transport = connected()
    await asyncio.sleep(30)
    assert transport.closed_at == 10


async def test_bytes_now_and_then_are_no_head():
    protocol, transport = connected()
    await drip(protocol, transport, HEAD)
    assert transport.closed_at == 10
    assert transport.written == b""


async def test_blank_lines_before_the_next_head_win_no_time():
    protocol, transport = connected()
    protocol.data_received(HEAD)
    await asyncio.sleep(61)
    assert transport.written.endswith(b"ok")
    await drip(protocol, transport, b"\r\n" * 20)
    assert transport.closed_at == 70, "ten seconds after the answer"


async def test_an_answer_may_take_its_time_and_pipelined_requests_too():
    protocol, transport = connected()
    protocol.data_received(HEAD + HEAD)
    await asyncio.sleep(121)
    assert transport.written.count(b"200 OK") == 2
    assert transport.closed_at is None
    protocol.connection_lost(None)
    await asyncio.sleep(20)
    assert transport.closed_at == 121, "no timer is left"

"""grpc's own clients, synchronous and asyncio, against our transport."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from gateway_plugin.grpc.http2.bounds import Bounds
from tests.integration.wire.conftest import LARGE_BYTES, Echo, Serve

LARGE_MESSAGES = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


def channel_to(address: str) -> Any:  # the stubs' generic calls fit no test
    return grpc.aio.insecure_channel(address, options=LARGE_MESSAGES)


def code_of(error: pytest.ExceptionInfo[grpc.aio.AioRpcError]) -> tuple[grpc.StatusCode, str | None]:
    return error.value.code(), error.value.details()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what is awaited has no event
        await asyncio.sleep(0.005)


async def test_unary_calls_and_their_errors(wire: Serve):
    async with wire() as served, channel_to(served.address) as channel:
        echo = channel.unary_unary("/t.T/Echo")
        assert await echo(b"hello") == b"hello"
        assert await echo(b"") == b""
        assert [await echo(bytes([i]) * i) for i in range(50)] == [bytes([i]) * i for i in range(50)]
        for path, expected in {
            "/t.T/Nobody": (grpc.StatusCode.UNIMPLEMENTED, "no such method"),
            "/t.T/Failing": (grpc.StatusCode.INTERNAL, "internal error"),
        }.items():
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await channel.unary_unary(path)(b"x")
            assert code_of(error) == expected
        assert served.streams == 0


async def test_health_check_and_watch(wire: Serve):
    async with wire() as served, channel_to(served.address) as channel:
        stub = HealthStub(channel)
        serving, not_serving = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING
        assert (await stub.Check(HealthCheckRequest(service="gateway-plugin"))).status == serving
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await stub.Check(HealthCheckRequest(service="stranger"))
        assert code_of(error)[0] == grpc.StatusCode.NOT_FOUND
        watch = stub.Watch(HealthCheckRequest(service=""))
        stranger = stub.Watch(HealthCheckRequest(service="stranger"))
        assert (await watch.read()).status == serving
        assert (await stranger.read()).status == HealthCheckResponse.SERVICE_UNKNOWN
        served.health.set_serving(False)
        assert (await watch.read()).status == not_serving
        served.health.set_serving(False)
        served.health.set_serving(True)
        assert (await watch.read()).status == serving
        watch.cancel()
        stranger.cancel()
        await until(lambda: not served.streams)
        assert not served.health.watchers("")


async def test_bidirectional_streams_side_by_side(wire: Serve):
    async def converse(channel: Any, name: int) -> None:
        call = channel.stream_stream("/t.T/Echo")()
        for i in range(20):
            message = f"{name} {i} ".encode() * (i * 100)
            await call.write(message)
            assert await call.read() == message
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
        assert await call.code() == grpc.StatusCode.OK

    async with wire() as served, channel_to(served.address) as channel:
        await asyncio.gather(*(converse(channel, i) for i in range(50)))
        assert Echo.ended_calls == 50


async def test_a_busy_handler_gets_messages_one_by_one(wire: Serve):
    async def batches() -> Any:
        for size in range(0, 60_000, 1000):
            yield bytes(size)

    async with wire() as served, channel_to(served.address) as channel:
        answer = await channel.stream_unary("/t.T/Collect")(batches())
        assert int(answer) == sum(range(0, 60_000, 1000))


@pytest.mark.parametrize("bounds", [Bounds(), Bounds(stream_window_bytes=65_535, max_frame_bytes=16_384)])
async def test_messages_of_16_mib_both_ways(wire: Serve, bounds: Bounds):
    message = bytes(range(256)) * (LARGE_BYTES // 256)
    async with wire(bounds) as served, channel_to(served.address) as channel:
        echo = channel.unary_unary("/t.T/Echo")
        answers = await asyncio.gather(echo(message), echo(message), echo(b"small"))
        assert answers[0] == answers[1] == message
        assert answers[2] == b"small"
        assert sum(p.connection.buffered_bytes for p in served.listener.connections) == 0


async def test_a_message_above_the_limit_is_refused(wire: Serve):
    async with wire(Bounds(max_message_bytes=1000)) as served, channel_to(served.address) as channel:
        echo = channel.unary_unary("/t.T/Echo")
        assert len(await echo(bytes(1000))) == 1000
        for size in (1001, 3_000_000):
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await echo(bytes(size))
            assert code_of(error)[0] == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await echo(b"the connection lives") == b"the connection lives"


async def test_compression_is_refused_politely(wire: Serve):
    async with wire() as served, channel_to(served.address) as channel:
        echo = channel.unary_unary("/t.T/Echo")
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await echo(b"x" * 1000, compression=grpc.Compression.Gzip)
        assert code_of(error) == (grpc.StatusCode.UNIMPLEMENTED, "messages must not be compressed")


async def test_deadlines_and_cancellation_end_calls(wire: Serve):
    async with wire() as served, channel_to(served.address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await channel.unary_unary("/t.T/Silent")(b"", timeout=0.1)
        assert code_of(error)[0] == grpc.StatusCode.DEADLINE_EXCEEDED
        await until(lambda: not served.streams)
        call = channel.stream_stream("/t.T/Echo")()
        await call.write(b"hello")
        assert await call.read() == b"hello"
        assert Echo.open == 1
        call.cancel()
        await until(lambda: not served.streams)
        assert Echo.open == 0


async def test_a_lost_connection_ends_its_calls(wire: Serve):
    async with wire() as served:
        async with channel_to(served.address) as channel:
            calls = [channel.stream_stream("/t.T/Echo")() for _ in range(10)]
            for call in calls:
                await call.write(b"x")
                await call.read()
            assert Echo.open == 10
        await until(lambda: not Echo.open)


async def test_draining_lets_open_calls_finish_and_takes_no_new_ones(wire: Serve):
    async with wire() as served, channel_to(served.address) as channel:
        call = channel.stream_stream("/t.T/Echo")()
        await call.write(b"1")
        assert await call.read() == b"1"
        stopping = asyncio.create_task(served.listener.stop(grace_seconds=20))
        await asyncio.sleep(0.05)
        await call.write(b"2")
        assert await call.read() == b"2"
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await channel.unary_unary("/t.T/Echo")(b"")
        assert code_of(error)[0] == grpc.StatusCode.UNAVAILABLE
        await call.done_writing()
        assert await call.code() == grpc.StatusCode.OK
        await asyncio.wait_for(stopping, 10)


async def test_the_synchronous_client(wire: Serve):
    def converse(address: str) -> None:
        channel: Any
        with grpc.insecure_channel(address, options=LARGE_MESSAGES) as channel:
            stub = HealthStub(channel)
            assert stub.Check(HealthCheckRequest()).status == HealthCheckResponse.SERVING
            echo = channel.stream_stream("/t.T/Echo")
            assert list(echo(iter([b"1", b"22", bytes(LARGE_BYTES)]))) == [b"1", b"22", bytes(LARGE_BYTES)]
            collect = channel.stream_unary("/t.T/Collect")
            assert collect(iter([b"123"] * 30)) == b"90"
            with pytest.raises(grpc.RpcError) as error:
                channel.unary_unary("/t.T/Silent")(b"", timeout=0.05)
            assert error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED

    async with wire() as served:
        await asyncio.to_thread(converse, served.address)

"""A real Envoy between small pods and a small plugin: everything a test of the chain needs, on free ports."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import aiohttp
import grpc
import pytest
from aiohttp import web
from envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption
from envoy.extensions.filters.http.ext_proc.v3.processing_mode_pb2 import ProcessingMode
from envoy.service.accesslog.v3 import als_pb2, als_pb2_grpc
from envoy.service.ext_proc.v3 import external_processor_pb2 as ext_proc
from envoy.service.ext_proc.v3 import external_processor_pb2_grpc
from envoy.type.v3.http_status_pb2 import HttpStatus

from gateway_plugin.http.admin import NOTHING_THERE
from gateway_plugin.tools.chain.ports import free_port
from gateway_plugin.tools.envoy_config.model import EnvoyConfig, EnvoyPorts, Model
from gateway_plugin.tools.envoy_config.process import EnvoyProcess, start_envoy
from gateway_plugin.tools.envoy_config.render import write
from tests.envoy_flavours import TEMPLATES, templates_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

MODEL = "meta/llama-3.1"
USAGE = {
    "prompt_tokens": 11,
    "completion_tokens": 7,
    "total_tokens": 18,
    "prompt_tokens_details": {"cached_tokens": 8},
}
SHORT = aiohttp.ClientTimeout(total=10)


def sse(document: object) -> bytes:
    return f"data: {json.dumps(document)}\n\n".encode()


class Pod:
    """An engine that answers with usage; a stream waits for `go` before its last chunks."""

    def __init__(self) -> None:
        self.seen: list[dict[str, str]] = []
        self.body_bytes = 0
        self.think_seconds = 0.0
        self.go = asyncio.Event()

    async def start(self) -> Self:
        app = web.Application(client_max_size=0)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.address = f"127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.seen.append({name.lower(): value for name, value in request.headers.items()})
        body = await request.read()
        self.body_bytes = len(body)
        await asyncio.sleep(self.think_seconds)
        if b'"stream"' in body:
            return await self._stream(request)
        return web.json_response({"served_by": self.address, "usage": USAGE}, headers={"target-pod-ip": "from the pod"})

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        await response.write(sse({"choices": [{"delta": {"content": "one"}}], "usage": None}))
        await self.go.wait()
        for document in ({"choices": [], "usage": USAGE}, {"ignored": True}):
            await response.write(sse(document))
        await response.write(b"data: [DONE]\n\n")
        return response


@dataclass
class Plugin:
    """What the real plugin tells Envoy, without the thinking: fields say what to answer."""

    port: int
    target: str = ""
    pods: dict[str, str] = field(default_factory=dict)
    hide_pod: bool = False
    added_usage: bool = False
    refuse: str = ""
    refuse_status: int = 429
    answer_after_seconds: float = 0
    open_exchanges: int = 0
    entries: asyncio.Queue[Any] = field(default_factory=asyncio.Queue)
    seen: list[dict[str, str]] = field(default_factory=list)

    async def start(self) -> Self:
        self._server = grpc.aio.server(options=[("grpc.max_receive_message_length", 32 << 20)])
        external_processor_pb2_grpc.add_ExternalProcessorServicer_to_server(self, self._server)
        als_pb2_grpc.add_AccessLogServiceServicer_to_server(self, self._server)
        self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self._server.start()
        return self

    async def stop(self) -> None:
        await self._server.stop(None)

    async def Process(self, requests: AsyncIterator[Any], _: object) -> AsyncIterator[Any]:  # noqa: N802
        self.open_exchanges += 1
        try:
            async for reply in self._replies(requests):
                yield reply
        finally:
            self.open_exchanges -= 1

    async def _replies(self, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for message in requests:
            if message.HasField("request_headers"):
                headers = {h.key: h.raw_value.decode() for h in message.request_headers.headers.headers}
                self.seen.append(headers)
                await asyncio.sleep(self.answer_after_seconds)
                yield self._on_headers(headers, message.request_headers.end_of_stream)
            else:
                yield ext_proc.ProcessingResponse(
                    request_body=ext_proc.BodyResponse(response=self._routed()), dynamic_metadata=self._metadata()
                )

    def _on_headers(self, headers: dict[str, str], end_of_stream: bool) -> Any:
        if self.refuse:
            return ext_proc.ProcessingResponse(immediate_response=self._refusal())
        if headers[":path"].startswith("/v1/models") or end_of_stream:
            return ext_proc.ProcessingResponse(request_headers=ext_proc.HeadersResponse())
        mode = ProcessingMode(request_body_mode="BUFFERED", response_header_mode="SKIP", response_trailer_mode="SEND")
        removed = ext_proc.HeaderMutation(remove_headers=["target-pod", "target-pod-ip", "accept-encoding"])
        common = ext_proc.CommonResponse(header_mutation=removed)
        return ext_proc.ProcessingResponse(
            request_headers=ext_proc.HeadersResponse(response=common), mode_override=mode
        )

    def _refusal(self) -> Any:
        return ext_proc.ImmediateResponse(
            status=HttpStatus(code=self.refuse_status),
            body=self.refuse.encode(),
            headers=_mutation({"content-type": "application/json", "retry-after": "3"}),
            details="gateway_plugin_rate_limited",
        )

    def _routed(self) -> Any:
        names = {"model": MODEL, "x-request-id": "r1"}
        if self.target:
            names |= {"target-pod": self.target, "routing-strategy": "random"}
        return ext_proc.CommonResponse(header_mutation=_mutation(names), clear_route_cache=True)

    def _metadata(self) -> dict[str, Any]:
        chosen: dict[str, Any] = {}
        if self.target:
            chosen = {"strategy": "random", "pods": self.pods, "targets": self.target}
        if self.hide_pod:
            chosen["hide_pod"] = True
        if self.added_usage:
            chosen["added_usage"] = True
        return {"gateway_plugin": {"request_id": "r1", "user": "ann", "model": MODEL, "charge_id": "c1", **chosen}}

    async def StreamAccessLogs(self, messages: AsyncIterator[Any], _: object) -> Any:  # noqa: N802
        async for message in messages:
            for entry in message.http_logs.log_entry:
                self.entries.put_nowait(entry)
        return als_pb2.StreamAccessLogsResponse()


def _mutation(headers: dict[str, str]) -> Any:
    options = [
        HeaderValueOption(header=HeaderValue(key=name, raw_value=value.encode())) for name, value in headers.items()
    ]
    return ext_proc.HeaderMutation(set_headers=options)


@contextlib.asynccontextmanager
async def _api(port: int) -> AsyncIterator[None]:
    """The plugin's own API, as far as it says that there is nothing."""
    runner = web.AppRunner(_app_without_anything())
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield
    finally:
        await runner.cleanup()


def _app_without_anything() -> web.Application:
    async def nothing(request: web.Request) -> web.Response:
        assert request.path == NOTHING_THERE or request.path.startswith("/v1/models"), request.path
        error = {"message": "Unknown path or model.", "type": "invalid_request_error", "param": None, "code": None}
        return web.json_response({"error": error}, status=404)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", nothing)
    return app


class Chain:
    """Envoy, the plugin, pods and a client; `configure` before `start`."""

    def __init__(self, directory: Path, flavour: str) -> None:
        self.flavour = flavour
        listener, admin, plugin, users = (free_port() for _ in range(4))
        self.directory = directory
        self.plugin = Plugin(plugin)
        self.url = f"http://127.0.0.1:{listener}"
        self.config = EnvoyConfig(
            ports=EnvoyPorts(listener, admin, plugin, users),
            listener_host="127.0.0.1",
            access_log_flush_seconds=0.05,
            log_path="/dev/stderr",
            templates=templates_of(flavour),
        )
        self.envoy: EnvoyProcess
        self._stack = contextlib.AsyncExitStack()

    async def pod(self) -> Pod:
        pod = await Pod().start()
        self._stack.push_async_callback(pod.stop)
        return pod

    async def start(self, *endpoints: str, **changes: Any) -> None:
        await self.plugin.start()
        self._stack.push_async_callback(self.plugin.stop)
        await self._stack.enter_async_context(_api(self.config.ports.users_http))
        self.client = await self._stack.enter_async_context(aiohttp.ClientSession(self.url, timeout=SHORT))
        self.config = replace(self.config, models=(Model(MODEL, endpoints),), **changes)
        self.envoy = await self._stack.enter_async_context(await start_envoy(self.config, self.directory))

    def rewrite(self, *models: Model) -> list[str]:
        return write(replace(self.config, models=models), self.directory.resolve())

    async def chat(self, body: object = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        text = io.BytesIO(json.dumps(body or {"model": MODEL}).encode())
        async with self.client.post("/v1/chat/completions", data=text, headers=sent) as answer:
            return answer.status, {k.lower(): v for k, v in answer.headers.items()}, await answer.read()

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(10):
            while not await condition():  # noqa: ASYNC110 - Envoy does not tell when it has taken a file over
                await asyncio.sleep(0.02)

    async def log_entry(self) -> Any:
        return await asyncio.wait_for(self.plugin.entries.get(), 5)

    async def stop(self) -> None:
        await self._stack.aclose()


@pytest.fixture(params=TEMPLATES)
async def chain(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Chain]:
    chain = Chain(tmp_path, request.param)
    yield chain
    await chain.stop()

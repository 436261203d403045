"""Which requests reach a pod: those of the table of endpoints, identified and counted, however they are written."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from gateway_plugin.endpoints.endpoint_table import ENDPOINTS, Answerer, BodyKind
from gateway_plugin.tools.chain.stack import StackOptions
from tests.integration.chain.conftest import BODY
from tests.raw_http import Answer, request, send

if TYPE_CHECKING:
    from tests.integration.chain.conftest import Gateway, OpenGateway

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.envoy]

CONTENT = json.dumps(BODY).encode()
FORM = b'--x\r\ncontent-disposition: form-data; name="model"\r\n\r\nm\r\n--x--\r\n'
JSON = "content-type: application/json"
CHAT = "/v1/chat/completions"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def closed(open_gateway: OpenGateway) -> AsyncIterator[Gateway]:
    """Everybody must be somebody; a path of the operator's beside the table."""
    settings = {"GATEWAY_ANONYMOUS": "reject", "GATEWAY_EXTRA_PATHS": "/v1/custom"}
    envoy = {"extra_paths": ("/v1/custom",)}
    async with open_gateway(
        StackOptions({"m": 1}, redis=False, speed=10, plugin_environment=settings, envoy=envoy)
    ) as opened:
        for name in ("kim", "lee"):
            await opened.create_user(name, rpm=100_000)
        yield opened


async def sent(gateway: Gateway, method: str, path: str, *headers: str, body: bytes = CONTENT) -> Answer:
    return await send(gateway.stack.ports.gateway, request(method, path, "user: kim", "model: m", *headers, body=body))


async def reached(gateway: Gateway) -> int:
    """Requests that Envoy has sent to pods."""
    url = f"http://127.0.0.1:{gateway.stack.ports.envoy_admin}/stats"
    lines = (await gateway.http.get(url, params={"filter": "upstream_rq_total$"})).text.split("\n")
    counts = [line.rsplit(" ", 1) for line in lines if line.startswith("cluster.")]
    return sum(int(count) for name, count in counts if "model/" in name or "-router/" in name)


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/sleep", "/wake_up", "/start_profile", "/metrics"),
        *("/reset_prefix_cache", "/tokenizer_info", "/flush_cache", "/debug/last_headers", "/v1/realtime", "/v1/users"),
        *("/v1/chat/completions/batch", "/v1/%43hat/completions", f"{CHAT};x=1", f"{CHAT};", "/v1;/chat/completions"),
        *(f"{CHAT}%00", f"{CHAT}%3fx", f"{CHAT}/..", f"{CHAT}/%2e%2e/%2e%2e/metrics", f"{CHAT}/..;/metrics"),
        *("/v1/responses/..%2f..%2fmetrics", "/v1/responses/a%2fb", "/v1/models/../../metrics", "/generate/x"),
        *("/generatevideo", "http://gateway/metrics", "/" + "a" * 8000, "/v1/custom/more", "//metrics", "/.", "*"),
    ],
)
async def test_what_is_not_in_the_table_reaches_no_pod(closed: Gateway, path: str):
    before = await reached(closed)
    for method in ("POST", "GET", "OPTIONS", "DELETE", "PATCH"):
        answer = await sent(closed, method, path, JSON)
        assert answer.status in (400, 404), (method, answer)
        if answer.status == 404 and answer.body and path != "*":
            assert json.loads(answer.body)["error"]["code"] == "unknown_url"
    assert await reached(closed) == before


@pytest.mark.parametrize(
    "path",
    [
        *(CHAT, f"{CHAT}/", f"{CHAT}?api-version=1", "//v1//chat/completions", "/v1/chat%2fcompletions"),
        *("/v1/chat%2Fcompletions", "/v1/./chat/completions", "/v1/%2e/chat/completions", "/v1/x/../chat/completions"),
        *("/v1/%63hat/completions", "/v1/x%2f..%2fchat/completions", "/v1/chat\\completions", "/v1/chat%5Ccompletions"),
        *(
            "http://gateway/v1/chat/completions",
            "http://other:1/v1/chat/completions",
            "/metrics/../v1/chat/completions",
        ),
    ],
)
async def test_other_spellings_of_a_path_are_that_path(closed: Gateway, path: str):
    before = await reached(closed)
    stranger = await send(closed.stack.ports.gateway, request("POST", path, "model: m", JSON, body=CONTENT))
    assert (stranger.status, await reached(closed)) == (401, before)
    answer = await sent(closed, "POST", path, JSON)
    assert (answer.status, answer.headers.get("x-ratelimit-limit-requests")) == (200, "100000"), answer
    headers = await closed.last_headers("m-0")
    assert headers.get("model") == "m"


@pytest.mark.parametrize("path", [CHAT, "/v1/responses", "/v1/embeddings", "/v1/models", "/health"])
async def test_upgrades_are_plain_requests(closed: Gateway, path: str):
    before = await reached(closed)
    lines = ["host: gateway", "user: kim", "model: m", "connection: upgrade", "upgrade: websocket"]
    lines += ["sec-websocket-version: 13", "sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA=="]
    for method in ("GET", "PUT"):
        head = "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "content-length: 0", "connection: close", "", ""])
        answer = await send(closed.stack.ports.gateway, head.encode())
        assert answer.status in ((200, 403) if path in ("/v1/models", "/health") and method == "GET" else (403, 405))
    assert await reached(closed) == before


async def test_every_row_of_a_pod_is_asked_who_and_counted(closed: Gateway):
    for row in (row for row in ENDPOINTS if row.answerer is Answerer.POD):
        path, method = row.path, row.methods[-1]
        if not row.is_exact:
            made = await sent(closed, "POST", "/v1/responses", JSON, body=b'{"model": "m", "input": "hi"}')
            path = path.replace("{id}", json.loads(made.body)["id"])
        body, kind = (FORM, "multipart/form-data; boundary=x") if row.body is BodyKind.MULTIPART else (CONTENT, "")
        content_type = f"content-type: {kind or 'application/json'}"
        arguments = request(method, path, "model: m", content_type, body=body)
        before = await reached(closed)
        assert (await send(closed.stack.ports.gateway, arguments)).status == 401
        assert await reached(closed) == before
        answer = await sent(closed, method, path, content_type, body=body)
        assert answer.headers.get("x-ratelimit-limit-requests") == "100000", (row.path, answer)
        assert await reached(closed) == before + 1, row.path


async def test_an_operators_path_is_counted(closed: Gateway):
    before = await reached(closed)
    assert (await send(closed.stack.ports.gateway, request("POST", "/v1/custom", "model: m"))).status == 401
    no_model = await send(closed.stack.ports.gateway, request("POST", "/v1/custom", "user: kim"))
    assert (no_model.status, await reached(closed)) == (400, before)
    answer = await sent(closed, "POST", "/v1/custom", JSON)
    assert (answer.status, answer.headers.get("x-ratelimit-limit-requests")) == (404, "100000"), "the engine has none"
    assert await reached(closed) == before + 1


@pytest.mark.parametrize("path", [CHAT, "/v1/models", "/v1/responses/resp_1", "/tokenize"])
async def test_other_methods_say_which_are_right(closed: Gateway, path: str):
    answer = await sent(closed, "PUT", path, JSON)
    row = next(row for row in ENDPOINTS if row.path == path.replace("resp_1", "{id}"))
    assert (answer.status, answer.headers["allow"]) == (405, ", ".join(row.methods))
    assert json.loads(answer.body)["error"]["code"] == "method_not_supported"


async def test_head_and_health(closed: Gateway):
    for path in ("/health", "/healthz"):
        for method in ("GET", "HEAD"):
            answer = await send(closed.stack.ports.gateway, request(method, path))
            assert answer.status == 200
            assert method == "GET" or not answer.body
    for path in ("/v1/models", "/v1/models/m"):
        answer = await sent(closed, "HEAD", path, body=b"")
        assert (answer.status, answer.body) == (200, b"")


async def test_http_1_0_is_spoken(closed: Gateway):
    """As nginx does with `proxy_pass` and nothing else."""
    head = f"POST {CHAT} HTTP/1.0\r\nHost: gateway\r\nConnection: close\r\nuser: kim\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(CONTENT)}\r\n\r\n"
    answer = await send(closed.stack.ports.gateway, head.encode() + CONTENT)
    assert answer.status == 200
    assert json.loads(answer.body)["model"] == "m"
    stream = json.dumps(BODY | {"stream": True}).encode()
    head = head.replace(f"Content-Length: {len(CONTENT)}", f"Content-Length: {len(stream)}")
    answer = await send(closed.stack.ports.gateway, head.encode() + stream)
    assert answer.body.rstrip().endswith(b"data: [DONE]")

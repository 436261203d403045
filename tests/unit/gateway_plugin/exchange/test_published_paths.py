"""Which paths and methods exist for clients, as the exchange tells it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway_plugin.endpoints.endpoint_table import ENDPOINTS, Answerer, ApiFamily, BodyKind, Cost, EndpointTable
from gateway_plugin.exchange.intent.identity import IdentityRules
from gateway_plugin.exchange.steps import Admit, Identify
from gateway_plugin.openai.response_ids import new_response_id
from tests.unit.gateway_plugin.exchange.bench import ADMITTED, Bench, body, error, headers, mutation, reply

MODEL = b'{"model": "m", "input": "hello hello", "messages": [1234567890123], "prompt": "hello", "query": "hello"}'
FORM = b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n--x--\r\n'
OF_PODS = [row for row in ENDPOINTS if row.answerer is Answerer.POD]


def sent(path: str, method: str = "POST", /, **more: str) -> bytes:
    return headers(**{":path": path, ":method": method} | more)


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/load_lora_adapter", "/v1/chat/completions/batch", "/v1/chat%2fcompletions", "/metrics", "/sleep"),
        *("/v1/chat/completions;x", "*", "/", "/generate/stream", "/v1/realtime", "/v1/users"),
    ],
)
def test_what_is_not_in_the_table_reaches_no_pod(path: str):
    bench = Bench(default_strategy="random")
    for method in ("POST", "GET", "DELETE", "OPTIONS"):
        status, found, _ = error(bench.exchange().receive(sent(path, method, model="m")))
        assert (status, found["code"], found["type"]) == (404, "unknown_url", "invalid_request_error")
        assert found["message"].startswith(f"Unknown request URL: {method} {path}.")
    assert bench.count("gateway_rejections_total", reason="unknown_url", status="404") == 4


@pytest.mark.parametrize("row", ENDPOINTS, ids=lambda row: row.path)
def test_other_methods_are_405_and_told_which_are_right(row: Any):
    path = row.path.replace("{id}", "x")
    for method in {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "CONNECT", "TRACE"} - set(row.methods):
        status, found, answered = error(Bench().exchange().receive(sent(path, method, model="m", upgrade="websocket")))
        code = None if row.family is ApiFamily.ANTHROPIC else "method_not_supported"
        assert (status, found.get("code"), answered["allow"]) == (405, code, ", ".join(row.methods))


def test_a_long_path_is_cut_in_the_answer():
    _, found, _ = error(Bench().exchange().receive(sent("/" + "a" * 10_000)))
    assert len(found["message"]) < 400


@pytest.mark.parametrize("row", OF_PODS, ids=lambda row: row.path)
def test_every_row_of_a_pod_is_identified_and_counted(row: Any):
    bench = Bench(default_strategy="random", identity=IdentityRules(frozenset({"header", "api-key"})))
    exchange = bench.exchange()
    path, method = row.path.replace("{id}", new_response_id("10.0.0.1:8000", "kim", "1")), row.methods[-1]
    form = {"content_type": "multipart/form-data; boundary=x"} if row.body is BodyKind.MULTIPART else {}
    assert isinstance(exchange.receive(sent(path, method, model="m", authorization="Bearer gw-a", **form)), Identify)
    step: object = exchange.identified("kim")
    if not isinstance(step, Admit):
        step = exchange.receive(body(FORM if form else MODEL))
    assert isinstance(step, Admit)
    assert (step.admission.subject, step.admission.model) == ("kim", "m")
    pays_tokens = row.cost in (Cost.PROMPT, Cost.GENERATION) and row.body is not BodyKind.MULTIPART
    assert (step.admission.tokens > 0) is pays_tokens
    assert "target-pod" in mutation(exchange.admitted(ADMITTED))[0]


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1/chat/completions", "/v1/responses/x/cancel"])
def test_strangers_are_not_told_which_paths_there_are(path: str):
    bench = Bench(identity=IdentityRules(anonymous="reject"))
    answers = {json.dumps(error(bench.exchange().receive(sent(path, method)))) for method in ("POST", "GET", "PUT")}
    assert len(answers) == 1
    assert error(bench.exchange().receive(sent("/v1/models", "PUT")))[0] == 401


def test_health_is_for_everybody():
    bench = Bench(identity=IdentityRules(frozenset({"bearer"}), bearer_token="t0p", anonymous="reject"))
    for method in ("GET", "HEAD"):
        assert mutation(bench.exchange().receive(sent("/health", method, user="a b/")))[0] == {"x-request-id": "id-1"}


def test_an_id_needs_a_model_and_no_body():
    bench = Bench(default_strategy="random")
    step = bench.exchange().receive(headers(True, **{":path": "/v1/responses/resp_1", ":method": "GET"}))
    assert (error(step)[0], error(step)[1]["param"]) == (400, "model")
    step = bench.exchange().receive(sent("/v1/responses/resp_1/cancel", "POST", model="m"))
    assert "target-pod" in mutation(step)[0]
    assert not reply(step).message.mode_override.request_body_mode


@pytest.mark.parametrize(
    ("sent_headers", "content", "model"),
    [
        ({"model": "m"}, b"", "m"),
        ({"model": "m"}, b'{"text": "hi"}', "m"),
        ({"model": "other"}, b'{"model": "m", "text": "hi"}', "m"),
        ({}, b'{"model": "m"}', "m"),
        ({"content_type": "multipart/form-data; boundary=x"}, FORM, "m"),
        ({"model": "m", "content_type": "application/octet-stream"}, b"\0\1", "m"),
        ({}, b'{"text": "hi"}', None),
        ({}, b"", None),
        ({"content_type": "application/octet-stream"}, b"\0\1", None),
    ],
)
def test_an_operators_path_needs_a_model(sent_headers: dict[str, str], content: bytes, model: str | None):
    bench = Bench(default_strategy="random", endpoints=EndpointTable(["/v1/custom"]))
    exchange = bench.exchange()
    exchange.receive(sent("/v1/custom", "POST", user="kim", **sent_headers))
    step = exchange.receive(body(content))
    if model is None:
        assert error(step)[0] == 400
    else:
        assert isinstance(step, Admit)
        assert (step.admission.model, step.admission.tokens) == (model, 0)


def test_a_body_may_leave_its_model_to_the_header():
    bench = Bench(default_strategy="random")
    exchange = bench.exchange()
    exchange.receive(headers(user="kim", model="m"))
    step = exchange.receive(body(b'{"messages": [1]}'))
    assert isinstance(step, Admit)
    assert step.admission.model == "m"

"""What a client sees when all is well."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.integration.chain.conftest import Gateway

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.envoy, pytest.mark.redis]

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}


async def test_response_headers_tell_what_was_decided(gateway: Gateway):
    answer = await gateway.post(routing_strategy="random", x_request_id="the-clients-own")
    assert answer.status_code == 200, answer.text
    headers = answer.headers
    assert headers["routing-strategy"] == "random"
    assert headers["target-pod"] == headers["x-inference-pod"]
    assert headers["target-pod-ip"] in {pod["address"] for pod in await gateway.pods()}
    assert headers["request-id"] == headers["x-request-id"] == "the-clients-own"
    seen = await gateway.last_headers(headers["target-pod"])
    assert seen["x-request-id"] == headers["request-id"]
    assert seen["model"] == "m"
    assert seen["target-pod"].split(",")[0] == headers["target-pod-ip"]


async def test_without_a_strategy_envoy_balances(memory_gateway: Gateway):
    answers = [await memory_gateway.post() for _ in range(12)]
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.headers["x-inference-pod"] for answer in answers}) == 2
    assert "target-pod" not in answers[0].headers
    assert "target-pod-ip" not in answers[0].headers
    assert answers[0].headers["request-id"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", CHAT),
        ("/v1/chat/completions/?x=1", CHAT),
        ("/v1/completions", {"model": "m", "prompt": ["a", "b"], "max_tokens": 2}),
        ("/v1/embeddings", {"model": "m", "input": "a"}),
        ("/v1/responses", {"model": "m", "input": "a", "max_output_tokens": 2}),
        ("/v1/messages", CHAT),
        ("/v1/rerank", {"model": "m", "query": "q", "documents": ["a", "b"]}),
        ("/v1/score", {"model": "m", "text_1": "a", "text_2": "b"}),
        ("/v1/classify", {"model": "m", "input": "a"}),
        ("/v1/images/generations", {"model": "m", "prompt": "a"}),
    ],
)
async def test_every_endpoint_reaches_a_pod(gateway: Gateway, path: str, body: dict[str, Any]):
    answer = await gateway.post(body, path)
    assert answer.status_code == 200, answer.text
    assert answer.headers["target-pod"].startswith("m-")


@pytest.mark.parametrize("path", ["/v1/audio/transcriptions", "/v1/audio/translations"])
async def test_audio_comes_as_a_form(gateway: Gateway, path: str):
    file = {"file": ("a.wav", b"\x00" * 100_000)}
    answer = await gateway.http.post(gateway.stack.gateway_url + path, files=file, data={"model": "m"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["target-pod"].startswith("m-")


async def test_a_model_name_may_hold_a_slash(gateway: Gateway):
    answer = await gateway.post(CHAT | {"model": "org/other"})
    assert answer.headers["target-pod"].startswith("org/other-")
    assert answer.json()["model"] == "org/other"


async def test_a_large_body_passes(gateway: Gateway):
    prompt = "x" * 8_000_000
    answer = await gateway.post({"model": "m", "input": [prompt[:4000]] * 2000}, "/v1/embeddings")
    assert answer.status_code == 200, answer.text[:200]


async def test_a_model_header_decides_without_the_body(gateway: Gateway):
    sent = await gateway.envoy_stat("ext_proc.stream_msgs_sent")
    answer = await gateway.post(model="m")
    assert answer.status_code == 200
    assert answer.headers["target-pod"] == answer.headers["x-inference-pod"]
    assert await gateway.envoy_stat("ext_proc.stream_msgs_sent") == sent + 1


async def test_a_stream_causes_no_message_to_the_plugin(gateway: Gateway):
    sent = await gateway.envoy_stat("ext_proc.stream_msgs_sent")
    body = CHAT | {"stream": True, "max_tokens": 600, "ignore_eos": True, "stream_options": {"include_usage": True}}
    url = f"{gateway.stack.gateway_url}/v1/chat/completions"
    arrivals, lines = [], []
    async with gateway.http.stream("POST", url, json=body) as answer:
        assert await gateway.inflight() == 1, "a stream counts until its end"
        async for line in answer.aiter_lines():
            if line:
                arrivals.append(time.monotonic())
                lines.append(line)
    assert lines[-1] == "data: [DONE]"
    texts = [json.loads(line[6:]) for line in lines[:-1]]
    assert sum(bool(text["choices"]) for text in texts) >= 600
    assert arrivals[-1] - arrivals[0] > 0.02, "chunks must arrive as they are made"
    assert await gateway.envoy_stat("ext_proc.stream_msgs_sent") == sent + 2, "headers and body, nothing after"


STRATEGIES = [
    "least-request",
    "throughput",
    "least-busy-time",
    "least-kv-cache",
    "least-gpu-cache",
    "least-latency",
    "least-utilization",
    "prefix-cache",
    "prefix-cache-and-load",
    "prefix-cache-preble",
    "vtc-basic",
    "power-of-two",
    "session-affinity",
    "least-request:2,prefix-cache:1",
]


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_every_strategy_serves_and_explains(gateway: Gateway, strategy: str):
    sent = {"routing_strategy": strategy, "x_session_id": "conversation-1"}
    answer = await gateway.post(**sent)
    assert answer.status_code == 200, answer.text
    assert answer.headers["routing-strategy"] == strategy
    assert ("x-session-id" in answer.headers) == (strategy == "session-affinity")
    headers = {name.replace("_", "-"): value for name, value in sent.items()}
    explained = await gateway.http.post(f"{gateway.stack.ops_url}/debug/route", json=CHAT, headers=headers)
    assert explained.json()["strategy"] == strategy
    candidates = explained.json()["candidates"]
    assert [candidate["place"] for candidate in candidates] == [1, 2, 3]
    assert all(candidate["terms"] for candidate in candidates)
    if strategy == "session-affinity":
        assert candidates[0]["pod"] == answer.headers["target-pod"]


async def test_a_conversation_comes_back_to_its_pod(gateway: Gateway):
    body = CHAT | {"messages": [{"role": "user", "content": "Once upon a time in a land far away. " * 100}]}
    first = await gateway.post(body, routing_strategy="prefix-cache-and-load")
    again = [await gateway.post(body, routing_strategy="prefix-cache-and-load") for _ in range(4)]
    assert {answer.headers["target-pod"] for answer in again} == {first.headers["target-pod"]}
    assert again[-1].json()["usage"]["prompt_tokens_details"]["cached_tokens"] > 500


async def test_the_catalogue_is_reachable_through_envoy(gateway: Gateway):
    listed = (await gateway.http.get(f"{gateway.stack.gateway_url}/v1/models")).json()
    assert [model["id"] for model in listed["data"]] == ["m", "org/other"]
    one = await gateway.http.get(f"{gateway.stack.gateway_url}/v1/models/org/other")
    assert one.json()["id"] == "org/other"
    none = await gateway.http.get(f"{gateway.stack.gateway_url}/v1/models/nope")
    assert (none.status_code, none.json()["error"]["code"]) == (404, "model_not_found")


async def test_the_access_log_teaches_tokens_and_latency(gateway: Gateway):
    before = await gateway.metric("gateway_output_tokens_total", model="m")
    logged = await gateway.metric("gateway_access_log_entries_total", outcome="ours")
    sent = CHAT | {"max_tokens": 7, "stream": True, "stream_options": {"include_usage": True}}
    answer = await gateway.post(sent, routing_strategy="least-request")
    assert '"completion_tokens":7' in answer.text.replace(" ", "")
    await eventually(lambda: gateway.metric("gateway_access_log_entries_total", outcome="ours"), logged + 1)
    assert await gateway.metric("gateway_output_tokens_total", model="m") >= before + 7
    pod = next(pod for pod in await gateway.pods() if pod["name"] == answer.headers["target-pod"])
    assert 0 < pod["ttft_seconds"] < 1
    assert 0 < pod["tpot_seconds"] < 1


async def eventually(read: Any, at_least: float) -> None:
    deadline = time.monotonic() + 10
    while await read() < at_least:
        assert time.monotonic() < deadline, f"{await read()} is still less than {at_least}"

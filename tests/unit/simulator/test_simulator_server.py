"""Pods over real HTTP on ephemeral ports, a hundred times faster than real time."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import struct
import sys
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from simulator import EngineConfig, RunningPod, SimulatedPod, start

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

POD = SimulatedPod(name="pod-1", model="base", adapters=("tuned",), speed=100)
CONFIG = EngineConfig(max_model_len=2000)
HELLO = {"model": "base", "messages": [{"role": "user", "content": "hello"}]}


class Client:
    def __init__(self, running: RunningPod, session: aiohttp.ClientSession) -> None:
        self.running = running
        self.session = session

    async def get(self, path: str) -> object:
        async with self.session.get(path) as response:
            assert response.status == 200
            return await response.json()

    async def post(self, path: str, body: object, status: int = 200) -> dict[str, Any]:
        async with self.session.post(path, json=body) as response:
            assert response.headers["x-inference-pod"] == "pod-1"
            assert response.status == status, await response.text()
            answer: dict[str, Any] = await response.json()
            return answer

    async def events(self, path: str, body: object) -> list[tuple[str | None, str]]:
        async with self.session.post(path, json=body) as response:
            assert response.content_type == "text/event-stream"
            return events_of(await response.text())


def events_of(text: str) -> list[tuple[str | None, str]]:
    events: list[tuple[str | None, str]] = []
    for block in text.removesuffix("\n\n").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        events.append((fields.get("event"), fields["data"]))
    return events


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    running = await start(POD, CONFIG, "127.0.0.1", 0)
    base_url = f"http://127.0.0.1:{running.port}"
    timeout = aiohttp.ClientTimeout(total=20)
    async with aiohttp.ClientSession(base_url, timeout=timeout) as session:
        yield Client(running, session)
    await running.stop()


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("the condition did not come true")


async def until_idle(running: RunningPod) -> None:
    await until(lambda: not (running.engine.running or running.engine.waiting or running.engine.arriving))


async def test_chat(client: Client):
    answer = await client.post("/v1/chat/completions", HELLO | {"max_tokens": 5})
    assert answer["object"] == "chat.completion"
    assert answer["model"] == "base"
    (choice,) = answer["choices"]
    assert choice["finish_reason"] == "length"
    assert len(choice["message"]["content"].split()) == 5
    usage = answer["usage"]
    assert usage["completion_tokens"] == 5
    assert usage["total_tokens"] == usage["prompt_tokens"] + 5
    assert usage["prompt_tokens_details"] == {"cached_tokens": 0}
    assert await client.get("/load") == {"server_load": 0}


async def test_length_without_limits_is_drawn_and_can_be_forced(client: Client):
    free = await client.post("/v1/chat/completions", HELLO)
    assert 16 <= free["usage"]["completion_tokens"] <= 128
    assert free["choices"][0]["finish_reason"] == "stop"
    forced = await client.post("/v1/chat/completions", HELLO | {"max_completion_tokens": 300, "ignore_eos": True})
    assert forced["usage"]["completion_tokens"] == 300
    longer = await client.post("/v1/chat/completions", HELLO | {"max_tokens": 500, "min_tokens": 200})
    assert longer["usage"]["completion_tokens"] == 200


async def test_second_turn_hits_prompt_and_answer(client: Client):
    messages = [{"role": "user", "content": "tell me more " * 40}]
    first = await client.post("/v1/chat/completions", {"messages": messages, "max_tokens": 64, "ignore_eos": True})
    text = first["choices"][0]["message"]["content"]
    messages += [{"role": "assistant", "content": text}, {"role": "user", "content": "go on"}]
    second = await client.post("/v1/chat/completions", {"messages": messages, "max_tokens": 1})
    cached = second["usage"]["prompt_tokens_details"]["cached_tokens"]
    # All computed tokens in full blocks: the last generated token was never fed back.
    assert cached == (first["usage"]["total_tokens"] - 1) // 16 * 16


async def test_chat_stream_with_usage(client: Client):
    body = HELLO | {"max_tokens": 4, "stream": True, "stream_options": {"include_usage": True}}
    *chunks, usage, done = [data for _, data in await client.events("/v1/chat/completions", body)]
    assert done == "[DONE]"
    first, *tokens = map(json.loads, chunks)
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert [chunk["choices"][0]["finish_reason"] for chunk in tokens] == [None, None, None, "length"]
    assert all(len(chunk["choices"][0]["delta"]["content"]) == 4 and "usage" not in chunk for chunk in tokens)
    assert json.loads(usage)["choices"] == []
    assert json.loads(usage)["usage"]["completion_tokens"] == 4


async def test_stream_with_continuous_usage(client: Client):
    options = {"include_usage": True, "continuous_usage_stats": True}
    body = {"prompt": "hello", "max_tokens": 3, "stream": True, "stream_options": options}
    chunks = [json.loads(data) for _, data in (await client.events("/v1/completions", body))[:-1]]
    assert [chunk["usage"]["completion_tokens"] for chunk in chunks] == [1, 2, 3, 3]


async def test_stream_without_usage_has_none(client: Client):
    events = await client.events("/v1/completions", {"prompt": "hello", "max_tokens": 3, "stream": True})
    assert len(events) == 4
    assert not any("usage" in data for _, data in events)


async def test_completion_of_several_prompts_and_choices(client: Client):
    answer = await client.post("/v1/completions", {"prompt": ["four", "eight ch"], "n": 2, "max_tokens": 3})
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    assert answer["usage"]["prompt_tokens"] == 3
    assert answer["usage"]["completion_tokens"] == 12


async def test_responses(client: Client):
    body = {"model": "base", "input": "hello", "max_output_tokens": 3}
    whole = await client.post("/v1/responses", body)
    assert whole["usage"]["total_tokens"] == whole["usage"]["input_tokens"] + 3
    events = await client.events("/v1/responses", body | {"stream": True})
    kinds = [kind for kind, _ in events]
    assert kinds[0] == "response.created"
    assert kinds.count("response.output_text.delta") == 3
    assert kinds[-1] == "response.completed"
    data = [json.loads(data) for _, data in events]
    assert [each["type"] for each in data] == kinds
    assert [each["sequence_number"] for each in data] == list(range(len(data)))
    assert data[-1]["response"]["usage"]["output_tokens"] == 3
    assert data[-1]["response"]["output"][0]["content"][0]["text"] == data[-4]["text"]


async def test_messages(client: Client):
    body = HELLO | {"max_tokens": 3, "system": "be kind"}
    whole = await client.post("/v1/messages", body)
    assert whole["stop_reason"] == "max_tokens"
    assert whole["usage"]["output_tokens"] == 3
    events = await client.events("/v1/messages", body | {"stream": True})
    assert [kind for kind, _ in events] == [
        "message_start",
        "content_block_start",
        *["content_block_delta"] * 3,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert json.loads(events[0][1])["message"]["usage"]["input_tokens"] == whole["usage"]["input_tokens"]
    assert json.loads(events[-2][1])["usage"]["output_tokens"] == 3


async def test_tokens_are_counted_as_they_are_charged(client: Client):
    answer = await client.post("/v1/messages", HELLO | {"max_tokens": 1})
    counted = await client.post("/v1/messages/count_tokens", HELLO)
    assert counted == {"input_tokens": answer["usage"]["input_tokens"]}
    tokenized = await client.post("/tokenize", HELLO)
    assert tokenized["count"] == len(tokenized["tokens"]) == counted["input_tokens"]


async def test_text_goes_to_tokens_and_back(client: Client):
    tokenized = await client.post("/tokenize", {"prompt": "what is it"})
    assert tokenized["count"] == 3
    assert await client.post("/detokenize", {"tokens": tokenized["tokens"]}) == {"prompt": "what is it"}
    await client.post("/detokenize", {"tokens": [-1]}, status=400)


async def test_messages_err_in_their_own_form(client: Client):
    answer = await client.post("/v1/messages", HELLO | {"model": "nobody"}, status=404)
    assert answer["type"] == "error"
    assert answer["error"]["type"] == "NotFoundError"


async def test_embeddings(client: Client):
    floats = await client.post("/v1/embeddings", {"input": ["one", "two", "one"], "dimensions": 8})
    one, two, again = (item["embedding"] for item in floats["data"])
    assert one == again != two
    assert sum(value * value for value in one) == pytest.approx(1.0)
    coded = await client.post("/v1/embeddings", {"input": "one", "dimensions": 8, "encoding_format": "base64"})
    assert struct.unpack("<8f", base64.b64decode(coded["data"][0]["embedding"])) == pytest.approx(one)
    assert coded["usage"] == {"prompt_tokens": 1, "total_tokens": 1}


async def test_other_reading_apis(client: Client):
    ranked = await client.post("/v1/rerank", {"query": "q", "documents": ["a", "b", "c"], "top_n": 2})
    scores = [result["relevance_score"] for result in ranked["results"]]
    assert len(scores) == 2
    assert scores == sorted(scores, reverse=True)
    scored = await client.post("/v1/score", {"text_1": "q", "text_2": ["a", "b"]})
    assert len(scored["data"]) == 2
    classified = await client.post("/v1/classify", {"input": "fine"})
    assert sum(classified["data"][0]["probs"]) == pytest.approx(1.0)
    drawn = await client.post("/v1/images/generations", {"prompt": "a cat", "n": 2})
    assert all(base64.b64decode(image["b64_json"]).startswith(b"\x89PNG") for image in drawn["data"])


@pytest.mark.parametrize("path", ["/v1/audio/transcriptions", "/v1/audio/translations"])
async def test_audio(client: Client, path: str):
    def form(**fields: str) -> aiohttp.FormData:
        data = aiohttp.FormData(fields)
        data.add_field("file", bytes(32_000), filename="speech.wav")
        return data

    async with client.session.post(path, data=form(model="base")) as response:
        answer = await response.json()
    assert answer["text"]
    assert answer["usage"]["prompt_tokens"] == 50
    async with client.session.post(path, data=form(model="base", stream="true")) as response:
        assert (await response.text()).endswith("data: [DONE]\n\n")
    assert (await client.post(path, {"model": "base"}, status=400))["error"]["code"] == 400


async def test_abort_in_the_middle_of_a_stream(client: Client):
    body = HELLO | {"max_tokens": 1900, "ignore_eos": True, "stream": True}
    async with client.session.post("/v1/chat/completions", json=body) as response:
        await response.content.readline()
        assert len(client.running.engine.running) == 1
    await until_idle(client.running)
    assert client.running.engine.counters.finished == {"stop": 0, "length": 0, "abort": 1}
    assert client.running.engine.cache.held_blocks == 0
    assert await client.get("/load") == {"server_load": 0}


async def test_abort_while_the_whole_answer_is_awaited(client: Client):
    body = HELLO | {"max_tokens": 1900, "ignore_eos": True}
    task = asyncio.create_task(client.post("/v1/chat/completions", body))
    await until(lambda: bool(client.running.engine.running))
    task.cancel()
    await until_idle(client.running)
    assert client.running.engine.counters.finished["abort"] == 1


async def test_adapters(client: Client):
    async with client.session.post("/v1/load_lora_adapter", json={"lora_name": "new", "lora_path": "/p"}) as response:
        assert response.status == 200
    again = await client.post("/v1/load_lora_adapter", {"lora_name": "new", "lora_path": "/p"}, status=400)
    assert again["error"]["type"] == "InvalidUserInput"
    assert again["error"]["message"] == "The lora adapter 'new' has already been loaded."
    models = await client.get("/v1/models")
    assert isinstance(models, dict)
    assert [(card["id"], card["parent"]) for card in models["data"]] == [
        ("base", None),
        ("tuned", "base"),
        ("new", "base"),
    ]
    answer = await client.post("/v1/completions", {"model": "new", "prompt": "hi", "max_tokens": 1})
    assert answer["model"] == "new"
    async with client.session.post("/v1/unload_lora_adapter", json={"lora_name": "new"}) as response:
        assert response.status == 200
    gone = await client.post("/v1/unload_lora_adapter", {"lora_name": "new"}, status=404)
    assert (gone["error"]["type"], gone["error"]["message"]) == (
        "NotFoundError",
        "The lora adapter 'new' cannot be found.",
    )
    await client.post("/v1/completions", {"model": "new", "prompt": "hi"}, status=404)


async def test_responses_are_kept(client: Client):
    body = {"input": "hi", "max_output_tokens": 3, "request_id": "resp_1"}
    first = await client.post("/v1/responses", body)
    assert first["id"] == "resp_1"
    second = await client.post("/v1/responses", body | {"previous_response_id": "resp_1", "request_id": "resp_2"})
    assert second["usage"]["input_tokens"] > first["usage"]["input_tokens"]
    assert await client.get("/v1/responses/resp_1") == first
    missing = await client.post("/v1/responses", body | {"previous_response_id": "resp_0"}, status=404)
    assert missing["error"]["message"] == "Response with id 'resp_0' not found."
    not_kept = await client.post("/v1/responses", body | {"store": False, "request_id": "resp_3"})
    await client.post(f"/v1/responses/{not_kept['id']}/cancel", {}, status=404)
    await client.post("/v1/responses/resp_1/cancel", {}, status=400)
    async with client.session.delete("/v1/responses/resp_1") as response:
        assert await response.json() == {"id": "resp_1", "object": "response", "deleted": True}


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        (HELLO | {"model": "nobody"}, 404, "NotFoundError"),
        ({"model": "base"}, 400, "BadRequestError"),
        (HELLO | {"messages": []}, 400, "BadRequestError"),
        (HELLO | {"max_tokens": 0}, 400, "BadRequestError"),
        (HELLO | {"max_tokens": 2000}, 400, "BadRequestError"),
        (HELLO | {"n": 0}, 400, "BadRequestError"),
        ({"messages": [{"role": "user", "content": "x" * 8000}]}, 400, "BadRequestError"),
    ],
)
async def test_errors(client: Client, body: dict[str, Any], status: int, kind: str):
    error = (await client.post("/v1/chat/completions", body, status=status))["error"]
    assert (error["code"], error["type"]) == (status, kind)
    assert error["message"]
    assert not client.running.engine.arriving


async def test_malformed_json_and_unknown_paths(client: Client):
    async with client.session.post("/v1/chat/completions", data=b'{"model": ') as response:
        assert response.status == 400
        assert (await response.json())["error"]["type"] == "BadRequestError"
    async with client.session.get("/nowhere") as response:
        assert response.status == 404
        assert response.headers["x-inference-pod"] == "pod-1"


async def test_last_headers_are_those_of_the_last_inference_request(client: Client):
    async with client.session.post(
        "/v1/completions", json={"prompt": "x", "max_tokens": 1}, headers={"X-User": "ann"}
    ) as response:
        await response.read()
    await client.get("/load")
    headers = await client.get("/debug/last_headers")
    assert isinstance(headers, dict)
    assert headers["x-user"] == "ann"


async def test_metrics_and_version(client: Client):
    await client.post("/v1/completions", {"prompt": "x", "max_tokens": 7})
    async with client.session.get("/metrics") as response:
        assert response.content_type == "text/plain"
        assert 'vllm:generation_tokens_total{engine="0",model_name="base"} 7.0' in await response.text()
    assert await client.get("/version") == {"version": "0.11.0"}


async def test_loading_pods_answer_503():
    running = await start(POD, EngineConfig(startup_seconds=20.0), "127.0.0.1", 0)  # 0.2 s at this speed
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{running.port}") as session, asyncio.timeout(5):
            statuses: list[int] = []
            while not statuses or statuses[-1] != 200:
                async with session.get("/health") as response:
                    statuses.append(response.status)
                await asyncio.sleep(0.02)
            assert set(statuses[:-1]) == {503}
    finally:
        await running.stop()


async def test_a_taken_port_is_named(client: Client):
    with pytest.raises(OSError, match=f"pod-1.*port {client.running.port}"):
        await start(POD, CONFIG, "127.0.0.1", client.running.port)


async def test_stopping_cuts_streams_off():
    running = await start(SimulatedPod(name="slow", model="base"), EngineConfig(), "127.0.0.1", 0)
    body = HELLO | {"max_tokens": 10_000, "ignore_eos": True, "stream": True}
    async with (
        aiohttp.ClientSession(f"http://127.0.0.1:{running.port}") as session,
        session.post("/v1/chat/completions", json=body) as response,
    ):
        await response.content.readline()
        await running.stop()
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
    assert running.engine.cache.held_blocks == 0


async def test_run_serves_until_sigterm():
    code = "from simulator import *; run([(SimulatedPod(name='a', model='base'), 0)], EngineConfig())"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "import logging; logging.basicConfig(level=20); " + code, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    async with asyncio.timeout(20):
        assert "pod a serves base on 127.0.0.1, port" in (await process.stderr.readline()).decode()
        process.send_signal(signal.SIGTERM)
        await process.communicate()
    assert process.returncode == 0


@pytest.mark.parametrize(
    "body", [b"\xff", b'{"messages": "\xff"}', b'"text"', b'{"messages": [{"content": "\\ud800"}]}']
)
async def test_strange_bytes_are_never_a_500(client: Client, body: bytes):
    async with client.session.post("/v1/chat/completions", data=body) as response:
        assert response.status in (200, 400)

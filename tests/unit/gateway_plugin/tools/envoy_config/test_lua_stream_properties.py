"""gateway.lua against a plain SSE and JSON reader: random streams of every wire format, with noise, in any chunks."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from tests.unit.gateway_plugin.tools.envoy_config.conftest import Script

TAIL_BYTES, HEAD_BYTES = 4096, 2048
FAKE = '"usage":{"prompt_tokens":9,"completion_tokens":9,"input_tokens":9,"output_tokens":9,"total_tokens":18}'
DETAILS = {"prompt_tokens": "prompt_tokens_details", "input_tokens": "input_tokens_details"}

FRAGMENTS = [FAKE, FAKE + "}}", *'\\"{}[],:', "\n\ndata: {", "\r\n", "event: response.created\n", "é", "世", "\x7f"]
FRAGMENTS += ['"type":"message_start"', '"type":"response.completed"', "x" * 700]
text = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=4), max_size=5).map("".join)
count = st.integers(0, 10**6)
odd = st.sampled_from([1.5, -3, "7", True, [1], {"a": 1}, 10**17, 1e30])
value = st.one_of(*[count] * 12, st.none(), odd)
openai_usage = st.fixed_dictionaries(
    {"prompt_tokens": value, "total_tokens": value},
    optional={
        "completion_tokens": value,
        "prompt_tokens_details": st.none() | st.fixed_dictionaries({"cached_tokens": value}),
    },
)
responses_usage = st.fixed_dictionaries(
    {"input_tokens": value, "output_tokens": value, "total_tokens": value},
    optional={
        "input_tokens_details": st.fixed_dictionaries({"cached_tokens": value, "note": text}),
        "output_tokens_details": st.fixed_dictionaries({"reasoning_tokens": count}),
    },
)
noise = st.sampled_from(
    [
        ": ping\n\n",
        ":\n\n",
        "event: ping\ndata: {}\n\n",
        "retry: 3\n\n",
        "id: 7\n",
        'event: error\ndata: {"error":{}}\n\n',
        "\n",
    ]
)


def expected_counts(usage: dict[str, Any]) -> dict[str, int] | None:
    """What a JSON reader that trusts only whole numbers makes of an OpenAI usage object."""
    details: dict[str, Any] = next((usage[key] for key in DETAILS.values() if isinstance(usage.get(key), dict)), {})
    named = {"prompt_tokens": usage.get("prompt_tokens"), "completion_tokens": usage.get("completion_tokens")}
    if "input_tokens" in usage:
        named = {"prompt_tokens": usage["input_tokens"], "completion_tokens": usage["output_tokens"]}
    named |= {"total_tokens": usage.get("total_tokens"), "cached_tokens": details.get("cached_tokens")}
    if any(v is not None and (type(v) is not int or not 0 <= v < 10**15) for v in named.values()):
        return None
    found: dict[str, int] = {name: number for name, number in named.items() if number is not None}
    if "total_tokens" not in found:
        if not {"prompt_tokens", "completion_tokens"} <= found.keys():
            return None
        found["total_tokens"] = found["prompt_tokens"] + found["completion_tokens"]
    if "prompt_tokens" in found:
        found.setdefault("completion_tokens", max(found["total_tokens"] - found["prompt_tokens"], 0))
    return found


def read_events(body: str) -> list[Any]:
    """The JSON documents of a stream, as the SSE standard says to read it."""
    documents: list[Any] = []
    data: list[str] = []
    for line in [*body.replace("\r\n", "\n").replace("\r", "\n").split("\n"), ""]:
        if line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
        elif not line and data:
            joined, data = "\n".join(data), []
            if joined != "[DONE]":
                documents.append(json.loads(joined))
    return documents


@st.composite
def chat_document(draw: st.DrawFn) -> dict[str, Any]:
    delta: dict[str, Any] = draw(
        st.sampled_from([{"content": draw(text)}, {"tool_calls": [{"function": {"arguments": draw(text)}}]}])
    )
    extra: dict[str, Any] = draw(st.sampled_from([{}, {"usage": None}, {"usage": draw(openai_usage)}]))
    document = {"id": "c", "choices": [{"index": 0, "delta": delta}], **extra, "z": draw(text)}
    return {key: document[key] for key in draw(st.permutations(list(document)))}


@st.composite
def responses_document(draw: st.DrawFn) -> dict[str, Any]:
    output = [{"type": "message", "text": draw(text), "usage": draw(responses_usage)}]
    response: dict[str, Any] = {"output": output, "metadata": {"usage": {"total_tokens": 5}}, "user": None}
    if draw(st.booleans()):
        response["usage"] = draw(responses_usage)
    document: dict[str, Any] = {"type": "response.completed", "response": response, "n": 3}
    delta: dict[str, Any] = {"type": "response.output_text.delta", "delta": draw(text)}
    chosen = draw(st.sampled_from([document, delta]))
    return {key: chosen[key] for key in draw(st.permutations(list(chosen)))}


@st.composite
def written(draw: st.DrawFn, documents: Any, named: bool) -> str:
    """The stream as text: any JSON layout, data over several lines or not, noise between events."""
    parts: list[str] = []
    for document in draw(st.lists(documents, min_size=1, max_size=5)):
        parts.append(draw(st.just("") | noise))
        indent = draw(st.sampled_from([None, None, None, 1]))
        separators = None if indent else draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\t", "  : ")]))
        dumped = json.dumps(document, ensure_ascii=draw(st.booleans()), indent=indent, separators=separators)
        prefix = draw(st.sampled_from(["data: ", "data:"]))
        if named:
            parts.append(f"event: {document['type']}\n")
        parts.append("".join(f"{prefix}{line}\n" for line in dumped.split("\n")) + "\n")
    parts.append(draw(st.sampled_from(["", "data: [DONE]\n\n", ": bye\n\n"])))
    return "".join(parts).replace("\n", draw(st.sampled_from(["\n", "\r\n", "\r"])))


def split(body: bytes, cuts: list[int]) -> list[bytes]:
    marks = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    return [body[start:end] for start, end in itertools.pairwise(marks)]


def check(script: Script, body: str, cuts: list[int], usages: list[Any]) -> None:
    """`usages` are those of the stream's documents, None where there is none."""
    encoded = body.encode("utf-8", "surrogatepass")
    found = script.usage(*split(encoded, cuts), content_type="text/event-stream")
    stated = [usage for usage in usages if isinstance(usage, dict)]
    allowed = [expected_counts(stated[-1]) or {}] if stated else [{}]
    if len(encoded) > TAIL_BYTES:
        allowed.append({})
    assert found in allowed


relaxed = settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
cut_marks = st.lists(st.integers(0, 10**6), max_size=12)


@relaxed
@given(body=written(chat_document(), named=False), cuts=cut_marks)
def test_chat_streams(script: Script, body: str, cuts: list[int]) -> None:
    check(script, body, cuts, [document.get("usage") for document in read_events(body)])


@relaxed
@given(named=st.booleans(), data=st.data(), cuts=cut_marks)
def test_responses_streams(script: Script, named: bool, data: st.DataObject, cuts: list[int]) -> None:
    body = data.draw(written(responses_document(), named=named))
    check(script, body, cuts, [document.get("response", {}).get("usage") for document in read_events(body)])


@relaxed
@given(
    start=st.fixed_dictionaries(
        {"input_tokens": count},
        optional={"cache_read_input_tokens": count, "cache_creation_input_tokens": count, "output_tokens": count},
    ),
    deltas=st.lists(text, max_size=6),
    final=st.none() | st.fixed_dictionaries({"output_tokens": count}, optional={"input_tokens": count}),
    cuts=cut_marks,
)
def test_anthropic_streams(
    script: Script, start: dict[str, int], deltas: list[str], final: dict[str, int] | None, cuts: list[int]
) -> None:
    documents: list[dict[str, Any]] = [{"type": "message_start", "message": {"id": "m", "content": [], "usage": start}}]
    documents += [{"type": "content_block_delta", "delta": {"text": piece}} for piece in deltas]
    documents += [{"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": final}] if final else []
    body = b"".join(
        f"event: {one['type']}\ndata: {json.dumps(one)}\n\n".encode() for one in [*documents, {"type": "message_stop"}]
    )
    found = script.usage(*split(body, cuts), content_type="text/event-stream")
    if final is None:
        assert found == {}
        return
    numbers = {**start, **final}
    cached = numbers.get("cache_read_input_tokens")
    prompt = numbers["input_tokens"] + (cached or 0) + numbers.get("cache_creation_input_tokens", 0)
    output = final["output_tokens"]
    expected = {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output}
    assert found == (expected if cached is None else {**expected, "cached_tokens": cached})


@relaxed
@given(
    document=chat_document() | st.fixed_dictionaries({"usage": openai_usage, "data": st.lists(text)}),
    filler=st.sampled_from([0, 10, 1500, 2500, 6000]),
    at=st.integers(0, 5),
    cuts=cut_marks,
)
def test_json_bodies(script: Script, document: dict[str, Any], filler: int, at: int, cuts: list[int]) -> None:
    members = list(document.items())
    members.insert(min(at, len(members)), ("filler", ['\\"', "x" * filler]))
    body = json.dumps(dict(members)).encode()
    usage = document.get("usage")
    expected = (expected_counts(usage) or {}) if usage else {}
    found = script.usage(*split(body, cuts))
    at_the_front = members[0][0] == "usage" and body.find(b'"usage": ') < HEAD_BYTES // 2
    in_reach = len(body) <= TAIL_BYTES or at_the_front
    assert found == expected or (found == {} and not in_reach)

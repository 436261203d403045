"""The usage that the gateway asked for: out of the stream, byte for byte, in gateway.lua and in the plugin alike."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway_plugin.openai.usage_removal import MAX_HELD_BYTES, UsageRemover

if TYPE_CHECKING:
    from tests.unit.gateway_plugin.tools.envoy_config.conftest import Script

USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
COUNTED = {name: float(count) for name, count in USAGE.items()}
SSE = {"content-type": "text/event-stream"}
ABOUT = {"request_id": "r1", "added_usage": True}
DONE = b"data: [DONE]\n\n"


def event(**members: Any) -> bytes:
    return b"data: " + json.dumps(members).encode() + b"\n\n"


TOKEN = event(choices=[{"delta": {"content": "one"}}])
ONLY = event(id="1", choices=[], usage=USAGE)
FAKES = ['"choices":[],"usage":{}', '{"choices":[],"usage":{"total_tokens":1}}', "}\n\ndata: {", '\\"', "[", "\u4e16"]
STAYS = {
    "a token": TOKEN,
    "a token with usage": event(choices=[{"delta": {}}], usage=USAGE),
    "a token with no usage yet": event(choices=[{"delta": {}}], usage=None),
    "no choices and no usage": event(choices=[], usage=None, prompt_filter_results=[]),
    "both inside of another": event(choices=[{"choices": [], "usage": USAGE}]),
    "both in a list": event(data=[{"choices": [], "usage": USAGE}]),
    "text that looks like it": event(choices=[{"delta": {"content": FAKES[1]}}]),
    "no document": b'data: "choices":[],"usage":{}\n\n',
    "a broken one": b'data: {"choices":[],"usage":{}\n\n',
    "a comment": b': "choices":[],"usage":{"a":1}\n\n',
    "an error": event(error={"message": "no"}),
    "the end": DONE,
}
GOES = {
    "compact": b'data: {"choices":[],"usage":{"total_tokens":1}}\n\n',
    "no space": b'data:{"choices" : [ ] , "usage" : { } }\n\n',
    "usage first": event(usage=USAGE, choices=[]),
    "with a name and an id": b"event: message\nid: 7\n" + ONLY,
    "with more in it": event(choices=[], usage=USAGE, metrics={"a": [1]}, system_fingerprint="}"),
    "over several lines": b'data: {"choices": [],\ndata: "usage": {}}\n\n',
}


def by_lua(script: Script, chunks: list[bytes], **more: Any) -> bytes:
    response = script.run(chunks, SSE, ABOUT, **more)
    assert response.log == []
    return b"".join(response.sent)


def by_plugin(chunks: list[bytes]) -> bytes:
    remover = UsageRemover()
    parts = [remover.feed(chunk, is_last=False) for chunk in chunks]
    return b"".join([*parts, remover.feed(b"", is_last=True)])


def both(script: Script, chunks: list[bytes]) -> bytes:
    found = by_lua(script, chunks)
    assert by_plugin(chunks) == found
    return found


@pytest.mark.parametrize("stays", STAYS.values(), ids=STAYS)
def test_stays(script: Script, stays: bytes) -> None:
    for chunks in ([TOKEN, stays], [TOKEN + stays], [TOKEN, stays, DONE], [bytes([b]) for b in stays]):
        assert both(script, chunks) == b"".join(chunks)


@pytest.mark.parametrize("goes", GOES.values(), ids=GOES)
def test_goes(script: Script, goes: bytes) -> None:
    for chunks in ([TOKEN, goes, DONE], [TOKEN + goes + DONE], [bytes([b]) for b in TOKEN + goes + DONE]):
        assert both(script, chunks) == TOKEN + DONE
    assert both(script, [TOKEN, goes]) == TOKEN


def test_it_is_counted_all_the_same(script: Script) -> None:
    response = script.run([TOKEN, ONLY[:30], ONLY[30:], DONE], SSE, ABOUT)
    assert (response.usage, b"".join(response.sent)) == (COUNTED, TOKEN + DONE)


def test_only_what_the_gateway_asked_for(script: Script) -> None:
    assert script.run([TOKEN, ONLY, DONE], SSE, {"request_id": "r1"}).sent == [TOKEN, ONLY, DONE]
    headers = {"content-type": "application/json"}
    document = ONLY[6:]
    assert script.run([document], headers, ABOUT).sent == [document]


def test_whole_events_go_on_at_once(script: Script) -> None:
    sent = script.run([TOKEN, TOKEN + TOKEN[:9], TOKEN[9:], ONLY, DONE], SSE, ABOUT).sent
    assert sent == [TOKEN, TOKEN, TOKEN, b"", DONE]


def test_a_long_event_is_not_held(script: Script) -> None:
    long = event(choices=[{"delta": {"content": "x" * 3 * MAX_HELD_BYTES}}])
    chunks = [long[i : i + 1000] for i in range(0, len(long), 1000)]
    response = script.run([*chunks, ONLY, DONE], SSE, ABOUT)
    assert b"".join(response.sent) == long + DONE
    behind = 0
    for chunk, sent in zip(chunks, response.sent, strict=False):
        behind += len(chunk) - len(sent)
        assert behind <= MAX_HELD_BYTES


def test_before_trailers_only_an_event_without_an_end_is_lost(script: Script) -> None:
    assert by_lua(script, [TOKEN, ONLY, DONE], trailers=True) == TOKEN + DONE
    assert by_lua(script, [TOKEN, DONE[:-1]], trailers=True) == TOKEN


text = st.lists(st.sampled_from(FAKES) | st.text(max_size=4), max_size=4).map("".join)
tokens = st.builds(lambda content: event(choices=[{"delta": {"content": content}}], usage=None), text)
events = st.lists(
    tokens | st.sampled_from([*STAYS.values(), *GOES.values(), b": ping\n\n", b"retry: 3\n\n"]), max_size=6
)


@given(events, st.sampled_from([b"\n", b"\r\n", b"\r"]), st.lists(st.integers(0, 600), max_size=12), st.integers(0, 3))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
def test_any_stream_in_any_pieces(
    script: Script, parts: list[bytes], line_end: bytes, cuts: list[int], missing: int
) -> None:
    def wire(kept: list[bytes]) -> bytes:
        return b"".join(kept).replace(b"\n", line_end)

    body = wire([*parts, TOKEN])
    body = body[: len(body) - missing]
    stops = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    chunks = [body[start:stop] for start, stop in itertools.pairwise(stops)]
    expected = wire([part for part in parts if part not in GOES.values()] + [TOKEN])
    assert both(script, chunks) == expected[: len(expected) - missing]


@pytest.mark.parametrize("end", [b"data: [DONE]\n", b"data:[DONE]", b"data: [DONE]\r\n"])
def test_the_plugin_holds_no_end_without_a_blank_line(end: bytes) -> None:
    """If trailers follow, nothing can be said after them."""
    remover = UsageRemover()
    assert remover.feed(TOKEN + ONLY + end, is_last=False) == TOKEN + end
    assert remover.feed(b"\n\n", is_last=True) == b"\n\n"

"""Streams are read the same, however the network cuts them."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_plugin.tools.bench import sse
from gateway_plugin.tools.bench.answers import (
    BAD_ANSWER,
    CUT_OFF,
    ERROR_IN_STREAM,
    StreamReading,
    error_message,
    read_whole,
)
from gateway_plugin.tools.bench.sse import SseError, SseReader

DATA = st.binary(max_size=20).filter(lambda data: not set(data) & set(b"\r\n"))


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted({cut % (len(data) + 1) for cut in cuts}), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


CUTS = st.lists(st.integers(0, 10_000), max_size=12)


@given(st.lists(st.lists(DATA, min_size=1, max_size=3), max_size=5), CUTS, st.sampled_from([b"\n", b"\r\n"]))
def test_events_are_the_same_over_any_cuts(events: list[list[bytes]], cuts: list[int], newline: bytes) -> None:
    stream = b": a comment" + newline * 2
    for lines in events:
        stream += b"event: some" + newline + b"".join(b"data: " + line + newline for line in lines) + newline
    reader = SseReader()
    read = [content for piece in pieces(stream, cuts) for content in reader.feed(piece)]
    assert read == [b"\n".join(lines) for lines in events]


def test_an_event_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 10)
    with pytest.raises(SseError, match="more than 10 bytes"):
        SseReader().feed(b"data: and so on")


def event(**fields: object) -> bytes:
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


def piece(text: str) -> bytes:
    return event(choices=[{"delta": {"content": text}}], usage=None)


ROLE = event(choices=[{"delta": {"role": "assistant", "content": ""}}])
USAGE = event(
    choices=[], usage={"prompt_tokens": 9, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4}}
)
DONE = b"data: [DONE]\n\n"


def read(*parts: bytes) -> StreamReading:
    """Each part a second after the one before."""
    reading = StreamReading()
    for second, part in enumerate(parts):
        reading.feed(part, float(second))
    reading.end()
    return reading


def test_times_and_usage() -> None:
    reading = read(ROLE, b": ping\n\n", piece("one"), piece('an "error" and "usage"'), piece("three"), USAGE, DONE)
    assert (reading.first_seconds, reading.last_seconds, reading.gaps_seconds) == (2.0, 4.0, [1.0, 1.0])
    assert (reading.content_events, reading.trouble) == (3, "")
    assert reading.usage is not None
    assert (reading.usage.completion_tokens, reading.usage.cached_tokens) == (3, 4)


def test_contents_that_came_together() -> None:
    assert read(ROLE, piece("one") + piece("two"), piece("three"), DONE).gaps_seconds == [0.0, 1.0]


@pytest.mark.parametrize("delta", [{"reasoning_content": "hm"}, {"tool_calls": [{}]}])
def test_what_is_content_too(delta: dict[str, object]) -> None:
    assert read(ROLE, event(choices=[{"delta": delta}]), DONE).first_seconds == 1.0


def test_completions() -> None:
    assert read(event(choices=[{"text": "one"}]), DONE).first_seconds == 0.0


@pytest.mark.parametrize(
    ("parts", "trouble"),
    [
        ([ROLE, piece("one")], CUT_OFF),
        ([], CUT_OFF),
        ([piece("one"), event(error={"message": "out of memory"}), DONE], ERROR_IN_STREAM),
        ([event(error={"message": "out of memory"}), DONE], ERROR_IN_STREAM),
        ([b"data: {\n\n", DONE], BAD_ANSWER),
        ([b"data: [1]\n\n"], BAD_ANSWER),
        ([ROLE, DONE], BAD_ANSWER),
        ([b"<html>\n\n"], CUT_OFF),
    ],
)
def test_streams_that_are_not_whole(parts: list[bytes], trouble: str) -> None:
    assert read(*parts).trouble == trouble


@given(CUTS)
def test_whatever_the_cuts(cuts: list[int]) -> None:
    stream = ROLE + piece("one") + piece("zwölf") + USAGE + DONE
    reading = read(*pieces(stream, cuts))
    assert (reading.content_events, reading.done, reading.trouble) == (2, True, "")
    assert reading.usage is not None


@given(st.lists(st.binary(max_size=50)))
def test_any_bytes_are_an_answer_or_trouble(parts: list[bytes]) -> None:
    assert read(*parts).trouble


def test_whole_answers() -> None:
    usage, wrong = read_whole(b'{"choices": [{"message": {"content": "x"}}], "usage": {"completion_tokens": 2}}')
    assert usage is not None
    assert (usage.completion_tokens, usage.cached_tokens, wrong) == (2, None, "")
    assert read_whole(b"{}")[1] == "an answer without choices"
    assert read_whole(b"<html>")[1]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error": {"message": "no"}}', "no"),
        (b'{"message": "no"}', "no"),
        (b'{"error": "no"}', "no"),
        (b'{"detail": "Not Found"}', "Not Found"),
        (b"no healthy upstream\n", "no healthy upstream"),
        (b"[]", "[]"),
        (b"", ""),
    ],
)
def test_messages_of_errors(body: bytes, message: str) -> None:
    assert error_message(body) == message

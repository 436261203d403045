"""What an answer says: when its first content came, how many tokens, whether it is whole. No I/O.

Of a stream only those events are decoded that may say something: until the first content, with usage, with an error.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway_plugin.tools.bench.sse import SseError, SseReader

BAD_ANSWER = "bad answer"
CUT_OFF = "cut off"
ERROR_IN_STREAM = "error in stream"
MAX_GAPS = 100_000
"""Remembered of one stream."""
_SHOWN_BYTES = 200


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[Any] | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    text: str | None = None

    @property
    def has_content(self) -> bool:
        delta = self.delta
        return bool(self.text or (delta and (delta.content or delta.reasoning_content or delta.tool_calls)))


class _Details(msgspec.Struct):
    cached_tokens: int | None = None


class AnswerUsage(msgspec.Struct):
    """Tokens as the engine counted them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _Details | None = None

    @property
    def cached_tokens(self) -> int | None:
        """Of the prompt; None where the engine does not say."""
        return self.prompt_tokens_details.cached_tokens if self.prompt_tokens_details else None


class _Event(msgspec.Struct):
    choices: list[_Choice] = msgspec.field(default_factory=list)
    usage: AnswerUsage | None = None
    error: Any = None


_DECODER = msgspec.json.Decoder(_Event)


class StreamReading:
    """One streamed answer as it comes in. Times are of the caller's clock."""

    def __init__(self) -> None:
        self._events = SseReader()
        self.usage: AnswerUsage | None = None
        self.first_seconds: float | None = None
        self.last_seconds = 0.0
        self.content_events = 0
        self.gaps_seconds: list[float] = []
        """Between content and content; 0 where one read brought several."""
        self.done = False
        self.trouble = ""
        self.message = ""

    def feed(self, data: bytes, now_seconds: float) -> None:
        """Bytes of the body."""
        try:
            for content in self._events.feed(data):
                self._event(content, now_seconds)
        except (msgspec.DecodeError, SseError) as error:
            self._wrong(BAD_ANSWER, str(error))

    def end(self) -> None:
        """The body is over."""
        if not self.done:
            self._wrong(CUT_OFF, "the stream ended without [DONE]")
        elif self.first_seconds is None:
            self._wrong(BAD_ANSWER, "a stream without content")

    def _event(self, content: bytes, now_seconds: float) -> None:
        if content == b"[DONE]":
            self.done = True
        elif self.first_seconds is None or _may_matter(content):
            self._decoded(_DECODER.decode(content), content, now_seconds)
        else:
            self._content(now_seconds)

    def _decoded(self, event: _Event, content: bytes, now_seconds: float) -> None:
        if event.error is not None:
            self._wrong(ERROR_IN_STREAM, content[:_SHOWN_BYTES].decode(errors="replace"))
        self.usage = event.usage or self.usage
        if any(choice.has_content for choice in event.choices):
            self._content(now_seconds)

    def _content(self, now_seconds: float) -> None:
        if self.first_seconds is None:
            self.first_seconds = now_seconds
        elif len(self.gaps_seconds) < MAX_GAPS:
            self.gaps_seconds.append(now_seconds - self.last_seconds)
        self.last_seconds = now_seconds
        self.content_events += 1

    def _wrong(self, trouble: str, message: str) -> None:
        if not self.trouble:
            self.trouble, self.message = trouble, message


def read_whole(body: bytes) -> tuple[AnswerUsage | None, str]:
    """Usage of an answer that was not streamed, and what is wrong with it."""
    try:
        event = _DECODER.decode(body)
    except msgspec.DecodeError as error:
        return None, str(error)
    return event.usage, "" if event.choices else "an answer without choices"


def error_message(body: bytes) -> str:
    """The message of an OpenAI-style error, else the beginning of what came instead."""
    try:
        match msgspec.json.decode(body):
            case {"error": {"message": str(message)}} | {"message": str(message)} | {"error": str(message)}:
                return message
            case {"detail": detail}:
                return str(detail)
    except msgspec.DecodeError:
        pass
    return body[:_SHOWN_BYTES].decode(errors="replace").strip()


def _may_matter(content: bytes) -> bool:
    """Quotes inside of text are escaped: these words in quotes are keys (or another key's whole value)."""
    if b'"error"' in content:
        return True
    return b'"usage"' in content and b'"usage":null' not in content and b'"usage": null' not in content

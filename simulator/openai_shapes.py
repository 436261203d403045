"""Answers of the OpenAI APIs: chat completions, completions, transcriptions; and errors.

A *shape* turns one `Answer`, as its tokens come in, into SSE events or into one JSON body.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Protocol

import msgspec

from simulator.tokens import count_tokens

if TYPE_CHECKING:
    from simulator.openai_requests import EngineError, Generation
    from simulator.sequence import FinishReason, Sequence

Json = dict[str, object]


@dataclass(slots=True)
class AnswerChoice:
    words: list[str] = field(default_factory=list)
    finish_reason: FinishReason | None = None

    @property
    def text(self) -> str:
        return "".join(self.words)


@dataclass(slots=True, kw_only=True)
class Answer:
    """What has been answered so far."""

    key: str  # the random part of ids
    model: str
    created: int  # Unix time, seconds
    generation: Generation
    sequences: list[Sequence]  # `generation.choices` for each prompt, prompt by prompt
    choices: list[AnswerChoice]

    @property
    def prompt_tokens(self) -> int:
        return sum(map(count_tokens, self.generation.prompts))

    @property
    def cached_tokens(self) -> int:
        return sum(sequence.cached_tokens for sequence in self.sequences[:: self.generation.choices])

    @property
    def completion_tokens(self) -> int:
        return sum(len(choice.words) for choice in self.choices)

    def usage(self) -> Json:
        prompt, completion = self.prompt_tokens, self.completion_tokens
        return {
            "prompt_tokens": prompt,
            "total_tokens": prompt + completion,
            "completion_tokens": completion,
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens},
        }


class AnswerShape(Protocol):
    def opening(self, answer: Answer) -> list[bytes]:
        """Written before the first token, when that token has come."""

    def token(self, answer: Answer, index: int) -> bytes:
        """Written for the token that choice `index` has just got, its last one perhaps."""

    def closing(self, answer: Answer) -> list[bytes]: ...

    def whole(self, answer: Answer) -> Json:
        """The answer at once, not streamed."""


def sse(data: Json, event: str | None = None) -> bytes:
    prefix = b"" if event is None else b"event: " + event.encode() + b"\n"
    return prefix + b"data: " + msgspec.json.encode(data) + b"\n\n"


def error_body(error: EngineError) -> Json:
    return {"error": {"message": error.message, "type": error.kind, "param": error.param, "code": error.status}}


class _ChunkedShape:
    """Chunks of one kind, a usage chunk on request, and `[DONE]`."""

    id_prefix: ClassVar[str]
    chunk_object: ClassVar[str]

    def opening(self, answer: Answer) -> list[bytes]:
        return []

    def token(self, answer: Answer, index: int) -> bytes:
        choice = answer.choices[index]
        piece = {"index": index, **self._delta(choice.words[-1]), "logprobs": None}
        return self._chunk(answer, [{**piece, "finish_reason": choice.finish_reason}])

    def closing(self, answer: Answer) -> list[bytes]:
        usage = [self._chunk(answer, [], usage=True)] if answer.generation.include_usage else []
        return [*usage, b"data: [DONE]\n\n"]

    def _delta(self, word: str) -> Json:
        return {"delta": {"content": word}}

    def _chunk(self, answer: Answer, choices: list[Json], *, usage: bool = False) -> bytes:
        chunk = self._head(answer, self.chunk_object) | {"choices": choices}
        if usage or answer.generation.continuous_usage:
            chunk["usage"] = answer.usage()
        return sse(chunk)

    def _head(self, answer: Answer, kind: str) -> Json:
        name = f"{self.id_prefix}-{answer.key}"
        return {"id": name, "object": kind, "created": answer.created, "model": answer.model}


class ChatShape(_ChunkedShape):
    id_prefix = "chatcmpl"
    chunk_object = "chat.completion.chunk"

    def opening(self, answer: Answer) -> list[bytes]:
        delta = {"role": "assistant", "content": ""}
        pieces: list[Json] = [
            {"index": index, "delta": delta, "finish_reason": None} for index in range(len(answer.choices))
        ]
        return [self._chunk(answer, [piece]) for piece in pieces]

    def whole(self, answer: Answer) -> Json:
        choices = [
            {
                "index": index,
                "message": {"role": "assistant", "content": choice.text},
                "logprobs": None,
                "finish_reason": choice.finish_reason,
            }
            for index, choice in enumerate(answer.choices)
        ]
        return self._head(answer, "chat.completion") | {"choices": choices, "usage": answer.usage()}


class CompletionShape(_ChunkedShape):
    id_prefix = "cmpl"
    chunk_object = "text_completion"

    def _delta(self, word: str) -> Json:
        return {"text": word}

    def whole(self, answer: Answer) -> Json:
        choices = [
            {"index": index, "text": choice.text, "logprobs": None, "finish_reason": choice.finish_reason}
            for index, choice in enumerate(answer.choices)
        ]
        return self._head(answer, "text_completion") | {"choices": choices, "usage": answer.usage()}


class TranscriptionShape(_ChunkedShape):
    """Audio to text; `/v1/audio/translations` answers in the same form."""

    id_prefix = "trsc"
    chunk_object = "transcription.chunk"

    def whole(self, answer: Answer) -> Json:
        return {"text": answer.choices[0].text.strip(), "usage": answer.usage()}

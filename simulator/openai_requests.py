"""Bodies of generating requests, decoded and brought to one form: prompts as tokens, limits, and what to stream."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import msgspec

from simulator.tokens import MAX_TOKEN_ID, encode_ids, encode_media, encode_message, encode_text, open_turn

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_CHOICES = 128
_MAX_LENIENT_BYTES = 1024 * 1024


class EngineError(Exception):
    """An answer in vLLM's error form, other than success."""

    def __init__(
        self, message: str, *, status: int = 400, kind: str = "BadRequestError", param: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.kind = kind
        self.param = param


@dataclass(slots=True, kw_only=True)
class Generation:
    model: str | None
    prompts: list[bytes]
    max_tokens: int | None = None
    min_tokens: int = 0
    ignore_eos: bool = False
    choices: int = 1
    stream: bool = False
    include_usage: bool = False
    continuous_usage: bool = False
    response_id: str = ""
    """Asked for by whoever wants to find the response again; only /v1/responses knows such."""
    previous_response_id: str = ""
    keeps_response: bool = False
    in_background: bool = False


class StreamOptions(msgspec.Struct):
    include_usage: bool | None = None
    continuous_usage_stats: bool | None = None


class GenerationBody(msgspec.Struct, kw_only=True):
    """What all generating APIs have in common; unknown fields are ignored."""

    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    min_tokens: int | None = None
    ignore_eos: bool | None = None
    n: int | None = None

    def generation(self, prompts: list[bytes], max_tokens: int | None) -> Generation:
        if max_tokens is not None and max_tokens < 1:
            raise EngineError(f"max_tokens must be at least 1, not {max_tokens}", param="max_tokens")
        choices = 1 if self.n is None else self.n
        if not 1 <= choices <= MAX_CHOICES:
            raise EngineError(f"n must be 1 to {MAX_CHOICES}, not {choices}", param="n")
        options = self.stream_options or StreamOptions()
        return Generation(
            model=self.model,
            prompts=prompts,
            max_tokens=max_tokens,
            min_tokens=self.min_tokens or 0,
            ignore_eos=bool(self.ignore_eos),
            choices=choices,
            stream=bool(self.stream),
            include_usage=bool(options.include_usage),
            continuous_usage=bool(options.include_usage and options.continuous_usage_stats),
        )


Content = str | list[msgspec.Raw] | None


class ContentPart(msgspec.Struct):
    """Text, or else something to look at or listen to."""

    text: str | None = None


class Message(msgspec.Struct):
    """A chat message, or an input item of the Responses API (whose items may have neither role nor content)."""

    role: str = "user"
    content: Content = None
    tool_calls: msgspec.Raw = msgspec.Raw()
    output: Content = None


class ChatBody(GenerationBody, kw_only=True):
    messages: list[Message]
    max_completion_tokens: int | None = None
    tools: msgspec.Raw = msgspec.Raw()
    system: Content = None  # Anthropic's place for the system prompt


class CompletionBody(GenerationBody, kw_only=True):
    prompt: str | list[str | int | list[int]]


class ResponsesBody(GenerationBody, kw_only=True):
    input: str | list[Message]
    instructions: str | None = None
    max_output_tokens: int | None = None
    tools: msgspec.Raw = msgspec.Raw()
    request_id: str | None = None
    previous_response_id: str | None = None
    store: bool | None = None
    background: bool | None = None


BodyT = TypeVar("BodyT")


def decode(body: bytes, form: type[BodyT]) -> BodyT:
    """As engines do: "5" is a number where one is wanted, and half an emoji is a character."""
    try:
        return msgspec.json.decode(body, type=form)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if len(body) > _MAX_LENIENT_BYTES:  # a second look would hold up all other requests of the engine
            raise EngineError(f"cannot read the request: {error}") from error
        return decode_exactly(body, form, strict=False)


def decode_exactly(body: bytes, form: type[BodyT], *, strict: bool = True) -> BodyT:
    """As it is written, unless it need not be `strict`."""
    try:
        whole = json.dumps(json.loads(body), ensure_ascii=False).encode("utf-8", "replace")
        return msgspec.json.decode(whole, type=form, strict=strict)
    except UnicodeDecodeError as error:
        raise EngineError("the request is not UTF-8") from error
    except (ValueError, RecursionError) as error:  # malformed JSON, and valid JSON of another form
        raise EngineError(f"cannot read the request: {error}") from error


def parse_chat(body: bytes) -> Generation:
    chat = decode(body, ChatBody)
    if not chat.messages:
        raise EngineError("messages must not be empty", param="messages")
    prompt = _conversation(chat.tools, chat.system, chat.messages)
    limit = chat.max_tokens if chat.max_completion_tokens is None else chat.max_completion_tokens
    return chat.generation([prompt], limit)


def parse_messages(body: bytes) -> Generation:
    """Anthropic's form is a chat with `system` beside the messages, and one choice."""
    generation = parse_chat(body)
    generation.choices = 1
    return generation


def parse_responses(body: bytes) -> Generation:
    responses = decode(body, ResponsesBody)
    if not responses.input:
        raise EngineError("input must not be empty", param="input")
    items = [Message(content=responses.input)] if isinstance(responses.input, str) else responses.input
    prompt = _conversation(responses.tools, responses.instructions, items)
    generation = responses.generation([prompt], responses.max_output_tokens)
    generation.choices = 1
    generation.response_id = responses.request_id or ""
    generation.previous_response_id = responses.previous_response_id or ""
    generation.keeps_response = responses.store is not False
    generation.in_background = bool(responses.background)
    return generation


def parse_completion(body: bytes) -> Generation:
    completion = decode(body, CompletionBody)
    return completion.generation(encode_prompts(completion.prompt, "prompt"), completion.max_tokens)


def encode_prompts(prompt: str | Sequence[str | int | list[int]], param: str) -> list[bytes]:
    """One text, several texts, one list of token ids, or several."""
    if not prompt or any(item in ("", []) for item in prompt):
        raise EngineError(f"{param} must not be empty", param=param)
    if isinstance(prompt, str):
        return [encode_text(prompt)]
    ids = [item for item in prompt if isinstance(item, int)]
    if ids and len(ids) != len(prompt):
        raise EngineError(f"{param} must not mix token ids and texts", param=param)
    if ids:
        return [_token_ids(ids, param)]
    return [
        encode_text(item) if isinstance(item, str) else _token_ids(item, param)
        for item in prompt
        if not isinstance(item, int)
    ]


def _token_ids(ids: list[int], param: str) -> bytes:
    if not all(0 <= token <= MAX_TOKEN_ID for token in ids):
        raise EngineError(f"{param} has a token id out of range", param=param)
    return encode_ids(ids)


def _conversation(tools: msgspec.Raw, system: Content, messages: list[Message]) -> bytes:
    parts: list[bytes] = []
    if given := _given(tools):
        parts.append(encode_message("tools", given))
    if system:
        parts.append(encode_message("system", _content(system)))
    for message in messages:
        content = _content(message.content) + _given(message.tool_calls) + _content(message.output)
        parts.append(encode_message(message.role, content))
    parts.append(open_turn("assistant"))
    return b"".join(parts)


def _content(content: Content) -> bytes:
    if content is None:
        return b""
    if isinstance(content, str):
        return encode_text(content)
    return b"".join(map(_content_part, content))


def _content_part(raw: msgspec.Raw) -> bytes:
    data = bytes(raw)
    if data.startswith(b'"'):
        return encode_text(decode(data, str))
    part = decode(data, ContentPart)
    return encode_media(data) if part.text is None else encode_text(part.text)


def _given(raw: msgspec.Raw) -> bytes:
    data = bytes(raw)
    return b"" if data == b"null" else data

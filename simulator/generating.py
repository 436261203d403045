"""Handlers of the APIs that generate tokens: one way for all, streamed or whole; the shapes make the difference."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from simulator.kept import KeptResponse
from simulator.openai_requests import (
    EngineError,
    Generation,
    parse_chat,
    parse_completion,
    parse_messages,
    parse_responses,
)
from simulator.openai_shapes import Answer, AnswerShape, ChatShape, CompletionShape, Json, TranscriptionShape
from simulator.tokens import encode_media, encode_text
from simulator.typed_shapes import MessagesShape, ResponsesShape

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp.typedefs import Handler

    from simulator.driver import TokenStream
    from simulator.pod_state import PodState

SSE_HEADERS = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
AUDIO_BYTES_PER_TOKEN = 640  # 50 tokens a second of 16 kHz 16-bit mono, as Whisper's encoder has
AUDIO_TOKENS_MAX = 1500  # it reads windows of 30 s


class GeneratingHandlers:
    def __init__(self, state: PodState) -> None:
        self._state = state

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v1/chat/completions", self._json(parse_chat, ChatShape)),
            web.post("/v1/completions", self._json(parse_completion, CompletionShape)),
            web.post("/v1/responses", self._responses),
            web.post("/v1/messages", self._json(parse_messages, MessagesShape)),
            web.post("/v1/audio/transcriptions", self._audio),
            web.post("/v1/audio/translations", self._audio),
        ]

    def _json(self, parse: Callable[[bytes], Generation], make_shape: Callable[[], AnswerShape]) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            return await self._answer(request, parse(await request.read()), make_shape())

        return handle

    async def _responses(self, request: web.Request) -> web.StreamResponse:
        generation, kept = parse_responses(await request.read()), self._state.kept_responses
        if generation.previous_response_id:
            before = kept.get(generation.previous_response_id).prompt
            generation.prompts = [before + generation.prompts[0]]

        def keep(answer: Answer, response: Json) -> None:
            if generation.keeps_response:
                said = encode_text(answer.choices[0].text)
                kept.keep(str(response["id"]), KeptResponse(response, generation.prompts[0] + said))

        shape = ResponsesShape(keep)
        if not generation.in_background:
            return await self._answer(request, generation, shape)
        answer, stream, words = self._state.generate(generation)
        queued = shape.queued(answer)
        task = asyncio.create_task(self._finish(answer, stream, words, shape))
        kept.keep(str(queued["id"]), KeptResponse(queued, task=task))
        return json_response(queued)

    async def _finish(self, answer: Answer, stream: TokenStream, words: list[list[str]], shape: AnswerShape) -> None:
        """Answers nobody: the response is kept when it is complete."""
        try:
            await self._collect(answer, stream, words)
            shape.whole(answer)
        finally:
            stream.close()

    async def _collect(self, answer: Answer, stream: TokenStream, words: list[list[str]]) -> None:
        async for index, event in stream:
            answer.choices[index].words.append(words[index][event.number - 1])
            answer.choices[index].finish_reason = event.finish_reason

    async def _audio(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, await _audio_generation(request), TranscriptionShape())

    async def _answer(self, request: web.Request, generation: Generation, shape: AnswerShape) -> web.StreamResponse:
        answer, stream, words = self._state.generate(generation)
        try:
            if generation.stream:
                return await self._stream(request, answer, stream, words, shape)
            await self._collect(answer, stream, words)
            return json_response(shape.whole(answer))
        finally:
            stream.close()  # the client may be gone: its sequences must not go on

    async def _stream(
        self, request: web.Request, answer: Answer, stream: TokenStream, words: list[list[str]], shape: AnswerShape
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers=SSE_HEADERS)
        await response.prepare(request)
        tokens = 0
        async for index, event in stream:
            if not tokens:
                for piece in shape.opening(answer):
                    await response.write(piece)
            answer.choices[index].words.append(words[index][event.number - 1])
            answer.choices[index].finish_reason = event.finish_reason
            await response.write(shape.token(answer, index))
            tokens += 1
            if tokens == self._state.faults.cut_after_tokens and request.transport is not None:
                request.transport.abort()
                return response
        for piece in shape.closing(answer):
            await response.write(piece)
        await response.write_eof()
        return response


async def _audio_generation(request: web.Request) -> Generation:
    if request.content_type != "multipart/form-data":
        raise EngineError("audio comes as multipart/form-data")
    try:
        form = await request.post()
    except ValueError as error:
        raise EngineError(f"cannot read the form: {error}") from error
    file = form.get("file")
    if not isinstance(file, web.FileField):
        raise EngineError("the form has no file", param="file")
    fields = {name: value for name, value in form.items() if isinstance(value, str)}
    return Generation(
        model=fields.get("model"),
        prompts=[_audio_prompt(file.file.read()) + encode_text(fields.get("prompt", ""))],
        stream=_is_true(fields, "stream"),
        include_usage=_is_true(fields, "stream_include_usage"),
        continuous_usage=_is_true(fields, "stream_continuous_usage_stats"),
    )


def _audio_prompt(audio: bytes) -> bytes:
    tokens = min(AUDIO_TOKENS_MAX, max(1, len(audio) // AUDIO_BYTES_PER_TOKEN))
    media = encode_media(audio)
    return (media * (tokens * 4 // len(media) + 1))[: tokens * 4]


def _is_true(fields: dict[str, str], name: str) -> bool:
    return fields.get(name, "").lower() in ("true", "1")


def json_response(body: Json, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")

"""Handlers that say how a prompt is made of tokens, without reading it: nothing waits for the scheduler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
from aiohttp import web

from simulator.generating import json_response
from simulator.openai_requests import decode, parse_chat, parse_messages
from simulator.tokens import MAX_TOKEN_ID, count_tokens, decode_ids, encode_ids, encode_text

if TYPE_CHECKING:
    from simulator.pod_state import PodState


class _TextBody(msgspec.Struct):
    prompt: str | None = None
    model: str | None = None


class _TokensBody(msgspec.Struct):
    tokens: list[Annotated[int, msgspec.Meta(ge=0, le=MAX_TOKEN_ID)]]
    model: str | None = None


class TellingHandlers:
    def __init__(self, state: PodState) -> None:
        self._state = state

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v1/messages/count_tokens", self.count),
            web.post("/tokenize", self.tokenize),
            web.post("/detokenize", self.detokenize),
        ]

    async def count(self, request: web.Request) -> web.Response:
        generation = parse_messages(await request.read())
        self._state.served_model(generation.model)
        return json_response({"input_tokens": count_tokens(generation.prompts[0])})

    async def tokenize(self, request: web.Request) -> web.Response:
        body = await request.read()
        text = decode(body, _TextBody)
        self._state.served_model(text.model)
        prompt = parse_chat(body).prompts[0] if text.prompt is None else encode_text(text.prompt)
        ids, limit = decode_ids(prompt), self._state.config.max_model_len
        return json_response({"count": len(ids), "max_model_len": limit, "tokens": ids, "token_strs": None})

    async def detokenize(self, request: web.Request) -> web.Response:
        body = decode(await request.read(), _TokensBody)
        self._state.served_model(body.model)
        text = encode_ids(body.tokens).decode(errors="replace")
        return json_response({"prompt": text.rstrip("\0")})

"""Handlers of the APIs that only read: embeddings, scores, classes; and pictures, which cost a prompt here.

Values are made from a checksum of the text: the same text gives the same embedding on every pod.
"""

from __future__ import annotations

import base64
import math
import random
import struct
import zlib
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from simulator.generating import json_response
from simulator.openai_requests import EngineError, decode, encode_prompts, parse_chat
from simulator.tokens import count_tokens, encode_text

if TYPE_CHECKING:
    from simulator.openai_shapes import Json
    from simulator.pod_state import PodState

DEFAULT_DIMENSIONS = 32
MAX_DIMENSIONS = 4096
MAX_IMAGES = 10
LABELS = ("negative", "positive")


class EmbeddingsBody(msgspec.Struct):
    input: str | list[str | int | list[int]] | None = None
    model: str | None = None
    encoding_format: str = "float"
    dimensions: int | None = None


class RerankBody(msgspec.Struct):
    query: str
    documents: list[str]
    model: str | None = None
    top_n: int | None = None


class ScoreBody(msgspec.Struct):
    text_1: str | list[str]
    text_2: str | list[str]
    model: str | None = None


class ClassifyBody(msgspec.Struct):
    input: str | list[str]
    model: str | None = None


class ImagesBody(msgspec.Struct):
    prompt: str
    model: str | None = None
    n: int | None = None


class ReadingHandlers:
    def __init__(self, state: PodState) -> None:
        self._state = state

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v1/embeddings", self.embeddings),
            *(web.post(path, self.rerank) for path in ("/rerank", "/v1/rerank", "/v2/rerank")),
            *(web.post(path, self.score) for path in ("/score", "/v1/score")),
            *(web.post(path, self.classify) for path in ("/classify", "/v1/classify")),
            web.post("/v1/images/generations", self.images),
        ]

    async def embeddings(self, request: web.Request) -> web.Response:
        content = await request.read()
        body = decode(content, EmbeddingsBody)
        dimensions = body.dimensions or DEFAULT_DIMENSIONS
        if not 1 <= dimensions <= MAX_DIMENSIONS:
            raise EngineError(f"dimensions must be 1 to {MAX_DIMENSIONS}", param="dimensions")
        prompts = parse_chat(content).prompts if body.input is None else encode_prompts(body.input, "input")
        usage = await self._read(body.model, prompts)
        data: list[Json] = []
        for index, prompt in enumerate(prompts):
            vector = _embedding(prompt, dimensions)
            value = _base64_floats(vector) if body.encoding_format == "base64" else vector
            data.append({"index": index, "object": "embedding", "embedding": value})
        return json_response(self._listed("embd", body.model, data, usage))

    async def rerank(self, request: web.Request) -> web.Response:
        body = decode(await request.read(), RerankBody)
        if not body.documents:
            raise EngineError("documents must not be empty", param="documents")
        usage = await self._read(body.model, [encode_text(body.query + text) for text in body.documents])
        results: list[tuple[float, int]] = [
            (_unit(encode_text(body.query + text)), index) for index, text in enumerate(body.documents)
        ]
        best = sorted(results, reverse=True)[: body.top_n or None]
        written = [
            {"index": index, "document": {"text": body.documents[index]}, "relevance_score": score}
            for score, index in best
        ]
        model = self._state.served_model(body.model)
        return json_response({"id": "rerank-0", "model": model, "usage": usage, "results": written})

    async def score(self, request: web.Request) -> web.Response:
        body = decode(await request.read(), ScoreBody)
        pairs = [encode_text(left + right) for left, right in _pairs(_texts(body.text_1), _texts(body.text_2))]
        usage = await self._read(body.model, pairs)
        data: list[Json] = [{"index": i, "object": "score", "score": _unit(pair)} for i, pair in enumerate(pairs)]
        return json_response(self._listed("score", body.model, data, usage))

    async def classify(self, request: web.Request) -> web.Response:
        body = decode(await request.read(), ClassifyBody)
        texts = [encode_text(text) for text in _texts(body.input)]
        usage = await self._read(body.model, texts)
        data: list[Json] = []
        for index, text in enumerate(texts):
            positive = _unit(text)
            label = LABELS[positive >= 0.5]
            probs = [1.0 - positive, positive]
            data.append({"index": index, "label": label, "probs": probs, "num_classes": len(LABELS)})
        return json_response(self._listed("classify", body.model, data, usage))

    async def images(self, request: web.Request) -> web.Response:
        body = decode(await request.read(), ImagesBody)
        pictures = 1 if body.n is None else body.n
        if not 1 <= pictures <= MAX_IMAGES:
            raise EngineError(f"n must be 1 to {MAX_IMAGES}", param="n")
        prompts = encode_prompts(body.prompt, "prompt")
        read = await self._read(body.model, prompts)
        usage = {"input_tokens": read["prompt_tokens"], "output_tokens": 0, "total_tokens": read["total_tokens"]}
        data = [{"b64_json": base64.b64encode(_png(index)).decode()} for index in range(pictures)]
        return json_response({"created": int(self._state.wall_clock()), "data": data, "usage": usage})

    async def _read(self, model: str | None, prompts: list[bytes]) -> dict[str, int]:
        """Wait until the engine has read all prompts; the usage."""
        if not all(prompts):
            raise EngineError("a text must not be empty")
        stream = self._state.prefill(model, prompts)
        try:
            async for _ in stream:
                pass
        finally:
            stream.close()
        tokens = sum(map(count_tokens, prompts))
        return {"prompt_tokens": tokens, "total_tokens": tokens}

    def _listed(self, kind: str, model: str | None, data: list[Json], usage: dict[str, int]) -> Json:
        state = self._state
        head: Json = {"id": f"{kind}-0", "object": "list", "created": int(state.wall_clock())}
        return {**head, "model": state.served_model(model), "data": data, "usage": usage}


def _texts(value: str | list[str]) -> list[str]:
    texts = [value] if isinstance(value, str) else value
    if not texts:
        raise EngineError("the list of texts must not be empty")
    return texts


def _pairs(left: list[str], right: list[str]) -> list[tuple[str, str]]:
    """One text against many, or many against as many."""
    if len(left) == 1:
        left = left * len(right)
    if len(left) != len(right):
        raise EngineError("text_1 must be one text, or as many as text_2")
    return list(zip(left, right, strict=True))


def _unit(text: bytes) -> float:
    return zlib.crc32(text) / 2**32


def _embedding(text: bytes, dimensions: int) -> list[float]:
    rng = random.Random(zlib.crc32(text))
    vector = [rng.gauss(0.0, 1.0) for _ in range(dimensions)]
    norm = math.hypot(*vector)
    return [value / norm for value in vector]


def _base64_floats(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _png(shade: int) -> bytes:
    """A grey picture of one pixel."""
    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes((0, shade)))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )

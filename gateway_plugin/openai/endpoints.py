"""Which paths carry inference requests, and how the head of each one's body is read."""

from __future__ import annotations

from enum import Enum


class BodyKind(Enum):
    """The form of a request body."""

    # An Enum's own is a Python function, and every request looks up its kind in tables.
    __hash__ = object.__hash__

    CHAT = "chat"
    COMPLETION = "completion"
    EMBEDDING = "embedding"
    RESPONSES = "responses"
    RERANK = "rerank"
    CLASSIFY = "classify"
    PLAIN = "plain"
    """JSON of which only the model matters here."""
    MULTIPART = "multipart"


ENDPOINTS: dict[str, BodyKind] = {
    "/v1/chat/completions": BodyKind.CHAT,
    "/v1/completions": BodyKind.COMPLETION,
    "/v1/embeddings": BodyKind.EMBEDDING,
    "/v1/responses": BodyKind.RESPONSES,
    "/v1/messages": BodyKind.CHAT,
    "/v1/rerank": BodyKind.RERANK,
    "/v1/score": BodyKind.PLAIN,
    "/v1/classify": BodyKind.CLASSIFY,
    "/v1/audio/transcriptions": BodyKind.MULTIPART,
    "/v1/audio/translations": BodyKind.MULTIPART,
    "/v1/images/generations": BodyKind.PLAIN,
    "/v1/video/generations": BodyKind.PLAIN,
}


def endpoint_of(path: str) -> BodyKind | None:
    """The body kind of an inference path, or None for any other."""
    return ENDPOINTS.get(path) or ENDPOINTS.get(path.partition("?")[0])


def without_trailing_slash(path: str) -> str:
    """The path as engines know it, query kept: "/v1/completions/?a=1" becomes "/v1/completions?a=1"."""
    if path in ENDPOINTS:
        return path
    bare, mark, query = path.partition("?")
    return bare.rstrip("/") + mark + query

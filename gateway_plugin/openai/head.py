"""The head of a request body: what routing and limits need, decoded without building the rest.

msgspec validates the whole JSON text but creates objects only for the fields named here; prompts stay raw bytes.
Messages of mistakes name the field and what was expected, and never quote the body.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from gateway_plugin.openai.endpoints import BodyKind
from gateway_plugin.openai.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable

_BODY_ERROR = {"x-error-request-body-processing": "true"}
_PATH_IN_MESSAGE = re.compile(r"(?P<what>.*?)(?: - at `\$\.?(?P<path>[^`]*)`)?$")


class RequestHead(msgspec.Struct, frozen=True, gc=False):
    """What a request body says before its prompt."""

    model: str
    stream: bool


class PlainHead(Struct):
    model: str | UnsetType | None = UNSET
    stream: bool | UnsetType | None = UNSET


class ChatHead(PlainHead):
    messages: list[Raw] | UnsetType | None = UNSET


class CompletionHead(PlainHead):
    prompt: Raw | UnsetType = UNSET


class InputHead(PlainHead):
    input: Raw | UnsetType = UNSET


class RerankHead(PlainHead):
    query: Raw | UnsetType = UNSET
    documents: list[Raw] | UnsetType | None = UNSET


Decoders: TypeAlias = dict[BodyKind, msgspec.json.Decoder[PlainHead]]


def decode_body(kind: BodyKind, body: bytes, decoders: Decoders) -> tuple[RequestHead, PlainHead]:
    """The head, and all that the decoder of this kind reads; raises ApiError 400 for what no engine could serve."""
    if not body:
        raise bad_body("the request body is empty")
    try:
        decoded = decoders[kind].decode(body)
    except msgspec.ValidationError as error:
        raise _wrong_type(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise bad_body(f"error processing request body: {error}") from None
    if not decoded.model:
        raise missing_model()
    check = _CHECKS.get(kind)
    if check is not None:
        check(decoded)
    return RequestHead(decoded.model, decoded.stream is True), decoded


def bad_body(message: str, param: str | None = None) -> ApiError:
    """400 for a body that cannot be used."""
    return ApiError(400, message, reason="bad_body", param=param, headers=_BODY_ERROR)


def missing_model() -> ApiError:
    """400 for a body that names no model."""
    headers = {"x-error-no-model-in-request": "true"}
    return ApiError(400, "'model' is a required property", reason="no_model", param="model", headers=headers)


def _wrong_type(text: str) -> ApiError:
    match = _PATH_IN_MESSAGE.match(text)
    what, path = (match["what"].replace("`", ""), match["path"]) if match else (text, None)
    if not path:
        return bad_body(f"error processing request body: {what}")
    return bad_body(f"'{path}': {what}", param=path)


def _required(value: object, name: str) -> None:
    if value is UNSET or value is None or value == Raw(b"null"):
        raise bad_body(f"'{name}' is a required property", param=name)


def _check_chat(body: PlainHead) -> None:
    assert isinstance(body, ChatHead)
    if not body.messages:
        raise bad_body("no messages in the request body", param="messages")


def _check_completion(body: PlainHead) -> None:
    assert isinstance(body, CompletionHead)
    _required(body.prompt, "prompt")


def _check_input(body: PlainHead) -> None:
    assert isinstance(body, InputHead)
    _required(body.input, "input")
    text = bytes(body.input) if isinstance(body.input, Raw) else b""
    if text[:1] not in b'"[{':
        raise bad_body("'input' must be a string or an array", param="input")
    if text[:1] in b'"[' and not text[1:-1].strip():
        raise bad_body("'input' must not be empty", param="input")


def _check_embedding(body: PlainHead) -> None:
    _check_input(body)
    if body.stream is True:
        raise bad_body("stream not supported for embeddings", param="stream")


def _check_rerank(body: PlainHead) -> None:
    assert isinstance(body, RerankHead)
    _required(body.query, "query")
    if not body.documents:
        raise bad_body("'documents' is a required property and cannot be empty", param="documents")


_CHECKS: dict[BodyKind, Callable[[PlainHead], None]] = {
    BodyKind.CHAT: _check_chat,
    BodyKind.COMPLETION: _check_completion,
    BodyKind.EMBEDDING: _check_embedding,
    BodyKind.RESPONSES: _check_input,
    BodyKind.CLASSIFY: _check_input,
    BodyKind.RERANK: _check_rerank,
}

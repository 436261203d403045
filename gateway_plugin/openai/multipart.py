"""The head of a multipart body (audio): its `model` and `stream` fields, found without copying the file."""

from __future__ import annotations

from email.message import Message
from typing import TYPE_CHECKING

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser

from gateway_plugin.openai.errors import ApiError
from gateway_plugin.openai.head import RequestHead
from gateway_plugin.openai.values import missing_model

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

_WANTED = frozenset({"model", "stream"})
_MAX_FIELD_BYTES = 1024


def read_multipart_head(content_type: str, body: bytes) -> RequestHead:
    """The head of a multipart/form-data body; raises ApiError 400 with AIBrix's messages."""
    boundary = _boundary(content_type)
    fields = _Fields()
    try:
        parser = MultipartParser(boundary, fields.callbacks())
        parser.write(body)
        parser.finalize()
    except MultipartParseError:
        raise _failed("failed to parse multipart form") from None
    if not fields.complete:
        raise _failed("failed to parse multipart form: it ends before its last boundary")
    model = fields.values.get("model", b"").decode("utf-8", "replace").strip()
    if not model:
        raise missing_model()
    return RequestHead(model, fields.values.get("stream", b"").strip().lower() in (b"true", b"1"))


def multipart_with_model(content_type: str, body: bytes, model: str) -> bytes:
    """A body that was read before, asking for another model."""
    fields = _Fields()
    parser = MultipartParser(_boundary(content_type), fields.callbacks())
    parser.write(body)
    start, end = fields.model_span
    # The parser hands out pieces of the body itself, except for those that looked like a boundary at first.
    if body[start:end] != fields.values.get("model"):
        raise _failed("form field 'model' cannot be read as a name")
    return b"".join((body[:start], model.encode(), body[end:]))


class _Fields:
    """Collects the wanted fields from the parser's events; everything else passes by."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.complete = False
        self.model_span = (0, 0)
        self._header_name = b""
        self._header_value = b""
        self._disposition = ""
        self._wanted: str | None = None

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._part_begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_text,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._data,
            "on_end": self._end,
        }

    def _part_begin(self) -> None:
        self._disposition, self._wanted = "", None

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _header_text(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _header_end(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition = self._header_value.decode("utf-8", "replace")
        self._header_name = self._header_value = b""

    def _headers_finished(self) -> None:
        message = Message()
        message["content-disposition"] = self._disposition
        name = message.get_param("name", header="content-disposition")
        if isinstance(name, str) and name in _WANTED and name not in self.values:
            self._wanted = name
            self.values[name] = b""

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._wanted is None:
            return
        value = self.values[self._wanted] + data[start:end]
        if len(value) > _MAX_FIELD_BYTES:
            raise _failed(f"form field '{self._wanted}' is longer than {_MAX_FIELD_BYTES} bytes")
        self.values[self._wanted] = value
        if self._wanted == "model":
            self.model_span = (self.model_span[0] or start, end)

    def _end(self) -> None:
        self.complete = True


def _boundary(content_type: str) -> str:
    message = Message()
    message["content-type"] = content_type
    if message.get_content_type() != "multipart/form-data":
        raise _failed("expected multipart/form-data content-type")
    boundary = message.get_param("boundary")
    if not isinstance(boundary, str) or not boundary:
        raise _failed("missing boundary in content-type")
    return boundary


def _failed(message: str) -> ApiError:
    return ApiError(400, message, reason="bad_body", headers={"x-error-multipart-parsing": "true"})

"""The head of a multipart body (audio): its `model` and `stream` fields, found without copying the file."""

from __future__ import annotations

from gateway_plugin.openai.form_parts import FormPart, bad_form, boundary_of, parts
from gateway_plugin.openai.head import RequestHead
from gateway_plugin.openai.values import MAX_MODEL_BYTES, missing_model, truth

_WANTED = (b"model", b"stream")


def read_multipart_head(content_type: str, body: bytes) -> RequestHead:
    """The head of a multipart/form-data body; raises ApiError 400."""
    found = _deciding_parts(content_type, body)
    model = _text(body, found[b"model"]).strip() if b"model" in found else ""
    if not model:
        raise missing_model()
    stream = truth(_text(body, found[b"stream"]).strip()) if b"stream" in found else False
    if stream is None:
        raise bad_form("form field 'stream': expected a boolean")
    return RequestHead(model, stream)


def multipart_with_model(content_type: str, body: bytes, model: str) -> bytes:
    """A body that was read before, asking for another model."""
    part, text = _deciding_parts(content_type, body)[b"model"], memoryview(body)
    return b"".join((text[: part.start], model.encode(), text[part.end :]))


def _deciding_parts(content_type: str, body: bytes) -> dict[bytes, FormPart]:
    """Engines take the last part of a name, others the first: of these there must be one."""
    found: dict[bytes, FormPart] = {}
    for part in parts(body, boundary_of(content_type)):
        if part.name in _WANTED:
            if part.name in found:
                raise bad_form(f"form field '{part.name.decode()}' stands more than once")
            found[part.name] = part
    return found


def _text(body: bytes, part: FormPart) -> str:
    name = part.name.decode()
    if part.end - part.start > MAX_MODEL_BYTES:
        raise bad_form(f"form field '{name}' is longer than {MAX_MODEL_BYTES} bytes")
    try:
        if part.is_plain:
            return body[part.start : part.end].decode()
    except UnicodeDecodeError:
        pass
    raise bad_form(f"form field '{name}' is not UTF-8 text")

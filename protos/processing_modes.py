"""What Envoy shall send next, as it is told in a reply.

A mode override is a whole ProcessingMode, whose body fields have no default, so unset means NONE;
`response_trailer_mode: SEND` keeps the stream open until the HTTP exchange ends, without any further message when the
response has no trailers.
"""

from __future__ import annotations

from enum import Enum

from envoy.extensions.filters.http.ext_proc.v3.processing_mode_pb2 import ProcessingMode
from envoy.service.ext_proc.v3.external_processor_pb2 import ProcessingResponse


class Mode(Enum):
    """What Envoy shall send after its header message."""

    __hash__ = object.__hash__  # an Enum's own is a Python function

    BUFFERED_BODY = "buffered_body"
    """The whole request body, then nothing until the exchange ends."""
    HOLD = "hold"
    """Nothing more, but the stream stays open until the exchange ends."""

    BUFFERED_BODY_AND_RESPONSE = "buffered_body_and_response"
    """The whole request body, then the headers of the response."""
    RESPONSE = "response"
    """The headers of the response."""
    STREAMED_RESPONSE = "streamed_response"
    """In answer to the headers of a response: its body, chunk by chunk."""


def _mode(request_body: int, response_headers: int, response_body: int = ProcessingMode.NONE) -> ProcessingMode:
    return ProcessingMode(
        request_header_mode=ProcessingMode.SEND,
        request_body_mode=request_body,
        response_header_mode=response_headers,
        response_body_mode=response_body,
        request_trailer_mode=ProcessingMode.SKIP,
        response_trailer_mode=ProcessingMode.SEND,
    )


MODES = {
    Mode.BUFFERED_BODY: _mode(ProcessingMode.BUFFERED, ProcessingMode.SKIP),
    Mode.HOLD: _mode(ProcessingMode.NONE, ProcessingMode.SKIP),
    Mode.BUFFERED_BODY_AND_RESPONSE: _mode(ProcessingMode.BUFFERED, ProcessingMode.SEND),
    Mode.RESPONSE: _mode(ProcessingMode.NONE, ProcessingMode.SEND),
    Mode.STREAMED_RESPONSE: _mode(ProcessingMode.NONE, ProcessingMode.SEND, ProcessingMode.STREAMED),
}
MODE_OVERRIDES = {
    mode: bytes(ProcessingResponse(mode_override=override).SerializeToString()) for mode, override in MODES.items()
}
"""By mode: what stands in a reply, serialized."""

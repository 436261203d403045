"""The head of a request body: which model it asks for, and whether it asks for a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gateway_plugin.openai.values import flag, model_name

if TYPE_CHECKING:
    from gateway_plugin.openai.fields import Fields


class RequestHead(msgspec.Struct, frozen=True, gc=False):
    """What a request body says before its prompt."""

    model: str
    stream: bool


def head_of(fields: Fields) -> RequestHead:
    """The head of a JSON body; raises ApiError 400 where it names no model, or leaves open whether it streams."""
    return RequestHead(model_name(fields.model), flag(fields.stream, "stream"))

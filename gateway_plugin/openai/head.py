"""The head of a request body: which model it asks for, and whether it asks for a stream."""

from __future__ import annotations

import msgspec


class RequestHead(msgspec.Struct, frozen=True, gc=False):
    """What a request body says before its prompt."""

    model: str
    stream: bool

"""Responses that an engine keeps in its memory, as vLLM does."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from simulator.openai_requests import EngineError

if TYPE_CHECKING:
    import asyncio

    from simulator.openai_shapes import Json

MOST_KEPT = 10_000


@dataclass(slots=True)
class KeptResponse:
    response: Json
    prompt: bytes = b""
    """The conversation up to its end, for those that continue it."""
    task: asyncio.Task[None] | None = None


@dataclass(slots=True)
class KeptResponses:
    """By id; the oldest goes when there are too many."""

    _by_id: OrderedDict[str, KeptResponse] = field(default_factory=OrderedDict)

    def keep(self, response_id: str, kept: KeptResponse) -> None:
        self._by_id[response_id] = kept
        if len(self._by_id) > MOST_KEPT:
            self._by_id.popitem(last=False)

    def get(self, response_id: str) -> KeptResponse:
        kept = self._by_id.get(response_id)
        if kept is None:
            message = f"Response with id '{response_id}' not found."
            raise EngineError(message, status=404, kind="invalid_request_error", param="response_id")
        return kept

    def forget(self, response_id: str) -> None:
        del self._by_id[response_id]

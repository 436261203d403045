"""How many tokens a response had generated when it was cut off, and nobody will ever say so.

    generated = response bytes / (bytes per token of whole responses of that model)

A stream carries some 200 bytes of JSON around each token, a whole response little; so both are learned apart, from
responses that named their usage, each new one with a weight of one twentieth. Before any was seen, the defaults hold.
Fixed parts (the first and last events) make short responses look dearer per token, so that the estimate errs on the
user's side; so does an answer that was not read to its end, of which only the bytes that left Envoy count.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from protos.access_log import FinishedExchange

# vLLM's chunks of chat completions are 180 to 250 bytes; a token of English text is four bytes, and some are escaped.
STREAMED_BYTES_PER_TOKEN = 200.0
WHOLE_BYTES_PER_TOKEN = 5.0
_KEPT = 0.95
_MIN_TOKENS = 8
_MAX_MODELS = 1000
_NOTHING = (0.0, 0.0)


class CutOffTokens:
    """Learns from whole responses, by model."""

    def __init__(self) -> None:
        self._sums: OrderedDict[tuple[str, bool], tuple[float, float]] = OrderedDict()
        """Decaying sums of bytes and tokens; at most `_MAX_MODELS`, those used last."""

    def learn(self, entry: FinishedExchange) -> None:
        """From a response that ended well and named its tokens; others are passed over."""
        tokens = entry.tokens.get("completion_tokens", 0)
        if tokens < _MIN_TOKENS or not entry.response_bytes:
            return
        key = entry.model, entry.streamed
        old_bytes, old_tokens = self._sums.get(key, _NOTHING)
        self._sums[key] = old_bytes * _KEPT + entry.response_bytes, old_tokens * _KEPT + tokens
        self._sums.move_to_end(key)
        if len(self._sums) > _MAX_MODELS:
            self._sums.popitem(last=False)

    def generated(self, entry: FinishedExchange) -> int:
        """At least one token, once a byte has flowed."""
        if not entry.response_bytes:
            return 0
        return max(1, round(entry.response_bytes / self._bytes_per_token(entry)))

    def _bytes_per_token(self, entry: FinishedExchange) -> float:
        key = entry.model, entry.streamed
        total_bytes, tokens = self._sums.get(key, _NOTHING)
        if tokens:
            self._sums.move_to_end(key)
            return total_bytes / tokens
        return STREAMED_BYTES_PER_TOKEN if entry.streamed else WHOLE_BYTES_PER_TOKEN

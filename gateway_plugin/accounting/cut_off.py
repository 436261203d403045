"""How many tokens a response had generated when it was cut off, and nobody will ever say so.

    generated = response bytes / (bytes per token of whole responses of that model)

A stream carries some 200 bytes of JSON around each token, a whole response little; so both are learned apart, from
responses that named their usage, each new one with a weight of one twentieth. Before any was seen, the defaults hold.
Fixed parts (the first and last events) make short responses look dearer per token, so that the estimate errs on the
user's side; so does an answer that was not read to its end, of which only the bytes that left Envoy count.

Bytes per token can be made large by asking for log probabilities, so nobody teaches for all: each user's responses make
one ratio, between a quarter and four times the default, and the median of them holds, from two on together with the
default. Requests in nobody's name are one user here.
"""

from __future__ import annotations

from collections import OrderedDict
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from protos.access_log import FinishedExchange

# vLLM's chunks of chat completions are 180 to 250 bytes; a token of English text is four bytes, and some are escaped.
STREAMED_BYTES_PER_TOKEN = 200.0
WHOLE_BYTES_PER_TOKEN = 5.0
"""The same of answers that come whole: text and little else."""
_KEPT = 0.95
"""Weight of what is known when an answer teaches."""
_MIN_TOKENS = 8
"""Shorter answers are mostly frame, and teach nothing."""
_MAX_MODELS = 1000
"""Those used last; a row each."""
_MAX_TEACHERS = 32
"""Users by model, those used last: one alone moves no estimate by much."""
_MAX_DEVIATION = 4.0
"""Times less or more than the default, whatever was taught."""
_NOTHING = (0.0, 0.0)


class CutOffTokens:
    """Learns from whole responses, by model and by who asked for them."""

    def __init__(self) -> None:
        self._taught: OrderedDict[tuple[str, bool], OrderedDict[str, tuple[float, float]]] = OrderedDict()
        """Decaying sums of bytes and tokens by user; of `_MAX_MODELS` and `_MAX_TEACHERS`, those used last."""

    def learn(self, entry: FinishedExchange) -> None:
        """From a response that ended well and named its tokens; others are passed over."""
        tokens = entry.tokens.get("completion_tokens", 0)
        if tokens < _MIN_TOKENS or not entry.response_bytes:
            return
        key = entry.model, entry.streamed
        teachers = self._taught.get(key)
        if teachers is None:
            teachers = self._taught[key] = OrderedDict()
        old_bytes, old_tokens = teachers.get(entry.user, _NOTHING)
        teachers[entry.user] = old_bytes * _KEPT + entry.response_bytes, old_tokens * _KEPT + tokens
        teachers.move_to_end(entry.user)
        self._taught.move_to_end(key)
        if len(teachers) > _MAX_TEACHERS:
            teachers.popitem(last=False)
        if len(self._taught) > _MAX_MODELS:
            self._taught.popitem(last=False)

    def generated(self, entry: FinishedExchange) -> int:
        """At least one token, once a byte has flowed."""
        if not entry.response_bytes:
            return 0
        return max(1, round(entry.response_bytes / self._bytes_per_token(entry)))

    def _bytes_per_token(self, entry: FinishedExchange) -> float:
        key, default = (
            (entry.model, entry.streamed),
            STREAMED_BYTES_PER_TOKEN if entry.streamed else WHOLE_BYTES_PER_TOKEN,
        )
        teachers = self._taught.get(key)
        if not teachers:
            return default
        self._taught.move_to_end(key)
        least, most = default / _MAX_DEVIATION, default * _MAX_DEVIATION
        ratios = [min(max(total_bytes / tokens, least), most) for total_bytes, tokens in teachers.values()]
        return median([*ratios, default] if len(ratios) > 1 else ratios)

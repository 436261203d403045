"""How many tokens a prompt will have, by its bytes: four a token, set right by what engines said of earlier ones.

    tokens = bytes / 4 * ratio,    ratio = (P + sum of real tokens) / (P + sum of bytes / 4),    P = 4,000 tokens

one ratio for each model and kind of text, over its last fifty prompts or so. English needs about what is assumed, but
Chinese has three bytes a character and less than a token, or six bytes where the client escapes it: half and double.
A ratio is rounded to 2 %, so that the ends of a prompt's blocks in tokens are a table made once.

A client can move the ratio of the model that it asks for, and only by what it truly sends: a prompt counts with 8,000
tokens at most, a ratio is bounded, and what differs from its bytes more than any text does (pictures, mistakes) is left
out. Replicas learn alone.
"""

from __future__ import annotations

from functools import lru_cache
from math import log2
from typing import TYPE_CHECKING

import msgspec

from routing.prefix.prefix_blocks import BLOCK_TOKENS

if TYPE_CHECKING:
    from collections.abc import Sequence

LEAST_RATIO, MOST_RATIO = 0.2, 4.0
"""Escapes alone are 0.2 of what their bytes say; 4 is a token a byte."""
# Two prompts of usual length say that bytes are right.
_PRIOR_TOKENS = 4000.0
# One long prompt must not speak louder than several usual ones.
_MOST_TOKENS = 8000.0
# The last fifty prompts make up 63 % of what is known.
_KEPT = 0.98
# What lies beyond has other parts than text.
_OUTLIER = 8.0
# Steps of 2 %: finer than anybody can tell, and 140 tables in all.
_STEPS_PER_OCTAVE = 32
_MAX_MODELS = 4096
"""Those that were asked for last are learned anew: more than any deployment serves."""

# Of a prompt, its end tells the kind: there stands what was written last. To look through that takes a microsecond.
_SAMPLE_BYTES = 1024
_BACKSLASH, _ESCAPE, _ESCAPE_BYTES = b"\\", b"\\u", 6
_ESCAPED_SHARE = 0.25
# Characters a byte: accents among ASCII, scripts of two bytes a letter with spaces between words, scripts of three.
_FEW, _TWO_BYTES = 0.85, 0.48
KINDS = ("ascii", "accents", "two bytes", "three bytes", "escaped")


def kind_of(text: bytes) -> int:
    """Which of `KINDS` a prompt is: what its tokens are likely to be over its bytes."""
    sample = text[-_SAMPLE_BYTES:]
    if sample.isascii():
        if _BACKSLASH not in sample:  # a tenth of the time that it takes to count
            return 0
        return 4 if sample.count(_ESCAPE) * _ESCAPE_BYTES > _ESCAPED_SHARE * len(sample) else 0
    density = len(sample.decode("utf-8", "ignore")) / len(sample)
    return 1 if density >= _FEW else 2 if density >= _TWO_BYTES else 3


class TokenRatio(msgspec.Struct, gc=False):
    """What is known of one model and kind of text."""

    ratio: float = 1.0
    """Tokens over a quarter of the bytes."""
    block_tokens: Sequence[float] = BLOCK_TOKENS
    """Of a prompt up to and including each of its blocks."""
    real_tokens: float = 0.0
    plain_tokens: float = 0.0

    def observe(self, plain_tokens: float, real_tokens: float) -> None:
        """A prompt of so many quarters of bytes had so many tokens."""
        if not plain_tokens / _OUTLIER <= real_tokens <= plain_tokens * _OUTLIER or plain_tokens <= 0.0:
            return
        weight = min(1.0, _MOST_TOKENS / plain_tokens)
        self.real_tokens = self.real_tokens * _KEPT + weight * real_tokens
        self.plain_tokens = self.plain_tokens * _KEPT + weight * plain_tokens
        ratio = (_PRIOR_TOKENS + self.real_tokens) / (_PRIOR_TOKENS + self.plain_tokens)
        step = round(log2(min(max(ratio, LEAST_RATIO), MOST_RATIO)) * _STEPS_PER_OCTAVE)
        self.ratio, self.block_tokens = _of_step(step)


@lru_cache(maxsize=256)
def _of_step(step: int) -> tuple[float, Sequence[float]]:
    ratio = 2.0 ** (step / _STEPS_PER_OCTAVE)
    return ratio, tuple(tokens * ratio for tokens in BLOCK_TOKENS)


class PromptEstimates:
    """The ratios of all models."""

    def __init__(self) -> None:
        self._models: dict[str, tuple[TokenRatio, ...]] = {}

    def of(self, model: str, text: bytes) -> TokenRatio:
        """What prompts like this one have."""
        return self.of_kind(model, kind_of(text))

    def of_kind(self, model: str, kind: int) -> TokenRatio:
        """The same, for one of `KINDS`, by its place there."""
        ratios = self._models.get(model)
        if ratios is None:
            if len(self._models) >= _MAX_MODELS:
                self._models.clear()
            ratios = self._models[model] = tuple(TokenRatio() for _ in KINDS)
        return ratios[kind]

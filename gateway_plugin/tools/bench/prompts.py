"""Prompts without meaning: words drawn from names of blocks, so that requests share what their names share.

Every word has three letters and a space. That is one token for the usual vocabularies, and four bytes, which is what
gateways estimate a token by. The bytes are ASCII without quotes: they stand in JSON as they are.
"""

from __future__ import annotations

from hashlib import shake_128
from typing import TYPE_CHECKING

import numpy as np

from simulator.tokens import TOKEN_BYTES, WORDS

if TYPE_CHECKING:
    from gateway_plugin.tools.bench.asks import Ask

_WORD_OF_BYTE = np.frombuffer("".join(WORDS[byte % len(WORDS)] for byte in range(256)).encode(), dtype="<u4")


class Texts:
    """Texts of one run. Another salt gives other texts with the same sharing, which no cache has seen."""

    def __init__(self, salt: str, block_tokens: int) -> None:
        self._salt = salt
        self._block_tokens = block_tokens

    def prompt(self, ask: Ask, number: int) -> bytes:
        """As many words as the ask has prompt tokens; `number` makes what its blocks do not cover its own."""
        texts = [self._words(f"block {block}", self._block_tokens) for block in ask.blocks[: self._needed(ask)]]
        missing = ask.prompt_tokens - len(texts) * self._block_tokens
        if missing > 0:
            texts.append(self._words(f"request {number}", missing))
        return b"".join(texts)[: ask.prompt_tokens * TOKEN_BYTES]

    def _needed(self, ask: Ask) -> int:
        return -(-ask.prompt_tokens // self._block_tokens)

    def _words(self, name: str, count: int) -> bytes:
        drawn = shake_128(f"{self._salt}/{name}".encode()).digest(count)
        return _WORD_OF_BYTE[np.frombuffer(drawn, dtype=np.uint8)].tobytes()

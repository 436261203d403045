"""Tokens without a tokenizer: four bytes of UTF-8 are one token.

A prompt is a byte string whose every four bytes are one token; each part of it (role marker, text, tool list) is padded
to whole tokens. Generated words are exactly one token long and text is cut from its beginning, so an answer that comes
back in the next turn's prompt yields the very tokens that were generated, and hits their blocks.
"""

from __future__ import annotations

from array import array
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

TOKEN_BYTES = 4
MEDIA_TOKENS = 256  # an image or audio part of a message; what a small picture costs a vision model
MAX_TOKEN_ID = 0xFFFF_FFFF

# Cut, like everything else, into pieces of four bytes: three letters and a space.
_LETTERS = (
    "the and for not you all any can day get has her him his how its may new now old one our out own put red run say "
    "see set she sit six sky sun ten top try two use war way who why win yes yet "
)
WORDS = tuple(_LETTERS[start : start + TOKEN_BYTES] for start in range(0, len(_LETTERS), TOKEN_BYTES))


def encode_text(text: str) -> bytes:
    return _padded(text.encode("utf-8", "replace"))


def encode_ids(ids: Sequence[int]) -> bytes:
    """Token ids given by the client, each in 0 … MAX_TOKEN_ID."""
    return array("I", ids).tobytes()


def decode_ids(tokens: bytes) -> list[int]:
    """The token ids of a prompt."""
    return array("I", tokens).tolist()


def encode_media(content: bytes) -> bytes:
    """A part that is not text: a fixed number of tokens that differ when the content does."""
    digest = blake2b(content).digest()
    return digest * (MEDIA_TOKENS * TOKEN_BYTES // len(digest))


def encode_message(role: str, content: bytes) -> bytes:
    return open_turn(role) + _padded(content) + b"<|/>"


def open_turn(role: str) -> bytes:
    return encode_text(f"<|{role}|>")


def count_tokens(tokens: bytes) -> int:
    return len(tokens) // TOKEN_BYTES


def block_hashes(tokens: bytes, block_tokens: int, namespace: str) -> tuple[int, ...]:
    """One hash per full block, each covering all before it; `namespace` (model or adapter) separates the chains.

    Built on `hash`, which is fast (100 KB in 0.3 ms) and differs between processes: a pool lives in one process.
    """
    size = block_tokens * TOKEN_BYTES
    chained = hash(namespace)
    hashes: list[int] = []
    for start in range(0, len(tokens) - size + 1, size):
        chained = hash((chained, tokens[start : start + size]))
        hashes.append(chained)
    return tuple(hashes)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % TOKEN_BYTES)

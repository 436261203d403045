"""Prompts share exactly what their names share, and have exactly the length that was asked for."""

from __future__ import annotations

import itertools
import json

from hypothesis import given
from hypothesis import strategies as st

from gateway_plugin.tools.bench.asks import Ask
from gateway_plugin.tools.bench.prompts import Texts
from gateway_plugin.tools.bench.target import CHAT, COMPLETIONS, BenchTarget

BLOCK = 16
BLOCKS = st.lists(st.integers(0, 5), max_size=5).map(tuple)


def texts(salt: str = "salt") -> Texts:
    return Texts(salt, BLOCK)


@given(BLOCKS, st.integers(1, 100))
def test_lengths(blocks: tuple[int, ...], tokens: int) -> None:
    prompt = texts().prompt(Ask(0, tokens, 1, blocks), 7)
    assert len(prompt) == 4 * tokens
    assert all(len(word) == 3 for word in prompt.decode().split())


@given(BLOCKS, BLOCKS, st.integers(1, 100), st.integers(1, 100))
def test_prompts_share_their_common_blocks_and_no_more(
    one: tuple[int, ...], other: tuple[int, ...], one_tokens: int, other_tokens: int
) -> None:
    first = texts().prompt(Ask(0, one_tokens, 1, one), 1)
    second = texts().prompt(Ask(0, other_tokens, 1, other), 2)
    common = BLOCK * len(list(itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))))
    shared = min(common, one_tokens, other_tokens)
    assert first[: 4 * shared] == second[: 4 * shared]
    # After that they differ, but for a word or two by chance.
    rest = min(one_tokens, other_tokens) - shared
    if rest >= BLOCK:
        assert first[4 * shared : 4 * (shared + BLOCK)] != second[4 * shared : 4 * (shared + BLOCK)]


def test_prompts_without_blocks_share_nothing() -> None:
    assert texts().prompt(Ask(0, 64, 1), 1)[:64] != texts().prompt(Ask(0, 64, 1), 2)[:64]


def test_texts_are_the_same_in_every_process_and_others_with_another_salt() -> None:
    ask = Ask(0, 6, 1, (1,))
    assert texts().prompt(ask, 0) == texts().prompt(ask, 0) == b"try old set all two way "
    assert texts("other").prompt(ask, 0) != texts().prompt(ask, 0)


@given(st.booleans(), st.booleans(), st.sampled_from([CHAT, COMPLETIONS]), st.text())
def test_bodies_are_json(stream: bool, ignore_eos: bool, path: str, model: str) -> None:
    target = BenchTarget("http://a", path, model, stream, ignore_eos)
    body = json.loads(target.body(b"one two ", 5))
    prompt = body.pop("prompt") if path == COMPLETIONS else body.pop("messages")[0]["content"]
    expected = {"model": model, "max_tokens": 5, "stream": stream}
    expected |= {"stream_options": {"include_usage": True}} if stream else {}
    assert (prompt, body) == ("one two ", expected | ({"ignore_eos": True} if ignore_eos else {}))

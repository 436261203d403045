"""Other names in requests and responses; nothing else changes."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_plugin.openai.rewriting import NameRestorer, with_model


def test_the_rest_of_a_request_stays_as_it_was():
    body = b'{ "model" : "gpt-4o", "messages":[{"role":"user","content":"\\u00e9 \\"model\\":\\"gpt-4o\\""}],"n": 1.0 }'
    changed = with_model(body, 'a"b')
    assert changed == body.replace(b'"gpt-4o"', b'"a\\"b"', 1)


def test_only_the_top_level_is_written_anew():
    assert with_model(b'{"x":{"model":"c"},"model" :\t"b" }', "m") == b'{"x":{"model":"c"},"model" :\t"m" }'


def restored(text: bytes, cuts: list[int], name: str = "llama-3", asked: str = "gpt-4o") -> bytes:
    restorer = NameRestorer(name, asked)
    edges = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    pieces = [text[start:end] for start, end in itertools.pairwise(edges)]
    return b"".join(restorer.feed(piece, is_last=at == len(pieces) - 1) for at, piece in enumerate(pieces))


STREAM = b"".join(
    b'data: {"id":"x","model":"llama-3","choices":[{"delta":{"content":"say \\"model\\":\\"llama-3\\" %d"}}]}\n\n' % n
    for n in range(3)
)


@given(st.lists(st.integers(0, 10_000), max_size=12))
def test_streams_in_any_pieces(cuts: list[int]):
    assert restored(STREAM, cuts) == STREAM.replace(b'"model":"llama-3",', b'"model":"gpt-4o",')


@given(
    st.lists(st.sampled_from([b'"', b"model", b'"model"', b":", b" ", b'"llama-3"', b"llama", b",", b"\n"])), st.data()
)
def test_any_text_in_any_pieces_is_as_in_one(parts: list[bytes], data: st.DataObject):
    text = b"".join(parts)
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=5))
    assert restored(text, cuts) == restored(text, [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b'{"model": "llama-3"}', b'{"model": "gpt-4o"}'),
        (b'{"model"\n:\n"llama-3"}', b'{"model"\n:\n"gpt-4o"}'),
        (b'{"model":"llama-30"}', b'{"model":"llama-30"}'),
        (b'{"response":{"model":"llama-3"}}', b'{"response":{"model":"gpt-4o"}}'),
        (b'{"my_model":"llama-3"}', b'{"my_model":"llama-3"}'),
        (b'{"text":"\\"model\\":\\"llama-3\\""}', b'{"text":"\\"model\\":\\"llama-3\\""}'),
    ],
)
def test_only_the_member_is_replaced(text: bytes, expected: bytes):
    assert restored(text, []) == expected


def test_names_with_quotes_and_backslashes():
    text = json.dumps({"model": 'a\\"b'}, separators=(",", ":")).encode()
    assert json.loads(restored(text, [11], 'a\\"b', "c\\d")) == {"model": "c\\d"}


def test_nothing_waits_that_need_not():
    restorer = NameRestorer("llama-3", "gpt-4o")
    assert restorer.feed(b'data: {"id":"x","mod', is_last=False) == b'data: {"id":"x",'
    assert restorer.feed(b'el":"lla', is_last=False) == b""
    assert restorer.feed(b'ma-4"}', is_last=False) == b'"model":"llama-4"}'

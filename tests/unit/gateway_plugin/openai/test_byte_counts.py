"""What numpy counts is what `bytes.count` counts, across strides, too."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_plugin.openai import byte_counts
from gateway_plugin.openai.byte_counts import Quotes, count_openings, count_quotes

TEXTS = st.lists(st.sampled_from([b'"', b"\\", b"a", b"[", b"{", b'\\"', b'\\\\"']), max_size=60).map(b"".join)


@pytest.fixture(autouse=True)
def strides_of_seven(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(byte_counts, "SMALL_BYTES", 0)
    monkeypatch.setattr(byte_counts, "_STRIDE_BYTES", 7)


@given(TEXTS, st.integers(0, 5), st.integers(0, 5))
def test_counts_are_those_of_the_plain_methods(text: bytes, before: int, behind: int) -> None:
    start, end = before, max(before, len(text) - behind)
    wanted = Quotes(*(text.count(what, start, end) for what in (b'"', b'\\"', b'\\\\"')))
    assert count_quotes(text, start, end) == wanted
    assert count_openings(text) == text.count(b"[") + text.count(b"{")

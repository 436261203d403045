"""However a stream is cut, the lines are the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube.lines import Lines, LineTooLongError


@given(st.lists(st.binary(min_size=1, max_size=8).filter(lambda line: b"\n" not in line and line.strip())), st.data())
def test_any_cut(lines: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(line + b"\n" for line in lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)))))
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    splitter = Lines()
    assert [line for piece in pieces for line in splitter.feed(piece)] == lines


def test_half_a_line_is_none() -> None:
    splitter = Lines()
    assert splitter.feed(b'{"a": 1}\r\n\n{"b"') == [b'{"a": 1}\r']
    assert splitter.feed(b": 2}") == []


def test_what_never_ends_is_refused() -> None:
    splitter = Lines(max_line_bytes=10)
    splitter.feed(b"0123456789")
    with pytest.raises(LineTooLongError, match="10 bytes"):
        splitter.feed(b"0")

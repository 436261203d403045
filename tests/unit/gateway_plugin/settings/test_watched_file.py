"""What counts as a change of a file, and what as a part of one."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway_plugin.settings.watched_file import WatchedFile, looks_cut_off, shape_of, without_comments


def test_a_change_is_told_once_when_it_is_seen_twice(tmp_path: Path):
    path = tmp_path / "file"
    path.write_text("a")
    file = WatchedFile(path)
    assert [file.has_changed() for _ in range(3)] == [False, False, False]
    path.write_text("ab")
    assert [file.has_changed() for _ in range(3)] == [False, True, False]
    path.write_text("abc")
    assert not file.has_changed()
    path.write_text("abcd")
    assert [file.has_changed() for _ in range(3)] == [False, True, False]
    path.unlink()
    assert [file.has_changed() for _ in range(3)] == [False, True, False]


def test_what_was_read_otherwise_is_not_told(tmp_path: Path):
    path = tmp_path / "file"
    file = WatchedFile(path)
    path.write_text("ab")
    file.was_read()
    assert [file.has_changed() for _ in range(3)] == [False, False, False]


def test_no_file_never_changes():
    assert not WatchedFile(None).has_changed()


@pytest.mark.parametrize(
    ("before", "now", "cut"),
    [
        (b"a: 1\nb: 2\n", b"a: 1\nb", True),
        (b"a: 1\nb: 2\n", b"", True),
        (b"a: 1\nb: 2\n", b"\n \n", True),
        (b"a: 1\nb: 2\n", b"a: 1\n", False),
        (b"a: 1\nb: 2\n", b"a: 1\nb: 2222", False),
        (b"a: 1\nb: 2", b"a: 1", False),
        (b"", b"", False),
        (b"\n", b"", False),
        (b"a: 1\n", b"b: 222\n", False),
    ],
)
def test_a_part_is_told_from_a_change(before: bytes, now: bytes, cut: bool):
    assert bool(looks_cut_off(shape_of(before), shape_of(now))) is cut


def test_comments_say_nothing():
    assert without_comments(b"# a\n---\n  # b\n").strip() == b""
    assert without_comments(b"# a\nb: 1\n") == b"b: 1\n"

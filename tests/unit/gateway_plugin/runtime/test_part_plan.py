"""Parts cover every byte once, and a journal is believed only about the same bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some

from gateway_plugin.runtime.part_plan import all_parts, finished_parts, journal_head, journal_line, refusal
from gateway_plugin.runtime.remote_files import RemoteFile

files_of = some.lists(
    some.builds(
        RemoteFile,
        name=some.sampled_from(["a", "b/c", "d.bin"]),
        size_bytes=some.integers(0, 5000),
        version=some.sampled_from(["", '"v1"']),
        ranges=some.booleans(),
    ),
    min_size=1,
    max_size=4,
)


@given(files_of, some.integers(1, 700))
def test_every_byte_once(files: list[RemoteFile], part_bytes: int):
    parts = all_parts(files, part_bytes)
    for number, file in enumerate(files):
        own = [part for part in parts if part.file == number]
        assert [byte for part in own for byte in range(part.start, part.end)] == list(range(file.size_bytes))
        assert file.ranges or len(own) <= 1


@given(files_of, some.integers(0, 30), some.integers(0, 40))
def test_a_journal_that_was_cut_off_loses_its_last_line_only(files: list[RemoteFile], count: int, cut: int):
    head = journal_head("i", files, 500)
    done = all_parts(files, 500)[:count]
    text = "\n".join([head, *map(journal_line, done)])
    text = text[: max(len(head), len(text) - cut)]
    found = finished_parts(text.splitlines(), head)
    kept = [part for part in done if files[part.file].version]
    assert found <= set(kept)
    assert cut or found == set(kept)


def test_a_journal_of_other_bytes_is_worth_nothing():
    file = RemoteFile("a", 1000, '"v1"')
    head = journal_head("i", [file], 500)
    lines = [head, *map(journal_line, all_parts([file], 500))]
    assert len(finished_parts(lines, head)) == 2
    for other in (journal_head("j", [file], 500), journal_head("i", [file], 250)):
        assert finished_parts(lines, other) == set()
    newer = journal_head("i", [RemoteFile("a", 1000, '"v2"')], 500)
    assert finished_parts(lines, newer) == set()
    assert finished_parts([], head) == set()


def test_room():
    assert refusal(10, 20, 10, 0, 0) is None
    assert "11 bytes are to come, 20 are free" in (refusal(11, 20, 10, 0, 0) or "")
    assert "5 of at most 14 are held" in (refusal(10, 100, 0, 5, 14) or "")
    assert refusal(10, 100, 0, 5, 15) is None

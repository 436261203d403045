"""Traces of both formats are read as written; a wrong line is named with its number."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_plugin.tools.bench.asks import Ask
from gateway_plugin.tools.bench.traces import TraceError, read_trace

TOKENS = st.integers(0, 10_000_000)
BEGIN = datetime(2023, 11, 16, 18, 15, 46)  # noqa: DTZ001 - as in the files


def file(directory: Path, text: str) -> Path:
    path = directory / "trace"
    path.write_text(text)
    return path


ROWS = st.lists(
    st.tuples(st.integers(0, 10**9), TOKENS, TOKENS, st.lists(st.integers(0, 10**12), max_size=4)), min_size=1
)


@given(ROWS)
def test_mooncake(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int, int, list[int]]]) -> None:
    names = ("timestamp", "input_length", "output_length", "hash_ids")
    lines = [json.dumps(dict(zip(names, row, strict=True))) for row in rows]
    asks = read_trace(file(tmp_path_factory.mktemp("trace"), "\n".join(lines) + "\n\n"))
    rows.sort(key=lambda row: row[0])
    assert [(ask.prompt_tokens, ask.output_tokens, ask.blocks) for ask in asks] == [
        (max(1, prompt), max(1, output), tuple(ids)) for _, prompt, output, ids in rows
    ]
    assert [ask.at_seconds for ask in asks] == pytest.approx([(row[0] - rows[0][0]) / 1000 for row in rows])


@given(st.lists(st.tuples(st.integers(0, 10**11), TOKENS, TOKENS), min_size=1), st.sampled_from(["", "+00:00"]))
def test_azure(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int, int]], zone: str) -> None:
    lines = ["TIMESTAMP,ContextTokens,GeneratedTokens"]
    for us, prompt, output in rows:
        when = (BEGIN + timedelta(microseconds=us)).isoformat(" ", timespec="microseconds")
        lines.append(f"{when}0{zone},{prompt},{output}")
    asks = read_trace(file(tmp_path_factory.mktemp("trace"), "\r\n".join(lines)))
    rows.sort(key=lambda row: row[0])
    assert [(ask.prompt_tokens, ask.output_tokens) for ask in asks] == [(max(1, p), max(1, o)) for _, p, o in rows]
    assert [ask.at_seconds for ask in asks] == pytest.approx([(row[0] - rows[0][0]) / 1e6 for row in rows], abs=1e-5)


def test_without_names_of_blocks(tmp_path: Path) -> None:
    path = file(tmp_path, '{"timestamp": 5, "input_length": 3, "output_length": 4}')
    assert read_trace(path) == [Ask(0.0, 3, 4)]


GOOD = '{"timestamp": 0, "input_length": 3, "output_length": 4, "hash_ids": []}\n'
HEAD = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.68,374,44\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (GOOD + "{", "line 2: .*expected {"),
        (GOOD + GOOD + '{"timestamp": 0}', "line 3: .*input_length"),
        ('{"timestamp": 0, "input_length": -3, "output_length": 4}', "line 1: .*input_length"),
        ('{"timestamp": 0, "input_length": 99999999999, "output_length": 4}', "line 1: .*input_length"),
        ('{"timestamp": "now", "input_length": 3, "output_length": 4}', "line 1: .*timestamp"),
        ("TIMESTAMP,Tokens\n", "line 1: expected the header TIMESTAMP,ContextTokens,GeneratedTokens"),
        (HEAD + "yesterday,1,2\n", "line 3: .*yesterday.*expected 2023"),
        (HEAD + "2023-11-16 18:15:46,many,2\n", "line 3: .*many"),
        (HEAD + "2023-11-16 18:15:46,1\n", "line 3: .*expected 2023"),
        (HEAD + "2023-11-16 18:15:46,1,-2\n", "line 3: -2 tokens"),
        ("", "no requests in it"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n", "no requests in it"),
    ],
)
def test_wrong_lines_are_named(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(TraceError, match=f"{tmp_path}/trace.*{says}"):
        read_trace(file(tmp_path, text))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="missing: No such file"):
        read_trace(tmp_path / "missing")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x80")
    with pytest.raises(TraceError, match="binary: not a text file"):
        read_trace(tmp_path / "binary")


@given(st.text())
def test_any_text_is_a_trace_or_an_error(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    directory = tmp_path_factory.mktemp("trace")
    (directory / "trace").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(TraceError, match="trace"):
        read_trace(directory / "trace")

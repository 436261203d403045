"""Recorded traces: Mooncake's JSONL (with names of prompt blocks) and Azure's CSV (lengths only).

Mooncake: one object a line; `timestamp` in milliseconds, `input_length` and `output_length` in tokens, `hash_ids` one
per block of the prompt, equal where prompts are equal. Azure: `TIMESTAMP,ContextTokens,GeneratedTokens`, a date and two
numbers. Times become seconds after the first request; lines need not be in order.
"""

from __future__ import annotations

import csv
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import msgspec

from gateway_plugin.tools.bench.asks import Ask
from gateway_plugin.tools.bench.lengths import LONGEST_TOKENS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BLOCK_TOKENS = 512
MOONCAKE_LINE = '{"timestamp": milliseconds, "input_length": tokens, "output_length": tokens, "hash_ids": [numbers]}'
AZURE_HEADER = ["TIMESTAMP", "ContextTokens", "GeneratedTokens"]
AZURE_LINE = "2023-11-16 18:15:46.680,374,44 (time, prompt tokens, answer tokens)"

_Tokens = Annotated[int, msgspec.Meta(ge=0, le=LONGEST_TOKENS)]


class TraceError(ValueError):
    """A trace that cannot be read; the text names file and line, and what was expected there."""


class _Mooncake(msgspec.Struct):
    timestamp: Annotated[float, msgspec.Meta(ge=0)]
    input_length: _Tokens
    output_length: _Tokens
    hash_ids: tuple[int, ...] = ()


def read_trace(path: Path) -> list[Ask]:
    """Every request of a trace, in order of time; raises TraceError. The first line tells which format it is."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            first = lines.readline()
            lines.seek(0)
            asks = list(_azure(path, lines) if first.startswith(AZURE_HEADER[0]) else _mooncake(path, lines))
    except OSError as error:
        raise TraceError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise TraceError(f"{path}: not a text file: {error.reason}") from error
    if not asks:
        raise TraceError(f"{path}: no requests in it; expected lines like {MOONCAKE_LINE}, or a CSV file of Azure's")
    asks.sort(key=lambda ask: ask.at_seconds)
    began = asks[0].at_seconds
    return [replace(ask, at_seconds=ask.at_seconds - began) for ask in asks]


def _mooncake(path: Path, lines: Iterator[str]) -> Iterator[Ask]:
    decoder = msgspec.json.Decoder(_Mooncake)
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = decoder.decode(line)
        except msgspec.DecodeError as error:
            raise TraceError(f"{path}, line {number}: {error}; expected {MOONCAKE_LINE}") from error
        yield Ask(row.timestamp / 1000.0, max(1, row.input_length), max(1, row.output_length), row.hash_ids)


def _azure(path: Path, lines: Iterator[str]) -> Iterator[Ask]:
    rows = csv.reader(lines)
    if [name.strip() for name in next(rows)] != AZURE_HEADER:
        raise TraceError(f"{path}, line 1: expected the header {','.join(AZURE_HEADER)}")
    for row in rows:
        if not row:
            continue
        try:
            when, prompt, output = row
            yield Ask(_seconds(when), _tokens(prompt), _tokens(output))
        except (ValueError, csv.Error) as error:
            raise TraceError(f"{path}, line {rows.line_num}: {error}; expected {AZURE_LINE}") from error


def _seconds(when: str) -> float:
    moment = datetime.fromisoformat(when.strip())
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _tokens(text: str) -> int:
    tokens = int(text)
    if not 0 <= tokens <= LONGEST_TOKENS:
        raise ValueError(f"{tokens} tokens")
    return max(1, tokens)

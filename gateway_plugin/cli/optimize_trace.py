"""Requests of a trace, as lengths by model: Mooncake's and our own JSON lines, or a CSV as Azure publishes it."""

from __future__ import annotations

import csv
import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from orchestration.optimizer.request_cells import Cell, cell_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_ALL = "all"
"""The model of traces that name none."""
_PROMPT = ("input_length", "prompt_tokens", "ContextTokens", "input_tokens")
_OUTPUT = ("output_length", "completion_tokens", "GeneratedTokens", "output_tokens")


@dataclass(slots=True)
class TraceLengths:
    """Counts by model and cell over `seconds`."""

    models: dict[str, Counter[Cell]] = field(default_factory=dict)
    first_seconds: float = float("inf")
    last_seconds: float = float("-inf")

    @property
    def seconds(self) -> float:
        return max(1.0, self.last_seconds - self.first_seconds)

    def rates(self, scale: float) -> dict[str, dict[Cell, float]]:
        """Requests a second by model, `scale` times as many as in the trace."""
        return {
            model: {cell: count * scale / self.seconds for cell, count in cells.items()}
            for model, cells in self.models.items()
        }


def read_lengths(path: Path) -> TraceLengths:
    """ValueError names the first line that is no request."""
    found = TraceLengths()
    for number, row in enumerate(_rows(path), 1):
        try:
            at = _moment(row)
            cell = cell_of(int(float(_first(row, _PROMPT))), int(float(_first(row, _OUTPUT))))
        except (KeyError, ValueError, TypeError) as error:
            raise ValueError(f"{path}: request {number}: {type(error).__name__}: {error}") from None
        found.models.setdefault(str(row.get("model") or _ALL), Counter())[cell] += 1
        found.first_seconds, found.last_seconds = min(found.first_seconds, at), max(found.last_seconds, at)
    if not found.models:
        raise ValueError(f"{path}: there are no requests in it")
    return found


def _rows(path: Path) -> Iterator[Mapping[str, str]]:
    with path.open() as text:
        if path.suffix == ".csv":
            yield from csv.DictReader(text)
            return
        for number, line in enumerate(text, 1):
            if line.strip():
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise ValueError(f"{path}: line {number}: an object is wanted")
                yield row


def _first(row: Mapping[str, str], names: tuple[str, ...]) -> str:
    for name in names:
        if name in row:
            return row[name]
    raise KeyError(f"one of {', '.join(names)} is wanted")


def _moment(row: Mapping[str, str]) -> float:
    """Seconds; `timestamp` counts milliseconds, as Mooncake's, `at` seconds, `TIMESTAMP` is a date."""
    if "timestamp" in row:
        return float(row["timestamp"]) / 1000
    if "at" in row:
        return float(row["at"])
    return datetime.fromisoformat(row["TIMESTAMP"][:26]).timestamp()

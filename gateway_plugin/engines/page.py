"""Reads a handful of metrics off a Prometheus text page without parsing the page.

An engine's page has tens of kilobytes, nearly all of it histogram buckets that nobody asked for; a full parse costs
tens of milliseconds, searching the bytes for a few names a fraction of one.

- Several series of one name are the engine's data-parallel ranks (label `engine` or `dp_rank`), or parts of a
  counter: requests and tokens are summed, the usage ratio is averaged over the ranks.
- A series with a `priority` is left out: SGLang breaks queues down by priority beside their total (`priority=""`).
- NaN, infinite and negative values are left out, and so is every line that cannot be read.
- A column without a readable series is NaN: unknown, never zero.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway_plugin.engines.names import Column, Engine

_PRIORITY = re.compile(rb'[{,]\s*priority="[^"]')
_AVERAGED: frozenset[Column] = frozenset({"kv_usage_ratio"})
_AFTER_NAME = (b"{", b" ", b"\t")


@dataclass(frozen=True, slots=True)
class EngineMetrics:
    """The pod table's polled columns; NaN where the page says nothing."""

    running_requests: float = math.nan
    waiting_requests: float = math.nan
    kv_usage_ratio: float = math.nan
    prefix_hit_tokens: float = math.nan
    prefix_query_tokens: float = math.nan


def read_page(page: bytes, engine: Engine) -> EngineMetrics | None:
    """The page's values, or None when it holds nothing that the engine is known to say."""
    lines = b"\n" + page
    found: dict[str, float] = {}
    for column, names in engine.columns.items():
        values = next(filter(None, ([*_values(lines, name)] for name in names)), None)
        if values:
            total = sum(values)
            found[column] = total / len(values) if column in _AVERAGED else total
    return EngineMetrics(**found) if found else None


def _values(lines: bytes, name: bytes) -> Iterator[float]:
    needle = b"\n" + name
    start = lines.find(needle)
    while start >= 0:
        after = start + len(needle)
        end = lines.find(b"\n", after)
        end = len(lines) if end < 0 else end
        value = _value(lines[after:end])
        if 0.0 <= value < math.inf:
            yield value
        start = lines.find(needle, end)


def _value(rest: bytes) -> float:
    """The value behind a metric's name: `[{labels}] value [timestamp]`. NaN when there is none to count."""
    if rest[:1] not in _AFTER_NAME:
        return math.nan
    # Braces may stand in label values, but never behind the labels.
    labels, _, tail = rest.rpartition(b"}")
    fields = tail.split()
    if not 1 <= len(fields) <= 2 or _PRIORITY.search(labels):
        return math.nan
    try:
        return float(fields[0])
    except ValueError:
        return math.nan

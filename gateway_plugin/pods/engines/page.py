"""Reads a handful of metrics off a Prometheus text page without parsing the page.

An engine's page has tens of kilobytes, nearly all of it histogram buckets that nobody asked for; a full parse costs
tens of milliseconds, one search for all wanted names at once a fraction of one, however many they are.

- Several series of one name are the engine's data-parallel ranks (label `engine` or `dp_rank`), or parts of a
  counter: all are summed, only the usage ratio and the slots for adapters are averaged.
- Series that differ only in a tensor, pipeline or expert rank, or in the process that said it (`pid`), speak of the
  same requests: the largest counts, for what a process does not know it says as 0.
- A colon in a name may be an underscore: collectors between engine and page write it so.
- A series with a `priority` is left out: SGLang breaks queues down by priority beside their total (`priority=""`).
- NaN, infinite and negative values are left out, and so is every line that cannot be read.
"""

from __future__ import annotations

import math
import re
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway_plugin.pods.engines.metric_names import EngineNames

Samples = dict[bytes, float]
"""Values by name, as the names are written in the engine's table."""

_PRIORITY = re.compile(rb'[{,]\s*priority="[^"]')
_SAME_REQUESTS = re.compile(rb'(?<=[{,])\s*(?:tp_rank|pp_rank|moe_ep_rank|pid)="[^"]*"')


class _Wanted:
    """An engine's names, compiled."""

    def __init__(self, engine: EngineNames) -> None:
        self.by_series: dict[bytes, list[tuple[bytes, bytes]]] = {}
        """Per name on the page: what its labels must contain to be which name of the table."""
        series_names = set()
        for name in sorted(engine.names()):
            series, _, label = name.rstrip(b"}").partition(b"{")
            series_names.add(series)
            self.by_series.setdefault(_with_underscores(series), []).append((label, name))
        names = b"|".join(re.escape(series).replace(b":", b"[:_]") for series in sorted(series_names))
        self.lines = re.compile(rb"\n(%b)(?=[{ \t])(.*)" % names)
        # A pod says its slots again for every set of adapters that it ever had.
        columns = engine.columns
        self.averaged = frozenset(columns.get("kv_usage_ratio", ()) + columns.get("adapter_slots", ()))
        self.products = {
            _with_underscores(name): tuple(map(_number_in, labels)) for name, labels in engine.products.items()
        }


_wanted = cache(_Wanted)


def read_page(page: bytes, engine: EngineNames) -> Samples:
    """What the page says of the engine's names; empty when it holds nothing that the engine is known to say."""
    wanted = _wanted(engine)
    found: dict[bytes, list[float]] = {}
    repeated: dict[bytes, dict[bytes, float]] = {}
    for said, rest in wanted.lines.findall(b"\n" + page):
        series = _with_underscores(said)
        # Braces may stand in label values, but never behind the labels.
        labels, _, tail = rest.rpartition(b"}")
        value = _product(labels, wanted.products[series]) if series in wanted.products else _value(tail)
        if not 0.0 <= value < math.inf or _PRIORITY.search(labels):
            continue
        others, ranks = _SAME_REQUESTS.subn(b"", labels)
        for label, name in wanted.by_series[series]:
            if label not in labels:
                continue
            if ranks:
                largest = repeated.setdefault(name, {})
                largest[others] = max(value, largest.get(others, 0.0))
            else:
                found.setdefault(name, []).append(value)
    for name, largest in repeated.items():
        found.setdefault(name, []).extend(largest.values())
    samples = {
        name: sum(values) / len(values) if name in wanted.averaged else sum(values) for name, values in found.items()
    }
    for name, (combine, parts) in engine.derived.items():
        if all(part in samples for part in parts):
            samples[name] = combine(samples[part] for part in parts)
    return samples


def _with_underscores(series: bytes) -> bytes:
    return series.replace(b":", b"_")


def first_of(names: tuple[bytes, ...], samples: Mapping[bytes, float]) -> float | None:
    """The value of the first name that is there."""
    return next((samples[name] for name in names if name in samples), None)


def _number_in(label: bytes) -> re.Pattern[bytes]:
    return re.compile(rb'[{,]\s*%b="(\d{1,15})"' % re.escape(label))


def _product(labels: bytes, factors: tuple[re.Pattern[bytes], ...]) -> float:
    """NaN when a label is not there or no number: engines write "None" before they know."""
    matches = [factor.search(labels) for factor in factors]
    return math.prod(float(match[1]) if match else math.nan for match in matches)


def _value(tail: bytes) -> float:
    """The value behind a metric's name and labels: `value [timestamp]`. NaN when there is none to count."""
    fields = tail.split()
    if not 1 <= len(fields) <= 2:
        return math.nan
    try:
        return float(fields[0])
    except ValueError:
        return math.nan

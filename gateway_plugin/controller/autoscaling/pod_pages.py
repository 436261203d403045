"""One metric out of a pod's metrics page: by its aliases, folded over its series, and never 0 for what is not there."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from orchestration.scaling.metric_aliases import Fold, metric_named

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MOST_PAGE_BYTES = 8 << 20
"""Of one pod's page: engines with many adapters have some hundreds of KiB."""


def samples_of(page: str) -> dict[str, list[float]]:
    """By name of the series, the values of all its label sets. ValueError when it is no page of metrics.

    Values that are no numbers are left out: an engine writes NaN for what it does not know.
    """
    found: dict[str, list[float]] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if math.isfinite(sample.value):
                found.setdefault(sample.name, []).append(sample.value)
    return found


def value_of(target_metric: str, engine: str, samples: Mapping[str, list[float]]) -> float | None:
    """A pod's value, or None when the page has none of the metric's names."""
    metric = metric_named(target_metric)
    if metric is None:
        values = samples.get(target_metric)
        return sum(values) if values else None
    for name in metric.series_of(engine):
        if values := samples.get(name):
            return _folded(values, metric.fold)
    return None


def _folded(values: Iterable[float], fold: Fold) -> float:
    found = list(values)
    return sum(found) / len(found) if fold is Fold.MEAN else sum(found)

"""What one replica of the gateway has under way on each pod: what replicas tell each other.

A pod that serves several models is told under its first, so that nobody counts it twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from xxhash import xxh64_intdigest

if TYPE_CHECKING:
    from routing.pods.pod_table import PodTable
    from routing.spec import PodSpec


@dataclass(frozen=True, slots=True)
class PodWork:
    """One replica's share of one pod's work. Token counts are estimates."""

    address: str
    uid_hash: int
    """Of the pod's uid: the work of one pod is not that of its successor at the same address."""
    inflight_requests: int
    inflight_prompt_tokens: float
    inflight_output_tokens: float
    requests_total: int
    """Ever booked; only its growth means something, and so for the next."""
    prefill_booked_tokens: float
    prefill_backlog_tokens: float = field(compare=False)
    """Of all replicas, as this one believes; shrinks with time, which is no news."""


def own_work(pods: PodTable) -> dict[str, tuple[PodWork, ...]]:
    """The pods with requests in flight, by the first of their models."""
    columns, books = pods.columns, pods.books
    rows = np.flatnonzero(columns.inflight_requests)
    backlog_tokens = books.backlog_tokens(rows, books.prefill_rate(rows))
    work: dict[str, list[PodWork]] = {}
    for row, backlog in zip(rows.tolist(), backlog_tokens.tolist(), strict=True):
        spec = pods.spec(row)
        if spec.models:
            work.setdefault(spec.models[0], []).append(
                PodWork(
                    spec.address,
                    uid_hash(spec),
                    int(columns.inflight_requests[row]),
                    float(columns.inflight_prompt_tokens[row]),
                    float(columns.inflight_output_tokens[row]),
                    int(columns.requests_total[row]),
                    float(columns.prefill_booked_tokens[row]),
                    backlog,
                )
            )
    return {model: tuple(works) for model, works in work.items()}


def uid_hash(pod: PodSpec) -> int:
    """The same on every replica."""
    return _hash(pod.uid)


@lru_cache(maxsize=10_000)
def _hash(text: str) -> int:
    return xxh64_intdigest(text.encode())

"""Makes the snapshot that the live page shows, of everything that this process knows at one moment."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from gateway_plugin import plugin_version
from gateway_plugin.http import live_shape as shape
from gateway_plugin.http.live_rates import RateBook
from gateway_plugin.models.catalogue.usage_windows import OUTPUT, PROMPT, TPOT, TTFT
from routing.pods.circuit import CircuitState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from gateway_plugin.metrics.families import Metrics
    from gateway_plugin.metrics.stories import Finished, Refused, Routed, Stories
    from gateway_plugin.models.catalogue.usage_windows import LatencyWindows
    from routing.booking import Weighed
    from routing.pods.pod_table import PodTable
    from routing.prefix.prefix_index import PrefixIndex
    from routing.spec import PodSpec


@dataclass(frozen=True, slots=True)
class LiveSources:
    """What a snapshot is made of."""

    pods: PodTable
    prefixes: PrefixIndex
    stories: Stories
    metrics: Metrics
    windows: LatencyWindows
    waiting: Callable[[], Mapping[str, int]]
    """Requests that wait for a pod with room, by model."""
    limiter: Callable[[], shape.LimiterState]
    troubles: Callable[[], Iterable[shape.Trouble]]
    is_ready: Callable[[], bool]
    replica: str
    version: str = field(default_factory=plugin_version)
    clock: Callable[[], float] = time.time
    """Wall clock."""
    began_seconds: float = field(default_factory=time.time)


class SnapshotMaker:
    """Remembers only what rates are made of."""

    def __init__(self, sources: LiveSources) -> None:
        self._of = sources
        self.rates = RateBook(sources.metrics, sources.stories)

    def point(self) -> shape.Point:
        """What the history keeps of this moment."""
        now = self._of.clock()
        self.rates.take(now)
        return shape.Point(round(now, 3), self.rates.rates())

    def snapshot(self) -> shape.LiveSnapshot:
        """All of it."""
        of, now = self._of, self._of.clock()
        self.rates.take(now)
        rows = of.pods.rows()
        shown = rows
        if len(rows) > shape.MAX_PODS:
            inflight = of.pods.columns.inflight_requests
            shown = sorted(rows, key=lambda item: -int(inflight[item[0]]))[: shape.MAX_PODS]
        return shape.LiveSnapshot(
            at_seconds=round(now, 3),
            replica=of.replica,
            version=of.version,
            up_seconds=round(now - of.began_seconds, 1),
            ready=of.is_ready(),
            models=tuple(self._models()),
            pods=tuple(self._tile(row, pod) for row, pod in sorted(shown, key=lambda item: item[1].name)),
            pods_left_out=len(rows) - len(shown),
            decisions=tuple(self._decisions()),
            refusals=tuple(map(_refusal, of.stories.last_refused(shape.MAX_REFUSALS))),
            users=tuple(self._users()),
            limiter=of.limiter(),
            rates=self.rates.rates(),
            warnings=tuple(of.troubles()),
        )

    def _models(self) -> Iterable[shape.ModelRow]:
        of = self._of
        inflight, waiting, speeds = of.metrics.in_flight_by_model(), of.waiting(), self._speeds()
        requests, pods = self.rates.requests_by_model(), of.pods
        counts: dict[str, int] = {}
        for _, pod in pods.rows():
            for model in pod.models:
                counts[model] = counts.get(model, 0) + 1
        for model, ready in sorted(pods.ready_rows().items()):
            yield shape.ModelRow(
                model,
                counts.get(model, 0),
                len(ready),
                inflight.get(model, 0),
                waiting.get(model, 0),
                requests.get(model, 0.0),
                *speeds.get(model, (None, None, None, 0.0, 0.0)),
            )

    def _speeds(self) -> dict[str, tuple[float | None, float | None, float | None, float, float]]:
        windows = self._of.windows
        models = windows.models()
        if not models:
            return {}
        quantiles, tokens = windows.quantiles(0.5, 0.95), windows.tokens_per_second()
        return {
            model: (
                _known(quantiles[row, TTFT, 0]),
                _known(quantiles[row, TTFT, 1]),
                _known(quantiles[row, TPOT, 0]),
                round(float(tokens[row, PROMPT]), 1),
                round(float(tokens[row, OUTPUT]), 1),
            )
            for row, model in enumerate(models)
        }

    def _tile(self, row: int, pod: PodSpec) -> shape.PodTile:
        pods, cells = self._of.pods, self._of.pods.books.cells
        now, circuit = pods.books.clock(), pods.health.circuit(row)
        is_open = circuit is not None and circuit.state is CircuitState.OPEN
        columns = pods.columns
        hits, queries = columns.prefix_hit_tokens[row], columns.prefix_query_tokens[row]
        polled_at = cells.polled_at_seconds[row]
        return shape.PodTile(
            name=pod.name,
            address=pod.address,
            models=pod.models,
            ready=pod.ready,
            health=pods.health.describe(row),
            sick_because=circuit.reason if circuit is not None else None,
            next_check_seconds=max(0.0, round(circuit.retry_at_seconds - now, 1)) if circuit and is_open else None,
            inflight_requests=cells.inflight_requests[row],
            inflight_elsewhere=int(cells.inflight_requests_elsewhere[row]),
            running_requests=_known(cells.running_requests[row]),
            waiting_requests=_known(cells.waiting_requests[row]),
            kv_usage_ratio=_known(cells.kv_usage_ratio[row]),
            prefix_hit_ratio=_known(hits / queries) if queries > 0 else None,
            cached_blocks=self._of.prefixes.held(row)[0],
            prefill_tokens_per_second=_known(cells.prefill_tokens_per_second[row]),
            backlog_tokens=round(pods.books.backlog_of(row, now, pods.books.rate_of(row))),
            ttft_seconds=_known(cells.ttft_seconds[row]),
            tpot_seconds=_known(cells.tpot_seconds[row]),
            scraped_before_seconds=_known(now - polled_at),
            requests_total=cells.requests_total[row],
        )

    def _decisions(self) -> Iterable[shape.DecisionLine]:
        stories = self._of.stories
        ends = stories.ends_by_charge()
        return (_decision(one, ends.get(one.charge_id)) for one in stories.last_routed(shape.MAX_DECISIONS))

    def _users(self) -> Iterable[shape.UserRow]:
        stories = self._of.stories
        last: dict[str, Routed] = {}
        decisions: dict[str, int] = {}
        for one in reversed(stories.routed):
            if one.user:
                last.setdefault(one.user, one)
                decisions[one.user] = decisions.get(one.user, 0) + 1
        refused: dict[str, Refused] = {}
        refusals: dict[str, int] = {}
        for other in reversed(stories.refused):
            if other.user:
                refused.setdefault(other.user, other)
                refusals[other.user] = refusals.get(other.user, 0) + 1
        seen = {user: one.at_seconds for user, one in last.items()}
        for user, other in refused.items():
            seen[user] = max(seen.get(user, 0.0), other.at_seconds)
        for user in islice(sorted(seen, key=lambda name: -seen[name]), shape.MAX_USERS):
            routed, reason = last.get(user), refused[user].reason if user in refused else ""
            left = _left(routed) if routed is not None else (None, None, None, None)
            yield shape.UserRow(
                user, round(seen[user], 3), *left, decisions.get(user, 0), refusals.get(user, 0), reason
            )


def _left(routed: Routed) -> tuple[int | None, int | None, int | None, int | None]:
    decision = routed.decision
    limits = decision.limits if decision is not None else None
    if decision is None or limits is None:
        return None, None, None, None
    requests = max(0, int(limits.requests_per_minute - decision.requests_used))
    tokens = max(0, int(limits.tokens_per_minute - decision.tokens_used))
    return limits.requests_per_minute, requests, limits.tokens_per_minute, tokens


def _decision(routed: Routed, end: Finished | None) -> shape.DecisionLine:
    booking = routed.booking
    pod = booking.pods[0] if booking is not None else None
    entry = end.entry if end is not None else None
    return shape.DecisionLine(
        routed.number,
        round(routed.at_seconds, 3),
        routed.request_id,
        routed.user,
        routed.model,
        routed.strategy or "none",
        booking.branch if booking is not None else "",
        pod.name if pod is not None else "",
        pod.address if pod is not None else "",
        tuple(map(_choice, booking.weighed)) if booking is not None else (),
        routed.prompt_tokens,
        booking.matched_tokens if booking is not None else 0.0,
        round(routed.decided_after_seconds, 6),
        None if entry is None else 499 if entry.client_aborted else entry.status,
        entry.ttft_seconds if entry is not None else None,
        round(entry.duration_seconds, 4) if entry is not None else None,
    )


def _choice(weighed: Weighed) -> shape.WeighedPod:
    terms = {name: _known(value) for name, value in zip(weighed.names, weighed.terms, strict=True)}
    return shape.WeighedPod(weighed.pod.name, weighed.pod.address, _known(weighed.cost), terms, weighed.matched_tokens)


def _refusal(refused: Refused) -> shape.RefusalLine:
    return shape.RefusalLine(
        refused.number,
        round(refused.at_seconds, 3),
        refused.request_id,
        refused.user,
        refused.source,
        refused.model,
        refused.status,
        refused.reason,
        refused.message,
    )


def _known(value: float) -> float | None:
    return round(float(value), 6) if math.isfinite(value) else None

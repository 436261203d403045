"""What operators are told of the process itself: metrics that every process has, and what feeds the live page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import ProcessCollector

from gateway_plugin.exchange.intent.rejections import refusal_kinds
from gateway_plugin.http.event_listeners import Listeners
from gateway_plugin.http.live_feed import LiveFeed
from gateway_plugin.http.live_shape import LimiterState, Trouble
from gateway_plugin.http.live_snapshot import LiveSources, SnapshotMaker
from gateway_plugin.metrics.gen_ai_metrics import GenAiCollector
from gateway_plugin.metrics.process_metrics import BuildInfo, LoopLag, LostEntries
from gateway_plugin.settings.pacing import next_moment
from ratelimit.outage.breaker import BreakerState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway_plugin.accounting.limiting import Limiting
    from gateway_plugin.metrics.families import Metrics
    from gateway_plugin.pods.engines.engine_checks import EngineFinding
    from gateway_plugin.settings.settings import Settings

_STATES = {BreakerState.CLOSED: "ok", BreakerState.OPEN: "down", BreakerState.HALF_OPEN: "probing"}


def new_live_feed(sources: LiveSources) -> LiveFeed:
    """A feed that wakes the process only when it is awake anyway."""
    return LiveFeed(SnapshotMaker(sources), Listeners(), next_moment)


def register_process(metrics: Metrics, lag: LoopLag, settings: Settings, lost_entries: Callable[[], int]) -> None:
    """Metrics of the process, and a zero for every failure that has not happened yet."""
    ProcessCollector(registry=metrics.registry)
    metrics.registry.register(BuildInfo(settings.process.replica))
    metrics.registry.register(lag)
    metrics.registry.register(LostEntries(lost_entries))
    if settings.operators.gen_ai_metrics:
        metrics.registry.register(GenAiCollector(metrics))
    metrics.expect_rejections(refusal_kinds())


def discovery_troubles(problem: str, refused: str) -> list[Trouble]:
    """Of pods that cannot be found, and of a file that is not taken over; none where all is well."""
    troubles = []
    if problem:
        troubles.append(Trouble("Discovery", "pods", problem, "see the log of this process"))
    if refused:
        fix = "correct the file; the last good one is in effect"
        troubles.append(Trouble("ConfigurationRefused", "endpoints", refused, fix))
    return troubles


def engine_troubles(findings: Iterable[EngineFinding]) -> list[Trouble]:
    """Where what engines say contradicts what was configured."""
    return [Trouble(*finding) for finding in findings]


def limiter_state(limiter: Limiting, *, limited: bool) -> LimiterState:
    """As of now; `limited` is false where nobody's limits are enforced."""
    resilient = limiter.resilient
    if not limited:
        return LimiterState("off", "ok", "", 1, 0, 0, 0)
    if resilient is None:
        return LimiterState("memory", "ok", "", 1, 0, 0, 0)
    counts = resilient.counts
    return LimiterState(
        "redis",
        _STATES[resilient.state],
        resilient.policy.value,
        limiter.replicas,
        counts.admitted_locally,
        counts.refused_locally,
        counts.queued,
    )

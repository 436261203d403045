"""What operators are told of the process itself: metrics that every process has, and what feeds the live page."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from prometheus_client import ProcessCollector

from gateway_plugin.endpoints.endpoint_table import EndpointTable
from gateway_plugin.endpoints.extra_paths import parse_extra_paths
from gateway_plugin.endpoints.fingerprint import differences
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
    from gateway_plugin.metrics.stories import Stories
    from gateway_plugin.pods.engines.engine_checks import EngineFinding
    from gateway_plugin.settings.settings import Settings

logger = logging.getLogger(__name__)

UNHEARD_SECONDS = 30.0
"""Envoy sends its log every second, and short answers are over by then."""
UNHEARD_REQUESTS = 20
"""Fewer may all be long."""
WATCH_SECONDS = 10.0
"""Troubles are of configuration, and last."""
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


def unheard_log_troubles(stories: Stories, batches_heard: int, clock: Callable[[], float] = time.time) -> list[Trouble]:
    """Of an Envoy that sends no access log: nothing is charged, and no pod's speed is learned."""
    due_at_seconds = clock() - UNHEARD_SECONDS
    overdue = sum(one.at_seconds < due_at_seconds for one in stories.routed)
    if batches_heard or overdue < UNHEARD_REQUESTS:
        return []
    fix = "write Envoy's configuration anew with the plugin's GATEWAY_ACCOUNTING, or let it reach the gRPC port"
    message = f"{overdue} requests went to pods, and Envoy's access log has not told of any: nothing is charged"
    return [Trouble("NoAccessLog", "envoy", message, fix)]


def envoy_troubles(said: bytes, settings: Settings) -> list[Trouble]:
    """Of an Envoy whose configuration was made with other settings than this process has."""
    paths = EndpointTable(parse_extra_paths(settings.endpoints.extra_paths)).patterns()
    found = differences(
        said.decode("latin-1"), settings.usage.accounting, settings.listeners.grpc_max_message_bytes, paths
    )
    return [Trouble("EnvoyDiffers", "envoy", one.message, one.fix) for one in found]


class TroubleWatch:
    """Tells troubles that have no lines of their own in the log: when they begin, and when they are over."""

    def __init__(self, troubles: Callable[[], list[Trouble]]) -> None:
        self._troubles = troubles
        self._told: dict[tuple[str, str], Trouble] = {}

    async def run(self) -> None:
        """Looks until cancelled."""
        while True:
            await next_moment(WATCH_SECONDS)
            self.look()

    def look(self) -> None:
        """Now."""
        now = {(one.code, one.about): one for one in self._troubles()}
        for key in now.keys() - self._told.keys():
            logger.error("%s: %s; %s", now[key].about, now[key].message, now[key].fix)
        for key in self._told.keys() - now.keys():
            logger.info("%s: over: %s", self._told[key].about, self._told[key].message)
        self._told = now


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

"""The composition root: every part of the service, built from its settings."""

from __future__ import annotations

import random
import time
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

import numpy as np

from gateway_plugin.accounting.access_lines import LineWriter
from gateway_plugin.accounting.accountant import GATHER_SECONDS, Accountant
from gateway_plugin.accounting.log_service import AccessLogService
from gateway_plugin.accounting.request_traces import RequestTraces
from gateway_plugin.app.live_wiring import (
    TroubleWatch,
    discovery_troubles,
    engine_troubles,
    envoy_troubles,
    limiter_state,
    new_live_feed,
    register_process,
    unheard_log_troubles,
)
from gateway_plugin.app.model_service import ModelService
from gateway_plugin.app.parts import bounds_of, engine_keys_of, ledger_of, limiter_of, pod_health_of, rules_of
from gateway_plugin.app.tracing_parts import tracing_of
from gateway_plugin.exchange.collaborators import Services
from gateway_plugin.exchange.processor import ExternalProcessor
from gateway_plugin.grpc.grpc_health import GrpcHealth
from gateway_plugin.http.live_snapshot import LiveSources
from gateway_plugin.metrics.collectors import (
    Exchanges,
    ExchangesCollector,
    LedgerCollector,
    LimiterCollector,
    PrefixIndexCollector,
    WaitingCollector,
    WarningsCollector,
)
from gateway_plugin.metrics.families import Metrics
from gateway_plugin.metrics.process_metrics import LAG_EVERY_SECONDS, LoopLag
from gateway_plugin.metrics.stories import Stories
from gateway_plugin.peers.post import charge_ids, new_replica_id
from gateway_plugin.peers.setup import new_sharing
from gateway_plugin.pods.discovery_error import DiscoveryError
from gateway_plugin.pods.engines.engine_metrics import EngineCollector
from gateway_plugin.pods.engines.health_checks import HealthChecks
from gateway_plugin.pods.engines.health_collector import HealthCollector
from gateway_plugin.pods.engines.scraper import Scraper
from gateway_plugin.pods.reload_metrics import ReloadCollector, Reloads
from gateway_plugin.pods.source import new_discovery
from gateway_plugin.settings.pacing import seconds_to_moment
from gateway_plugin.settings.start_error import StartError
from ratelimit import MemoryStore
from ratelimit.outage.breaker import BreakerState
from routing.pods.pod_table import PodTable
from routing.router import Router

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway_plugin.app.reloading import Reloading
    from gateway_plugin.http.live_feed import LiveFeed
    from gateway_plugin.http.live_shape import Trouble
    from gateway_plugin.pods.source import Discovery
    from gateway_plugin.settings.settings import Settings

# What a decision weighed is kept for all of a quiet gateway, and for 200 a second of a busy one.
_EXPLAIN_EVERY_SECONDS = 0.005
_HEALTH_NAMES = ("", "gateway-plugin")


class BackgroundPart(Protocol):
    """Something that runs as long as the process does."""

    async def run(self) -> None: ...


class Assembly:
    """One plugin process, built but not running."""

    def __init__(self, settings: Settings, origins: Mapping[str, str] = MappingProxyType({})) -> None:
        """`origins`: where the value of each setting comes from."""
        self.settings = settings
        self.origins = origins
        self.metrics = Metrics()
        self.replica_id = new_replica_id()
        self.pods = PodTable(time.monotonic, health=pod_health_of(settings.routing))
        self.router = Router(
            self.pods,
            np.random.default_rng(),
            settings.routing.target_candidates,
            settings.overload.max_inflight_per_pod,
            explain_every_seconds=_EXPLAIN_EVERY_SECONDS,
        )
        self.stories = Stories(settings.operators.kept_requests)
        logs = settings.logs
        self.line_writer = LineWriter(logs.access_lines, logs.access_sample_ratio, random.random)
        self.line_writer.listen(self.stories)
        self.rules = rules_of(settings)
        self.tracing = tracing_of(settings)
        if self.tracing is not None:
            self.stories.on_traced = self.tracing.finished
        self.limiter = limiter_of(settings)
        self.engine_keys = engine_keys_of(settings.engines)
        self.models = self._new_models()
        self.sharing = new_sharing(
            settings, self.replica_id, self.pods, self.router, self.metrics.registry, lambda: self.limiter.replicas
        )
        self.traces = _request_traces(settings)
        self.ledger = ledger_of(settings, self.limiter)
        accountant = Accountant(
            self.limiter,
            self.pods,
            self.router,
            self.metrics,
            self.models.windows,
            self.stories,
            GATHER_SECONDS if self.limiter.is_shared else 0.0,
            self.traces.cells if self.traces is not None else None,
            self.ledger,
        )
        if (ledger := self.ledger) is not None:
            self.metrics.registry.register(LedgerCollector(lambda: ledger))
        self.access_log = AccessLogService(accountant)
        self.processor = ExternalProcessor(
            self._services(), self.limiter, self.access_log.book_soon, bounds_of(settings)
        )
        self.access_log.on_finished = self.processor.parked.release
        if self.sharing is not None:
            self.sharing.post.on_received = self.processor.parked.release
        self.scraper = Scraper(self.pods, random.Random(), interval_seconds=settings.pods.scrape_interval_seconds)
        self.health_checks = HealthChecks(self.pods)
        self.metrics.registry.register(EngineCollector(self.pods, self.scraper.outcomes))
        self.metrics.registry.register(HealthCollector(self.pods, self.health_checks.outcomes))
        self.metrics.registry.register(PrefixIndexCollector(self.router.prefixes))
        self.metrics.registry.register(ExchangesCollector(self._open_exchanges))
        self.loop_lag = LoopLag(lambda now: seconds_to_moment(now, LAG_EVERY_SECONDS))
        register_process(self.metrics, self.loop_lag, settings, lambda: self.router.silent)
        if settings.overload.queue_length:
            self.metrics.registry.register(WaitingCollector(self.processor.waiting.lengths, self.pods.models))
        resilient = self.limiter.resilient
        if resilient is not None:
            self.metrics.registry.register(
                LimiterCollector(
                    lambda: resilient.counts,
                    lambda: resilient.state is not BreakerState.CLOSED,
                    lambda: self.limiter.refused_items,
                )
            )
        self.live = self._new_live_feed()
        self.reloading: Reloading | None = None
        self.draining = False
        self.discovery = self._new_discovery()
        self.followed = ReloadCollector(self.discovery.followed())
        keys = self.engine_keys
        if keys.follows_a_file:
            self.followed.follow("engine_keys", lambda: Reloads(keys.reloads, keys.loaded_at_seconds, keys.refused))
        self.metrics.registry.register(self.followed)
        for collector in self.discovery.collectors():
            self.metrics.registry.register(collector)
        self.metrics.registry.register(WarningsCollector(lambda: [one.code for one in self._troubles()]))
        self.health = GrpcHealth(_HEALTH_NAMES)

    def parts(self) -> list[BackgroundPart]:
        """What runs in the background, beside the listeners."""
        parts: list[BackgroundPart] = [
            self.discovery,
            self.scraper,
            self.health_checks,
            self.limiter,
            self.processor,
            self.models,
            self.engine_keys,
        ]
        parts += [self.loop_lag, TroubleWatch(self._accounting_troubles)]
        parts += [self.reloading] if self.reloading is not None else []
        parts += [self.live] if self.settings.operators.live_feed else []
        parts += [self.traces] if self.traces is not None else []
        parts += [self.ledger] if self.ledger is not None else []
        return [*parts, self.sharing] if self.sharing is not None else parts

    def _troubles(self) -> list[Trouble]:
        return [
            *discovery_troubles(self.discovery.problem, self.refused_configuration()),
            *engine_troubles(self.models.findings.all()),
            *self._accounting_troubles(),
        ]

    def _accounting_troubles(self) -> list[Trouble]:
        differing = envoy_troubles(self.processor.envoy_fingerprint, self.settings)
        if self.settings.usage.accounting != "access_log" or differing:
            return differing
        return unheard_log_troubles(self.stories, self.access_log.batches_heard)

    def refused_configuration(self) -> str:
        """Why a changed configuration is not in effect."""
        settings = self.reloading.refused if self.reloading is not None else ""
        return "; ".join(filter(None, (settings, self.discovery.refused, self.engine_keys.refused)))

    def _open_exchanges(self) -> list[Exchanges]:
        processor, overload = self.processor, self.settings.overload
        return [
            Exchanges("working", processor.working, overload.max_inflight_exchanges),
            Exchanges("uploading", len(processor.uploads.waiting), overload.max_uploads),
        ]

    def _services(self) -> Services:
        return Services(
            self.router,
            self.rules,
            self.metrics,
            charge_ids(self.replica_id),
            time.perf_counter,
            self.limiter.refusal,
            is_known=None if isinstance(self.limiter.store, MemoryStore) else self.limiter.is_known,
            listeners_refusal=self.models.listeners.refusal,
            may_wait=self.settings.overload.queue_length > 0,
            may_hold=self.settings.overload.held_requests > 0,
            outcomes_are_told=self.settings.usage.accounting != "none",
            follows_responses=self.settings.usage.accounting == "ext_proc",
            stories=self.stories,
            tracing=self.tracing,
            names=self.models.live.names,
            engine_keys=self.engine_keys,
        )

    def _new_discovery(self) -> Discovery:
        try:
            return new_discovery(self.settings, on_state=self.models.known.discovered)
        except DiscoveryError as error:
            raise StartError(str(error)) from None

    def _new_models(self) -> ModelService:
        try:
            return ModelService(
                self.settings,
                self.pods,
                self.metrics,
                lambda: not self.discovery.problem,
                self.engine_keys,
            )
        except ValueError as error:
            raise StartError(f"models.file: {error}") from None

    def _new_live_feed(self) -> LiveFeed:
        sources = LiveSources(
            self.pods,
            self.router.prefixes,
            self.stories,
            self.metrics,
            self.models.windows,
            self.processor.waiting.lengths,
            lambda: limiter_state(self.limiter, limited=self.rules.limited),
            self._troubles,
            lambda: not self.draining and not self.discovery.problem,
            self.settings.process.replica,
        )
        return new_live_feed(sources)


def _request_traces(settings: Settings) -> RequestTraces | None:
    """What an optimizer plans by, where there is a Redis to leave it in and somebody tells what was used."""
    usage, url = settings.usage, settings.redis.effective_url
    if not url or not usage.request_traces or usage.accounting == "none":
        return None
    return RequestTraces(url, settings.redis.timeout_seconds, time.time)
